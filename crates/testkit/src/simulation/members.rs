//! Who can be called now.
//!
//! Invariant: a member that has crashed or was stopped is not among them from that moment on.

use std::{collections::BTreeMap, sync::Arc};

use parking_lot::Mutex;
use quorate_node::{Coordinator, core::MemberId, watch::WatchServer};
use rand::{rngs::StdRng, seq::IndexedRandom};

/// The members that run. A clone is the same list.
#[derive(Clone, Default)]
pub(super) struct Members(Arc<Mutex<BTreeMap<MemberId, Member>>>);

/// How a member is called.
#[derive(Clone)]
pub(super) struct Member {
    pub(super) coordinator: Coordinator,
    pub(super) watches: WatchServer,
}

impl Members {
    pub(super) fn add(&self, coordinator: Coordinator, watches: WatchServer) {
        self.0.lock().insert(coordinator.member_id(), Member { coordinator, watches });
    }

    pub(super) fn remove(&self, id: MemberId) {
        self.0.lock().remove(&id);
    }

    /// This one. None: it does not run.
    pub(super) fn get(&self, id: MemberId) -> Option<Member> {
        self.0.lock().get(&id).cloned()
    }

    /// Any of them. None: nobody runs.
    pub(super) fn any(&self, random: &mut StdRng) -> Option<Member> {
        let members: Vec<_> = self.0.lock().values().cloned().collect();
        members.choose(random).cloned()
    }
}
