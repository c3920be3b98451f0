//! Makes a new disk that of a member whose cluster begins with a given state.
//!
//! What it holds afterwards is what a member of a running cluster would hold that has applied one
//! entry, made a checkpoint of it and purged its log:
//!
//! ```text
//! log purged up to entry 1 of term 1 | vote: the first member leads term 1 | identity
//! | checkpoint of entry 1: the state, and the membership
//! ```
//!
//! All members are given the same, so any of them can be elected, in term 2 at the earliest.
//! Invariant: a disk that was left half way is refused when it is started, because what comes first
//! is that the log was purged: a checkpoint must be there. Must not know where the state comes from.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    sync::Arc,
};

use openraft::storage::RaftLogStorage;
use quorate_core::{MemberId, State};

use crate::{
    checkpoint::Frozen,
    disk::Disk,
    error::{CheckpointError, OpenError},
    identity::NodeIdentity,
    raft_types::{LogId, MemberAddress, Membership, StoredMembership, Vote},
    storage::{Executor, Options, Started, Storage},
};

/// The entry that the checkpoint stands for.
const TERM: u64 = 1;
const INDEX: u64 = 1;

/// Why a disk was not filled.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// There is something on it.
    #[error("the data directory belongs to a member already")]
    Taken,
    /// The members make no membership.
    #[error("the members make no membership: {0}")]
    Members(String),
    /// It cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The checkpoint cannot be written.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The disk failed.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Fills a new disk: the member with this identity, in a cluster of these voters, at this state,
/// which has the identity's cluster. Durable when it returns. Within a tokio runtime.
///
/// # Errors
/// [`RestoreError`]. What was written until then is refused by [`Storage::open`] or
/// [`Storage::start`].
pub async fn restore(
    disk: Arc<dyn Disk>,
    options: Options,
    executor: Executor,
    identity: &NodeIdentity,
    voters: &BTreeMap<MemberId, MemberAddress>,
    state: State,
) -> Result<(), RestoreError> {
    let membership = membership(voters)?;
    let storage = Storage::open(disk, options, executor)?;
    let filled = fill(&storage, identity, membership, state).await;
    storage.close().await;
    filled
}

async fn fill(
    storage: &Storage,
    identity: &NodeIdentity,
    membership: StoredMembership,
    state: State,
) -> Result<(), RestoreError> {
    if storage.identity().is_some() || storage.has_data() {
        return Err(RestoreError::Taken);
    }
    if state.identity() != identity.cluster() {
        let (is, wanted) = (state.identity().cluster_id, identity.cluster_id);
        let message = format!("the state is of cluster {is}, the member of cluster {wanted}");
        return Err(OpenError::WrongIdentity(message).into());
    }
    let Started { mut log, checkpoints, .. } = storage.start(identity.cluster())?;
    let last = LogId::new_term_index(TERM, INDEX);
    let first = membership.voter_ids().min().unwrap_or_default();
    // The vote's barrier covers the purge.
    log.purge(last).await?;
    log.save_vote(&Vote::new_committed(TERM, first)).await?;
    storage.record_identity(identity)?;
    checkpoints.build(Frozen { state, last: Some(last), membership, base: None }).await?;
    Ok(())
}

fn membership(
    voters: &BTreeMap<MemberId, MemberAddress>,
) -> Result<StoredMembership, RestoreError> {
    let ids: BTreeSet<u64> = voters.keys().map(|id| id.get()).collect();
    let nodes: BTreeMap<u64, MemberAddress> =
        voters.iter().map(|(id, address)| (id.get(), address.clone())).collect();
    if ids.is_empty() {
        return Err(RestoreError::Members("there is none".into()));
    }
    let membership = Membership::new(vec![ids], nodes)
        .map_err(|error| RestoreError::Members(error.to_string()))?;
    Ok(StoredMembership::new(Some(LogId::new_term_index(TERM, INDEX)), membership))
}
