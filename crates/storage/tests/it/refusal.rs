//! What is refused: a journal that is not the one written last here, a log without its beginning.
//! And that a refused open changes nothing.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use openraft::storage::RaftLogStorage;
use quorate_core::MemberId;
use quorate_storage::{
    Disk, Executor, MemberAddress, MemoryDisk, OpenError, RestoreError, Vote,
    disk::{Batch, Slot},
    restore,
};

use crate::{
    model::work,
    reopen::identity,
    support::{Draw, IDENTITY, Store, small},
};

fn open(disk: &MemoryDisk) -> Result<Store, OpenError> {
    Store::open_with(Arc::new(disk.clone()), small(), Executor::Tasks)
}

/// Opens what must be refused as damaged.
fn refused(disk: &MemoryDisk) -> String {
    let before = Everything::of(disk);
    let why = match open(disk) {
        Err(OpenError::Damaged(why)) => why,
        Err(error) => panic!("not recognised as damage: {error}"),
        Ok(_) => panic!("opened"),
    };
    assert!(Everything::of(disk) == before, "refused and changed: {why}");
    why
}

type Contents = Vec<(Bytes, Bytes)>;

/// All that a disk holds.
#[derive(PartialEq)]
struct Everything {
    databases: Vec<Contents>,
    slots: [Option<Bytes>; 2],
    journal: Option<Bytes>,
    identity: Option<Bytes>,
}

impl Everything {
    fn of(disk: &MemoryDisk) -> Self {
        let mut databases = Vec::new();
        for name in ["log", "state"] {
            if !disk.exists(name).unwrap() {
                databases.push(Vec::new());
                continue;
            }
            let database = disk.open(name).unwrap();
            databases.push(database.scan(&[0], &[255], usize::MAX).unwrap());
        }
        Self {
            databases,
            slots: [Slot::A, Slot::B].map(|slot| disk.read_slot(slot).unwrap()),
            journal: disk.read_journal().unwrap(),
            identity: disk.read_file("identity").unwrap(),
        }
    }
}

/// A store that was killed with some frames in its journal.
async fn killed(seed: u64, votes: u64) -> MemoryDisk {
    let disk = MemoryDisk::new();
    let mut store = open(&disk).unwrap();
    for term in 1..=votes {
        store.log.save_vote(&Vote::new(term, 1)).await.unwrap();
    }
    drop(store);
    disk.crash(seed);
    disk
}

#[tokio::test]
async fn the_journal_of_another_member_is_refused() {
    for (votes, others) in [(9, 9), (9, 3), (3, 9), (0, 9), (9, 0)] {
        let (disk, other) = (killed(1, votes).await, killed(2, others).await);
        disk.write_journal(0, &other.read_journal().unwrap().unwrap()).unwrap();
        let why = refused(&disk);
        assert!(why.contains("another data directory"), "{why}");
    }
}

/// A journal of this member, as it was before the last settlement.
#[tokio::test]
async fn an_older_journal_is_refused() {
    for votes in [0, 1, 7] {
        let disk = killed(1, 5).await;
        let older = disk.read_journal().unwrap().unwrap();
        for _ in 0..2 {
            let mut store = open(&disk).unwrap();
            for term in 10..10 + votes {
                store.log.save_vote(&Vote::new(term, 1)).await.unwrap();
            }
            store.log.save_vote(&Vote::new(30, 1)).await.unwrap();
            store.storage.close().await;
        }
        disk.write_journal(0, &older).unwrap();
        let why = refused(&disk);
        assert!(why.contains("older than the durability record"), "{why}");
    }
}

/// In the very first lap too, where the file was never overwritten.
#[tokio::test]
async fn a_journal_of_zeros_is_refused() {
    let disk = killed(1, 5).await;
    let size = disk.read_journal().unwrap().unwrap().len();
    disk.write_journal(0, &vec![0; size]).unwrap();
    refused(&disk);
    for page in 0..5 {
        let disk = killed(1, 5).await;
        disk.write_journal(page * 4096, &[0; 4096]).unwrap();
        refused(&disk);
    }
}

/// The keys of the log blocks.
fn blocks(disk: &MemoryDisk) -> Vec<Bytes> {
    let log = disk.open("log").unwrap();
    let found = log.scan(b"b", b"c", usize::MAX).unwrap();
    found.into_iter().map(|(key, _)| key).collect()
}

fn delete(disk: &MemoryDisk, key: &Bytes) {
    let log = disk.open("log").unwrap();
    let mut batch = Batch::default();
    batch.delete(key.to_vec());
    log.apply(batch).unwrap();
    log.sync().unwrap();
}

/// The database lost the beginning of a log that was never settled; the journal knows where it was.
#[tokio::test]
async fn a_log_without_its_beginning_is_refused() {
    let disk = MemoryDisk::new();
    let mut store = open(&disk).unwrap();
    store.append(1, 1..5).await;
    store.append(1, 5..9).await;
    store.append(1, 9..12).await;
    let kept = blocks(&disk);
    assert!(kept.len() > 2);
    drop(store);
    disk.open("log").unwrap().sync().unwrap();
    disk.crash(1);
    delete(&disk, &kept[0]);
    let why = refused(&disk);
    assert!(why.contains("log entries from 1 on are missing"), "{why}");
}

/// The same before the first frame was written: the chain tells that something came before.
#[tokio::test]
async fn a_log_without_its_beginning_and_without_a_frame_is_refused() {
    let mut seen = 0;
    for writes in 2..6 {
        let disk = MemoryDisk::new();
        let mut store = open(&disk).unwrap();
        disk.fail_after(writes);
        let entries = (1..200).map(|index| crate::support::entry(1, index)).collect();
        store.submit(entries).await.unwrap().await.unwrap_err();
        drop(store);
        // The draw decides how many of the batches are kept.
        disk.crash(writes);
        let kept = blocks(&disk);
        if kept.len() > 1 {
            delete(&disk, &kept[0]);
            refused(&disk);
            seen += 1;
        }
    }
    assert!(seen > 0, "no crash left two blocks");
}

/// A restore that was left half way is refused when it is started, as often as it is tried.
#[tokio::test]
async fn half_a_restore_is_refused_and_left_alone() {
    let address = MemberAddress { peer: "p:1".into(), client: "c:1".into() };
    let voters = BTreeMap::from([(MemberId(3), address)]);
    let mut seen = 0;
    for writes in 0.. {
        let disk = MemoryDisk::new();
        disk.fail_after(writes);
        let state = quorate_core::State::new(IDENTITY);
        let target = Arc::new(disk.clone());
        let filled = restore(target, small(), Executor::Tasks, &identity(), &voters, state).await;
        disk.crash(writes);
        match filled {
            Ok(()) => break,
            Err(RestoreError::Taken | RestoreError::Members(_)) => panic!("not of the disk"),
            Err(_) => {}
        }
        let before = Everything::of(&disk);
        let Err(error) = open(&disk) else { continue };
        assert!(matches!(error, OpenError::Damaged(_)), "{error}");
        assert!(Everything::of(&disk) == before, "refused and changed: {error}");
        seen += 1;
    }
    assert!(seen > 1, "{seen}");
}

/// Damages something of a disk.
fn damage(disk: &MemoryDisk, draw: &mut Draw) {
    let bit = u8::try_from(draw.below(8)).unwrap();
    let at = |draw: &mut Draw, bytes| usize::try_from(draw.below(bytes)).unwrap();
    match draw.below(7) {
        0 => disk.flip_slot(Slot::A),
        1 => disk.flip_slot(Slot::B),
        2 => drop(disk.flip_journal(at(draw, 20_000), bit)),
        3 => drop(disk.flip("log", at(draw, 50_000), bit)),
        4 => drop(disk.flip("state", at(draw, 50_000), bit)),
        5 => disk.write_journal(at(draw, 8) * 4096, &[0; 4096]).unwrap(),
        _ => {
            let keys = blocks(disk);
            if !keys.is_empty() {
                delete(disk, &keys[at(draw, keys.len() as u64)]);
            }
        }
    }
}

/// Whatever is damaged after whatever crash: what is refused is left as it was.
#[test]
fn a_refused_open_leaves_the_disk_as_it_was() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let mut refused = 0;
    for seed in 0..150 {
        let mut draw = Draw(seed);
        let disk = MemoryDisk::new();
        for _ in 0..3 {
            runtime.block_on(async {
                disk.fail_after(40 + draw.below(160));
                if let Ok(mut store) = open(&disk) {
                    let _ = work(&mut store, &mut draw, 200, &mut |_| ()).await;
                }
            });
            disk.crash(draw.below(u64::MAX));
        }
        // Half a checkpoint that a crash left behind.
        let state = disk.open("state").unwrap();
        let mut batch = Batch::default();
        batch.put(*b"b\0\0\0\0\0\x10\0\0\0\0", vec![9, 0, 0, 0, 1]);
        state.apply(batch).unwrap();
        damage(&disk, &mut draw);
        let before = Everything::of(&disk);
        let opened = runtime.block_on(async { open(&disk).err() });
        if let Some(error) = opened {
            assert!(matches!(error, OpenError::Damaged(_)), "seed {seed}: {error}");
            assert!(Everything::of(&disk) == before, "seed {seed}: refused and changed: {error}");
            refused += 1;
        }
    }
    println!("{refused} of 150 refused");
    assert!(refused > 30, "{refused} of 150");
}
