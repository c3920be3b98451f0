//! Backups: what is read back is what was saved, and nothing damaged is taken for it.

use std::{collections::BTreeMap, sync::Arc};

use openraft::storage::{RaftLogReader, RaftLogStorage};
use quorate_core::{
    ClusterId, Command, Identity, Key, MemberId, Operation, Record, RestoreEpoch, Stamp, State,
    Transaction, apply,
};
use quorate_storage::{
    BackupError, BackupPiece, BackupPieces, Disk, Executor, MemberAddress, MemoryDisk,
    NodeIdentity, RestoreError, Storage, backup, restore,
};

use crate::support::{IDENTITY, id, sled_disk, small};

const RESTORED: Identity = Identity { cluster_id: ClusterId(40), restore_epoch: RestoreEpoch(9) };

fn put(state: &mut State, key: String, value: Vec<u8>) {
    let put = Operation::Put {
        key: Key::entry(key),
        record: Record::Entry(value.into()),
        return_previous: false,
    };
    let transaction = Transaction { success: vec![put], ..Transaction::default() };
    let stamp = Stamp::at(1_000);
    assert!(apply(state, stamp, &Command::Transaction(transaction)).event.is_some());
}

/// So many entries, one of them larger than a block.
fn state(entries: usize) -> State {
    let mut state = State::new(IDENTITY);
    for n in 0..entries {
        let bytes = if n == 7 { 200_000 } else { n % 300 };
        put(&mut state, format!("key-{n:05}"), vec![u8::try_from(n % 251).unwrap(); bytes]);
    }
    state
}

fn pieces(state: &State) -> Vec<BackupPiece> {
    let origin = backup::Origin {
        cluster_name: "tests".into(),
        taken_ms: 1_700_000_000_000,
        software: "0.1.0".into(),
    };
    BackupPieces::new(state.clone(), origin).collect()
}

fn bytes(state: &State) -> Vec<u8> {
    pieces(state).iter().flat_map(|piece| piece.bytes.to_vec()).collect()
}

fn records(state: &State) -> Vec<(Key, Arc<quorate_core::Versioned<Record>>)> {
    state.records().map(|(key, record)| (key.clone(), record.clone())).collect()
}

#[test]
fn what_is_read_back_is_what_was_saved() {
    for entries in [0, 1, 5_000] {
        let state = state(entries);
        let pieces = pieces(&state);
        assert_eq!(pieces.iter().filter(|piece| piece.last).count(), 1);
        let last = pieces.last().unwrap();
        assert!(last.last && last.records == entries as u64);
        assert!(pieces.iter().all(|piece| piece.bytes.len() < 300_000), "pieces are small");
        assert!(entries < 5_000 || pieces.len() > 5, "pieces are made one by one");
        let whole = bytes(&state);
        let read = backup::read(&whole[..]).unwrap();
        assert_eq!(records(&read.state), records(&state));
        assert_eq!(read.state.identity(), state.identity());
        assert_eq!(read.state.revision(), state.revision());
        assert_eq!(read.state.hash(), state.without_history().hash());
        assert_eq!((read.origin.cluster_name.as_str(), read.bytes), ("tests", whole.len() as u64));
    }
}

#[test]
fn every_cut_and_every_flipped_bit_is_refused() {
    let whole = bytes(&state(3));
    for length in 0..whole.len() {
        match backup::read(&whole[..length]) {
            Err(BackupError::CutOff(at)) => assert_eq!(at, length as u64),
            other => panic!("cut at {length}: {other:?}"),
        }
    }
    for bit in 0..whole.len() * 8 {
        let mut flipped = whole.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        let refused = backup::read(&flipped[..]).unwrap_err();
        match bit / 8 {
            0..8 => assert!(matches!(refused, BackupError::Foreign), "bit {bit}: {refused}"),
            8..10 => assert!(matches!(refused, BackupError::Version { .. }), "bit {bit}"),
            _ => assert!(
                matches!(refused, BackupError::Damaged(_) | BackupError::CutOff(_)),
                "bit {bit}: {refused}"
            ),
        }
    }
    let longer = [&whole[..], b"x"].concat();
    assert!(matches!(backup::read(&longer[..]), Err(BackupError::Damaged(_))));
}

#[test]
fn foreign_and_newer_files_are_refused_in_words() {
    let foreign = backup::read(&b"PK\x03\x04 something else altogether"[..]).unwrap_err();
    assert_eq!(foreign.to_string(), "this is no backup of Quorate");
    let mut newer = bytes(&state(1));
    newer[8] = 2;
    let newer = backup::read(&newer[..]).unwrap_err().to_string();
    assert!(newer.contains("format 2.") && newer.contains("the version of quorate"), "{newer}");
    assert!(matches!(backup::read(&b""[..]), Err(BackupError::CutOff(0))));
}

/// The block that begins at a place: its bytes without the length before it.
fn block_at(bytes: &[u8], at: usize) -> std::ops::Range<usize> {
    let length = u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
    at + 4..at + 4 + usize::try_from(length).unwrap()
}

#[test]
fn blocks_that_were_exchanged_or_left_out_are_refused() {
    let whole = bytes(&state(5_000));
    let header = block_at(&whole, 10);
    let first = block_at(&whole, header.end);
    let second = block_at(&whole, first.end);
    let without_first = [&whole[..header.end], &whole[first.end..]].concat();
    let exchanged = [
        &whole[..header.end],
        &whole[first.end..second.end],
        &whole[header.end..first.end],
        &whole[second.end..],
    ]
    .concat();
    for damaged in [without_first, exchanged] {
        assert!(matches!(backup::read(&damaged[..]), Err(BackupError::Damaged(_))));
    }
}

proptest::proptest! {
    /// What passes a block's checksum is decoded or refused, never a panic.
    #[test]
    fn blocks_with_a_right_checksum_and_wrong_content_are_refused(
        block in 0usize..3,
        at in 4usize..400,
        with: u8,
    ) {
        let mut whole = bytes(&state(3));
        let mut range = block_at(&whole, 10);
        for _ in 0..block {
            range = block_at(&whole, range.end);
        }
        let place = range.start + 4 + (at - 4) % (range.len() - 4);
        proptest::prop_assume!(whole[place] != with);
        whole[place] = with;
        let sum = crc32fast::hash(&whole[range.start + 4..range.end]);
        whole[range.start..range.start + 4].copy_from_slice(&sum.to_le_bytes());
        proptest::prop_assert!(backup::read(&whole[..]).is_err());
    }
}

fn identity() -> NodeIdentity {
    NodeIdentity {
        member_id: MemberId(2),
        cluster_id: RESTORED.cluster_id,
        restore_epoch: RESTORED.restore_epoch,
        cluster_name: "tests".into(),
        members_hash: 5,
        initialized: true,
    }
}

fn voters() -> BTreeMap<MemberId, MemberAddress> {
    let address = |n: u64| MemberAddress { peer: format!("p{n}:1"), client: format!("c{n}:1") };
    (1..=3).map(|n| (MemberId(n), address(n))).collect()
}

async fn fill(disk: Arc<dyn Disk>, executor: Executor) -> Result<(), RestoreError> {
    let state = state(300).restored(RESTORED);
    restore(disk, small(), executor, &identity(), &voters(), state).await
}

/// Opens a disk that was filled and checks that it holds all of it.
async fn check(disk: Arc<dyn Disk>, executor: Executor) -> Result<(), quorate_storage::OpenError> {
    let storage = Storage::open(disk, small(), executor)?;
    if storage.identity().is_none() && !storage.has_data() {
        return Ok(());
    }
    let mut started = storage.start(RESTORED)?;
    assert_eq!(storage.identity(), Some(identity()));
    let view = started.published.load();
    assert_eq!(records(&view.state), records(&state(300)));
    assert_eq!((view.index.get(), view.term.get()), (1, 1));
    assert_eq!(view.membership.voter_ids().collect::<Vec<_>>(), [1, 2, 3]);
    let log = started.log.get_log_state().await.unwrap();
    assert_eq!((log.last_purged_log_id, log.last_log_id), (Some(id(1, 1)), Some(id(1, 1))));
    let vote = started.log.get_log_reader().await.read_vote().await.unwrap();
    assert_eq!(vote, Some(quorate_storage::Vote::new_committed(1, 1)));
    storage.close().await;
    Ok(())
}

#[tokio::test]
async fn a_filled_disk_opens_as_a_member_at_that_state() {
    let dir = tempfile::tempdir().unwrap();
    fill(sled_disk(dir.path()), Executor::Threads).await.unwrap();
    let again = fill(sled_disk(dir.path()), Executor::Threads).await.unwrap_err();
    assert!(matches!(again, RestoreError::Taken), "{again}");
    for _ in 0..2 {
        check(sled_disk(dir.path()), Executor::Threads).await.unwrap();
    }
}

#[tokio::test]
async fn a_disk_that_was_left_half_way_is_new_or_refused() {
    let mut refused = 0;
    for writes in 0.. {
        let disk = MemoryDisk::new();
        disk.fail_after(writes);
        let filled = fill(Arc::new(disk.clone()), Executor::Tasks).await;
        disk.crash(writes);
        let found = check(Arc::new(disk), Executor::Tasks).await;
        if filled.is_ok() {
            found.unwrap();
            break;
        }
        refused += u32::from(found.is_err());
    }
    assert!(refused > 3, "only {refused} places");
}
