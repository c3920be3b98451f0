//! Checkpoint blocks from bytes that nobody wrote. They come from the disk and from peers.

use std::{convert::Infallible, sync::Arc};

use bytes::Bytes;
use quorate_core::{
    ClusterId, Command, Event, Identity, Key, Operation, Record, RestoreEpoch, Stamp, State,
    Transaction, apply,
};
use quorate_fuzz::Target;

use super::{
    block::{self, Encoder, Item, Kind},
    build::{Piece, take_apart},
    manifest::Manifest,
};
use crate::{format::Position, raft_types::StoredMembership};

/// Of the states here.
pub(crate) const IDENTITY: Identity =
    Identity { cluster_id: ClusterId(7), restore_epoch: RestoreEpoch(0) };

/// A state with records of several kinds and a history.
pub(crate) fn state() -> State {
    let mut state = State::new(IDENTITY);
    for number in 0..40 {
        let put = Operation::Put {
            key: Key::entry(format!("key-{:02}", number % 25)),
            record: Record::Entry(vec![7; number * 5].into()),
            return_previous: false,
        };
        let transaction = Transaction { success: vec![put], ..Transaction::default() };
        let open = Command::OpenSession { ttl_ms: 10_000, label: format!("session {number}") };
        for command in [Command::Transaction(transaction), open] {
            apply(&mut state, Stamp::at(1_700_000_000_000), &command);
        }
    }
    state
}

/// The blocks of a checkpoint, the manifest first.
fn blocks() -> Vec<Bytes> {
    let state = state();
    let (mut described, mut blocks) = (Vec::new(), Vec::new());
    let taken = take_apart(&state, None, 1 << 10, &mut |piece| {
        if let Piece::New(block, bytes) = piece {
            described.push(block);
            blocks.push(bytes);
        }
        Ok::<_, Infallible>(())
    });
    taken.unwrap();
    let manifest = Manifest {
        summary: state.summary(),
        last: Some(Position { term: 2, index: 40 }),
        membership: (&StoredMembership::default()).into(),
        blocks: described,
    };
    blocks.insert(0, manifest.encode());
    blocks
}

/// Those of a kind.
fn samples(kind: Kind) -> Vec<Vec<u8>> {
    let of_kind = blocks().into_iter().filter(|bytes| block::kind(bytes) == Some(kind));
    let samples: Vec<_> = of_kind.map(|bytes| bytes.to_vec()).take(4).collect();
    assert!(!samples.is_empty());
    samples
}

/// Makes the checksum of a block right.
pub(crate) fn repair(bytes: &mut [u8]) {
    if let Some((sum, rest)) = bytes.split_first_chunk_mut::<4>() {
        *sum = crc32fast::hash(rest).to_le_bytes();
    }
}

#[test]
fn manifests() {
    let target = Target::new("manifests", samples(Kind::Manifest));
    let tried = target.repaired_by(|bytes| repair(bytes)).run(|bytes| {
        let manifest = Manifest::decode(&Bytes::copy_from_slice(bytes));
        let manifest = manifest.map_err(|error| error.to_string())?;
        assert_eq!(Manifest::decode(&manifest.encode()).unwrap(), manifest);
        manifest.meta().map(drop).map_err(|error| error.to_string())
    });
    assert!(tried.refused_past("checksum") > 100 && tried.accepted() > 10, "{tried:?}");
}

#[test]
fn blocks_of_records() {
    let target = Target::new("blocks of records", samples(Kind::Records));
    let tried = target.repaired_by(|bytes| repair(bytes)).run(|bytes| {
        let items = |bytes| {
            let mut items: Vec<Item> = Vec::new();
            let read = block::records(&bytes, |item| {
                items.push(item);
                Ok(())
            });
            read.map(|_| items).map_err(|error| error.to_string())
        };
        let found = items(Bytes::copy_from_slice(bytes))?;
        let mut encoder = Encoder::new(Kind::Records);
        found.iter().for_each(|item| encoder.push(item));
        assert_eq!(items(encoder.finish()), Ok(found));
        Ok(())
    });
    assert!(tried.refused_past("checksum") > 100 && tried.accepted() > 10, "{tried:?}");
}

#[test]
fn blocks_of_events() {
    let target = Target::new("blocks of events", samples(Kind::Events));
    let tried = target.repaired_by(|bytes| repair(bytes)).run(|bytes| {
        let items = |bytes| {
            let mut items: Vec<Arc<Event>> = Vec::new();
            let read = block::events(&bytes, |item| {
                items.push(item);
                Ok(())
            });
            read.map(|_| items).map_err(|error| error.to_string())
        };
        let found = items(Bytes::copy_from_slice(bytes))?;
        let mut encoder = Encoder::new(Kind::Events);
        found.iter().for_each(|item| encoder.push(item));
        assert_eq!(items(encoder.finish()), Ok(found));
        Ok(())
    });
    assert!(tried.refused_past("checksum") > 100 && tried.accepted() > 10, "{tried:?}");
}
