//! A disk in memory, which can lose power. For tests and simulation.
//!
//! It keeps the promises of [`Disk`] and no more: a crash keeps of every database a prefix of the
//! batches that were not synced, and may tear the slot or the part of the journal that was being
//! written.

use std::{collections::BTreeMap, io, sync::Arc};

use bytes::Bytes;
use parking_lot::{Mutex, MutexGuard};

use super::{Batch, Database, Disk, KeyValue, SLOT_BYTES, Slot};
use crate::{error::OpenError, journal::SECTOR_BYTES};

type Map = BTreeMap<Vec<u8>, Bytes>;

/// A disk in memory. A clone is another handle of the same disk, to be given to a store: it fails
/// once the disk has lost power, as everything that was opened before. The original goes on.
#[derive(Default)]
pub struct MemoryDisk {
    platter: Arc<Mutex<Platter>>,
    /// None: any life.
    life: Option<u64>,
}

impl Clone for MemoryDisk {
    fn clone(&self) -> Self {
        Self { platter: self.platter.clone(), life: Some(self.platter.lock().life) }
    }
}

#[derive(Default)]
struct Platter {
    /// Counts crashes; handles of an earlier life fail.
    life: u64,
    databases: BTreeMap<String, Contents>,
    slots: [Option<Bytes>; 2],
    journal: Option<Vec<u8>>,
    /// The part of the journal that was being written when the power went off.
    torn: Option<(usize, Vec<u8>)>,
    files: BTreeMap<String, Bytes>,
    power: Power,
}

#[derive(Default, Clone, Copy)]
enum Power {
    #[default]
    On,
    /// So many more writes succeed.
    Failing(u64),
    Off,
}

#[derive(Default)]
struct Contents {
    durable: Map,
    current: Map,
    pending: Vec<Batch>,
}

impl MemoryDisk {
    /// An empty disk.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Loses power and gets it back: of every database a prefix of what was not synced stays,
    /// drawn from `seed`. What was opened before fails from now on.
    pub fn crash(&self, seed: u64) {
        let mut platter = self.platter.lock();
        let platter = &mut *platter;
        platter.life += 1;
        platter.power = Power::On;
        let mut draw = seed;
        if let (Some((offset, bytes)), Some(journal)) = (platter.torn.take(), &mut platter.journal)
        {
            for (number, sector) in bytes.chunks(SECTOR_BYTES).enumerate() {
                draw = mix(draw);
                if draw.is_multiple_of(2) {
                    let at = offset + number * SECTOR_BYTES;
                    journal[at..at + sector.len()].copy_from_slice(sector);
                }
            }
        }
        for contents in platter.databases.values_mut() {
            draw = mix(draw);
            let pending = std::mem::take(&mut contents.pending);
            let kept = usize::try_from(draw % (pending.len() as u64 + 1)).unwrap_or(0);
            for batch in pending.into_iter().take(kept) {
                write(&mut contents.durable, batch);
            }
            contents.current = contents.durable.clone();
        }
    }

    /// Whether a frame of the journal is being written while the power is off: the next crash tears
    /// it.
    #[must_use]
    pub fn tears_frame(&self) -> bool {
        self.platter.lock().torn.is_some()
    }

    /// The power goes off after so many more writes (batches, barriers, slots, frames, files): all
    /// operations fail then, and what was being written in place is torn, until [`Self::crash`].
    pub fn fail_after(&self, writes: u64) {
        self.platter.lock().power = Power::Failing(writes);
    }

    /// The disk as this handle may use it.
    fn live(&self) -> io::Result<MutexGuard<'_, Platter>> {
        let platter = self.platter.lock();
        if self.life.is_some_and(|life| life != platter.life) {
            return Err(ended());
        }
        Ok(platter)
    }

    /// Damages a bit of a slot, for tests of damage.
    pub fn flip_slot(&self, slot: Slot) {
        if let Some(bytes) = &mut self.platter.lock().slots[slot as usize] {
            let mut damaged = bytes.to_vec();
            damaged[12] ^= 1;
            *bytes = damaged.into();
        }
    }

    /// Damages one bit of what was written to the journal, for tests of damage. False: that byte is
    /// zero.
    pub fn flip_journal(&self, byte: usize, bit: u8) -> bool {
        let mut platter = self.platter.lock();
        let byte = platter.journal.as_mut().and_then(|journal| journal.get_mut(byte));
        match byte.filter(|byte| **byte != 0) {
            Some(byte) => *byte ^= 1 << (bit % 8),
            None => return false,
        }
        true
    }

    /// Damages one bit of what a database durably holds, for tests of damage. False: there is no
    /// such byte.
    pub fn flip(&self, name: &str, byte: usize, bit: u8) -> bool {
        let mut platter = self.platter.lock();
        let Some(contents) = platter.databases.get_mut(name) else { return false };
        let mut skip = byte;
        for value in contents.current.values_mut() {
            if skip < value.len() {
                let mut bytes = value.to_vec();
                bytes[skip] ^= 1 << (bit % 8);
                *value = bytes.into();
                contents.durable = contents.current.clone();
                return true;
            }
            skip -= value.len();
        }
        false
    }
}

impl Platter {
    /// Whether one more write may happen.
    fn spend(&mut self) -> io::Result<()> {
        match self.power {
            Power::On => Ok(()),
            Power::Failing(left) if left > 0 => {
                self.power = Power::Failing(left - 1);
                Ok(())
            }
            Power::Failing(_) | Power::Off => {
                self.power = Power::Off;
                Err(off())
            }
        }
    }

    fn powered(&self) -> io::Result<()> {
        if matches!(self.power, Power::Off) { Err(off()) } else { Ok(()) }
    }
}

fn ended() -> io::Error {
    io::Error::other("opened before the power was lost")
}

fn off() -> io::Error {
    io::Error::other("the disk has no power")
}

/// One step of splitmix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators).
fn mix(seed: u64) -> u64 {
    let mut z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

fn write(map: &mut Map, batch: Batch) {
    for (key, value) in batch.changes {
        match value {
            Some(value) => map.insert(key, value),
            None => map.remove(&key),
        };
    }
}

impl Disk for MemoryDisk {
    fn open(&self, name: &str) -> Result<Arc<dyn Database>, OpenError> {
        let mut platter = self.live()?;
        platter.powered()?;
        platter.databases.entry(name.to_owned()).or_default();
        let (name, life) = (name.to_owned(), platter.life);
        Ok(Arc::new(MemoryDatabase { platter: self.platter.clone(), name, life }))
    }

    fn exists(&self, name: &str) -> io::Result<bool> {
        Ok(self.live()?.databases.contains_key(name))
    }

    fn read_slot(&self, slot: Slot) -> io::Result<Option<Bytes>> {
        let platter = self.live()?;
        platter.powered()?;
        Ok(platter.slots[slot as usize].clone())
    }

    fn write_slot(&self, slot: Slot, bytes: &[u8]) -> io::Result<()> {
        let mut platter = self.live()?;
        let mut whole = vec![0; SLOT_BYTES];
        whole[..bytes.len()].copy_from_slice(bytes);
        let was_on = platter.powered().is_ok();
        let spent = platter.spend();
        if spent.is_err() {
            if was_on {
                whole[bytes.len() / 2..].fill(0xa5);
                platter.slots[slot as usize] = Some(whole.into());
            }
            return spent;
        }
        platter.slots[slot as usize] = Some(whole.into());
        Ok(())
    }

    fn read_journal(&self) -> io::Result<Option<Bytes>> {
        let platter = self.live()?;
        platter.powered()?;
        Ok(platter.journal.as_deref().map(Bytes::copy_from_slice))
    }

    fn create_journal(&self, content: &[u8]) -> io::Result<()> {
        let mut platter = self.live()?;
        let was_on = platter.powered().is_ok();
        let spent = platter.spend();
        let written = if spent.is_ok() { content.len() } else { content.len() * 2 / 3 };
        if was_on {
            platter.journal = Some(content[..written].to_vec());
        }
        spent
    }

    fn write_journal(&self, offset: usize, bytes: &[u8]) -> io::Result<()> {
        let mut platter = self.live()?;
        let was_on = platter.powered().is_ok();
        let spent = platter.spend();
        if spent.is_err() {
            if was_on {
                platter.torn = Some((offset, bytes.to_vec()));
            }
            return spent;
        }
        let place = platter.journal.as_mut().and_then(|all| all.get_mut(offset..));
        match place.and_then(|place| place.get_mut(..bytes.len())) {
            Some(place) => place.copy_from_slice(bytes),
            None => return Err(io::Error::other("outside of the journal")),
        }
        Ok(())
    }

    fn read_file(&self, name: &str) -> io::Result<Option<Bytes>> {
        let platter = self.live()?;
        platter.powered()?;
        Ok(platter.files.get(name).cloned())
    }

    fn write_file(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let mut platter = self.live()?;
        platter.spend()?;
        platter.files.insert(name.to_owned(), Bytes::copy_from_slice(bytes));
        Ok(())
    }
}

struct MemoryDatabase {
    platter: Arc<Mutex<Platter>>,
    name: String,
    life: u64,
}

impl MemoryDatabase {
    /// A write of this handle: of an earlier life it fails, and costs this one nothing.
    fn spend(&self) -> io::Result<()> {
        self.with(|_| ())?;
        self.platter.lock().spend()
    }

    fn with<T>(&self, use_it: impl FnOnce(&mut Contents) -> T) -> io::Result<T> {
        let mut platter = self.platter.lock();
        platter.powered()?;
        if platter.life != self.life {
            return Err(ended());
        }
        match platter.databases.get_mut(&self.name) {
            Some(contents) => Ok(use_it(contents)),
            None => Err(io::Error::other("no such database")),
        }
    }
}

impl Database for MemoryDatabase {
    fn apply(&self, batch: Batch) -> io::Result<()> {
        self.spend()?;
        self.with(|contents| {
            write(&mut contents.current, batch.clone());
            contents.pending.push(batch);
        })
    }

    fn get(&self, key: &[u8]) -> io::Result<Option<Bytes>> {
        self.with(|contents| contents.current.get(key).cloned())
    }

    fn scan(&self, from: &[u8], to: &[u8], limit: usize) -> io::Result<Vec<KeyValue>> {
        self.with(|contents| {
            let range = contents.current.range(from.to_vec()..to.to_vec());
            range.take(limit).map(|(k, v)| (Bytes::copy_from_slice(k), v.clone())).collect()
        })
    }

    fn sync(&self) -> io::Result<()> {
        self.spend()?;
        self.with(|contents| {
            for batch in std::mem::take(&mut contents.pending) {
                write(&mut contents.durable, batch);
            }
        })
    }

    fn close(&self) {}
}
