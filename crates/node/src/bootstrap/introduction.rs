//! What this member says of itself to others, and what it records when it is asked to.
//!
//! Invariant: a cluster id, once recorded, is never replaced.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use quorate_core::{ClusterId, MemberId, RestoreEpoch};
use quorate_proto::v1;
use quorate_storage::{Mark, NodeIdentity, Published, Storage};
use tokio::sync::watch;

use super::BootstrapError;
use crate::{
    config::{Cluster, Member},
    members::{self, Standing},
    transport::{PeerError, PeerErrorKind},
};

/// Who this member is.
pub(crate) struct Introduction {
    me: MemberId,
    cluster: Cluster,
    members_hash: u64,
    storage: Storage,
    draw: fn() -> u64,
    recording: Mutex<()>,
    recorded: watch::Sender<Option<NodeIdentity>>,
    published: OnceLock<Arc<Published>>,
}

impl Introduction {
    /// `draw` gives the random cluster id.
    pub(crate) fn new(me: MemberId, cluster: Cluster, storage: Storage, draw: fn() -> u64) -> Self {
        let members_hash = members_hash(&cluster.initial_members);
        let recorded = watch::Sender::new(storage.identity());
        let (recording, published) = (Mutex::new(()), OnceLock::new());
        Self { me, cluster, members_hash, storage, draw, recording, recorded, published }
    }

    pub(super) fn me(&self) -> MemberId {
        self.me
    }

    pub(super) fn members(&self) -> &[Member] {
        &self.cluster.initial_members
    }

    /// The peer addresses at which this member asks to be let in. Empty: it is an initial member.
    pub(super) fn entrances(&self) -> Vec<String> {
        self.cluster.entrances(self.me)
    }

    pub(super) fn cluster_name(&self) -> &str {
        self.cluster.name.as_str()
    }

    /// Whether this member is the one that proposes the cluster id: the lowest of all.
    pub(super) fn proposes(&self) -> bool {
        self.members().iter().map(|member| member.id).min() == Some(self.me)
    }

    /// Tells when the record is there.
    pub(super) fn recorded(&self) -> watch::Receiver<Option<NodeIdentity>> {
        self.recorded.subscribe()
    }

    /// From now on the membership in the state says who is known.
    pub(crate) fn follow(&self, published: Arc<Published>) {
        // Set once per start; a second start of the same member changes nothing.
        drop(self.published.set(published));
    }

    /// Checks that a record found on disk is of this member and cluster.
    pub(super) fn check(&self, found: NodeIdentity) -> Result<NodeIdentity, BootstrapError> {
        if found.member_id == self.me && found.cluster_name == self.cluster.name.as_str() {
            if !self.storage.has_data()
                && self.entrances().is_empty()
                && found.members_hash != self.members_hash
            {
                return Err(BootstrapError::Foreign {
                    found: "a cluster that was to be formed of other initial members".to_owned(),
                    wanted: "the ones in cluster.initial_members".to_owned(),
                });
            }
            return Ok(found);
        }
        Err(BootstrapError::Foreign {
            found: format!("member {} of cluster {:?}", found.member_id, found.cluster_name),
            wanted: format!("member {} of cluster {:?}", self.me, self.cluster.name.as_str()),
        })
    }

    /// What speaks against forming a cluster with a member that says this of itself.
    pub(super) fn compare(&self, cluster_name: &str, hash: u64) -> Result<(), String> {
        let name = self.cluster.name.as_str();
        if cluster_name != name {
            return Err(format!("its cluster.name is {cluster_name:?}, here it is {name:?}"));
        }
        if hash != self.members_hash {
            return Err("its cluster.initial_members differ from the ones here".to_owned());
        }
        Ok(())
    }

    /// Draws and records a new cluster id.
    pub(super) fn record_own(&self) -> Result<NodeIdentity, BootstrapError> {
        let id = loop {
            match (self.draw)() {
                0 => {}
                id => break ClusterId(id),
            }
        };
        tracing::info!(cluster = %id, "proposing a new cluster");
        Ok(self.record(id, RestoreEpoch(0))?)
    }

    /// Records a cluster id, unless one is recorded. Gives what is recorded.
    pub(super) fn record(
        &self,
        cluster_id: ClusterId,
        restore_epoch: RestoreEpoch,
    ) -> std::io::Result<NodeIdentity> {
        let _one_at_a_time = self.recording.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = self.storage.identity() {
            return Ok(found);
        }
        let identity = NodeIdentity {
            member_id: self.me,
            cluster_id,
            restore_epoch,
            cluster_name: self.cluster.name.as_str().to_owned(),
            members_hash: self.members_hash,
            initialized: false,
        };
        self.storage.record_identity(&identity)?;
        self.recorded.send_replace(Some(identity.clone()));
        Ok(identity)
    }

    /// Answers who this is.
    pub(crate) fn identify(
        &self,
        request: &v1::IdentifyRequest,
    ) -> Result<v1::IdentifyResponse, PeerError> {
        self.meant(request.to)?;
        let identity = self.storage.identity();
        Ok(v1::IdentifyResponse {
            member_id: self.me.get(),
            cluster_id: identity.map_or(0, |identity| identity.cluster_id.get()),
            initialized: self.formed(),
            knows_sender: self.knows(MemberId(request.from)),
            cluster_name: self.cluster.name.as_str().to_owned(),
            members_hash: self.members_hash,
            removed_sender: self.was_removed(MemberId(request.from), request.cluster_id),
            marks: self.marks(),
        })
    }

    /// What the state here was, once it takes part.
    fn marks(&self) -> Vec<v1::StateMark> {
        let marks = self.published.get().map(|published| published.marks());
        let mark = |mark: Mark| v1::StateMark {
            log_index: mark.index.get(),
            revision: mark.revision.get(),
            state_hash: mark.hash.0,
        };
        marks.into_iter().flatten().map(mark).collect()
    }

    /// Whether a member that says that it is of this cluster was removed from it; of an empty disk
    /// (cluster 0) the id has to do.
    fn was_removed(&self, other: MemberId, cluster_id: u64) -> bool {
        let same =
            |identity: NodeIdentity| cluster_id == 0 || identity.cluster_id.get() == cluster_id;
        self.storage.identity().is_some_and(same)
            && self.published.get().is_some_and(|published| {
                members::standing(&published.load(), other) == Some(Standing::Removed)
            })
    }

    /// Whether the cluster was initialised, as far as this member can tell.
    fn formed(&self) -> bool {
        let recorded = self.storage.identity().is_some_and(|identity| identity.initialized);
        recorded || self.storage.has_data() || self.has_members()
    }

    /// Whether a membership was applied here since the start: the cluster was initialised.
    fn has_members(&self) -> bool {
        let view = self.published.get().map(|published| published.load());
        view.is_some_and(|view| view.membership.membership().nodes().next().is_some())
    }

    fn knows(&self, other: MemberId) -> bool {
        let initial = || self.members().iter().any(|member| member.id == other);
        match self.published.get().map(|published| published.load()) {
            Some(view) if view.membership.membership().nodes().next().is_some() => {
                view.membership.get_node(&other.get()).is_some()
            }
            _ => initial(),
        }
    }

    /// Records a proposed cluster id.
    pub(crate) async fn prepare(
        &self,
        request: &v1::PrepareRequest,
    ) -> Result<v1::PrepareResponse, PeerError> {
        self.meant(request.to)?;
        if request.cluster_id == 0 {
            return Err(PeerError::new(PeerErrorKind::Invalid, "cluster_id must not be 0"));
        }
        let refused = |message: String, cluster_id: u64| v1::PrepareResponse {
            recorded: false,
            cluster_id,
            message,
        };
        if let Err(reason) = self.compare(&request.cluster_name, request.members_hash) {
            return Ok(refused(reason, 0));
        }
        if self.formed() {
            let id = self.storage.identity().map_or(0, |identity| identity.cluster_id.get());
            let message = "its cluster is formed already, so the data of the member that asks was \
                           lost or replaced by an old copy: run `quorate member rejoin`";
            return Ok(refused(message.to_owned(), id));
        }
        let found =
            self.record(ClusterId(request.cluster_id), RestoreEpoch(0)).map_err(|error| {
                let message = format!("member {} cannot record the cluster id: {error}", self.me);
                PeerError::new(PeerErrorKind::NotReady, message)
            })?;
        if found.cluster_id.get() != request.cluster_id {
            let message = format!("it belongs to cluster {} already", found.cluster_id);
            return Ok(refused(message, found.cluster_id.get()));
        }
        tracing::info!(cluster = %found.cluster_id, from = request.from, "recorded the cluster");
        Ok(v1::PrepareResponse {
            recorded: true,
            cluster_id: found.cluster_id.get(),
            message: String::new(),
        })
    }

    fn meant(&self, to: u64) -> Result<(), PeerError> {
        if to == self.me.get() {
            return Ok(());
        }
        let message = format!("this is member {}, the message is for member {to}", self.me);
        Err(PeerError::new(PeerErrorKind::WrongCluster, message))
    }
}

/// A hash of ids and peer addresses, whatever their order (FNV-1a, 64 bits).
pub(crate) fn members_hash(members: &[Member]) -> u64 {
    let mut rows: Vec<String> =
        members.iter().map(|member| format!("{}={}\n", member.id, member.peer)).collect();
    rows.sort();
    rows.concat().bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}
