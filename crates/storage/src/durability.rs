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
