//! How a cluster comes into being, exactly once.
//!
//! ```text
//! every initial member        the one with the lowest id
//! --------------------        --------------------------
//! no record: ask all peers    all peers answered, none has a record: draw an id, record it
//! asked to record: record     ask every peer to record it, until all have
//! record: start               initialise, start
//! ```
//!
//! Invariants: the cluster is initialised only after every initial member has durably recorded
//! its id. A member without a record that finds a peer with one does not take part: its data was
//! lost, and a vote of its former self may be lost with it. So a wiped disk never makes a second
//! cluster, however many are wiped. A coordinator that is no initial member never forms a cluster:
//! it joins one ([`admission`]).

mod admission;
mod introduction;

use std::{sync::Arc, time::Duration};

use quorate_core::{ClusterId, MemberId};
use quorate_proto::v1;
use quorate_storage::{NodeIdentity, Storage};

pub(crate) use admission::Entrance;
pub(crate) use introduction::{Introduction, members_hash};

use crate::{
    config::Member,
    transport::{Lane, Peer, PeerError, Transport},
};

/// How long to wait before asking the peers again.
const ASK_AGAIN: Duration = Duration::from_millis(200);
/// How often a member that waits says for what.
const SAY_AGAIN: Duration = Duration::from_secs(5);

/// Why a coordinator does not join a cluster.
#[derive(Debug, thiserror::Error)]
pub enum BootstrapError {
    /// Its data was lost or wiped.
    #[error(
        "member {me} has no record of cluster {cluster}, but member {peer} belongs to that cluster \
         and knows this member: its data was lost or wiped. It must not vote under this id again. \
         Run `quorate member rejoin` to bring it back as a new member"
    )]
    Wiped {
        /// This member.
        me: MemberId,
        /// The peer's cluster.
        cluster: ClusterId,
        /// The peer that has a record.
        peer: MemberId,
    },
    /// It joined before, and its data was lost or wiped since.
    #[error(
        "member {me} has an empty data directory, but {message}: its data was lost or wiped. It \
         must not take part under this id again. Run `quorate member rejoin` to bring it back as a \
         new member"
    )]
    Lost {
        /// This member.
        me: MemberId,
        /// What the cluster says.
        message: String,
    },
    /// It was removed from the cluster.
    #[error(
        "member {me} was removed from its cluster and must not take part again: {message}. To use \
         this machine again, run `quorate member rejoin`"
    )]
    Removed {
        /// This member.
        me: MemberId,
        /// What the cluster says.
        message: String,
    },
    /// It means to join another cluster than the one it found.
    #[error("member {me} cannot join the cluster at {at}: {message}")]
    OtherCluster {
        /// This member.
        me: MemberId,
        /// Who was asked.
        at: String,
        /// How they differ.
        message: String,
    },
    /// A peer belongs to another cluster, or was started with other initial members.
    #[error("member {me} cannot form a cluster with member {peer}: {reason}")]
    Mismatch {
        /// This member.
        me: MemberId,
        /// The peer.
        peer: MemberId,
        /// How they differ.
        reason: String,
    },
    /// The data directory belongs to somebody else.
    #[error("the data directory belongs to {found}, the configuration says {wanted}")]
    Foreign {
        /// What was recorded.
        found: String,
        /// What is configured.
        wanted: String,
    },
    /// The record could not be written.
    #[error("cannot record the cluster id: {0}")]
    Record(#[from] std::io::Error),
}

/// What bootstrap found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Joined {
    /// The durable record.
    pub(crate) identity: NodeIdentity,
    /// Whether this member is the one to initialise the cluster now.
    pub(crate) initialise: bool,
    /// Whether it has yet to ask to become a member.
    pub(crate) enter: bool,
}

/// Forms or joins the cluster. Waits for peers as long as it takes.
pub(crate) async fn join(
    introduction: &Introduction,
    storage: &Storage,
    transport: &Arc<dyn Transport>,
    entrance: &Entrance,
) -> Result<Joined, BootstrapError> {
    if let Some(message) = storage.removal() {
        return Err(BootstrapError::Removed { me: introduction.me(), message });
    }
    if !introduction.entrances().is_empty() {
        let identity = match storage.identity() {
            Some(identity) => introduction.check(identity)?,
            None => entrance.record().await?,
        };
        return Ok(Joined { identity, initialise: false, enter: !storage.has_data() });
    }
    let peers = Peers::new(introduction, transport);
    let identity = match storage.identity() {
        Some(identity) => introduction.check(identity)?,
        None if introduction.proposes() => {
            peers.wait_until_all_are_new().await?;
            introduction.record_own()?
        }
        None => peers.wait_for_proposal().await?,
    };
    if storage.has_data() || identity.initialized || !introduction.proposes() {
        return Ok(Joined { identity, initialise: false, enter: false });
    }
    peers.prepare_all(&identity).await?;
    Ok(Joined { identity, initialise: true, enter: false })
}

/// The other initial members.
struct Peers<'a> {
    introduction: &'a Introduction,
    handles: Vec<(MemberId, Arc<dyn Peer>)>,
}

impl<'a> Peers<'a> {
    fn new(introduction: &'a Introduction, transport: &Arc<dyn Transport>) -> Self {
        let me = introduction.me();
        let handle =
            |member: &Member| (member.id, transport.peer(member.id, &member.peer, Lane::Control));
        let others = introduction.members().iter().filter(|member| member.id != me);
        Self { introduction, handles: others.map(handle).collect() }
    }

    /// Asks everybody once who they are. Fails when one of them rules this member out.
    async fn ask(&self) -> Result<Vec<(MemberId, Result<(), PeerError>)>, BootstrapError> {
        let request = |id: &MemberId| v1::IdentifyRequest {
            from: self.introduction.me().get(),
            to: id.get(),
            cluster_id: 0,
        };
        let asked = self
            .handles
            .iter()
            .map(|(id, peer)| async move { (*id, peer.identify(request(id)).await) });
        let mut answers = Vec::new();
        for (id, answer) in futures::future::join_all(asked).await {
            let answer = match answer {
                Ok(answer) => {
                    self.judge(id, &answer)?;
                    Ok(())
                }
                Err(error) => Err(error),
            };
            answers.push((id, answer));
        }
        Ok(answers)
    }

    fn judge(&self, peer: MemberId, answer: &v1::IdentifyResponse) -> Result<(), BootstrapError> {
        let me = self.introduction.me();
        if answer.removed_sender {
            let message = format!("member {peer} says so");
            return Err(BootstrapError::Removed { me, message });
        }
        self.introduction
            .compare(&answer.cluster_name, answer.members_hash)
            .map_err(|reason| BootstrapError::Mismatch { me, peer, reason })?;
        // Whoever proposes records before it asks others to: a peer's record then means that
        // this member's own was lost. For the others a record alone may still be under way.
        let ruled_out = answer.initialized || self.introduction.proposes();
        if answer.cluster_id != 0 && ruled_out {
            return Err(BootstrapError::Wiped { me, cluster: ClusterId(answer.cluster_id), peer });
        }
        Ok(())
    }

    async fn wait_until_all_are_new(&self) -> Result<(), BootstrapError> {
        let mut said = Said::default();
        loop {
            let answers = self.ask().await?;
            let silent: Vec<_> = answers.iter().filter(|(_, answer)| answer.is_err()).collect();
            if silent.is_empty() {
                return Ok(());
            }
            said.waiting(self.introduction.me(), &silent);
            tokio::time::sleep(ASK_AGAIN).await;
        }
    }

    async fn wait_for_proposal(&self) -> Result<NodeIdentity, BootstrapError> {
        let mut recorded = self.introduction.recorded();
        let mut said = Said::default();
        loop {
            let answers = self.ask().await?;
            let silent: Vec<_> = answers.iter().filter(|(_, answer)| answer.is_err()).collect();
            said.waiting(self.introduction.me(), &silent);
            let proposal = recorded.wait_for(Option::is_some);
            if let Ok(Ok(identity)) = tokio::time::timeout(ASK_AGAIN, proposal).await
                && let Some(identity) = identity.clone()
            {
                return Ok(identity);
            }
        }
    }

    async fn prepare_all(&self, identity: &NodeIdentity) -> Result<(), BootstrapError> {
        let me = self.introduction.me();
        for (peer, handle) in &self.handles {
            let peer = *peer;
            let mut said = Said::default();
            loop {
                let request = v1::PrepareRequest {
                    from: me.get(),
                    to: peer.get(),
                    cluster_id: identity.cluster_id.get(),
                    cluster_name: identity.cluster_name.clone(),
                    members_hash: identity.members_hash,
                };
                match handle.prepare(request).await {
                    Ok(answer) if answer.recorded => break,
                    Ok(answer) => {
                        let reason = answer.message;
                        return Err(BootstrapError::Mismatch { me, peer, reason });
                    }
                    Err(error) => said.waiting(me, &[&(peer, Err(error))]),
                }
                tokio::time::sleep(ASK_AGAIN).await;
            }
        }
        Ok(())
    }
}

/// Says now and then what is waited for.
#[derive(Default)]
struct Said(Option<tokio::time::Instant>);

impl Said {
    fn waiting(&mut self, me: MemberId, silent: &[&(MemberId, Result<(), PeerError>)]) {
        if self.0.is_some_and(|at| at.elapsed() < SAY_AGAIN) {
            return;
        }
        self.0 = Some(tokio::time::Instant::now());
        for (peer, answer) in silent {
            if let Err(error) = answer {
                tracing::info!(member = %me, %peer, %error, "waiting for a peer to form the cluster");
            }
        }
    }
}
