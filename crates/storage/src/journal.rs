//! The journal: what was acknowledged since the databases were last synced, as bytes.
//!
//! A file of fixed size, overwritten from its beginning after each settlement (see
//! [`crate::durability`]). Since its blocks are allocated and written once at creation, a barrier
//! of it is one write in place and one flush of the device; no metadata changes.
//!
//! ```text
//! file:   frame | frame | frame | what is left of older frames
//! frame:  sector of 512 bytes*, padded to a multiple of 4096 bytes
//! sector: crc32 u32 of what follows | version u8 | sequence u64 | number u16 | count u16 | used u16 | payload
//! ```
//!
//! All numbers are little-endian. A crash leaves each sector of a frame that was being written as it
//! was or as it was to be: every sector has its own checksum, so what was not written (an older
//! sector, or zeros) differs from what was damaged. A frame that was not written whole was
//! acknowledged to nobody and ends the journal; damage is refused.

use bytes::{Buf, BufMut};

/// Bytes of the file: what the databases are given between two syncs, about (see `disk::sled`).
pub(crate) const JOURNAL_BYTES: usize = 1 << 20;

/// What a disk writes as a whole or not at all.
pub(crate) const SECTOR_BYTES: usize = 512;

/// Frames begin at multiples of this, so that no sector is written again, nor the memory page or
/// the physical sector around it, while the frame in it counts.
const PAGE_BYTES: usize = 4096;

const VERSION: u8 = 1;
const HEADER_BYTES: usize = 19;
const PAYLOAD_BYTES: usize = SECTOR_BYTES - HEADER_BYTES;

/// Bytes that a frame with so much payload takes in the file.
pub(crate) fn frame_bytes(payload: usize) -> usize {
    (payload.div_ceil(PAYLOAD_BYTES).max(1) * SECTOR_BYTES).next_multiple_of(PAGE_BYTES)
}

/// Encodes a frame. The payload must fit into the file.
pub(crate) fn encode(sequence: u64, payload: &[u8]) -> Vec<u8> {
    let total = frame_bytes(payload.len());
    debug_assert!(total <= JOURNAL_BYTES);
    let count = payload.len().div_ceil(PAYLOAD_BYTES).max(1);
    let small = |number: usize| u16::try_from(number).expect("the file has fewer sectors");
    let mut frame = Vec::with_capacity(total);
    for number in 0..count {
        let start = frame.len();
        let rest = &payload[number * PAYLOAD_BYTES..];
        let part = &rest[..rest.len().min(PAYLOAD_BYTES)];
        frame.put_u32_le(0);
        frame.put_u8(VERSION);
        frame.put_u64_le(sequence);
        frame.put_u16_le(small(number));
        frame.put_u16_le(small(count));
        frame.put_u16_le(small(part.len()));
        frame.put_slice(part);
        frame.resize(start + SECTOR_BYTES, 0);
        let sum = crc32fast::hash(&frame[start + 4..]);
        frame[start..start + 4].copy_from_slice(&sum.to_le_bytes());
    }
    frame.resize(total, 0);
    frame
}

/// A sector that is what was written.
struct Sector<'a> {
    sequence: u64,
    number: u16,
    count: u16,
    payload: &'a [u8],
}

/// Reads a sector. None: never written.
fn sector(bytes: &[u8], at: usize) -> Result<Option<Sector<'_>>, String> {
    let whole = &bytes[at..at + SECTOR_BYTES];
    if whole.iter().all(|&byte| byte == 0) {
        return Ok(None);
    }
    let mut rest = whole;
    if rest.get_u32_le() != crc32fast::hash(&whole[4..]) {
        return Err(format!("the journal is damaged at byte {at}"));
    }
    let version = rest.get_u8();
    if version != VERSION {
        return Err(format!("the journal is of format version {version}"));
    }
    let sequence = rest.get_u64_le();
    let (number, count, used) = (rest.get_u16_le(), rest.get_u16_le(), rest.get_u16_le());
    let payload = &rest[..usize::from(used).min(rest.len())];
    Ok(Some(Sector { sequence, number, count, payload }))
}

/// The payloads of the frames after `settled`, in order.
///
/// # Errors
/// What is damaged or missing, for a person.
pub(crate) fn scan(bytes: &[u8], settled: u64) -> Result<Vec<Vec<u8>>, String> {
    let (mut at, mut expected, mut payloads) = (0, settled + 1, Vec::new());
    while let Some(payload) = frame(bytes, at, expected)? {
        at += frame_bytes(payload.len());
        expected += 1;
        payloads.push(payload);
    }
    // The one that ends the journal was the last one ever written.
    for page in (at..bytes.len()).step_by(PAGE_BYTES) {
        let Ok(Some(sector)) = sector(bytes, page) else { continue };
        if sector.sequence > expected {
            return Err(format!(
                "the journal or the durability record lost something: frame {expected} is missing, \
                 frame {} is there",
                sector.sequence
            ));
        }
    }
    Ok(payloads)
}

/// The payload of a frame. None: it was not written, or not whole.
fn frame(bytes: &[u8], at: usize, sequence: u64) -> Result<Option<Vec<u8>>, String> {
    if at + PAGE_BYTES > bytes.len() {
        return Ok(None);
    }
    let Some(first) = sector(bytes, at)?.filter(|first| first.sequence == sequence) else {
        return Ok(None);
    };
    let count = usize::from(first.count);
    if first.number != 0 || count == 0 || at + count * SECTOR_BYTES > bytes.len() {
        return Err(format!("the journal is damaged at byte {at}"));
    }
    let mut payload = first.payload.to_vec();
    for number in 1..count {
        let next = sector(bytes, at + number * SECTOR_BYTES)?;
        match next.filter(|next| next.sequence == sequence) {
            Some(next) if usize::from(next.number) == number && next.count == first.count => {
                payload.extend_from_slice(next.payload);
            }
            Some(_) => return Err(format!("the journal is damaged in frame {sequence}")),
            None => return Ok(None),
        }
    }
    Ok(Some(payload))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file with these frames, one after the other, over what was there.
    fn write(file: &mut [u8], first: u64, payloads: &[Vec<u8>]) -> usize {
        let mut at = 0;
        for (sequence, payload) in (first..).zip(payloads) {
            let frame = encode(sequence, payload);
            assert_eq!(frame.len(), frame_bytes(payload.len()));
            file[at..at + frame.len()].copy_from_slice(&frame);
            at += frame.len();
        }
        at
    }

    fn payloads() -> Vec<Vec<u8>> {
        [0, 1, PAYLOAD_BYTES, PAYLOAD_BYTES + 1, 10_000, 3].map(|size| vec![7; size]).into()
    }

    #[test]
    fn frames_come_back_and_older_ones_do_not() {
        let mut file = vec![0; 1 << 16];
        assert_eq!(scan(&file, 0), Ok(Vec::new()));
        let end = write(&mut file, 5, &payloads());
        assert_eq!(scan(&file, 4), Ok(payloads()));
        // Settled with 10: all of it is older.
        assert_eq!(scan(&file, 10), Ok(Vec::new()));
        let newer = vec![vec![1; 600], vec![2; 20]];
        assert!(write(&mut file, 12, &newer) < end);
        assert_eq!(scan(&file, 11), Ok(newer));
    }

    #[test]
    fn a_full_file_is_read_to_its_end() {
        let mut file = vec![0; 4 * PAGE_BYTES];
        let full = vec![vec![1; 20]; 4];
        write(&mut file, 1, &full);
        assert_eq!(scan(&file, 0), Ok(full));
    }

    /// Any subset of the sectors of the last frame was written: it is whole, or it is not there.
    #[test]
    fn a_torn_frame_ends_the_journal() {
        let mut before = vec![0; 1 << 16];
        write(&mut before, 1, &vec![vec![9; 9000]; 4]);
        let first = write(&mut before, 7, &[vec![1; 900]]);
        let torn = encode(8, &vec![2; 2500]);
        let sectors = torn.len().min(6 * SECTOR_BYTES) / SECTOR_BYTES;
        for written in 0..1u32 << sectors {
            let mut file = before.clone();
            for sector in (0..sectors).filter(|sector| written & (1 << sector) != 0) {
                let range = sector * SECTOR_BYTES..(sector + 1) * SECTOR_BYTES;
                file[first + range.start..first + range.end].copy_from_slice(&torn[range]);
            }
            let whole = written == (1 << sectors) - 1;
            let expected = [Some(vec![1; 900]), whole.then(|| vec![2; 2500])];
            assert_eq!(scan(&file, 6), Ok(expected.into_iter().flatten().collect()));
        }
    }

    /// One flipped bit anywhere in a frame that counts is refused, wherever it is.
    #[test]
    fn damage_is_refused() {
        let mut file = vec![0; 1 << 14];
        let end = write(&mut file, 3, &[vec![1; 700], vec![2; 10]]);
        for at in 0..end {
            for bit in 0..8 {
                let mut flipped = file.clone();
                flipped[at] ^= 1 << bit;
                let padding = sector(&file, at / SECTOR_BYTES * SECTOR_BYTES).unwrap().is_none();
                let expected = if padding { Ok(2) } else { Err(()) };
                let found = scan(&flipped, 2).map(|frames| frames.len()).map_err(drop);
                assert_eq!(found, expected, "byte {at}, bit {bit}");
            }
        }
    }

    #[test]
    fn a_frame_that_is_missing_before_others_is_noticed() {
        let mut file = vec![0; 1 << 15];
        write(&mut file, 3, &vec![vec![1; 20]; 4]);
        // The newest record was lost: an older one speaks.
        assert!(scan(&file, 1).is_err_and(|why| why.contains("frame 2 is missing")));
        // A write in the middle was lost.
        file[PAGE_BYTES..2 * PAGE_BYTES].fill(0);
        assert!(scan(&file, 2).is_err_and(|why| why.contains("frame 4 is missing")));
    }

    #[test]
    fn golden_bytes() {
        let frame = encode(0x0102, b"abc");
        assert_eq!(frame[..24], *GOLDEN);
        assert!(frame[24..].iter().all(|&byte| byte == 0));
    }

    const GOLDEN: &[u8; 24] = b"\x3e\x0d\x2b\x7a\x01\x02\x01\0\0\0\0\0\0\0\0\x01\0\x03\0abc\0\0";

    proptest::proptest! {
        /// Any bytes are read or refused, never a panic.
        #[test]
        fn any_bytes_are_read_or_refused(sectors: Vec<(u8, u64, u16, u16, u16)>) {
            let mut file = Vec::new();
            for (version, sequence, number, count, used) in sectors {
                let mut sector = vec![0; 4];
                sector.put_u8(version % 3);
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
            let _ = scan(&file, 0);
        }
    }
}
