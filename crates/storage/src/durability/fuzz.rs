//! Journals and slots from bytes that nobody wrote.

use std::sync::Arc;

use bytes::Bytes;
use quorate_fuzz::Target;

use super::{Keeper, Record, VERSION};
use crate::{
    disk::{Disk, MemoryDisk, SLOT_BYTES, Slot},
    error::OpenError,
    format::{Position, VoteRecord, seal_as},
    journal::SECTOR_BYTES,
};

/// Bytes of the journal.
const JOURNAL_BYTES: usize = 16 << 10;

/// A disk on which so many frames were written since the last settlement.
fn written(frames: u64) -> Arc<MemoryDisk> {
    let disk = Arc::new(MemoryDisk::new());
    let mut keeper = Keeper::open(disk.clone()).unwrap();
    keeper.create(JOURNAL_BYTES).unwrap();
    keeper.settle().unwrap();
    for number in 1..=frames {
        keeper.record.vote = Some(VoteRecord { term: number, committed: true, voted_for: 1 });
        keeper.record.last = Some(Position { term: number, index: number });
        let block = Bytes::from(vec![7; usize::try_from(number).unwrap() * 900]);
        assert!(keeper.journal(&[block.clone(), block]).unwrap());
    }
    disk
}

/// The same disk with another journal and other slots.
fn with(journal: &[u8], slots: [&[u8]; 2]) -> Arc<MemoryDisk> {
    let disk = MemoryDisk::new();
    disk.create_journal(journal).unwrap();
    for (slot, bytes) in [Slot::A, Slot::B].into_iter().zip(slots) {
        disk.write_slot(slot, bytes).unwrap();
    }
    Arc::new(disk)
}

fn opened(disk: Arc<MemoryDisk>) -> Result<Keeper, String> {
    match Keeper::open(disk) {
        Ok(keeper) => Ok(keeper),
        Err(OpenError::Io(error)) => panic!("memory does not fail: {error}"),
        Err(error) => Err(error.to_string()),
    }
}

fn slots(disk: &MemoryDisk) -> [Bytes; 2] {
    [Slot::A, Slot::B].map(|slot| disk.read_slot(slot).unwrap().unwrap())
}

/// Makes whole sectors of it, each with its checksum.
fn repair(bytes: &mut Vec<u8>) {
    bytes.resize(JOURNAL_BYTES, 0);
    for sector in bytes.chunks_exact_mut(SECTOR_BYTES) {
        let sum = crc32fast::hash(&sector[4..]);
        sector[..4].copy_from_slice(&sum.to_le_bytes());
    }
}

#[test]
fn journals() {
    // All with one id in their sectors: the newest slots belong to each of them.
    let disk = written(3);
    let (journal, slots) = (disk.read_journal().unwrap().unwrap(), slots(&disk));
    let slots = [&slots[0][..], &slots[1][..]];
    let samples = vec![journal.to_vec()];
    let tried = Target::new("journals", samples).repaired_by(repair).run(|bytes| {
        let keeper = opened(with(bytes, slots))?;
        assert!(keeper.found && keeper.record.sequence >= keeper.settled.sequence);
        let blocks: usize = keeper.blocks.iter().map(Bytes::len).sum();
        assert!(blocks <= bytes.len(), "no more than there is");
        Ok(())
    });
    assert!(tried.refused_past("damaged at byte") > 50 && tried.accepted() > 10, "{tried:?}");
}

#[test]
fn slots_of_the_record() {
    let disk = written(2);
    let journal = disk.read_journal().unwrap().unwrap();
    let [one, other] = slots(&disk);
    let record = |bytes: &[u8]| super::unseal_as::<Record>(VERSION, bytes).unwrap();
    // The newer one is damaged; the older one is there to fall back on.
    let (older, newer) =
        if record(&one).sequence < record(&other).sequence { (one, other) } else { (other, one) };
    let sealed = seal_as(VERSION, &record(&newer));
    let repair = |bytes: &mut Vec<u8>| {
        bytes.truncate(SLOT_BYTES);
        crate::format::fuzz::repair(bytes);
    };
    let tried = Target::new("slots", vec![sealed]).repaired_by(repair).run(|bytes| {
        let bytes = &bytes[..bytes.len().min(SLOT_BYTES)];
        let keeper = opened(with(&journal, [&older, bytes]))?;
        assert!(keeper.found && keeper.record.sequence >= keeper.settled.sequence);
        Ok(())
    });
    assert!(tried.refused() > 50, "{tried:?}");
}
