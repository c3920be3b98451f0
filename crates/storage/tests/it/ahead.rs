//! A crash between installing a checkpoint and purging the log: the checkpoint is ahead of the log,
//! and the log's tail may be of a later term. What is opened then goes on after the checkpoint.

use std::sync::Arc;

use openraft::{
    StorageHelper,
    storage::{RaftLogStorage, RaftStateMachine},
};
use quorate_storage::{Executor, MemoryDisk, OpenError, Snapshot, Vote};

use crate::support::{Store, id, small};

/// The checkpoint's last entry.
const COVERED: (u64, u64) = (3, 20);

/// A checkpoint of entries 1..=20, all of term 3. Its store is kept: it holds the blocks.
async fn checkpoint() -> (Store, Snapshot) {
    let mut leader = Store::open(Arc::new(MemoryDisk::new())).unwrap();
    leader.append(COVERED.0, 1..COVERED.1 + 1).await;
    leader.apply(1..COVERED.1 + 1).await;
    let snapshot = leader.checkpoint().await;
    (leader, snapshot)
}

fn open(disk: &MemoryDisk) -> Result<Store, OpenError> {
    Store::open_with(Arc::new(disk.clone()), small(), Executor::Tasks)
}

/// A member that holds entries of these terms, installs the checkpoint, and crashes before it purges.
async fn crashed(terms: &[u64], snapshot: &Snapshot) -> MemoryDisk {
    let disk = MemoryDisk::new();
    let mut store = open(&disk).unwrap();
    for (index, &term) in (1..).zip(terms) {
        store.append(term, index..index + 1).await;
    }
    store.log.save_vote(&Vote::new_committed(6, 1)).await.unwrap();
    store.machine.install_snapshot(&snapshot.meta, snapshot.snapshot.clone()).await.unwrap();
    disk.crash(terms.len() as u64);
    disk
}

/// Checks that a store goes on after the checkpoint, as openraft sees it too.
async fn goes_on(mut store: Store, disk: &MemoryDisk) {
    let covered = id(COVERED.0, COVERED.1);
    let state = store.log.get_log_state().await.unwrap();
    assert_eq!((state.last_purged_log_id, state.last_log_id), (Some(covered), Some(covered)));
    assert_eq!(store.published.load().index.0, COVERED.1);
    let mut helper = StorageHelper::new(&mut store.log, &mut store.machine).with_id(1);
    helper.get_initial_state().await.unwrap();
    store.expect(&[]).await;
    store.append(6, 21..25).await;
    store.storage.close().await;
    let mut store = open(disk).unwrap();
    store.expect(&[(6, 21), (6, 22), (6, 23), (6, 24)]).await;
    assert_eq!(store.vote().await, Some(Vote::new_committed(6, 1)));
    store.storage.close().await;
}

#[tokio::test]
async fn a_log_that_ends_before_the_checkpoint_begins_anew_after_it() {
    let (_leader, snapshot) = checkpoint().await;
    let logs: [&[u64]; 5] = [&[], &[1], &[3, 3, 3], &[3, 3, 5], &[5; 19]];
    for terms in logs {
        let disk = crashed(terms, &snapshot).await;
        goes_on(open(&disk).unwrap(), &disk).await;
    }
}

/// The power fails again at every write of that open.
#[tokio::test]
async fn it_may_crash_again_while_it_begins_anew() {
    let (_leader, snapshot) = checkpoint().await;
    let mut failed = 0;
    for writes in 0.. {
        let disk = crashed(&[3, 3, 4, 5, 5, 5], &snapshot).await;
        disk.fail_after(writes);
        let opened = open(&disk);
        let done = opened.is_ok();
        drop(opened);
        disk.crash(writes);
        goes_on(open(&disk).unwrap(), &disk).await;
        if done {
            break;
        }
        failed += 1;
    }
    assert!(failed > 3, "only {failed} writes");
}

/// A log that reaches the checkpoint stays: what is after it was acknowledged.
#[tokio::test]
async fn a_log_that_reaches_the_checkpoint_stays() {
    let (_leader, snapshot) = checkpoint().await;
    for more in [0, 7] {
        let disk = crashed(&[3; 20][..], &snapshot).await;
        let mut store = open(&disk).unwrap();
        if more > 0 {
            store.append(5, 21..21 + more).await;
        }
        store.storage.close().await;
        let mut store = open(&disk).unwrap();
        let kept = (1..21).map(|index| (3, index));
        let kept: Vec<_> = kept.chain((21..21 + more).map(|index| (5, index))).collect();
        store.expect(&kept).await;
        assert_eq!(store.log.get_log_state().await.unwrap().last_purged_log_id, None);
        store.storage.close().await;
    }
}

/// openraft removes what differs before it installs. A log that differs all the same was damaged.
#[tokio::test]
async fn a_log_that_differs_from_the_checkpoint_is_refused() {
    let (_leader, snapshot) = checkpoint().await;
    for terms in [[4; 20].to_vec(), [4; 30].to_vec()] {
        let disk = crashed(&terms, &snapshot).await;
        let Err(OpenError::Damaged(why)) = open(&disk) else { panic!("opened") };
        assert!(why.contains("entry 20 of term 4") && why.contains("entry 20 of term 3"), "{why}");
    }
}
