//! Who leads, and whether all agree.

use std::{collections::BTreeSet, time::Duration};

use quorate_node::{
    Coordinator,
    coordinator::{Freshness, Role},
    core::{MemberId, Term},
};
use tokio::time::{Instant, sleep};

use super::error::TestClusterError;
use crate::cluster::{Agreed, NotConverged, agreed};

/// How often the members are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// How long a leader may take to hear from a majority before it is looked at again.
const CONFIRM_MAX: Duration = Duration::from_millis(500);

/// The members at a moment.
pub(super) struct Electorate {
    /// All of them.
    pub(super) members: Vec<MemberId>,
    /// Those that stand still.
    pub(super) paused: BTreeSet<MemberId>,
    /// Those that run and are not paused.
    pub(super) standing: Vec<Coordinator>,
}

impl Electorate {
    pub(super) async fn leader(self, within: Duration) -> Result<MemberId, TestClusterError> {
        let give_up = Instant::now() + within;
        loop {
            if let Some((leader, term)) = self.elected() {
                // One that was cut off just now leads in its own eyes, and in those of members that
                // have not noticed. What it cannot do is to confirm a read.
                let deadline = give_up.min(Instant::now() + CONFIRM_MAX);
                let confirmed = leader.read(Freshness::Linearizable, deadline).await.is_ok();
                if confirmed && self.follow(leader, term) {
                    return Ok(leader.member_id());
                }
            }
            if Instant::now() >= give_up {
                return Err(TestClusterError::NoLeader { within, members: self.describe() });
            }
            sleep(LOOK_EVERY).await;
        }
    }

    pub(super) async fn converge(self, within: Duration) -> Result<Agreed, TestClusterError> {
        let give_up = Instant::now() + within;
        loop {
            let members = match agreed(self.standing.iter()) {
                Ok(agreed) => return Ok(agreed),
                Err(members) => members,
            };
            if Instant::now() >= give_up {
                return Err(NotConverged { within, members }.into());
            }
            sleep(LOOK_EVERY).await;
        }
    }

    /// The leader of the highest term, when a majority follows it.
    fn elected(&self) -> Option<(&Coordinator, Term)> {
        let terms = self.standing.iter().map(|it| (it, it.status()));
        let leaders = terms.filter(|(_, status)| status.role == Role::Leader);
        let newest = leaders.map(|(it, status)| (it, status.term)).max_by_key(|(_, term)| *term);
        newest.filter(|(leader, term)| self.follow(leader, *term))
    }

    fn follow(&self, leader: &Coordinator, term: Term) -> bool {
        let follows = |it: &&Coordinator| {
            let status = it.status();
            status.term == term && status.leader == Some(leader.member_id())
        };
        self.standing.iter().filter(follows).count() * 2 > self.members.len()
    }

    fn describe(&self) -> String {
        let describe = |id: &MemberId| {
            if let Some(it) = self.standing.iter().find(|it| it.member_id() == *id) {
                let status = it.status();
                let leader = status.leader.map_or("nobody".to_owned(), |id| format!("member {id}"));
                let (role, term) = (status.role, status.term);
                format!("member {id} is {role:?} in term {term} and takes {leader} for the leader")
            } else if self.paused.contains(id) {
                format!("member {id} is paused")
            } else {
                format!("member {id} does not run")
            }
        };
        self.members.iter().map(describe).collect::<Vec<_>>().join("; ")
    }
}
