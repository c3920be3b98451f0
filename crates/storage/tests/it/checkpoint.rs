//! Checkpoints: incremental ones equal full ones, transfers are pinned, damage is refused.

use std::sync::Arc;

use bytes::Bytes;
use openraft::storage::{RaftLogStorage, RaftSnapshotBuilder, RaftStateMachine};
use quorate_core::State;
use quorate_storage::{Checkpoint, CheckpointError, Disk, Executor, MemoryDisk, Options, Snapshot};

use crate::support::{Draw, Store, entry, id, put, sled_disk, small};

fn memory() -> (MemoryDisk, Store) {
    let disk = MemoryDisk::new();
    let store = Store::open(Arc::new(disk.clone())).unwrap();
    (disk, store)
}

async fn blocks(checkpoint: &Checkpoint) -> Vec<Bytes> {
    let mut blocks = Vec::new();
    for number in 0..checkpoint.blocks() {
        blocks.push(checkpoint.block(number).await.unwrap());
    }
    blocks
}

/// Sends a checkpoint to another store and installs it there.
async fn transfer(snapshot: &Snapshot, to: &mut Store) -> Result<(), CheckpointError> {
    let mut writer = to.checkpoints.receive();
    for block in blocks(&snapshot.snapshot).await {
        writer.push(block).await?;
    }
    let received = writer.finish().await?;
    assert_eq!(received.meta, snapshot.meta);
    to.machine.install_snapshot(&received.meta, received.snapshot).await.map_err(Into::into)
}

fn same(a: &State, b: &State) {
    assert_eq!(a.summary(), b.summary());
    assert!(a.records().eq(b.records()));
    assert!(a.history().from(a.history().oldest()).eq(b.history().from(b.history().oldest())));
}

/// A sync that failed may have lost what was written before, and the next one succeeds all the same:
/// the peer tries again, so the coordinator must stop.
#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_fails_while_a_checkpoint_comes_is_fatal() {
    let (_, mut leader) = memory();
    leader.append(1, 1..40).await;
    leader.apply(1..40).await;
    let snapshot = leader.checkpoint().await;
    // Each block is a write, then come the manifest and its barrier.
    let writes = snapshot.snapshot.blocks() as u64 + 1;
    assert!(writes > 2, "{writes} writes");
    for failing in 0..writes {
        let (disk, follower) = memory();
        let mut writer = follower.checkpoints.receive();
        disk.fail_after(failing);
        let mut received = Ok(());
        for block in blocks(&snapshot.snapshot).await {
            received = writer.push(block).await;
            if received.is_err() {
                break;
            }
        }
        let received = match received {
            Ok(()) => writer.finish().await.map(drop),
            Err(error) => Err(error),
        };
        assert!(matches!(received, Err(CheckpointError::Io(_))), "{failing}: {received:?}");
        let fatal = follower.storage.fatal().borrow().clone();
        let fatal =
            fatal.unwrap_or_else(|| panic!("after {failing} writes it goes on")).to_string();
        assert!(fatal.contains("receiving a checkpoint"), "{fatal}");
    }
}

/// How many values the state database holds.
fn values(disk: &MemoryDisk) -> usize {
    disk.open("state").unwrap().scan(b"a", b"z", usize::MAX).unwrap().len()
}

#[tokio::test(flavor = "multi_thread")]
async fn incremental_checkpoints_equal_full_ones() {
    let (disk, mut store) = memory();
    let mut draw = Draw(11);
    let mut next = 1;
    for round in 0..25 {
        let count = 1 + draw.below(if round % 5 == 0 { 200 } else { 12 });
        store.append(1, next..next + count).await;
        store.apply(next..next + count).await;
        next += count;
        let snapshot = store.checkpoint().await;
        assert_eq!(snapshot.meta.last_log_id, Some(id(1, next - 1)));
        let (_, mut full) = memory();
        transfer(&snapshot, &mut full).await.unwrap();
        same(&full.published.load().state, &store.published.load().state);
        assert_eq!(full.published.load().installs, 1);
        assert_eq!(full.published.load().index.0, next - 1);
    }
    let metrics = store.storage.metrics();
    let relaxed = std::sync::atomic::Ordering::Relaxed;
    let (written, whole) = (
        metrics.checkpoint_bytes_written.load(relaxed),
        metrics.checkpoint_bytes.load(relaxed) * 25,
    );
    println!("{written} bytes written for 25 checkpoints, {whole} if all were full");
    assert!(written < whole / 2, "{written} of {whole} bytes were written");
    let sizes = blocks(&store.checkpoint().await.snapshot).await;
    let small_blocks = sizes[1..].iter().filter(|block| block.len() < 256).count();
    assert!(small_blocks <= sizes.len() / 4, "{small_blocks} of {} are small", sizes.len());

    let hash = store.published.load().state.hash();
    store.storage.close().await;
    let store = Store::open(Arc::new(disk)).unwrap();
    assert_eq!(store.published.load().state.hash(), hash);
    assert_eq!(store.published.load().installs, 0);
}

/// One changed record costs a few blocks, wherever it is and however the sizes fall.
#[tokio::test(flavor = "multi_thread")]
async fn a_small_change_writes_few_blocks() {
    let (_, mut store) = memory();
    let bytes = |n: u64| vec![1; usize::try_from(100 + n % 150).unwrap()];
    let put = |index: u64, key: u64, bytes: Vec<u8>| quorate_storage::Entry {
        log_id: id(1, index),
        payload: openraft::EntryPayload::Normal(put(format!("key-{key:05}"), bytes)),
    };
    let all = (1..1000).map(|index| put(index, index, bytes(index))).collect();
    store.apply_entries(all).await;
    store.checkpoint().await;
    let metrics = store.storage.metrics();
    let written = || metrics.checkpoint_bytes_written.load(std::sync::atomic::Ordering::Relaxed);
    for index in 1000..1100 {
        let before = written();
        let key = index * 7 % 1000;
        store.apply_entries(vec![put(index, key, bytes(index * 31))]).await;
        store.checkpoint().await;
        // Target 1 KiB: the block, its rest with the next one, the last block of events.
        assert!(written() - before < 6 << 10, "{} bytes for one record", written() - before);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn old_generations_go_unless_they_are_held() {
    let (disk, mut store) = memory();
    store.append(1, 1..100).await;
    store.apply(1..100).await;
    let held = store.checkpoint().await;
    let before = blocks(&held.snapshot).await;
    let mut most = 0;
    for first in (100..400).step_by(30) {
        store.append(1, first..first + 30).await;
        store.apply(first..first + 30).await;
        store.checkpoint().await;
        most = most.max(values(&disk));
    }
    // The transfer goes on as if nothing had happened.
    assert_eq!(blocks(&held.snapshot).await, before);
    let (_, mut follower) = memory();
    transfer(&held, &mut follower).await.unwrap();
    assert_eq!(follower.published.load().index.0, 99);

    let with_held = values(&disk);
    drop(held);
    store.append(1, 400..401).await;
    store.apply(400..401).await;
    store.checkpoint().await;
    assert!(values(&disk) < with_held, "nothing was removed");
    // Everything in the database belongs to the current checkpoint: an open finds nothing to remove.
    let there = values(&disk);
    store.storage.close().await;
    drop(store);
    let _store = Store::open(Arc::new(disk.clone())).unwrap();
    assert_eq!(values(&disk), there);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transfer_that_ends_early_leaves_nothing() {
    let (_, mut leader) = memory();
    leader.append(1, 1..100).await;
    leader.apply(1..100).await;
    let snapshot = leader.checkpoint().await;
    let (disk, mut follower) = memory();
    let mut writer = follower.checkpoints.receive();
    for number in 0..3 {
        writer.push(snapshot.snapshot.block(number).await.unwrap()).await.unwrap();
    }
    assert!(values(&disk) > 0);
    drop(writer);
    let mut writer = follower.checkpoints.receive();
    writer.push(snapshot.snapshot.block(0).await.unwrap()).await.unwrap();
    assert!(matches!(writer.finish().await, Err(CheckpointError::Damaged(_))));
    follower.append(1, 1..2).await;
    follower.apply(1..2).await;
    follower.checkpoint().await;
    let there = values(&disk);
    follower.storage.close().await;
    drop(follower);
    let _follower = Store::open(Arc::new(disk.clone())).unwrap();
    assert_eq!(values(&disk), there);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_transfer_is_refused() {
    let (_, mut leader) = memory();
    leader.append(1, 1..60).await;
    leader.apply(1..60).await;
    let snapshot = leader.checkpoint().await;
    let whole = blocks(&snapshot.snapshot).await;
    let (_, follower) = memory();
    for number in 0..whole.len() {
        let mut bytes = whole[number].to_vec();
        let at = bytes.len() / 2;
        bytes[at] ^= 1;
        let mut writer = follower.checkpoints.receive();
        for block in &whole[..number] {
            writer.push(block.clone()).await.unwrap();
        }
        let pushed = writer.push(bytes.into()).await;
        assert!(matches!(pushed, Err(CheckpointError::Damaged(_))), "block {number}");
    }
    // Whole blocks in the wrong order, and too many.
    let mut writer = follower.checkpoints.receive();
    writer.push(whole[0].clone()).await.unwrap();
    assert!(writer.push(whole[2].clone()).await.is_err());
    writer.push(whole[1].clone()).await.unwrap();
    for block in &whole[2..] {
        writer.push(block.clone()).await.unwrap();
    }
    assert!(writer.push(whole[1].clone()).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_build_never_replaces_a_newer_install() {
    let (_, mut leader) = memory();
    leader.append(1, 1..100).await;
    leader.apply(1..100).await;
    let newer = leader.checkpoint().await;

    let (disk, mut follower) = memory();
    follower.append(1, 1..40).await;
    follower.apply(1..40).await;
    let mut older = follower.machine.get_snapshot_builder().await;
    transfer(&newer, &mut follower).await.unwrap();
    let built = older.build_snapshot().await.unwrap();
    assert_eq!(built.meta.last_log_id, Some(id(1, 99)), "the current one is returned");
    let current = follower.machine.get_current_snapshot().await.unwrap().unwrap();
    assert_eq!(current.meta.last_log_id, Some(id(1, 99)));
    follower.log.purge(id(1, 99)).await.unwrap();
    follower.append(1, 100..101).await;
    follower.storage.close().await;
    drop((older, built, current, follower));
    let mut follower = Store::open(Arc::new(disk)).unwrap();
    assert_eq!(follower.published.load().index.0, 99);
    follower.expect(&[(1, 100)]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_checkpoint_of_another_cluster_is_not_installed() {
    let storage =
        quorate_storage::Storage::open(Arc::new(MemoryDisk::new()), small(), Executor::Threads)
            .unwrap();
    let other = quorate_core::Identity {
        cluster_id: quorate_core::ClusterId(1234),
        restore_epoch: quorate_core::RestoreEpoch(0),
    };
    let mut started = storage.start(other).unwrap();
    let applied = futures::stream::iter([Ok((entry(1, 1), None))]);
    started.machine.apply(applied).await.unwrap();
    let mut builder = started.machine.get_snapshot_builder().await;
    let foreign = builder.build_snapshot().await.unwrap();
    let (_, mut store) = memory();
    let installed = store.machine.install_snapshot(&foreign.meta, foreign.snapshot).await;
    assert!(installed.unwrap_err().to_string().contains("another cluster"));
    assert_eq!(store.published.load().installs, 0);
}

/// Large values and many of them, on sled: no value may become a file of its own.
#[tokio::test(flavor = "multi_thread")]
async fn large_records_stay_within_sleds_file() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options::default();
    let open = || Store::open_with(sled_disk(dir.path()), options.clone(), Executor::Threads);
    let mut store = open().unwrap();
    for index in 1..80 {
        let payload = put(format!("large-{:03}", index % 30), vec![7; 200_000]);
        let payload = openraft::EntryPayload::Normal(payload);
        let entries = vec![quorate_storage::Entry { log_id: id(1, index), payload }];
        store.submit(entries).await.unwrap().await.unwrap();
        if index % 20 == 0 {
            let from = index - 19;
            store.apply(from..index + 1).await;
            store.checkpoint().await;
            store.log.purge(id(1, index - 5)).await.unwrap();
        }
    }
    store.append(1, 80..81).await;
    store.apply(61..81).await;
    let hash = store.published.load().state.hash();
    store.storage.close().await;
    for name in ["log", "state"] {
        let blobs = std::fs::read_dir(dir.path().join(name).join("blobs")).unwrap().count();
        assert_eq!(blobs, 0, "{name} has blobs");
    }
    let mut store = open().unwrap();
    assert_eq!(store.published.load().index.0, 60);
    store.apply(61..81).await;
    assert_eq!(store.published.load().state.hash(), hash);
    assert_eq!(store.read(0..u64::MAX).await.len(), 25);
}
