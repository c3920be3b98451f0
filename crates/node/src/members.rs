//! Who the coordinators are, as callers see it: what can be asked for, and what there is.
//!
//! Two things know of members. Raft's membership says who votes and who learns. The records of
//! kind `member` keep the ids that were ever added or removed at run time, so that none is used
//! again. A member that was added is in the records alone until it has contacted the cluster.

use std::collections::BTreeSet;

use bytes::Bytes;
use quorate_core::{Key, KeyRange, Kind, MemberId, MemberState, Record, State};
use quorate_storage::{Membership, View};

/// What to do with the members.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MemberChange {
    /// Note that a coordinator joins; it becomes a learner when it is started.
    Add {
        /// Its id, never used before. None: the one after the highest that ever was.
        id: Option<MemberId>,
        /// Where its peers will reach it, host:port.
        peer: String,
        /// Where clients will reach it, host:port.
        client: String,
    },
    /// Make a learner that has caught up a voter.
    Promote {
        /// The learner.
        id: MemberId,
    },
    /// Take a member out for good.
    Remove {
        /// The member.
        id: MemberId,
        /// Also when the voters in contact that remain are no majority.
        force: bool,
    },
}

/// What a member is in the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Votes.
    Voter,
    /// Follows without a vote.
    Learner,
    /// Was added and has not contacted the cluster yet.
    Joining,
    /// Was removed for good.
    Removed,
}

/// A member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberInfo {
    /// Its id.
    pub id: MemberId,
    /// Where its peers reach it, host:port.
    pub peer: String,
    /// Where clients reach it, host:port.
    pub client: String,
    /// What it is.
    pub standing: Standing,
}

/// All members, by id, without those that were removed.
#[must_use]
pub fn list(view: &View) -> Vec<MemberInfo> {
    let there = |member: &MemberInfo| member.standing != Standing::Removed;
    all(view.membership.membership(), &view.state).into_iter().filter(there).collect()
}

/// What a member is; None: the id was never used.
pub(crate) fn standing(view: &View, id: MemberId) -> Option<Standing> {
    find(view.membership.membership(), &view.state, id).map(|member| member.standing)
}

/// Every id that was ever used, in order.
pub(crate) fn all(membership: &Membership, state: &State) -> Vec<MemberInfo> {
    let in_raft = membership.nodes().map(|(id, _)| MemberId(*id));
    let range = KeyRange::Prefix(Kind::Member, Bytes::new());
    let noted = state.range(&range).filter_map(|(key, _)| id_of(key));
    let ids: BTreeSet<MemberId> = in_raft.chain(noted).collect();
    ids.into_iter().filter_map(|id| find(membership, state, id)).collect()
}

/// One member; None: the id was never used.
pub(crate) fn find(membership: &Membership, state: &State, id: MemberId) -> Option<MemberInfo> {
    if let Some(node) = membership.get_node(&id.get()) {
        let votes = membership.voter_ids().any(|voter| voter == id.get());
        let standing = if votes { Standing::Voter } else { Standing::Learner };
        let (peer, client) = (node.peer.clone(), node.client.clone());
        return Some(MemberInfo { id, peer, client, standing });
    }
    let Record::Member(noted) = &state.get(&Key::member(id))?.value else { return None };
    let standing = match noted.state {
        MemberState::Active => Standing::Joining,
        MemberState::Removed => Standing::Removed,
    };
    let (peer, client) = (noted.peer.clone(), noted.client.clone());
    Some(MemberInfo { id, peer, client, standing })
}

fn id_of(key: &Key) -> Option<MemberId> {
    std::str::from_utf8(&key.bytes).ok()?.parse().ok().map(MemberId)
}
