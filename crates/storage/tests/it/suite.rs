//! openraft's own storage suite, on sled and on the disk in memory.

use std::sync::Arc;

use openraft::{
    StorageError,
    testing::log::{StoreBuilder, Suite},
};
use quorate_core::{ClusterId, Identity, RestoreEpoch};
use quorate_storage::{
    Disk, Executor, LogStore, MemoryDisk, Options, SledDisk, SledOptions, StateMachine, Storage,
    TypeConfig,
};
use tempfile::TempDir;

struct OnSled;
struct InMemory;

fn start(disk: Arc<dyn Disk>) -> (Storage, LogStore, StateMachine) {
    let executor = Executor::Threads;
    let storage = Storage::open(disk, Options::default(), executor).unwrap();
    let identity = Identity { cluster_id: ClusterId(1), restore_epoch: RestoreEpoch(0) };
    let started = storage.start(identity).unwrap();
    (storage, started.log, started.machine)
}

impl StoreBuilder<TypeConfig, LogStore, StateMachine, (Storage, TempDir)> for OnSled {
    async fn build(
        &self,
    ) -> Result<((Storage, TempDir), LogStore, StateMachine), StorageError<TypeConfig>> {
        let dir = tempfile::tempdir().unwrap();
        let disk = SledDisk::new(dir.path(), SledOptions::default()).unwrap();
        let (storage, log, machine) = start(Arc::new(disk));
        Ok(((storage, dir), log, machine))
    }
}

impl StoreBuilder<TypeConfig, LogStore, StateMachine, Storage> for InMemory {
    async fn build(&self) -> Result<(Storage, LogStore, StateMachine), StorageError<TypeConfig>> {
        Ok(start(Arc::new(MemoryDisk::new())))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn openrafts_suite_on_sled() {
    Suite::test_all(OnSled).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn openrafts_suite_in_memory() {
    Suite::test_all(InMemory).await.unwrap();
}
