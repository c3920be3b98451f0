//! Backup files from bytes that nobody wrote.

use quorate_core::State;
use quorate_fuzz::Target;
use xxhash_rust::xxh3::xxh3_64;

use super::{BackupError, BackupPieces, End, MAGIC, Origin, read};
use crate::checkpoint::{
    block::{self, Encoder, Kind},
    fuzz::{IDENTITY, repair as repair_block, state},
};

/// Where the first block begins, with its length.
const BLOCKS_AT: usize = MAGIC.len() + 2;
const LENGTH_BYTES: usize = 4;

fn backup(state: &State, origin: Origin) -> Vec<u8> {
    BackupPieces::new(state.clone(), origin).flat_map(|piece| piece.bytes.to_vec()).collect()
}

/// Makes right what follows from the rest: the length of a block that goes beyond the end, the
/// checksums of blocks, and what the end says of the whole.
fn repair(bytes: &mut Vec<u8>) {
    let (mut at, mut blocks) = (BLOCKS_AT, 0);
    while let Some(length) = bytes.get(at..).and_then(|rest| rest.first_chunk::<LENGTH_BYTES>()) {
        let (from, claimed) = (at + LENGTH_BYTES, u32::from_le_bytes(*length) as usize);
        let to = if claimed > bytes.len() - from { bytes.len() } else { from + claimed };
        let length = u32::try_from(to - from).unwrap();
        bytes[at..from].copy_from_slice(&length.to_le_bytes());
        if block::kind(&bytes[from..to]) == Some(Kind::BackupEnd) {
            let checksum = xxh3_64(&bytes[..at]);
            let mut encoder = Encoder::new(Kind::BackupEnd);
            encoder.push(&End { blocks, bytes: at as u64, checksum });
            let end = encoder.finish();
            bytes[at..from].copy_from_slice(&u32::try_from(end.len()).unwrap().to_le_bytes());
            bytes.splice(from..to, end);
            return;
        }
        repair_block(&mut bytes[from..to]);
        (at, blocks) = (to, blocks + 1);
    }
}

#[test]
fn backups() {
    let origin = || Origin {
        cluster_name: "tests".into(),
        taken_ms: 1_700_000_000_000,
        software: "0.1.0".into(),
    };
    let empty = State::new(IDENTITY);
    let samples = vec![backup(&state(), origin()), backup(&empty, origin())];
    for sample in &samples {
        let mut repaired = sample.clone();
        repair(&mut repaired);
        assert_eq!(&repaired, sample, "nothing is wrong with it");
    }
    let tried = Target::new("backups", samples).repaired_by(repair).run(|bytes| {
        let found = match read(bytes) {
            Ok(found) => found,
            Err(BackupError::Io(error)) => panic!("memory does not fail: {error}"),
            Err(error) => return Err(error.to_string()),
        };
        assert_eq!(found.bytes, bytes.len() as u64);
        let again = read(&backup(&found.state, found.origin.clone())[..]).unwrap();
        assert_eq!(again.origin, found.origin);
        assert_eq!(again.state.summary(), found.state.summary());
        Ok(())
    });
    assert!(tried.refused_past("checksum") > 100 && tried.accepted() > 5, "{tried:?}");
}
