//! Damage: flipped bits and cut-off files. A store that lost something acknowledged must refuse to
//! open and say why; one that opens must have everything.

use std::{fs, path::Path, sync::Arc};

use openraft::storage::{RaftLogStorage, RaftSnapshotBuilder, RaftStateMachine};
use quorate_core::StateHash;
use quorate_storage::{Executor, MemoryDisk, OpenError, Options, Storage, Vote, disk::Slot};

use crate::support::{Draw, IDENTITY, Store, id, sled_disk, small};

/// What a store holds, all of it acknowledged.
struct Content {
    log: Vec<(u64, u64)>,
    hash: StateHash,
}

const TERM: u64 = 5;

/// Fills a store: a checkpoint, a purged log, votes, entries of all sizes.
async fn fill(store: &mut Store) -> Content {
    for first in (1..200).step_by(20) {
        store.append(TERM, first..first + 20).await;
    }
    store.apply(1..121).await;
    let mut builder = store.machine.get_snapshot_builder().await;
    builder.build_snapshot().await.unwrap();
    store.log.purge(id(TERM, 60)).await.unwrap();
    store.log.truncate_after(Some(id(TERM, 190))).await.unwrap();
    store.append(TERM + 1, 191..230).await;
    store.log.save_vote(&Vote::new_committed(TERM + 1, 3)).await.unwrap();
    let log = (61..230).map(|index| (if index <= 190 { TERM } else { TERM + 1 }, index));
    Content { log: log.collect(), hash: store.published.load().state.hash() }
}

/// Opens a store that may be damaged. Some: the message it refused with; None: all is there.
async fn verdict(dir: &Path, content: &Content) -> Option<String> {
    let mut store = match Store::open(sled_disk(dir)) {
        Ok(store) => store,
        Err(error @ (OpenError::Damaged(_) | OpenError::Format(_))) => {
            let message = error.to_string();
            assert!(message.len() > 40, "{message} says too little");
            return Some(message);
        }
        Err(error) => panic!("not recognised as damage: {error}"),
    };
    store.expect(&content.log).await;
    assert_eq!(store.vote().await, Some(Vote::new_committed(TERM + 1, 3)));
    assert_eq!(store.published.load().state.hash(), content.hash);
    assert_eq!(store.published.load().index.0, 120);
    store.storage.close().await;
    None
}

pub(crate) fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}

/// A filled store in a directory, closed.
async fn original() -> (tempfile::TempDir, Content) {
    let dir = tempfile::tempdir().unwrap();
    let mut store = Store::open(sled_disk(dir.path())).unwrap();
    let content = fill(&mut store).await;
    store.storage.close().await;
    drop(store);
    (dir, content)
}

/// Where the file holds anything: sled's file is mostly zeros.
pub(crate) fn used(file: &Path) -> Vec<u64> {
    let bytes = fs::read(file).unwrap();
    (0u64..).zip(bytes).filter(|(_, byte)| *byte != 0).map(|(at, _)| at).collect()
}

#[derive(Default, Debug)]
struct Tally {
    intact: u64,
    refused: u64,
}

impl Tally {
    fn count(&mut self, verdict: Option<&String>) {
        match verdict {
            Some(_) => self.refused += 1,
            None => self.intact += 1,
        }
    }
}

/// Damages a copy of the original, opens it, and counts what came of it.
async fn try_damage(
    original: &Path,
    content: &Content,
    damage: impl FnOnce(&Path),
) -> Option<String> {
    let dir = tempfile::tempdir().unwrap();
    copy(original, dir.path());
    damage(dir.path());
    verdict(dir.path(), content).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flipped_bit_is_refused_or_harmless() {
    let (dir, content) = original().await;
    let mut draw = Draw(3);
    for (file, flips) in
        [("log/db", 40), ("state/db", 40), ("durability", 20), ("journal", 20), ("log/conf", 4)]
    {
        let mut tally = Tally::default();
        let used = used(&dir.path().join(file));
        for _ in 0..flips {
            let at = used[usize::try_from(draw.below(used.len() as u64)).unwrap()];
            let bit = draw.below(8);
            let verdict = try_damage(dir.path(), &content, |copy| {
                let path = copy.join(file);
                let mut bytes = fs::read(&path).unwrap();
                bytes[usize::try_from(at).unwrap()] ^= 1 << bit;
                fs::write(path, bytes).unwrap();
            });
            tally.count(verdict.await.as_ref());
        }
        println!("{flips} flipped bits in {file}: {tally:?}");
        if file.ends_with("/db") {
            assert!(tally.refused > flips / 4, "{file}: {tally:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cut_off_file_is_refused_or_harmless() {
    let (dir, content) = original().await;
    for file in
        ["log/db", "state/db", "durability", "journal", "log/conf", "state/conf", "identity"]
    {
        let path = dir.path().join(file);
        if !path.exists() {
            continue;
        }
        let (mut tally, end) = (Tally::default(), used(&path).last().map_or(0, |last| last + 1));
        let cuts = [0, 1, 7, 100, 1000, 5000, 20_000, 60_000, 120_000, end / 2, end];
        for cut in cuts.into_iter().filter(|cut| *cut <= end) {
            let verdict = try_damage(dir.path(), &content, |copy| {
                let file = fs::OpenOptions::new().write(true).open(copy.join(file)).unwrap();
                file.set_len(end - cut).unwrap();
            });
            let verdict = verdict.await;
            tally.count(verdict.as_ref());
            if file == "log/db" && cut == 100 {
                let message = verdict.unwrap();
                assert!(message.contains("missing"), "{message}");
            }
        }
        println!("cut-off {file}: {tally:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_part_is_refused() {
    let (dir, content) = original().await;
    for part in ["log", "state", "log/db", "state/db", "durability", "journal"] {
        let verdict = try_damage(dir.path(), &content, |copy| {
            let path = copy.join(part);
            if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) }.unwrap();
        });
        println!("without {part}: {}", verdict.await.expect(part));
    }
}

/// Not even an empty one takes its place.
#[tokio::test(flavor = "multi_thread")]
async fn a_missing_part_is_not_created_by_a_refused_open() {
    let (dir, _) = original().await;
    for part in ["log", "state", "log/db", "durability", "journal"] {
        let (path, away) = (dir.path().join(part), dir.path().join("away"));
        fs::rename(&path, &away).unwrap();
        for _ in 0..2 {
            assert!(matches!(Store::open(sled_disk(dir.path())), Err(OpenError::Damaged(_))));
            assert!(!path.exists(), "{part} was created");
        }
        fs::rename(&away, &path).unwrap();
    }
    Store::open(sled_disk(dir.path())).unwrap();
}

/// A log as it was some time ago, under a record of today: the whole history is another one.
#[tokio::test(flavor = "multi_thread")]
async fn an_older_log_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = Store::open(sled_disk(dir.path())).unwrap();
    store.append(1, 1..50).await;
    store.storage.close().await;
    let older = tempfile::tempdir().unwrap();
    copy(&dir.path().join("log"), older.path());
    let mut store = Store::open(sled_disk(dir.path())).unwrap();
    store.append(1, 50..60).await;
    store.storage.close().await;
    drop(store);
    fs::remove_dir_all(dir.path().join("log")).unwrap();
    copy(older.path(), &dir.path().join("log"));
    let Err(error) = Store::open(sled_disk(dir.path())) else { panic!("opened") };
    let message = error.to_string();
    assert!(message.contains("entries 50..=59 are missing"), "{message}");
}

/// The same on the disk in memory, where every byte of every value can be hit.
#[test]
fn flipped_bits_in_values_are_refused_or_harmless() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let (mut refused, mut draw) = (0, Draw(4));
    for name in ["log", "state"] {
        for _ in 0..60 {
            let disk = MemoryDisk::new();
            runtime.block_on(async {
                let open = |disk: &MemoryDisk| {
                    Store::open_with(Arc::new(disk.clone()), small(), Executor::Tasks)
                };
                let mut store = open(&disk).unwrap();
                let content = fill(&mut store).await;
                store.storage.close().await;
                while !disk.flip(name, usize::try_from(draw.below(700_000)).unwrap(), 3) {}
                match open(&disk) {
                    Ok(mut store) => {
                        store.expect(&content.log).await;
                        assert_eq!(store.published.load().state.hash(), content.hash);
                    }
                    Err(OpenError::Damaged(_)) => refused += 1,
                    Err(error) => panic!("not recognised as damage: {error}"),
                }
            });
        }
    }
    println!("{refused} of 120 refused");
    assert!(refused > 100, "{refused} of 120");
}

/// After a power cut the journal is all that has the newest entries.
#[test]
fn a_flipped_bit_in_the_journal_is_refused_or_harmless() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let (mut refused, mut draw) = (0, Draw(5));
    for round in 0..60 {
        let disk = MemoryDisk::new();
        runtime.block_on(async {
            let open = || Store::open_with(Arc::new(disk.clone()), small(), Executor::Tasks);
            let mut store = open().unwrap();
            for first in (1..100).step_by(10) {
                store.append(TERM, first..first + 10).await;
            }
            store.log.save_vote(&Vote::new(TERM + 1, 2)).await.unwrap();
            drop(store);
            disk.crash(round);
            while !disk.flip_journal(usize::try_from(draw.below(40_000)).unwrap(), 2) {}
            match open() {
                Ok(mut store) => {
                    let log: Vec<_> = (1..101).map(|index| (TERM, index)).collect();
                    store.expect(&log).await;
                    assert_eq!(store.vote().await, Some(Vote::new(TERM + 1, 2)));
                }
                Err(OpenError::Damaged(_)) => refused += 1,
                Err(error) => panic!("not recognised as damage: {error}"),
            }
        });
    }
    println!("{refused} of 60 refused");
    assert!(refused > 40, "{refused} of 60");
}

/// After a power cut, one slot is damaged: what was installed is there, or the open is refused.
#[tokio::test]
async fn an_installed_checkpoint_is_not_lost_with_a_slot() {
    let mut leader = Store::open(Arc::new(MemoryDisk::new())).unwrap();
    leader.append(1, 1..60).await;
    leader.apply(1..60).await;
    let snapshot = leader.checkpoint().await;
    let mut refused = 0;
    // So that the settlement comes at all places of the journal, also when it is full.
    for votes in (0..12).chain([254, 255, 256]) {
        for slot in [Slot::A, Slot::B] {
            let disk = MemoryDisk::new();
            let open = || Store::open_with(Arc::new(disk.clone()), small(), Executor::Tasks);
            let mut store = open().unwrap();
            for term in 1..=votes {
                store.log.save_vote(&Vote::new(term, 1)).await.unwrap();
            }
            let (meta, data) = (&snapshot.meta, snapshot.snapshot.clone());
            store.machine.install_snapshot(meta, data).await.unwrap();
            disk.crash(1);
            drop(store);
            disk.flip_slot(slot);
            match open() {
                Ok(store) => assert_eq!(store.published.load().index.0, 59, "{votes} {slot:?}"),
                Err(OpenError::Damaged(_)) => refused += 1,
                Err(error) => panic!("not recognised as damage: {error}"),
            }
        }
    }
    println!("{refused} of 30 refused");
}

/// What is refused is not changed: put right, it opens with everything.
#[tokio::test(flavor = "multi_thread")]
async fn a_refused_open_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = Store::open(sled_disk(dir.path())).unwrap();
    store.log.save_vote(&Vote::new(9, 3)).await.unwrap();
    store.append(9, 1..5).await;
    store.storage.close().await;
    drop(store);
    let (slots, away) = (dir.path().join("durability"), dir.path().join("away"));
    fs::rename(&slots, &away).unwrap();
    for _ in 0..2 {
        let Err(OpenError::Damaged(why)) = Store::open(sled_disk(dir.path())) else {
            panic!("opened without its durability record");
        };
        assert!(why.contains("durability record is missing"), "{why}");
        fs::write(&slots, b"").unwrap();
    }
    fs::rename(&away, &slots).unwrap();
    let mut store = Store::open(sled_disk(dir.path())).unwrap();
    assert_eq!(store.vote().await, Some(Vote::new(9, 3)));
    store.expect(&[(9, 1), (9, 2), (9, 3), (9, 4)]).await;
}

/// A damaged identity is refused by name.
#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_identity_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let open = || Storage::open(sled_disk(dir.path()), Options::default(), Executor::Threads);
    let storage = open().unwrap();
    storage.record_identity(&crate::reopen::identity()).unwrap();
    storage.close().await;
    drop(storage);
    let path = dir.path().join("identity");
    let mut bytes = fs::read(&path).unwrap();
    bytes[12] ^= 4;
    fs::write(&path, bytes).unwrap();
    let Err(OpenError::Damaged(message)) = open() else { panic!("opened") };
    assert!(message.contains("identity"), "{message}");
    assert_eq!(crate::reopen::identity().cluster(), IDENTITY);
}
