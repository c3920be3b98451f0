//! Raft log, vote, checkpoints and durability of a coordinator, on sled.

pub mod raft_types;
pub mod view;

pub use raft_types::{
    Entry, LogId, MemberAddress, Membership, Outcomes, Proposal, StoredMembership, TypeConfig, Vote,
};
pub use view::{Published, View};
