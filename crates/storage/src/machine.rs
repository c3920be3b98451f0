//! Applies committed entries to the state and publishes what comes of it.
//!
//! Invariants: entries are applied in order, once; a view is published before any reply of its
//! entries is sent, so that whoever has a reply finds its write. An entry that cannot be decoded is
//! fatal: this replica would differ from the others. Must not know what a command means.

use std::{
    io,
    sync::{Arc, atomic::Ordering},
    time::Instant,
};

use futures::{Stream, StreamExt};
use openraft::{
    EntryPayload, OptionalSend,
    storage::{ApplyResponder, EntryResponder, RaftStateMachine},
};
use quorate_core::{Batch, LogIndex, Outcome, Stamp, State, Term, apply_request};

use crate::{
    checkpoint::{Checkpoint, CheckpointBuilder, Checkpoints},
    error::Fatal,
    log::Shared,
    metrics::Metrics,
    raft_types::{Entry, LogId, Outcomes, Snapshot, SnapshotMeta, StoredMembership, TypeConfig},
    view::{Published, View},
};

/// Entries applied before a view is published, at most.
const ENTRIES_PER_VIEW: usize = 256;

/// The replicated state, for openraft.
pub struct StateMachine {
    state: State,
    last: Option<LogId>,
    membership: StoredMembership,
    installs: u64,
    published: Arc<Published>,
    checkpoints: Checkpoints,
    log: Arc<Shared>,
    metrics: Arc<Metrics>,
}

/// A reply that waits for its view.
type Waiting = (ApplyResponder<TypeConfig>, Outcomes);

impl StateMachine {
    pub(crate) fn new(
        state: State,
        meta: SnapshotMeta,
        checkpoints: Checkpoints,
        log: Arc<Shared>,
        metrics: Arc<Metrics>,
    ) -> Self {
        let (last, membership) = (meta.last_log_id, meta.last_membership);
        let published = Arc::new(Published::new(view(&state, last, &membership, 0)));
        Self { state, last, membership, installs: 0, published, checkpoints, log, metrics }
    }

    /// Where the newest view is found.
    #[must_use]
    pub fn published(&self) -> &Arc<Published> {
        &self.published
    }

    /// Sends and receives checkpoints.
    #[must_use]
    pub fn checkpoints(&self) -> &Checkpoints {
        &self.checkpoints
    }

    fn apply_entry(&mut self, entry: Entry) -> io::Result<Outcomes> {
        let index = LogIndex(entry.log_id.index());
        let term = Term(entry.log_id.committed_leader_id().term);
        let outcomes = match entry.payload {
            EntryPayload::Blank => Vec::new(),
            EntryPayload::Membership(membership) => {
                self.membership = StoredMembership::new(Some(entry.log_id), membership);
                Vec::new()
            }
            EntryPayload::Normal(proposal) => match proposal.decode() {
                Ok(batch) => self.apply_batch(term, &batch),
                Err(error) => {
                    let fatal =
                        Fatal(format!("storage failed: entry {index} of term {term}: {error}"));
                    self.log.fail(&fatal);
                    return Err(fatal.into());
                }
            },
        };
        self.last = Some(entry.log_id);
        self.published.mark(index, &self.state);
        Ok(Outcomes { term, index, outcomes })
    }

    fn apply_batch(&mut self, term: Term, batch: &Batch) -> Vec<Outcome> {
        let at = Stamp { time_ms: batch.time_ms, term };
        self.metrics.commands.fetch_add(batch.requests.len() as u64, Ordering::Relaxed);
        let requests = batch.requests.iter();
        requests.map(|request| apply_request(&mut self.state, at, request).outcome).collect()
    }

    /// Publishes a view, then answers.
    fn publish(&mut self, waiting: &mut Vec<Waiting>) {
        self.published.publish(view(&self.state, self.last, &self.membership, self.installs));
        for (responder, outcomes) in waiting.drain(..) {
            responder.send(outcomes);
        }
    }
}

fn view(state: &State, last: Option<LogId>, membership: &StoredMembership, installs: u64) -> View {
    View {
        state: state.clone(),
        index: LogIndex(last.map_or(0, |last| last.index())),
        term: Term(last.map_or(0, |last| last.committed_leader_id().term)),
        membership: membership.clone(),
        installs,
    }
}

impl RaftStateMachine<TypeConfig> for StateMachine {
    type SnapshotData = Checkpoint;
    type SnapshotBuilder = CheckpointBuilder;

    async fn applied_state(&mut self) -> Result<(Option<LogId>, StoredMembership), io::Error> {
        Ok((self.last, self.membership.clone()))
    }

    async fn apply<Strm>(&mut self, mut entries: Strm) -> Result<(), io::Error>
    where
        Strm: Stream<Item = Result<EntryResponder<TypeConfig>, io::Error>> + Unpin + OptionalSend,
    {
        let began = Instant::now();
        let mut waiting = Vec::new();
        let mut unpublished = 0;
        while let Some(next) = entries.next().await {
            let (entry, responder) = next?;
            let outcomes = self.apply_entry(entry)?;
            waiting.extend(responder.map(|responder| (responder, outcomes)));
            unpublished += 1;
            if unpublished == ENTRIES_PER_VIEW {
                self.publish(&mut waiting);
                unpublished = 0;
            }
        }
        self.publish(&mut waiting);
        self.metrics.apply.observe(began.elapsed());
        Ok(())
    }

    async fn get_snapshot_builder(&mut self) -> CheckpointBuilder {
        let (state, membership) = (self.state.clone(), self.membership.clone());
        CheckpointBuilder::new(self.checkpoints.clone(), state, self.last, membership)
    }

    async fn install_snapshot(
        &mut self,
        meta: &SnapshotMeta,
        snapshot: Checkpoint,
    ) -> Result<(), io::Error> {
        if snapshot.meta() != *meta {
            let message = format!("the checkpoint {} is not the one that was announced", meta);
            return Err(io::Error::new(io::ErrorKind::InvalidData, message));
        }
        let identity = snapshot.summary().identity;
        if identity != self.state.identity() {
            let cluster = identity.cluster_id;
            let message = format!("the checkpoint is of another cluster: {cluster}");
            return Err(io::Error::new(io::ErrorKind::InvalidData, message));
        }
        let installed = self.checkpoints.install(snapshot).await;
        self.state = installed.inspect_err(|error| {
            self.log.fail_unless_closing("installing a checkpoint", error);
        })?;
        self.last = meta.last_log_id;
        self.membership = meta.last_membership.clone();
        self.installs += 1;
        self.published.forget_marks();
        self.metrics.installs.fetch_add(1, Ordering::Relaxed);
        self.publish(&mut Vec::new());
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<Snapshot>, io::Error> {
        Ok(self.checkpoints.current()?.map(Checkpoint::into_snapshot))
    }
}
