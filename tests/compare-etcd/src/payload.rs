//! Values of one size that tell their sequence number: 16 hex digits, then filler.

use bytes::Bytes;

const DIGITS: usize = 16;

/// Makes values and recognises them.
#[derive(Debug, Clone)]
pub(crate) struct Payload {
    filler: String,
}

impl Payload {
    /// Values of `size` bytes, at least 16.
    pub(crate) fn new(size: usize) -> Self {
        let letters = ('a'..='z').cycle();
        Self { filler: letters.take(size.saturating_sub(DIGITS)).collect() }
    }

    pub(crate) fn value(&self, sequence: u64) -> Bytes {
        format!("{sequence:016x}{}", self.filler).into()
    }

    /// None: the value was not made by [`Self::value`].
    pub(crate) fn sequence(&self, value: &[u8]) -> Option<u64> {
        let (digits, filler) = std::str::from_utf8(value).ok()?.split_at_checked(DIGITS)?;
        if filler == self.filler { u64::from_str_radix(digits, 16).ok() } else { None }
    }
}

/// The n-th key.
pub(crate) fn key(number: u64) -> Bytes {
    format!("bench/{number:012}").into()
}

/// The range that holds all keys.
pub(crate) fn all_keys() -> (Bytes, Bytes) {
    (Bytes::from_static(b"bench/"), Bytes::from_static(b"bench0"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_tells_its_sequence_and_a_damaged_one_does_not() {
        let payload = Payload::new(256);
        let value = payload.value(0xbeef);
        assert_eq!((value.len(), payload.sequence(&value)), (256, Some(0xbeef)));
        assert_eq!(payload.sequence(&value[..255]), None);
        assert_eq!(payload.sequence(b"short"), None);
    }
}
