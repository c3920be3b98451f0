//! What the tests share: a store, and entries whose content follows from their position.

use std::{future::Future, io, ops::Range, path::Path, pin::Pin, sync::Arc, time::Duration};

use bytes::Bytes;
use openraft::{
    EntryPayload,
    storage::{IOFlushed, RaftLogReader, RaftLogStorage, RaftStateMachine},
    type_config::TypeConfigExt,
};
use quorate_core::{
    Batch, ClusterId, Command, Identity, Key, Operation, Record, RestoreEpoch, Transaction,
};
use quorate_storage::{
    Checkpoints, Disk, Entry, Executor, LogId, LogStore, OpenError, Options, Proposal, Published,
    SimulatedBarrier, SledDisk, SledOptions, Snapshot, StateMachine, Storage, TypeConfig, Vote,
};

pub(crate) const IDENTITY: Identity =
    Identity { cluster_id: ClusterId(7), restore_epoch: RestoreEpoch(0) };

/// Small sizes, so that few entries reach every path.
pub(crate) fn small() -> Options {
    Options {
        tail_bytes_max: 4 << 10,
        payload_bytes_max: 2 << 10,
        checkpoint_block_bytes: 1 << 10,
        journal_bytes: Options::default().journal_bytes,
        simulated_barrier: SimulatedBarrier::default(),
    }
}

pub(crate) fn sled_disk(dir: &Path) -> Arc<dyn Disk> {
    let options = SledOptions { cache_bytes: 8 << 20, lock_wait: Duration::from_secs(10) };
    Arc::new(SledDisk::new(dir, options).unwrap())
}

pub(crate) fn id(term: u64, index: u64) -> LogId {
    LogId::new_term_index(term, index)
}

/// The value that entry `index` of `term` writes: its length and content follow from both.
pub(crate) fn value(term: u64, index: u64) -> Vec<u8> {
    let length = match index % 50 {
        0 => 3000,
        // Larger than a value of the database may be.
        7 if index % 20 == 7 => 150_000,
        n => n * 7,
    };
    let mut bytes =
        vec![u8::try_from((index * 7 + term) % 251).unwrap(); usize::try_from(length).unwrap()];
    let head = format!("{term}.{index}");
    let length = bytes.len().min(head.len());
    bytes[..length].copy_from_slice(&head.as_bytes()[..length]);
    bytes
}

/// A batch of one command that writes `bytes` under a key of its own.
pub(crate) fn put(key: impl Into<Bytes>, bytes: Vec<u8>) -> Proposal {
    let put = Operation::Put {
        key: Key::entry(key),
        record: Record::Entry(bytes.into()),
        return_previous: false,
    };
    let transaction = Transaction { success: vec![put], ..Transaction::default() };
    Proposal::new(&Batch {
        time_ms: 1_000,
        requests: vec![Command::Transaction(transaction).into()],
    })
}

pub(crate) fn entry(term: u64, index: u64) -> Entry {
    let payload = put(format!("key-{:05}", index % 997), value(term, index));
    Entry { log_id: id(term, index), payload: EntryPayload::Normal(payload) }
}

/// Tells when what was submitted is durable.
pub(crate) type Flushed = Pin<Box<dyn Future<Output = io::Result<()>> + Send>>;

/// An open store.
pub(crate) struct Store {
    pub(crate) storage: Storage,
    pub(crate) log: LogStore,
    pub(crate) machine: StateMachine,
    pub(crate) published: Arc<Published>,
    pub(crate) checkpoints: Checkpoints,
    /// Bytes of its journal, when it was new.
    pub(crate) journal_bytes: usize,
}

impl Store {
    pub(crate) fn open(disk: Arc<dyn Disk>) -> Result<Self, OpenError> {
        Self::open_with(disk, small(), Executor::Threads)
    }

    pub(crate) fn open_with(
        disk: Arc<dyn Disk>,
        options: Options,
        executor: Executor,
    ) -> Result<Self, OpenError> {
        let journal_bytes = options.journal_bytes;
        let storage = Storage::open(disk, options, executor)?;
        let started = storage.start(IDENTITY)?;
        Ok(Self {
            journal_bytes,
            storage,
            log: started.log,
            machine: started.machine,
            published: started.published,
            checkpoints: started.checkpoints,
        })
    }

    /// Submits entries; the future tells when they are durable.
    pub(crate) async fn submit(&mut self, entries: Vec<Entry>) -> io::Result<Flushed> {
        let (done, flushed) = TypeConfig::oneshot();
        self.log.append(entries, IOFlushed::signal(done)).await?;
        Ok(Box::pin(async move { flushed.await.map_err(|_| io::Error::other("dropped"))? }))
    }

    /// Appends entries and waits until they are durable.
    pub(crate) async fn append(&mut self, term: u64, indices: Range<u64>) {
        let entries = indices.map(|index| entry(term, index)).collect();
        self.submit(entries).await.unwrap().await.unwrap();
    }

    /// Applies entries of the log.
    pub(crate) async fn apply(&mut self, indices: Range<u64>) {
        let entries = self.read(indices).await;
        self.apply_entries(entries).await;
    }

    pub(crate) async fn apply_entries(&mut self, entries: Vec<Entry>) {
        let entries = entries.into_iter().map(|entry| Ok((entry, None)));
        self.machine.apply(futures::stream::iter(entries)).await.unwrap();
    }

    /// Reads entries of the log.
    pub(crate) async fn read(&mut self, indices: Range<u64>) -> Vec<Entry> {
        self.log.get_log_reader().await.try_get_log_entries(indices).await.unwrap()
    }

    /// Builds a checkpoint of what was applied.
    pub(crate) async fn checkpoint(&mut self) -> Snapshot {
        use openraft::storage::RaftSnapshotBuilder;
        self.machine.get_snapshot_builder().await.build_snapshot().await.unwrap()
    }

    pub(crate) async fn vote(&mut self) -> Option<Vote> {
        self.log.get_log_reader().await.read_vote().await.unwrap()
    }

    /// Checks that the log holds exactly these entries, with their content.
    pub(crate) async fn expect(&mut self, expected: &[(u64, u64)]) {
        let found = self.read(0..u64::MAX).await;
        let positions: Vec<(u64, u64)> = found
            .iter()
            .map(|entry| (entry.log_id.committed_leader_id().term, entry.log_id.index()))
            .collect();
        assert_eq!(positions, expected);
        for found in found {
            let (term, index) = (found.log_id.committed_leader_id().term, found.log_id.index());
            assert_eq!(found, entry(term, index));
        }
    }
}

/// A small generator (splitmix64), so that a failure can be repeated from its seed.
pub(crate) struct Draw(pub(crate) u64);

impl Draw {
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound
    }
}
