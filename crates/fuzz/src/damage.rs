//! Ways to damage an encoding, drawn by proptest so that a failure becomes as small as it can be.

use proptest::{collection::vec, prelude::*, sample::Index};

/// Most changes to one sample. Few leave more of what follows as it was.
const CHANGES_MAX: usize = 6;
const FEW: usize = 2;

/// Most bytes of an input that is no encoding.
const NOISE_BYTES_MAX: usize = 300;

/// What a decoder is given.
#[derive(Debug, Clone)]
pub(crate) enum Input {
    /// A sample with changes to it, in this order.
    Damaged { sample: Index, changes: Vec<Change>, repair: bool },
    /// Any bytes.
    Noise { bytes: Vec<u8>, repair: bool },
}

/// One change. Places are relative to the length that there is.
#[derive(Debug, Clone)]
pub(crate) enum Change {
    /// One bit is flipped.
    Flip { at: Index, bit: u8 },
    /// One byte becomes another.
    Set { at: Index, to: u8 },
    /// A number of 1, 2, 4 or 8 bytes, little-endian, becomes another: as lengths and counts are.
    Number { at: Index, bytes: usize, to: u64 },
    /// A number behind its mark, as bincode writes lengths that do not fit into a byte.
    Marked { at: Index, mark: u8, to: u64 },
    /// It ends here.
    Cut { at: Index },
    /// Some bytes are gone.
    Remove { at: Index, length: usize },
    /// Some bytes are there twice.
    Repeat { at: Index, length: usize, times: usize },
    /// Bytes that were not there.
    Insert { at: Index, bytes: Vec<u8> },
    /// It goes on as another sample does.
    Splice { at: Index, sample: Index, from: Index },
}

pub(crate) fn inputs() -> impl Strategy<Value = Input> {
    let changes = prop_oneof![
        2 => vec(change(), 1..=FEW),
        1 => vec(change(), FEW + 1..=CHANGES_MAX),
    ];
    let damaged = (any::<Index>(), changes, any::<bool>())
        .prop_map(|(sample, changes, repair)| Input::Damaged { sample, changes, repair });
    let noise = (vec(any::<u8>(), 0..NOISE_BYTES_MAX), any::<bool>())
        .prop_map(|(bytes, repair)| Input::Noise { bytes, repair });
    prop_oneof![9 => damaged, 1 => noise]
}

/// Numbers at which decoders err: small ones, and those next to what a type can hold.
fn number() -> impl Strategy<Value = u64> {
    let edges = [0, 1, 127, 128, 250, 255, 256, 65_535, 65_536, 1 << 24, (1 << 31) - 1, 1 << 31];
    let large = [u32::MAX.into(), 1 << 32, 1 << 40, i64::MAX as u64, 1 << 63, u64::MAX];
    let edges: Vec<u64> = edges.into_iter().chain(large).collect();
    prop_oneof![prop::sample::select(edges), any::<u64>(), 0..2_000_u64]
}

fn change() -> impl Strategy<Value = Change> {
    let at = any::<Index>;
    prop_oneof![
        (at(), 0..8_u8).prop_map(|(at, bit)| Change::Flip { at, bit }),
        (at(), any::<u8>()).prop_map(|(at, to)| Change::Set { at, to }),
        (at(), prop::sample::select(vec![1, 2, 4, 8]), number())
            .prop_map(|(at, bytes, to)| Change::Number { at, bytes, to }),
        (at(), 251..=253_u8, number()).prop_map(|(at, mark, to)| Change::Marked { at, mark, to }),
        at().prop_map(|at| Change::Cut { at }),
        (at(), 1..40_usize).prop_map(|(at, length)| Change::Remove { at, length }),
        (at(), 1..80_usize, 1..4_usize).prop_map(|(at, length, times)| Change::Repeat {
            at,
            length,
            times
        }),
        (at(), vec(any::<u8>(), 1..20)).prop_map(|(at, bytes)| Change::Insert { at, bytes }),
        (at(), at(), at()).prop_map(|(at, sample, from)| Change::Splice { at, sample, from }),
    ]
}

impl Input {
    /// The bytes, and whether checksums are to be made right again.
    pub(crate) fn bytes(&self, samples: &[Vec<u8>]) -> (Vec<u8>, bool) {
        match self {
            Self::Noise { bytes, repair } => (bytes.clone(), *repair),
            Self::Damaged { sample, changes, repair } => {
                let mut bytes = sample.get(samples).clone();
                changes.iter().for_each(|change| change.apply(&mut bytes, samples));
                (bytes, *repair)
            }
        }
    }
}

impl Change {
    fn apply(&self, bytes: &mut Vec<u8>, samples: &[Vec<u8>]) {
        let place = |at: &Index| at.index(bytes.len() + 1);
        match self {
            Self::Flip { at, bit } => {
                let at = place(at);
                bytes.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= 1 << bit);
            }
            Self::Set { at, to } => {
                let at = place(at);
                bytes.iter_mut().skip(at).take(1).for_each(|byte| *byte = *to);
            }
            Self::Number { at, bytes: length, to } => {
                let at = place(at);
                let number = to.to_le_bytes();
                let there = bytes.iter_mut().skip(at);
                there.zip(number).take(*length).for_each(|(byte, to)| *byte = to);
            }
            Self::Marked { at, mark, to } => {
                let at = place(at);
                let length = 2 << (mark - 251);
                let number = [&[*mark][..], &to.to_le_bytes()[..length]].concat();
                let end = (at + 1).min(bytes.len());
                bytes.splice(at..end, number);
            }
            Self::Cut { at } => bytes.truncate(place(at)),
            Self::Remove { at, length } => {
                let at = place(at);
                bytes.drain(at..(at + length).min(bytes.len()));
            }
            Self::Repeat { at, length, times } => {
                let at = place(at);
                let part = bytes[at..(at + length).min(bytes.len())].repeat(*times);
                bytes.splice(at..at, part);
            }
            Self::Insert { at, bytes: new } => {
                let at = place(at);
                bytes.splice(at..at, new.iter().copied());
            }
            Self::Splice { at, sample, from } => {
                let other = sample.get(samples);
                bytes.truncate(place(at));
                bytes.extend_from_slice(&other[from.index(other.len() + 1)..]);
            }
        }
    }
}
