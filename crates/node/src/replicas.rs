//! What the states of all members were, for who compares them.
//!
//! Each member keeps what its state was after the same log entries, so that those that are never seen
//! at one entry have some in common. A member that does not answer in time is left out.

use std::{collections::BTreeMap, fmt, sync::Arc, time::Duration};

use parking_lot::Mutex;
use quorate_core::{LogIndex, MemberId, Revision, StateHash};
use quorate_proto::v1;
use quorate_storage::Mark;
use tokio::time::timeout;

use crate::{
    coordinator::Coordinator,
    members::{MemberInfo, Standing},
    transport::Peer,
};

/// Handles to members, by id and address.
type Peers = BTreeMap<(MemberId, String), Arc<dyn Peer>>;

/// Asks the members. A clone shares the connections; the default asks nobody.
#[derive(Clone, Default)]
pub(crate) struct Replicas {
    coordinator: Option<Coordinator>,
    peers: Arc<Mutex<Peers>>,
}

impl Replicas {
    /// Asks the members of this coordinator's cluster.
    pub(crate) fn of(coordinator: &Coordinator) -> Self {
        Self { coordinator: Some(coordinator.clone()), peers: Arc::default() }
    }

    /// What all of these members that take part say of their states within this time, this coordinator
    /// among them.
    pub(crate) async fn marks(
        &self,
        members: &[MemberInfo],
        patience: Duration,
    ) -> BTreeMap<MemberId, Vec<Mark>> {
        let Some(coordinator) = &self.coordinator else { return BTreeMap::new() };
        let me = coordinator.member_id();
        let takes_part = |it: &&MemberInfo| {
            it.id != me && matches!(it.standing, Standing::Voter | Standing::Learner)
        };
        let others = members.iter().filter(takes_part);
        let peers: Vec<_> = {
            let mut known = self.peers.lock();
            let mut peers = std::mem::take(&mut *known);
            for member in others {
                let key = (member.id, member.peer.clone());
                let made = || coordinator.peer(member.id, &member.peer);
                let peer = peers.remove(&key).unwrap_or_else(made);
                known.insert(key, peer);
            }
            known.iter().map(|((id, _), peer)| (*id, Arc::clone(peer))).collect()
        };
        let asked = peers.into_iter().map(|(id, peer)| async move {
            let cluster_id = coordinator.cluster_id().get();
            let request = v1::IdentifyRequest { from: me.get(), to: id.get(), cluster_id };
            let answer = timeout(patience, peer.identify(request)).await.ok()?.ok()?;
            let ours = answer.cluster_id == cluster_id;
            ours.then(|| (id, answer.marks.into_iter().map(mark).collect()))
        });
        let answers = futures::future::join_all(asked).await;
        let mut marks: BTreeMap<MemberId, Vec<Mark>> = answers.into_iter().flatten().collect();
        marks.insert(me, coordinator.marks());
        marks
    }
}

fn mark(mark: v1::StateMark) -> Mark {
    Mark {
        index: LogIndex(mark.log_index),
        revision: Revision(mark.revision),
        hash: StateHash(mark.state_hash),
    }
}

impl fmt::Debug for Replicas {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Replicas").finish_non_exhaustive()
    }
}
