//! Notices that this coordinator was removed from its cluster.
//!
//! Nobody tells it: a leader stops to send as soon as the membership without it is in the log. So
//! a coordinator that is out of contact asks the others, now and then, whether it was removed.
//! They say so only of what is committed, and an id that was removed never comes back.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use openraft::async_runtime::watch::WatchReceiver;
use quorate_core::{ClusterId, MemberId};
use quorate_proto::v1;
use quorate_storage::{Published, View};

use super::{Raft, contact::Contact};
use crate::{
    members::{self, Standing},
    transport::{Lane, Peer, Transport},
};

/// How long to wait before asking again.
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// What is needed to notice it.
pub(crate) struct Removal {
    pub(crate) me: MemberId,
    pub(crate) cluster: ClusterId,
    pub(crate) raft: Raft,
    pub(crate) contact: Contact,
    pub(crate) published: Arc<Published>,
    pub(crate) transport: Arc<dyn Transport>,
    /// How long one of the others has for its answer.
    pub(crate) patience: Duration,
}

impl Removal {
    /// Returns when this coordinator was removed: who says so.
    pub(crate) async fn noticed(self) -> String {
        let mut applied = self.published.subscribe();
        let mut peers: BTreeMap<(MemberId, String), Arc<dyn Peer>> = BTreeMap::new();
        loop {
            let view = self.published.load();
            if members::standing(&view, self.me) == Some(Standing::Removed) {
                return "its own log says so".to_owned();
            }
            if *self.contact.subscribe().borrow() {
                tokio::select! {
                    biased;
                    () = self.contact.lost() => {}
                    changed = applied.changed() => if changed.is_err() { break },
                }
                continue;
            }
            self.know(&view, &mut peers);
            let asked = peers.iter().map(|((id, _), peer)| self.says_so(*id, peer.as_ref()));
            let answers = futures::future::join_all(asked).await;
            if let Some(id) = answers.into_iter().flatten().next() {
                return format!("member {id} says so");
            }
            tokio::time::sleep(ASK_AGAIN).await;
        }
        std::future::pending().await
    }

    /// Whom to ask: the members that this coordinator knows of. After a crash it may have applied
    /// nothing, and who the members are is in its log alone.
    fn know(&self, view: &View, peers: &mut BTreeMap<(MemberId, String), Arc<dyn Peer>>) {
        let logged = self.raft.metrics().borrow_watched().membership_config.clone();
        let logged = logged.nodes().map(|(id, node)| (MemberId(*id), node.peer.clone()));
        let applied = members::list(view).into_iter().map(|member| (member.id, member.peer));
        for (id, address) in applied.chain(logged).filter(|(id, _)| *id != self.me) {
            let make = || self.transport.peer(id, &address, Lane::Control);
            peers.entry((id, address.clone())).or_insert_with(make);
        }
    }

    async fn says_so(&self, id: MemberId, peer: &dyn Peer) -> Option<MemberId> {
        let request = v1::IdentifyRequest {
            from: self.me.get(),
            to: id.get(),
            cluster_id: self.cluster.get(),
        };
        let answer =
            tokio::time::timeout(self.patience, peer.identify(request)).await.ok()?.ok()?;
        let ours = answer.cluster_id == self.cluster.get();
        (ours && answer.removed_sender).then_some(id)
    }
}
