//! The durability record: what the log must still hold after a crash, and the newest of it.
//!
//! sled can lose its newest writes without a word when its file is damaged, and takes several
//! writes and a change of its file's metadata for each barrier. So an acknowledgement rests on two
//! things that are kept apart from sled:
//!
//! ```text
//! barrier:    frame of the journal: record after it, the log blocks since the last barrier
//! settlement: databases synced, then the record into the older of two slots, journal empty
//! ```
//!
//! The record names the last vote, the last durable entry and a chained hash of the log up to it.
//! A settlement is made when the journal is full, and for everything that is more than an append
//! or a vote. At open the databases must hold all that the newest slot says; the journal has the
//! rest. The record names the journal that goes with it, by a drawn id, and the last frame that was
//! written to it: another journal, or an older copy of this one, is refused.
//!
//! Invariants: slots and frames share one sequence; nobody is told of a barrier before its frame
//! or its slot is durable; a slot is written after the sync that it describes, except that what is
//! going to be removed from the log (truncated, purged) is recorded as gone before it goes. A crash
//! during a write damages that slot or frame only, and what it would have said was told to nobody.
//! A settlement that is told of is followed by a frame: should its slot be damaged later, the frame
//! shows that one is missing.

use std::{
    hash::{BuildHasher, Hasher, RandomState},
    io,
    sync::Arc,
};

use bytes::{Buf, BufMut, Bytes};
use quorate_core::mutation::{Mutation, planted};
use serde::{Deserialize, Serialize};

use crate::{
    disk::{Disk, SLOT_BYTES, Slot},
    error::OpenError,
    format::{self, Position, VoteRecord, seal_as, unseal_as},
    journal::{self, Mark},
};

/// The version of the record's layout.
const VERSION: u8 = 2;

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
    /// The journal.
    pub(crate) journal: Mark,
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

/// Keeps the record and the journal.
pub(crate) struct Keeper {
    disk: Arc<dyn Disk>,
    /// Where the next settlement goes: the slot that does not hold the newest record.
    next: Slot,
    /// Where the next frame goes.
    at: usize,
    /// The record as it is written next. Changed freely, durable after [`Keeper::settle`] or
    /// [`Keeper::journal`].
    pub(crate) record: Record,
    /// At open: what the databases must hold.
    pub(crate) settled: Record,
    /// At open: the log blocks from there to the record, in order.
    pub(crate) blocks: Vec<Bytes>,
    /// Whether a record was found.
    pub(crate) found: bool,
}

impl Keeper {
    /// Reads the newest record and the journal. Changes nothing.
    pub(crate) fn open(disk: Arc<dyn Disk>) -> Result<Self, OpenError> {
        let newest = newest_slot(&*disk)?;
        let found = newest.is_some();
        let (settled, slot) = newest.unwrap_or((Record::default(), Slot::B));
        let (mut record, mut blocks) = (settled.clone(), Vec::new());
        let journal = disk.read_journal()?;
        if found {
            let mark = settled.journal;
            let Some(journal) = journal.filter(|bytes| bytes.len() == mark.bytes()) else {
                return Err(OpenError::Damaged("the journal is missing or cut off".into()));
            };
            for frame in journal::scan(&journal, &mark, settled.sequence)? {
                let next = record.sequence + 1;
                (record, blocks) = read_frame(frame.into(), blocks)?;
                if (record.sequence, record.journal.id) != (next, mark.id) {
                    return Err(unreadable());
                }
            }
        } else if journal.is_some_and(|bytes| journal::holds_frames(&bytes)) {
            let why = "the durability record is missing, the journal is there";
            return Err(OpenError::Damaged(why.into()));
        }
        // No room before a settlement.
        let at = record.journal.bytes();
        Ok(Self { disk, next: other(slot), at, record, settled, blocks, found })
    }

    /// Creates the journal and writes the first record. Durable when it returns.
    pub(crate) fn create(&mut self, journal_bytes: usize) -> io::Result<()> {
        self.record.journal = Mark::new(draw(), journal_bytes);
        self.disk.create_journal(&self.record.journal.blank())?;
        self.settle()
    }

    /// Records a settlement at open. From then on the record names a frame that is in the journal.
    pub(crate) fn begin(&mut self) -> io::Result<()> {
        self.settle()?;
        if self.record.journal.frame == 0 {
            self.journal(&[])?;
            self.settle()?;
        }
        Ok(())
    }

    /// Records a settlement: the databases hold all that the record says. Durable when it returns.
    pub(crate) fn settle(&mut self) -> io::Result<()> {
        self.record.sequence += 1;
        let bytes = seal_as(VERSION, &self.record);
        debug_assert!(bytes.len() <= SLOT_BYTES);
        self.disk.write_slot(self.next, &bytes)?;
        self.next = other(self.next);
        self.at = 0;
        Ok(())
    }

    /// Writes a frame with the record and the log blocks since the last frame or settlement.
    /// Durable when it returns true; false: there is no room, settle.
    pub(crate) fn journal(&mut self, blocks: &[Bytes]) -> io::Result<bool> {
        if planted(Mutation::SkippedSync) {
            return Ok(true);
        }
        let bytes: usize = blocks.iter().map(|block| LENGTH_BYTES + block.len()).sum();
        if journal::frame_bytes(RECORD_BYTES_MAX + bytes) > self.record.journal.bytes() - self.at {
            return Ok(false);
        }
        self.record.sequence += 1;
        self.record.journal.frame = self.record.sequence;
        let mut payload = Vec::with_capacity(RECORD_BYTES_MAX + bytes);
        let record = seal_as(VERSION, &self.record);
        debug_assert!(LENGTH_BYTES + record.len() <= RECORD_BYTES_MAX);
        for part in std::iter::once(&Bytes::from(record)).chain(blocks) {
            payload.put_u32_le(u32::try_from(part.len()).map_err(io::Error::other)?);
            payload.put_slice(part);
        }
        let frame = self.record.journal.encode(self.record.sequence, &payload);
        self.disk.write_journal(self.at, &frame)?;
        self.at += frame.len();
        Ok(true)
    }
}

/// Bytes in front of each part of a frame.
const LENGTH_BYTES: usize = 4;

/// Bytes that a record takes in a frame at most.
const RECORD_BYTES_MAX: usize = 512;

/// The newest record in a slot; None: none was ever written.
fn newest_slot(disk: &dyn Disk) -> Result<Option<(Record, Slot)>, OpenError> {
    let mut newest: Option<(Record, Slot)> = None;
    let mut damaged = Vec::new();
    for slot in [Slot::A, Slot::B] {
        let Some(bytes) = disk.read_slot(slot)? else { continue };
        if let Some(version) = format::version(&bytes).filter(|version| *version != VERSION) {
            return Err(OpenError::Format(format!(
                "the durability record is of version {version}, this build reads version {VERSION}"
            )));
        }
        match unseal_as::<Record>(VERSION, &bytes) {
            Ok(record) => {
                if newest.as_ref().is_none_or(|(other, _)| other.sequence < record.sequence) {
                    newest = Some((record, slot));
                }
            }
            Err(error) => damaged.push(format!("slot {slot:?}: {error}")),
        }
    }
    let say = damaged.join(", ");
    if damaged.len() > 1 {
        return Err(OpenError::Damaged(format!("the durability record cannot be read: {say}")));
    }
    if !damaged.is_empty() {
        // Also the very first write of a slot, before which there was nothing.
        tracing::warn!(damaged = say, "a slot of the durability record was being written");
    }
    Ok(newest)
}

/// The record of a frame, and the blocks so far with those of the frame.
fn read_frame(mut frame: Bytes, mut blocks: Vec<Bytes>) -> Result<(Record, Vec<Bytes>), OpenError> {
    let record =
        next_part(&mut frame).and_then(|record| unseal_as::<Record>(VERSION, &record).ok());
    let Some(record) = record else { return Err(unreadable()) };
    while !frame.is_empty() {
        blocks.push(next_part(&mut frame).ok_or_else(unreadable)?);
    }
    Ok((record, blocks))
}

fn next_part(frame: &mut Bytes) -> Option<Bytes> {
    let length = usize::try_from(frame.try_get_u32_le().ok()?).ok()?;
    (length <= frame.len()).then(|| frame.split_to(length))
}

fn unreadable() -> OpenError {
    OpenError::Damaged("a frame of the journal is not what was written".into())
}

/// An id that no other journal has. `RandomState` has keys from the operating system's randomness,
/// other ones each time.
fn draw() -> u64 {
    RandomState::new().build_hasher().finish()
}

fn other(slot: Slot) -> Slot {
    match slot {
        Slot::A => Slot::B,
        Slot::B => Slot::A,
    }
}

#[cfg(test)]
mod fuzz;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{disk::MemoryDisk, journal::JOURNAL_BYTES};

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
            journal: Mark { id: 0x1112_1314_1516_1718, bytes: 4096, frame: 2 },
        }
    }

    /// A keeper of a new disk.
    fn new(disk: &MemoryDisk) -> Keeper {
        let mut keeper = Keeper::open(Arc::new(disk.clone())).unwrap();
        assert!(!keeper.found);
        keeper.create(JOURNAL_BYTES).unwrap();
        keeper
    }

    fn write(keeper: &mut Keeper, index: u64) {
        keeper.record.last = Some(Position { term: 1, index });
        keeper.settle().unwrap();
    }

    #[test]
    fn golden_bytes() {
        assert_eq!(seal_as(VERSION, &record()), GOLDEN);
        assert_eq!(unseal_as(VERSION, GOLDEN), Ok(record()));
    }

    #[test]
    fn the_newest_slot_counts() {
        let disk = MemoryDisk::new();
        new(&disk);
        let disk: Arc<dyn Disk> = Arc::new(disk);
        for index in 1..6 {
            let mut keeper = Keeper::open(disk.clone()).unwrap();
            assert_eq!(keeper.record.last.map_or(0, |last| last.index), index - 1);
            write(&mut keeper, index);
        }
    }

    #[test]
    fn a_torn_slot_leaves_the_one_before() {
        let disk = MemoryDisk::new();
        let mut keeper = new(&disk);
        write(&mut keeper, 1);
        write(&mut keeper, 2);
        disk.fail_after(0);
        keeper.record.last = Some(Position { term: 1, index: 3 });
        assert!(keeper.settle().is_err());
        disk.crash(0);
        let mut keeper = Keeper::open(Arc::new(disk.clone())).unwrap();
        assert_eq!(keeper.record.last, Some(Position { term: 1, index: 2 }));
        // The damaged slot is the one that is written next.
        write(&mut keeper, 4);
        let keeper = Keeper::open(Arc::new(disk)).unwrap();
        assert_eq!(keeper.record.last, Some(Position { term: 1, index: 4 }));
    }

    #[test]
    fn an_older_version_is_named() {
        let disk = MemoryDisk::new();
        new(&disk);
        disk.write_slot(Slot::B, &seal_as(1, &(7u64, None::<VoteRecord>))).unwrap();
        let Err(OpenError::Format(why)) = Keeper::open(Arc::new(disk)) else { panic!("opened") };
        assert!(why.contains("version 1, this build reads version 2"), "{why}");
    }

    /// The first frame of all is written before anything is acknowledged.
    #[test]
    fn from_the_first_open_on_a_frame_must_be_there() {
        let disk = MemoryDisk::new();
        let mut keeper = new(&disk);
        let blank = keeper.record.journal.blank();
        disk.write_journal(0, &blank).unwrap();
        assert!(Keeper::open(Arc::new(disk.clone())).is_ok());
        keeper.begin().unwrap();
        assert!(Keeper::open(Arc::new(disk.clone())).is_ok());
        disk.write_journal(0, &blank).unwrap();
        let Err(OpenError::Damaged(why)) = Keeper::open(Arc::new(disk)) else { panic!("opened") };
        assert!(why.contains("older than the durability record"), "{why}");
    }

    #[test]
    fn two_damaged_slots_are_refused() {
        let disk = MemoryDisk::new();
        disk.write_slot(Slot::A, b"nonsense, twice over").unwrap();
        disk.write_slot(Slot::B, b"nonsense, twice over").unwrap();
        assert!(matches!(Keeper::open(Arc::new(disk)), Err(OpenError::Damaged(_))));
    }

    #[test]
    fn the_very_first_slot_may_be_torn() {
        let disk = MemoryDisk::new();
        let mut keeper = Keeper::open(Arc::new(disk.clone())).unwrap();
        disk.fail_after(1);
        assert!(keeper.create(JOURNAL_BYTES).is_err());
        disk.crash(0);
        assert!(!Keeper::open(Arc::new(disk)).unwrap().found);
    }

    /// Writes a frame with one block of this content.
    fn journal(keeper: &mut Keeper, index: u64, block: &'static [u8]) -> bool {
        keeper.record.last = Some(Position { term: 1, index });
        keeper.journal(&[Bytes::from_static(block)]).unwrap()
    }

    #[test]
    fn frames_count_after_the_newest_slot() {
        let disk = MemoryDisk::new();
        let open = || Keeper::open(Arc::new(disk.clone())).unwrap();
        let mut keeper = new(&disk);
        write(&mut keeper, 1);
        assert!(journal(&mut keeper, 2, b"two") && journal(&mut keeper, 3, b"three"));
        let found = open();
        assert_eq!(found.settled.last, Some(Position { term: 1, index: 1 }));
        assert_eq!(found.record, keeper.record);
        assert_eq!(found.blocks, [&b"two"[..], b"three"]);
        write(&mut keeper, 4);
        let found = open();
        assert_eq!((&found.settled, &found.record), (&keeper.record, &keeper.record));
        assert!(found.blocks.is_empty());
    }

    #[test]
    fn a_full_journal_says_so() {
        let mut keeper = new(&MemoryDisk::new());
        write(&mut keeper, 1);
        let mut frames = 0;
        while journal(&mut keeper, 2 + frames, &[7; 100]) {
            frames += 1;
        }
        assert_eq!(frames, 256);
        write(&mut keeper, 300);
        assert!(journal(&mut keeper, 301, b"again"));
        assert!(!keeper.journal(&[vec![0; JOURNAL_BYTES].into()]).unwrap());
    }

    #[test]
    fn a_damaged_newest_slot_is_noticed_by_the_frames_after_it() {
        let disk = MemoryDisk::new();
        let mut keeper = new(&disk);
        write(&mut keeper, 1);
        write(&mut keeper, 2);
        assert!(journal(&mut keeper, 3, b"three"));
        disk.write_slot(Slot::A, b"nonsense").unwrap();
        let Err(OpenError::Damaged(why)) = Keeper::open(Arc::new(disk)) else { panic!("opened") };
        assert!(why.contains("frame 3 is missing"), "{why}");
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
            journal: Mark { id: u64::MAX, bytes: u32::MAX, frame: u64::MAX },
        };
        assert!(seal_as(VERSION, &largest).len() + LENGTH_BYTES <= RECORD_BYTES_MAX);
        const { assert!(RECORD_BYTES_MAX <= SLOT_BYTES) };
    }

    const GOLDEN: &[u8] = &[
        2, 94, 186, 20, 127, 53, 0, 0, 0, 3, 1, 4, 1, 2, 1, 4, 251, 232, 3, 253, 8, 7, 6, 5, 4, 3,
        2, 1, 251, 132, 3, 5, 1, 3, 251, 131, 3, 1, 1, 3, 251, 182, 3, 6, 252, 239, 190, 173, 222,
        253, 24, 23, 22, 21, 20, 19, 18, 17, 251, 0, 16, 2,
    ];
}
