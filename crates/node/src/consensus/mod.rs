//! Consensus: openraft, and the ways in and out of it.
//!
//! Owns proposing, forwarding, read indexes, peer messages and the knowledge of who leads.
//! Invariant: nothing outside this folder, `node` and `storage` sees a type of openraft.

pub(crate) mod contact;
mod course;
pub(crate) mod forward;
mod install;
pub(crate) mod membership;
pub(crate) mod network;
pub(crate) mod peer;
pub(crate) mod proposer;
pub(crate) mod reads;
pub(crate) mod removal;
pub(crate) mod transfer;
mod wire;

use quorate_core::{MemberId, Term};
use quorate_storage::{StateMachine, TypeConfig};

/// openraft, with our types.
pub(crate) type Raft = openraft::Raft<TypeConfig, StateMachine>;

/// The term in which this coordinator leads, as far as openraft tells.
pub(crate) fn leading_term(raft: &Raft) -> Option<Term> {
    use openraft::async_runtime::watch::WatchReceiver;

    let metrics = raft.metrics();
    let metrics = metrics.borrow_watched();
    metrics.state.is_leader().then_some(Term(metrics.current_term))
}

/// The leader that openraft knows of, and its peer address.
pub(crate) fn leader_of(raft: &Raft) -> Option<(MemberId, String)> {
    use openraft::async_runtime::watch::WatchReceiver;

    let metrics = raft.server_metrics();
    let metrics = metrics.borrow_watched();
    let leader = metrics.current_leader?;
    let address = metrics.membership_config.membership().get_node(&leader)?;
    Some((MemberId(leader), address.peer.clone()))
}
