//! The Raft log and the vote.

use std::{fmt::Debug, io, ops::RangeBounds};

use openraft::{
    OptionalSend,
    storage::{IOFlushed, LogState, RaftLogReader, RaftLogStorage},
};

use crate::raft_types::{Entry, LogId, TypeConfig, Vote};

/// The Raft log and the vote, for openraft.
pub struct LogStore {}

/// Reads the log. A clone is another reader of the same log.
#[derive(Clone)]
pub struct LogReader {}

impl RaftLogReader<TypeConfig> for LogReader {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        _range: RB,
    ) -> Result<Vec<Entry>, io::Error> {
        unimplemented!()
    }

    async fn read_vote(&mut self) -> Result<Option<Vote>, io::Error> {
        unimplemented!()
    }
}

impl RaftLogStorage<TypeConfig> for LogStore {
    type LogReader = LogReader;

    async fn get_log_state(&mut self) -> Result<LogState<TypeConfig>, io::Error> {
        unimplemented!()
    }

    async fn get_log_reader(&mut self) -> LogReader {
        unimplemented!()
    }

    async fn save_vote(&mut self, _vote: &Vote) -> Result<(), io::Error> {
        unimplemented!()
    }

    async fn append<I>(
        &mut self,
        _entries: I,
        _callback: IOFlushed<TypeConfig>,
    ) -> Result<(), io::Error>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        unimplemented!()
    }

    async fn truncate_after(&mut self, _last: Option<LogId>) -> Result<(), io::Error> {
        unimplemented!()
    }

    async fn purge(&mut self, _upto: LogId) -> Result<(), io::Error> {
        unimplemented!()
    }
}
