//! Applies committed entries to the state and publishes what comes of it.

use std::io;

use futures::Stream;
use openraft::{
    OptionalSend,
    storage::{EntryResponder, RaftStateMachine},
};

use crate::{
    checkpoint::{Checkpoint, CheckpointBuilder},
    raft_types::{LogId, Snapshot, SnapshotMeta, StoredMembership, TypeConfig},
};

/// The replicated state, for openraft.
pub struct StateMachine {}

impl RaftStateMachine<TypeConfig> for StateMachine {
    type SnapshotData = Checkpoint;
    type SnapshotBuilder = CheckpointBuilder;

    async fn applied_state(&mut self) -> Result<(Option<LogId>, StoredMembership), io::Error> {
        unimplemented!()
    }

    async fn apply<Strm>(&mut self, _entries: Strm) -> Result<(), io::Error>
    where
        Strm: Stream<Item = Result<EntryResponder<TypeConfig>, io::Error>> + Unpin + OptionalSend,
    {
        unimplemented!()
    }

    async fn get_snapshot_builder(&mut self) -> CheckpointBuilder {
        unimplemented!()
    }

    async fn install_snapshot(
        &mut self,
        _meta: &SnapshotMeta,
        _snapshot: Checkpoint,
    ) -> Result<(), io::Error> {
        unimplemented!()
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<Snapshot>, io::Error> {
        unimplemented!()
    }
}
