//! The journal: what was acknowledged since the databases were last synced, as bytes.
//!
//! A file of fixed size, overwritten from its beginning after each settlement (see
//! [`crate::durability`]). Since its blocks are allocated and written once at creation, a barrier
//! of it is one write in place and one flush of the device; no metadata changes.
//!
//! ```text
//! file:   frame | frame | frame | what is left of older frames, or blank sectors
//! frame:  sector of 512 bytes*, a multiple of 8 of them
//! sector: crc32 u32 of what follows | version u8 | journal u64 | sequence u64
//!         | number u16 | count u16 | used u16 | payload
//! ```
//!
//! All numbers are little-endian. Every journal has a drawn id, which is in each of its sectors and
//! in the durability record, so that it is not taken for another's. A crash leaves each sector of a
//! frame that was being written as it was or as it was to be. From its creation on every sector is
//! whole, blank ones have sequence 0: so what was not written (an older sector) differs from what
//! was damaged, zeroed or exchanged. A frame that was not written whole was acknowledged to nobody
//! and ends the journal; damage is refused.
//!
//! Invariant: the newest frame before a settlement stays until a newer one takes its place, so a
//! file that holds neither is an older copy. What cannot be told: that the newest frames of all were
//! never written, although the disk said so.

use bytes::{Buf, BufMut};
use serde::{Deserialize, Serialize};

use crate::error::OpenError;

/// Bytes of the file, unless told otherwise: what the databases are given between two syncs, about
/// (see `disk::sled`).
pub(crate) const JOURNAL_BYTES: usize = 1 << 20;

/// Bytes of the largest file: its sectors are counted in 16 bits.
const JOURNAL_BYTES_MAX: usize = 16 << 20;

/// What a disk writes as a whole or not at all.
pub(crate) const SECTOR_BYTES: usize = 512;

/// Frames begin at multiples of this, so that no sector is written again, nor the memory page or
/// the physical sector around it, while the frame in it counts.
const PAGE_BYTES: usize = 4096;

const VERSION: u8 = 2;
const HEADER_BYTES: usize = 27;
const PAYLOAD_BYTES: usize = SECTOR_BYTES - HEADER_BYTES;

/// Which journal goes with a durability record.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Mark {
    /// The id in its sectors.
    pub(crate) id: u64,
    /// Bytes of the file.
    pub(crate) bytes: u32,
    /// The last frame written to it; 0: none was.
    pub(crate) frame: u64,
}

impl Mark {
    /// Of a new journal with so many bytes, rounded up to what is possible.
    pub(crate) fn new(id: u64, bytes: usize) -> Self {
        let bytes = bytes.clamp(PAGE_BYTES, JOURNAL_BYTES_MAX).next_multiple_of(PAGE_BYTES);
        Self { id, bytes: u32::try_from(bytes).expect("clamped"), frame: 0 }
    }

    /// Bytes of the file.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes as usize
    }

    /// The file without a frame.
    pub(crate) fn blank(&self) -> Vec<u8> {
        let mut file = Vec::with_capacity(self.bytes());
        while file.len() < self.bytes() {
            put_sector(&mut file, &Sector { journal: self.id, ..Sector::default() });
        }
        file
    }

    /// Encodes a frame. The payload must fit into the file.
    pub(crate) fn encode(&self, sequence: u64, payload: &[u8]) -> Vec<u8> {
        let total = frame_bytes(payload.len());
        debug_assert!(total <= self.bytes());
        let small = |number: usize| u16::try_from(number).expect("the file has fewer sectors");
        let count = small(total / SECTOR_BYTES);
        let mut parts = payload.chunks(PAYLOAD_BYTES);
        let mut frame = Vec::with_capacity(total);
        for number in 0..count {
            let payload = parts.next().unwrap_or_default();
            put_sector(&mut frame, &Sector { journal: self.id, sequence, number, count, payload });
        }
        frame
    }
}

/// Bytes that a frame with so much payload takes in the file.
pub(crate) fn frame_bytes(payload: usize) -> usize {
    (payload.div_ceil(PAYLOAD_BYTES).max(1) * SECTOR_BYTES).next_multiple_of(PAGE_BYTES)
}

/// A sector that is what was written.
#[derive(Default)]
struct Sector<'a> {
    journal: u64,
    /// Of its frame; 0: blank.
    sequence: u64,
    /// Its place in the frame.
    number: u16,
    /// The sectors of the frame.
    count: u16,
    payload: &'a [u8],
}

fn put_sector(to: &mut Vec<u8>, sector: &Sector<'_>) {
    let start = to.len();
    to.put_u32_le(0);
    to.put_u8(VERSION);
    to.put_u64_le(sector.journal);
    to.put_u64_le(sector.sequence);
    to.put_u16_le(sector.number);
    to.put_u16_le(sector.count);
    to.put_u16_le(u16::try_from(sector.payload.len()).expect("it fits into a sector"));
    to.put_slice(sector.payload);
    to.resize(start + SECTOR_BYTES, 0);
    let sum = crc32fast::hash(&to[start + 4..]);
    to[start..start + 4].copy_from_slice(&sum.to_le_bytes());
}

/// Why a sector is not one of this journal.
enum Fault {
    Damaged,
    Version(u8),
    Foreign,
}

impl Fault {
    /// What it means for the sector at this byte.
    fn at(&self, at: usize) -> OpenError {
        match self {
            Self::Damaged => OpenError::Damaged(format!("the journal is damaged at byte {at}")),
            Self::Version(version) => OpenError::Format(format!(
                "the journal is of version {version}, this build reads version {VERSION}"
            )),
            Self::Foreign => {
                OpenError::Damaged("the journal belongs to another data directory".into())
            }
        }
    }
}

/// Reads a sector, of whichever journal.
fn any_sector(whole: &[u8]) -> Result<Sector<'_>, Fault> {
    let mut rest = whole;
    if rest.try_get_u32_le().ok() != whole.get(4..).map(crc32fast::hash) {
        return Err(Fault::Damaged);
    }
    let version = rest.try_get_u8().map_err(|_| Fault::Damaged)?;
    if version != VERSION {
        return Err(Fault::Version(version));
    }
    let (journal, sequence) = (rest.get_u64_le(), rest.get_u64_le());
    let (number, count, used) = (rest.get_u16_le(), rest.get_u16_le(), rest.get_u16_le());
    let payload = &rest[..usize::from(used).min(rest.len())];
    Ok(Sector { journal, sequence, number, count, payload })
}

/// Whether anything was ever written to a journal for which there is no record.
pub(crate) fn holds_frames(bytes: &[u8]) -> bool {
    bytes.chunks_exact(SECTOR_BYTES).any(|whole| match any_sector(whole) {
        Ok(sector) => sector.sequence > 0,
        Err(fault) => matches!(fault, Fault::Version(_)),
    })
}

/// The payloads of the frames after `settled`, in order.
///
/// # Errors
/// What is damaged or missing, for a person.
pub(crate) fn scan(bytes: &[u8], mark: &Mark, settled: u64) -> Result<Vec<Vec<u8>>, OpenError> {
    let file = File { bytes, mark };
    let (mut at, mut payloads) = (0, Vec::new());
    let mut expected = settled + 1;
    while let Some(payload) = file.frame(at, expected)? {
        at += frame_bytes(payload.len());
        expected += 1;
        payloads.push(payload);
    }
    file.check_rest(at, expected)?;
    Ok(payloads)
}

/// The file, and what is known of it.
struct File<'a> {
    bytes: &'a [u8],
    mark: &'a Mark,
}

impl File<'_> {
    fn sector(&self, at: usize) -> Result<Sector<'_>, Fault> {
        let sector = any_sector(&self.bytes[at..at + SECTOR_BYTES])?;
        if sector.journal == self.mark.id { Ok(sector) } else { Err(Fault::Foreign) }
    }

    /// The payload of a frame. None: it was not written, or not whole.
    fn frame(&self, at: usize, sequence: u64) -> Result<Option<Vec<u8>>, OpenError> {
        if at + PAGE_BYTES > self.bytes.len() {
            return Ok(None);
        }
        let first = self.sector(at).map_err(|fault| fault.at(at))?;
        if first.sequence != sequence {
            return Ok(None);
        }
        let bytes = usize::from(first.count) * SECTOR_BYTES;
        if first.number != 0
            || bytes == 0
            || !bytes.is_multiple_of(PAGE_BYTES)
            || bytes > self.bytes.len() - at
        {
            return Err(Fault::Damaged.at(at));
        }
        let mut payload = first.payload.to_vec();
        for number in 1..first.count {
            let place = at + usize::from(number) * SECTOR_BYTES;
            let next = self.sector(place).map_err(|fault| fault.at(place))?;
            if next.sequence < sequence {
                return Ok(None);
            }
            if (next.sequence, next.number, next.count) != (sequence, number, first.count) {
                return Err(Fault::Damaged.at(place));
            }
            payload.extend_from_slice(next.payload);
        }
        // Where the next frame begins follows from the payload.
        if frame_bytes(payload.len()) == bytes {
            Ok(Some(payload))
        } else {
            Err(Fault::Damaged.at(at))
        }
    }

    /// Checks what is after the last whole frame: at most a part of frame `expected`, which was the
    /// last one ever written, and frames older than that.
    fn check_rest(&self, end: usize, expected: u64) -> Result<(), OpenError> {
        let mut newest = if end == 0 { 0 } else { expected - 1 };
        for page in (end..self.bytes.len()).step_by(PAGE_BYTES) {
            let sector = match self.sector(page) {
                Ok(sector) => sector,
                // It is not read any more.
                Err(Fault::Damaged) => continue,
                Err(fault) => return Err(fault.at(page)),
            };
            let in_place = usize::from(sector.number) * SECTOR_BYTES == page - end;
            if sector.sequence > expected || (sector.sequence == expected && !in_place) {
                return Err(OpenError::Damaged(format!(
                    "the journal or the durability record lost something: frame {expected} is \
                     missing, a part of frame {} is there",
                    sector.sequence
                )));
            }
            newest = newest.max(sector.sequence);
        }
        if newest < self.mark.frame {
            return Err(OpenError::Damaged(format!(
                "the journal is older than the durability record: frame {} was written to it, its \
                 newest one is {newest}",
                self.mark.frame
            )));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MARK: Mark = Mark { id: 0x0908_0706_0504_0302, bytes: 1 << 16, frame: 0 };

    /// Writes these frames, one after the other, over what was there.
    fn write(file: &mut [u8], first: u64, payloads: &[Vec<u8>]) -> usize {
        let mut at = 0;
        for (sequence, payload) in (first..).zip(payloads) {
            let frame = MARK.encode(sequence, payload);
            assert_eq!(frame.len(), frame_bytes(payload.len()));
            file[at..at + frame.len()].copy_from_slice(&frame);
            at += frame.len();
        }
        at
    }

    fn payloads() -> Vec<Vec<u8>> {
        [0, 1, PAYLOAD_BYTES, PAYLOAD_BYTES + 1, 10_000, 3].map(|size| vec![7; size]).into()
    }

    fn scanned(file: &[u8], settled: u64) -> Result<Vec<Vec<u8>>, String> {
        scan(file, &MARK, settled).map_err(|error| error.to_string())
    }

    fn refused(file: &[u8], settled: u64, why: &str) {
        let found = scanned(file, settled);
        assert!(found.as_ref().is_err_and(|found| found.contains(why)), "{found:?}");
    }

    #[test]
    fn frames_come_back_and_older_ones_do_not() {
        let mut file = MARK.blank();
        assert_eq!(file.len(), 1 << 16);
        assert_eq!(scanned(&file, 0), Ok(Vec::new()));
        let end = write(&mut file, 5, &payloads());
        assert_eq!(scanned(&file, 4), Ok(payloads()));
        // Settled with 11: all of it is older.
        assert_eq!(scanned(&file, 11), Ok(Vec::new()));
        let newer = vec![vec![1; 600], vec![2; 20]];
        assert!(write(&mut file, 12, &newer) < end);
        assert_eq!(scanned(&file, 11), Ok(newer));
    }

    #[test]
    fn a_full_file_is_read_to_its_end() {
        let mut file = MARK.blank();
        let full = vec![vec![1; 20]; 16];
        assert_eq!(write(&mut file, 1, &full), file.len());
        assert_eq!(scanned(&file, 0), Ok(full));
        let one = vec![vec![1; 128 * PAYLOAD_BYTES]];
        assert_eq!(write(&mut file, 17, &one), file.len());
        assert_eq!(scanned(&file, 16), Ok(one));
    }

    /// Any subset of the sectors of the last frame was written: it is whole, or it is not there.
    #[test]
    fn a_torn_frame_ends_the_journal() {
        for older in [MARK.blank(), {
            let mut file = MARK.blank();
            write(&mut file, 1, &vec![vec![9; 9000]; 4]);
            file
        }] {
            let mut before = older;
            let first = write(&mut before, 7, &[vec![1; 900]]);
            // The last of its sectors, and those between, are written or not.
            let torn = MARK.encode(8, &vec![2; 5000]);
            let places = [0, 1, 2, 7, 8, 9, 10, 15];
            for written in 0..1u32 << places.len() {
                let mut file = before.clone();
                for (bit, sector) in places.into_iter().enumerate() {
                    let more = if sector == 2 { 2..7 } else { sector..sector + 1 };
                    let more = if sector == 10 { 10..15 } else { more };
                    if written & (1 << bit) != 0 {
                        let range = more.start * SECTOR_BYTES..more.end * SECTOR_BYTES;
                        file[first + range.start..first + range.end].copy_from_slice(&torn[range]);
                    }
                }
                let whole = written == (1 << places.len()) - 1;
                let expected = [Some(vec![1; 900]), whole.then(|| vec![2; 5000])];
                assert_eq!(scanned(&file, 6), Ok(expected.into_iter().flatten().collect()));
            }
        }
    }

    /// One flipped bit anywhere in a frame that counts is refused, wherever it is.
    #[test]
    fn damage_is_refused() {
        let mut file = MARK.blank();
        let end = write(&mut file, 3, &[vec![1; 700], vec![2; 10]]);
        for at in (0..end).step_by(3) {
            let mut flipped = file.clone();
            flipped[at] ^= 1 << (at % 8);
            refused(&flipped, 2, "damaged at byte");
        }
        for sector in 0..end / SECTOR_BYTES {
            let mut zeroed = file.clone();
            zeroed[sector * SECTOR_BYTES..(sector + 1) * SECTOR_BYTES].fill(0);
            refused(&zeroed, 2, "damaged at byte");
        }
    }

    #[test]
    fn a_frame_that_is_missing_before_others_is_noticed() {
        let mut file = MARK.blank();
        write(&mut file, 3, &vec![vec![1; 20]; 4]);
        // The newest record was lost: an older one speaks.
        refused(&file, 1, "frame 2 is missing");
        // A write in the middle was lost.
        file[PAGE_BYTES..2 * PAGE_BYTES].copy_from_slice(&MARK.blank()[..PAGE_BYTES]);
        refused(&file, 2, "frame 4 is missing");
    }

    /// Frames in another order than they were written, the last one too.
    #[test]
    fn exchanged_pages_are_noticed() {
        let mut file = MARK.blank();
        write(&mut file, 1, &vec![vec![9; 20]; 9]);
        write(&mut file, 10, &[vec![1; 20], vec![1; 5000], vec![1; 20]]);
        for (a, b) in [(0, 1), (0, 2), (1, 2), (1, 3), (2, 3), (3, 4), (3, 8), (0, 9), (3, 9)] {
            let mut exchanged = file.clone();
            let (low, high) = exchanged.split_at_mut(b * PAGE_BYTES);
            low[a * PAGE_BYTES..(a + 1) * PAGE_BYTES].swap_with_slice(&mut high[..PAGE_BYTES]);
            assert!(scanned(&exchanged, 9).is_err(), "pages {a} and {b}");
        }
    }

    /// The last frame before the settlement must be there, or one after it, be it a part of one.
    #[test]
    fn an_older_copy_is_noticed() {
        let mut file = MARK.blank();
        let scan = |file: &[u8], frame| {
            let found = scan(file, &Mark { frame, ..MARK }, 20);
            found.map(|frames| frames.len()).map_err(|error| error.to_string())
        };
        assert_eq!(scan(&file, 0), Ok(0));
        assert!(scan(&file, 1).is_err());
        write(&mut file, 10, &vec![vec![9; 20]; 9]);
        assert_eq!(scan(&file, 18), Ok(0));
        assert!(scan(&file, 19).is_err_and(|why| why.contains("older than the durability record")));
        write(&mut file, 19, &[vec![9; 20]]);
        assert_eq!(scan(&file, 19), Ok(0));
        let next = MARK.encode(21, &[3; 20]);
        file[..SECTOR_BYTES].copy_from_slice(&next[..SECTOR_BYTES]);
        assert_eq!(scan(&file, 19), Ok(0));
        file[..next.len()].copy_from_slice(&next);
        assert_eq!(scan(&file, 19), Ok(1));
    }

    #[test]
    fn other_journals_and_versions_are_named() {
        let mut file = MARK.blank();
        write(&mut file, 1, &payloads());
        for settled in [0, 3, 6, 99] {
            let other = scan(&file, &Mark { id: 1, ..MARK }, settled).unwrap_err();
            assert!(other.to_string().contains("another data directory"), "{other}");
        }
        file[4] = 1;
        let sum = crc32fast::hash(&file[4..SECTOR_BYTES]);
        file[..4].copy_from_slice(&sum.to_le_bytes());
        let older = scan(&file, &MARK, 0).unwrap_err();
        assert!(matches!(&older, OpenError::Format(why) if why.contains("version 1")), "{older}");
        assert!(holds_frames(&file[..SECTOR_BYTES]));
    }

    /// What a crash leaves of a file that was being created is nothing.
    #[test]
    fn a_file_that_was_being_created_holds_no_frames() {
        let mut file = MARK.blank();
        assert!(!holds_frames(&file) && !holds_frames(&file[..700]) && !holds_frames(&[0; 5000]));
        write(&mut file, 1, &[vec![1]]);
        assert!(holds_frames(&file));
    }

    #[test]
    fn sizes_are_rounded_to_what_is_possible() {
        let sizes = [0, 4096, 4097, usize::MAX].map(|bytes| Mark::new(1, bytes).bytes());
        assert_eq!(sizes, [4096, 4096, 8192, 16 << 20]);
    }

    #[test]
    fn golden_bytes() {
        let frame = MARK.encode(0x0102, b"abc");
        assert_eq!(frame.len(), PAGE_BYTES);
        assert_eq!(frame[..32], *GOLDEN);
        assert!(frame[32..SECTOR_BYTES].iter().all(|&byte| byte == 0));
        assert_eq!(frame[SECTOR_BYTES..][..32], *GOLDEN_SECOND);
        assert_eq!(MARK.blank()[SECTOR_BYTES..][..32], *GOLDEN_BLANK);
    }

    const GOLDEN: &[u8; 32] =
        b"\x14s\xfdn\x02\x02\x03\x04\x05\x06\x07\x08\x09\x02\x01\0\0\0\0\0\0\0\0\x08\0\x03\0abc\0\0";
    const GOLDEN_SECOND: &[u8; 32] =
        b"\x01\xd1\x58\xd5\x02\x02\x03\x04\x05\x06\x07\x08\x09\x02\x01\0\0\0\0\0\0\x01\0\x08\0\0\0\0\0\0\0\0";
    const GOLDEN_BLANK: &[u8; 32] =
        b"\x41ln\xc5\x02\x02\x03\x04\x05\x06\x07\x08\x09\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";

    proptest::proptest! {
        /// Any bytes are read or refused, never a panic.
        #[test]
        fn any_bytes_are_read_or_refused(sectors: Vec<(u8, u64, u16, u16, u16)>) {
            let mut file = Vec::new();
            for (version, sequence, number, count, used) in sectors {
                let mut sector = vec![0; 4];
                sector.put_u8(version % 4);
                sector.put_u64_le(MARK.id);
                sector.put_u64_le(sequence % 4);
                sector.put_u16_le(number % 4);
                sector.put_u16_le(count % 20);
                sector.put_u16_le(used);
                sector.resize(SECTOR_BYTES, 5);
                let sum = crc32fast::hash(&sector[4..]);
                sector[..4].copy_from_slice(&sum.to_le_bytes());
                file.extend(sector);
            }
            file.resize(file.len().next_multiple_of(PAGE_BYTES), 0);
            let _ = scan(&file, &MARK, 0);
            let _ = holds_frames(&file);
        }
    }
}
