//! What a store holds after it was closed and opened again, and how it refuses.

use std::{sync::Arc, time::Duration};

use openraft::storage::{IOFlushed, RaftLogReader, RaftLogStorage, RaftStateMachine};
use quorate_core::{ClusterId, Identity, MemberId, RestoreEpoch};
use quorate_storage::{
    Executor, MemoryDisk, NodeIdentity, OpenError, Options, Proposal, SledDisk, SledOptions,
    Storage, Vote,
};

use crate::support::{IDENTITY, Store, entry, id, sled_disk, small};

pub(crate) fn identity() -> NodeIdentity {
    NodeIdentity {
        member_id: MemberId(3),
        cluster_id: IDENTITY.cluster_id,
        restore_epoch: IDENTITY.restore_epoch,
        cluster_name: "a".into(),
        members_hash: 99,
        initialized: false,
    }
}

fn entries(terms: &[(u64, std::ops::Range<u64>)]) -> Vec<(u64, u64)> {
    terms.iter().flat_map(|(term, range)| range.clone().map(|index| (*term, index))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_comes_back() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = Store::open(sled_disk(dir.path())).unwrap();
    assert!(!store.storage.has_data());
    store.append(1, 1..40).await;
    store.log.save_vote(&Vote::new(2, 9)).await.unwrap();
    store.append(2, 40..45).await;
    store.log.save_committed(Some(id(1, 30))).await.unwrap();
    store.expect(&entries(&[(1, 1..40), (2, 40..45)])).await;
    store.storage.close().await;

    let mut store = Store::open(sled_disk(dir.path())).unwrap();
    assert!(store.storage.has_data());
    store.expect(&entries(&[(1, 1..40), (2, 40..45)])).await;
    assert_eq!(store.vote().await, Some(Vote::new(2, 9)));
    assert_eq!(store.log.read_committed().await.unwrap(), Some(id(1, 30)));
    store.append(2, 45..50).await;
    store.expect(&entries(&[(1, 1..40), (2, 40..50)])).await;
}

/// sled writes a snapshot of its own at each open; on a full disk, or when the process is killed,
/// it stays unfinished.
#[tokio::test(flavor = "multi_thread")]
async fn what_sled_did_not_finish_writing_is_no_damage() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = Store::open(sled_disk(dir.path())).unwrap();
    store.append(1, 1..40).await;
    store.storage.close().await;
    for (database, content) in [("log", &b""[..]), ("state", &b"begun, but no more"[..])] {
        let unfinished = dir.path().join(database).join("snap.FFFFFFFFFFFFFFF0.generating");
        std::fs::write(&unfinished, content).unwrap();
    }
    let mut store = Store::open(sled_disk(dir.path())).unwrap();
    store.expect(&entries(&[(1, 1..40)])).await;
    store.append(1, 40..50).await;
    store.storage.close().await;
    let mut store = Store::open(sled_disk(dir.path())).unwrap();
    store.expect(&entries(&[(1, 1..50)])).await;
}

/// Truncation and purge at every position of a log of several blocks, before and after reopening.
#[test]
fn truncation_and_purge_cut_anywhere() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    for cut in 1..=30 {
        let disk = Arc::new(MemoryDisk::new());
        runtime.block_on(async {
            let open = || Store::open_with(disk.clone(), small(), Executor::Tasks).unwrap();
            let mut store = open();
            for first in (1..31).step_by(6) {
                store.append(1, first..first + 6).await;
            }
            store.log.truncate_after((cut > 1).then(|| id(1, cut - 1))).await.unwrap();
            store.expect(&entries(&[(1, 1..cut)])).await;
            store.append(2, cut..cut + 10).await;
            let all = entries(&[(1, 1..cut), (2, cut..cut + 10)]);
            store.expect(&all).await;
            store.storage.close().await;
            let mut store = open();
            store.expect(&all).await;

            store.apply(1..cut + 10).await;
            store.checkpoint().await;
            let term = if cut > 5 { 1 } else { 2 };
            let upto = cut.min(5).max(cut.saturating_sub(3));
            store.log.purge(id(term, upto)).await.unwrap();
            store.append(2, cut + 10..cut + 11).await;
            let rest = entries(&[(1, 1..cut), (2, cut..cut + 11)])[upto as usize..].to_vec();
            store.expect(&rest).await;
            store.storage.close().await;
            let mut store = open();
            store.expect(&rest).await;
            assert_eq!(
                store.log.get_log_state().await.unwrap().last_purged_log_id,
                Some(id(term, upto))
            );
            store.storage.close().await;
        });
    }
}

/// Entries that are no longer in memory are read from disk, in payloads of bounded size.
#[tokio::test(flavor = "multi_thread")]
async fn old_entries_are_read_from_disk_in_bounded_payloads() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = Store::open(sled_disk(dir.path())).unwrap();
    for first in (1..400).step_by(25) {
        store.append(1, first..first + 25).await;
    }
    store.expect(&entries(&[(1, 1..401)])).await;
    let metrics = store.storage.metrics();
    let relaxed = std::sync::atomic::Ordering::Relaxed;
    assert!(metrics.tail_misses.load(relaxed) > 0, "nothing was read from disk");
    assert!(metrics.tail_bytes.load(relaxed) <= 4 << 10, "the tail is not bounded");
    assert_eq!(metrics.entries.load(relaxed), 400);

    let mut reader = store.log.get_log_reader().await;
    let mut next = 1;
    while next < 401 {
        let some = reader.limited_get_log_entries(next, 401).await.unwrap();
        let bytes: usize = some.iter().map(|e| format!("{e:?}").len().max(20)).sum();
        assert!(!some.is_empty() && (some.len() == 1 || bytes < 64 << 10));
        assert!(some.len() < 200, "{} entries in one payload", some.len());
        for found in some {
            assert_eq!(found, entry(1, next));
            next += 1;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_identity_is_recorded() {
    let dir = tempfile::tempdir().unwrap();
    let open = || Storage::open(sled_disk(dir.path()), Options::default(), Executor::Threads);
    let storage = open().unwrap();
    assert_eq!(storage.identity(), None);
    storage.record_identity(&identity()).unwrap();
    storage.close().await;
    let storage = open().unwrap();
    assert_eq!(storage.identity(), Some(identity()));
    let initialized = NodeIdentity { initialized: true, ..identity() };
    storage.record_identity(&initialized).unwrap();
    storage.close().await;
    assert_eq!(open().unwrap().identity(), Some(initialized));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_process_is_told_of_the_lock() {
    let dir = tempfile::tempdir().unwrap();
    let _first = Store::open(sled_disk(dir.path())).unwrap();
    let options = SledOptions { lock_wait: Duration::from_millis(120), ..SledOptions::default() };
    let second = SledDisk::new(dir.path(), options).unwrap();
    let second = Storage::open(Arc::new(second), Options::default(), Executor::Threads);
    assert!(matches!(second, Err(OpenError::Locked { .. })));
}

/// What is there is read when the lock is held, not before.
#[tokio::test(flavor = "multi_thread")]
async fn who_waits_for_the_lock_sees_all_that_was_written_meanwhile() {
    let dir = tempfile::tempdir().unwrap();
    let mut first = Store::open(sled_disk(dir.path())).unwrap();
    first.append(1, 1..5).await;
    let disk = sled_disk(dir.path());
    let opening = std::thread::spawn(move || Store::open(disk));
    // However far the other one is, one of these comes after it looked, if it looks too early.
    for term in 2..300 {
        first.log.save_vote(&Vote::new(term, 1)).await.unwrap();
    }
    first.storage.close().await;
    drop(first);
    let mut second = opening.join().unwrap().unwrap();
    assert_eq!(second.vote().await, Some(Vote::new(299, 1)));
    second.log.save_vote(&Vote::new(300, 3)).await.unwrap();
    second.storage.close().await;
    drop(second);
    let mut third = Store::open(sled_disk(dir.path())).unwrap();
    assert_eq!(third.vote().await, Some(Vote::new(300, 3)));
    third.expect(&[(1, 1), (1, 2), (1, 3), (1, 4)]).await;
}

/// How far the log is committed is saved at close, though not with every barrier.
#[tokio::test]
async fn the_commit_position_is_saved_at_close() {
    let disk = MemoryDisk::new();
    let mut store = Store::open(Arc::new(disk.clone())).unwrap();
    store.append(1, 1..10).await;
    store.log.save_committed(Some(id(1, 9))).await.unwrap();
    store.append(1, 10..12).await;
    store.storage.close().await;
    let mut store = Store::open(Arc::new(disk)).unwrap();
    assert_eq!(store.log.read_committed().await.unwrap(), Some(id(1, 9)));
}

#[tokio::test(flavor = "multi_thread")]
async fn another_cluster_is_refused() {
    let disk = Arc::new(MemoryDisk::new());
    let mut store = Store::open(disk.clone()).unwrap();
    store.append(1, 1..5).await;
    store.apply(1..5).await;
    store.checkpoint().await;
    store.storage.close().await;
    let storage = Storage::open(disk, small(), Executor::Threads).unwrap();
    let other = Identity { cluster_id: ClusterId(8), restore_epoch: RestoreEpoch(0) };
    assert!(matches!(storage.start(other), Err(OpenError::WrongIdentity(_))));
}

/// A failed barrier: the writer gets the error, the node is told, nothing is accepted any more.
#[tokio::test(flavor = "multi_thread")]
async fn a_failed_barrier_is_final() {
    let disk = MemoryDisk::new();
    let mut store = Store::open(Arc::new(disk.clone())).unwrap();
    let mut fatal = store.storage.fatal();
    store.append(1, 1..5).await;
    assert_eq!(*fatal.borrow(), None);
    disk.fail_after(1);
    let flushed = store.submit(vec![entry(1, 5)]).await.unwrap();
    assert!(flushed.await.is_err());
    fatal.wait_for(Option::is_some).await.unwrap();
    assert!(store.submit(vec![entry(1, 6)]).await.is_err());
    assert!(store.log.save_vote(&Vote::new(9, 9)).await.is_err());
    store.storage.close().await;
}

/// A replica that cannot decode an entry must stop, or it would differ from the others.
#[tokio::test(flavor = "multi_thread")]
async fn an_undecodable_entry_is_fatal() {
    let mut store = Store::open(Arc::new(MemoryDisk::new())).unwrap();
    let mut bad = entry(1, 1);
    bad.payload = openraft::EntryPayload::Normal(Proposal::from_bytes(vec![1, 255].into()));
    let applied = store.machine.apply(futures::stream::iter([Ok((bad, None))])).await;
    assert!(applied.is_err());
    assert!(store.storage.fatal().borrow().is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gap_in_the_log_is_refused() {
    let mut store = Store::open(Arc::new(MemoryDisk::new())).unwrap();
    store.append(1, 1..5).await;
    assert!(store.log.append([entry(1, 7)], IOFlushed::noop()).await.is_err());
    store.append(1, 5..6).await;
    store.expect(&entries(&[(1, 1..6)])).await;
}
