//! The durability record: what the log must still hold after a crash.
//!
//! sled can lose its newest writes without a word when its file is damaged. The record, kept apart
//! from sled in two slots that are overwritten in turn, names the last vote, the last durable entry
//! and a chained hash of the log up to it, so that such a loss is noticed at the next open.
//!
//! Invariants: a slot is written after the log barrier that it describes and before anybody is
//! told of it; except that what is going to be removed from the log (truncated, purged) is
//! recorded as gone before it goes. A crash during a write damages that slot only, and what it
//! would have said was told to nobody.

use std::{io, sync::Arc};

use serde::{Deserialize, Serialize};

use crate::{
    disk::{Disk, SLOT_BYTES, Slot},
    error::OpenError,
    format::{Position, VoteRecord, seal, unseal},
};

/// What the log must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    /// Grows with every write; the larger one of two slots counts.
    pub(crate) sequence: u64,
    /// The last durable vote.
    pub(crate) vote: Option<VoteRecord>,
    /// The last durable entry, or what was purged when there is none after it.
    pub(crate) last: Option<Position>,
    /// The chained hash of the log up to and including `last`.
    pub(crate) chain: u64,
    /// The first entry of the first block, or the first entry to come when there is none.
    pub(crate) base: u64,
    /// The chained hash before `base`.
    pub(crate) base_chain: u64,
    /// The last entry that was purged.
    pub(crate) purged: Option<Position>,
    /// The current checkpoint.
    pub(crate) checkpoint: Option<Pointer>,
}

/// Names a generation of the checkpoint. Ordered by age.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Pointer {
    /// The last entry it covers.
    pub(crate) last: Option<Position>,
    /// The generation.
    pub(crate) generation: u64,
    /// The checksum of its manifest.
    pub(crate) checksum: u32,
}

/// Keeps the record.
pub(crate) struct Keeper {
    disk: Arc<dyn Disk>,
    /// Where the next write goes: the slot that does not hold the newest record.
    next: Slot,
    /// The record as it is written next. Changed freely, durable after [`Keeper::write`].
    pub(crate) record: Record,
    /// Whether a record was found.
    pub(crate) found: bool,
}

impl Keeper {
    /// Reads the newest record.
    pub(crate) fn open(disk: Arc<dyn Disk>) -> Result<Self, OpenError> {
        let mut newest: Option<(Record, Slot)> = None;
        let mut damaged = Vec::new();
        for slot in [Slot::A, Slot::B] {
            let Some(bytes) = disk.read_slot(slot)? else { continue };
            match unseal::<Record>(&bytes) {
                Ok(record) => {
                    if newest.as_ref().is_none_or(|(other, _)| other.sequence < record.sequence) {
                        newest = Some((record, slot));
                    }
                }
                Err(error) => damaged.push(format!("slot {slot:?}: {error}")),
            }
        }
        match newest {
            Some((record, slot)) => {
                if !damaged.is_empty() {
                    tracing::warn!(?damaged, "a slot of the durability record was being written");
                }
                Ok(Self { disk, next: other(slot), record, found: true })
            }
            None if damaged.is_empty() => {
                Ok(Self { disk, next: Slot::A, record: Record::default(), found: false })
            }
            None => Err(OpenError::Damaged(format!(
                "the durability record cannot be read: {}",
                damaged.join(", ")
            ))),
        }
    }

    /// Writes the record. Durable when it returns.
    pub(crate) fn write(&mut self) -> io::Result<()> {
        self.record.sequence += 1;
        let bytes = seal(&self.record);
        debug_assert!(bytes.len() <= SLOT_BYTES);
        self.disk.write_slot(self.next, &bytes)?;
        self.next = other(self.next);
        Ok(())
    }
}

fn other(slot: Slot) -> Slot {
    match slot {
        Slot::A => Slot::B,
        Slot::B => Slot::A,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::MemoryDisk;

    fn record() -> Record {
        Record {
            sequence: 3,
            vote: Some(VoteRecord { term: 4, committed: true, voted_for: 2 }),
            last: Some(Position { term: 4, index: 1000 }),
            chain: 0x0102_0304_0506_0708,
            base: 900,
            base_chain: 5,
            purged: Some(Position { term: 3, index: 899 }),
            checkpoint: Some(Pointer {
                last: Some(Position { term: 3, index: 950 }),
                generation: 6,
                checksum: 0xdead_beef,
            }),
        }
    }

    fn write(keeper: &mut Keeper, index: u64) {
        keeper.record.last = Some(Position { term: 1, index });
        keeper.write().unwrap();
    }

    #[test]
    fn golden_bytes() {
        assert_eq!(seal(&record()), GOLDEN);
        assert_eq!(unseal::<Record>(GOLDEN), Ok(record()));
    }

    #[test]
    fn the_newest_slot_counts() {
        let disk: Arc<dyn Disk> = Arc::new(MemoryDisk::new());
        assert!(!Keeper::open(disk.clone()).unwrap().found);
        for index in 1..6 {
            let mut keeper = Keeper::open(disk.clone()).unwrap();
            assert_eq!(keeper.record.last.map_or(0, |last| last.index), index - 1);
            write(&mut keeper, index);
        }
    }

    #[test]
    fn a_torn_slot_leaves_the_one_before() {
        let disk = MemoryDisk::new();
        let mut keeper = Keeper::open(Arc::new(disk.clone())).unwrap();
        write(&mut keeper, 1);
        write(&mut keeper, 2);
        disk.fail_after(0);
        keeper.record.last = Some(Position { term: 1, index: 3 });
        assert!(keeper.write().is_err());
        disk.crash(0);
        let mut keeper = Keeper::open(Arc::new(disk.clone())).unwrap();
        assert_eq!(keeper.record.last, Some(Position { term: 1, index: 2 }));
        // The damaged slot is the one that is written next.
        write(&mut keeper, 4);
        let keeper = Keeper::open(Arc::new(disk)).unwrap();
        assert_eq!(keeper.record.last, Some(Position { term: 1, index: 4 }));
    }

    #[test]
    fn two_damaged_slots_are_refused() {
        let disk = MemoryDisk::new();
        disk.write_slot(Slot::A, b"nonsense, twice over").unwrap();
        disk.write_slot(Slot::B, b"nonsense, twice over").unwrap();
        assert!(matches!(Keeper::open(Arc::new(disk)), Err(OpenError::Damaged(_))));
    }

    #[test]
    fn a_record_fits_into_a_slot() {
        let position = Some(Position { term: u64::MAX, index: u64::MAX });
        let largest = Record {
            sequence: u64::MAX,
            vote: Some(VoteRecord { term: u64::MAX, committed: true, voted_for: u64::MAX }),
            last: position,
            chain: u64::MAX,
            base: u64::MAX,
            base_chain: u64::MAX,
            purged: position,
            checkpoint: Some(Pointer { last: position, generation: u64::MAX, checksum: u32::MAX }),
        };
        assert!(seal(&largest).len() <= SLOT_BYTES / 8);
    }

    const GOLDEN: &[u8] = &[
        1, 239, 226, 212, 180, 40, 0, 0, 0, 3, 1, 4, 1, 2, 1, 4, 251, 232, 3, 253, 8, 7, 6, 5, 4,
        3, 2, 1, 251, 132, 3, 5, 1, 3, 251, 131, 3, 1, 1, 3, 251, 182, 3, 6, 252, 239, 190, 173,
        222,
    ];
}
