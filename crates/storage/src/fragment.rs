//! Values of any size in a database of small values: a value is kept as one or more pieces under
//! consecutive keys.
//!
//! ```text
//! key 0x0000 | total length, u32 | bytes ...
//! key 0x0001 | bytes ...
//! ```

use std::io;

use bytes::{Bytes, BytesMut};

use crate::disk::{Batch, Database, VALUE_BYTES_MAX};

/// Bytes of a piece. Leaves room in [`VALUE_BYTES_MAX`].
pub(crate) const PIECE_BYTES: usize = 64 << 10;
const _: () = assert!(PIECE_BYTES <= VALUE_BYTES_MAX);

/// Bytes of the length in front of the first piece.
const LENGTH_BYTES: usize = 4;

/// Bytes of a value that fit into one piece.
pub(crate) const SINGLE_BYTES: usize = PIECE_BYTES - LENGTH_BYTES;

/// The largest value.
pub(crate) const BYTES_MAX: usize = PIECE_BYTES * u16::MAX as usize - LENGTH_BYTES;

/// How many pieces a value of so many bytes has.
pub(crate) fn pieces(bytes: usize) -> u16 {
    let pieces = (bytes + LENGTH_BYTES).div_ceil(PIECE_BYTES);
    u16::try_from(pieces).expect("callers keep values within BYTES_MAX")
}

/// Adds a value to a batch.
///
/// # Errors
/// When it is larger than [`BYTES_MAX`].
pub(crate) fn put(batch: &mut Batch, key: &[u8], value: &[u8]) -> io::Result<u16> {
    let Some(length) = u32::try_from(value.len()).ok().filter(|_| value.len() <= BYTES_MAX) else {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "the value is too large to store"));
    };
    let count = pieces(value.len());
    let (first, mut rest) = value.split_at(value.len().min(SINGLE_BYTES));
    batch.put(piece_key(key, 0), Bytes::from([&length.to_le_bytes(), first].concat()));
    for number in 1..count {
        let (piece, more) = rest.split_at(rest.len().min(PIECE_BYTES));
        batch.put(piece_key(key, number), Bytes::copy_from_slice(piece));
        rest = more;
    }
    Ok(count)
}

/// Adds the deletion of a value of so many pieces to a batch.
pub(crate) fn delete(batch: &mut Batch, key: &[u8], pieces: u16) {
    for number in 0..pieces {
        batch.delete(piece_key(key, number));
    }
}

/// Reads a value; None when it, or a piece of it, is not there.
pub(crate) fn get(db: &dyn Database, key: &[u8]) -> io::Result<Option<Bytes>> {
    let Some(mut first) = db.get(&piece_key(key, 0))? else { return Ok(None) };
    let Some(length) = length(&mut first) else { return Ok(None) };
    let mut value = BytesMut::from(first);
    for number in 1..pieces(length) {
        match db.get(&piece_key(key, number))? {
            Some(piece) => value.extend_from_slice(&piece),
            None => return Ok(None),
        }
    }
    Ok((value.len() == length).then(|| value.freeze()))
}

/// A value found by [`scan`].
pub(crate) struct Found {
    /// Its key.
    pub(crate) key: Bytes,
    /// None: pieces are missing.
    pub(crate) value: Option<Bytes>,
    /// How many pieces there are.
    pub(crate) pieces: u16,
}

/// Calls `take` with every value whose key begins with `prefix`, in key order. All keys with the
/// prefix have the same length. Holds one value at a time.
pub(crate) fn scan<E: From<io::Error>>(
    db: &dyn Database,
    prefix: u8,
    mut take: impl FnMut(Found) -> Result<(), E>,
) -> Result<(), E> {
    let (mut from, to) = (vec![prefix], [prefix + 1]);
    let mut open: Option<(Bytes, Vec<Bytes>)> = None;
    loop {
        let page = db.scan(&from, &to, 16)?;
        let Some((last, _)) = page.last() else { break };
        from = [last, &[0][..]].concat();
        for (key, piece) in page {
            let key = key.slice(..key.len().saturating_sub(2));
            match &mut open {
                Some((open_key, pieces)) if *open_key == key => pieces.push(piece),
                _ => {
                    if let Some(done) = open.replace((key, vec![piece])) {
                        take(join(done))?;
                    }
                }
            }
        }
    }
    open.map_or(Ok(()), |last| take(join(last)))
}

fn join((key, mut parts): (Bytes, Vec<Bytes>)) -> Found {
    let count = u16::try_from(parts.len()).unwrap_or(u16::MAX);
    let length = length(&mut parts[0]);
    let value = if parts.len() == 1 { parts.remove(0) } else { parts.concat().into() };
    let value = length.filter(|&length| length == value.len()).map(|_| value);
    Found { key, value, pieces: count }
}

/// Takes the length off the first piece.
fn length(first: &mut Bytes) -> Option<usize> {
    let length = first.first_chunk::<LENGTH_BYTES>().copied()?;
    let _ = first.split_to(LENGTH_BYTES);
    let length = usize::try_from(u32::from_le_bytes(length)).ok()?;
    (length <= BYTES_MAX).then_some(length)
}

fn piece_key(key: &[u8], number: u16) -> Vec<u8> {
    [key, &number.to_be_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::{Disk, MemoryDisk};

    #[test]
    fn values_of_all_sizes_come_back() {
        let db = MemoryDisk::new().open("x").unwrap();
        let sizes = [0, 1, SINGLE_BYTES, SINGLE_BYTES + 1, SINGLE_BYTES + PIECE_BYTES, 300_000];
        for (n, size) in (0u8..).zip(sizes) {
            let mut batch = Batch::default();
            put(&mut batch, &[7, n], &vec![n; size]).unwrap();
            assert!(batch.changes.iter().all(|(_, v)| v.as_ref().unwrap().len() <= PIECE_BYTES));
            db.apply(batch).unwrap();
            assert_eq!(get(&*db, &[7, n]).unwrap().unwrap(), vec![n; size]);
        }
        let mut seen = Vec::new();
        scan::<io::Error>(&*db, 7, |found| {
            assert_eq!(found.pieces, pieces(found.value.as_ref().unwrap().len()));
            seen.push((found.key[1], found.value.unwrap().len()));
            Ok(())
        })
        .unwrap();
        assert_eq!(seen, (0u8..).zip(sizes).collect::<Vec<_>>());
    }

    #[test]
    fn a_missing_piece_is_noticed() {
        let db = MemoryDisk::new().open("x").unwrap();
        let mut batch = Batch::default();
        let count = put(&mut batch, b"a1", &vec![1; 3 * PIECE_BYTES]).unwrap();
        batch.delete(piece_key(b"a1", count - 1));
        db.apply(batch).unwrap();
        assert_eq!(get(&*db, b"a1").unwrap(), None);
        let mut missing = 0;
        scan::<io::Error>(&*db, b'a', |found| {
            missing += usize::from(found.value.is_none());
            Ok(())
        })
        .unwrap();
        assert_eq!(missing, 1);
    }
}
