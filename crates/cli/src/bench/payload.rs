//! What a measurement writes, so that whoever reads it back can tell whether it is right.
//!
//! A value is text: its sequence number as 16 hex digits, then a filler that does not compress
//! well, cut to the size that was asked for. Pure.

use bytes::{Bytes, BytesMut};

/// How many bytes the sequence number takes.
pub(crate) const SEQUENCE_BYTES: usize = 16;

/// Makes values of one size, and checks them.
#[derive(Debug, Clone)]
pub(crate) struct Payload {
    filler: Bytes,
    size: usize,
}

impl Payload {
    /// Values of `size` bytes.
    pub(crate) fn new(size: u32) -> Self {
        let size = size as usize;
        // A linear congruential generator (Knuth, MMIX): the same filler every time.
        let mut state = 0x9e37_79b9_u64;
        let filler = (0..size.saturating_sub(SEQUENCE_BYTES))
            .map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                b'a' + (state >> 33).to_le_bytes()[0] % 26
            })
            .collect();
        Self { filler, size }
    }

    /// The value of a sequence number.
    pub(crate) fn value(&self, sequence: u64) -> Bytes {
        let mut value = BytesMut::with_capacity(self.size.max(SEQUENCE_BYTES));
        value.extend_from_slice(&hex(sequence));
        value.extend_from_slice(&self.filler);
        value.truncate(self.size);
        value.freeze()
    }

    /// The sequence number of a value of at least [`SEQUENCE_BYTES`]; None when the value is not
    /// one that [`Self::value`] makes.
    pub(crate) fn sequence(&self, value: &[u8]) -> Option<u64> {
        let (digits, filler) = value.split_at_checked(SEQUENCE_BYTES)?;
        if filler != self.filler {
            return None;
        }
        digits.iter().try_fold(0_u64, |number, digit| {
            let digit = char::from(*digit).to_digit(16)?;
            Some(number << 4 | u64::from(digit))
        })
    }
}

fn hex(number: u64) -> [u8; SEQUENCE_BYTES] {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = [0; SEQUENCE_BYTES];
    for (index, byte) in number.to_be_bytes().into_iter().enumerate() {
        text[index * 2] = DIGITS[usize::from(byte >> 4)];
        text[index * 2 + 1] = DIGITS[usize::from(byte & 0xf)];
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_have_their_size_and_tell_their_sequence() {
        for size in [16, 17, 256, 4096] {
            let payload = Payload::new(size);
            for sequence in [0, 1, 0xdead_beef, u64::MAX] {
                let value = payload.value(sequence);
                assert_eq!(value.len(), size as usize);
                assert_eq!(payload.sequence(&value), Some(sequence));
            }
        }
        assert_eq!(Payload::new(256).value(7), Payload::new(256).value(7));
        assert_eq!(&Payload::new(20).value(0xab)[..16], b"00000000000000ab");
    }

    #[test]
    fn small_values_are_cut() {
        assert_eq!(Payload::new(0).value(1).len(), 0);
        assert_eq!(&Payload::new(3).value(1)[..], b"000");
    }

    #[test]
    fn a_damaged_value_is_noticed() {
        let payload = Payload::new(64);
        let value = payload.value(5).to_vec();
        let damaged = |index: usize| {
            let mut value = value.clone();
            value[index] ^= 0x80;
            payload.sequence(&value)
        };
        assert_eq!(damaged(3), None);
        assert_eq!(damaged(63), None);
        assert_eq!(payload.sequence(&value[..63]), None);
        assert_eq!(payload.sequence(b""), None);
    }
}
