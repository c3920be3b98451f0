//! Log blocks, and the batches in their entries, from bytes that nobody wrote.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use openraft::EntryPayload;
use quorate_core::{
    Batch, ClusterId, Command, ConnectionId, ConnectionReport, ConnectionStep, Due, Epoch,
    Identity, Key, MemberId, Operation, Record, RestoreEpoch, Revision, Seen, SessionId, Stamp,
    State, Transaction, apply_request, codec,
};
use quorate_fuzz::Target;

use super::block::{BlockBuilder, decode};
use crate::raft_types::{Entry, LogId, MemberAddress, Membership, Proposal};

/// Where the checksum is, and what it is of.
const SUM_AT: usize = 1;
const SUMMED_FROM: usize = 5;

fn batch() -> Batch {
    let put = |key: &'static str, bytes: usize| Operation::Put {
        key: Key::entry(key),
        record: Record::Entry(vec![7; bytes].into()),
        return_previous: true,
    };
    let transaction =
        Transaction { success: vec![put("a", 3), put("b", 300)], ..Transaction::default() };
    let open = Command::OpenSession { ttl_ms: 10_000, label: "a worker".into() };
    let close =
        Command::CloseSession { id: SessionId { restore: RestoreEpoch(0), revision: Revision(2) } };
    let add = Command::AddMember { id: MemberId(4), peer: "p:1".into(), client: "c:1".into() };
    let end = SessionId { restore: RestoreEpoch(0), revision: Revision(2) };
    let epoch = Epoch { restore: RestoreEpoch(0), revision: Revision(3) };
    let id = ConnectionId::parse("net/0->net/1").expect("a connection's id");
    let seen = Seen::Broken("reset".into());
    let seen = ConnectionReport { id: id.clone(), from_epoch: epoch, to_epoch: epoch, seen };
    let report = Command::ReportConnections { session: end, reports: vec![seen] };
    let step = ConnectionStep { id: id.clone(), modified: Revision(3), due: Due::Retry };
    let manage = Command::ManageConnections { steps: vec![step] };
    let retry = Command::RetryConnection { id };
    let commands = [Command::Transaction(transaction), open, close, add, report, manage, retry];
    Batch { time_ms: 1_700_000_000_000, requests: commands.map(Into::into).into() }
}

fn block(entries: u64) -> Vec<u8> {
    let address = |id: u64| MemberAddress { peer: format!("p:{id}"), client: format!("c:{id}") };
    let members = (1..=3).map(|id| (id, address(id))).collect::<BTreeMap<_, _>>();
    let voters = vec![BTreeSet::from([1, 2]), BTreeSet::from([2, 3])];
    let membership = Membership::new(voters, members).unwrap();
    let mut builder = BlockBuilder::new(9, 77);
    for index in 9..9 + entries {
        let payload = match index % 3 {
            0 => EntryPayload::Blank,
            1 => EntryPayload::Normal(Proposal::new(&batch())),
            _ => EntryPayload::Membership(membership.clone()),
        };
        builder.push(&Entry { log_id: LogId::new_term_index(5, index), payload });
    }
    builder.finish().bytes.to_vec()
}

fn repair(bytes: &mut [u8]) {
    if bytes.len() >= SUMMED_FROM {
        let sum = crc32fast::hash(&bytes[SUMMED_FROM..]);
        bytes[SUM_AT..SUMMED_FROM].copy_from_slice(&sum.to_le_bytes());
    }
}

#[test]
fn log_blocks() {
    let samples = vec![block(1), block(3), block(12)];
    let tried =
        Target::new("log blocks", samples).repaired_by(|bytes| repair(bytes)).run(|bytes| {
            let decoded =
                decode(Bytes::copy_from_slice(bytes)).map_err(|error| error.to_string())?;
            let count = u32::from_le_bytes(bytes[21..25].try_into().unwrap());
            assert_eq!(u32::try_from(decoded.entries.len()), Ok(count), "as the header says");
            let mut builder = BlockBuilder::new(decoded.first, decoded.chain_before);
            decoded.entries.iter().for_each(|(entry, _)| builder.push(entry));
            let encoded = builder.finish();
            let again = decode(encoded.bytes).unwrap();
            assert_eq!(again.first, decoded.first);
            for ((entry, _), (other, _)) in decoded.entries.iter().zip(&again.entries) {
                assert_eq!(entry, other);
            }
            assert_eq!(again.entries.len(), decoded.entries.len());
            // What an entry carries is decoded when it is applied.
            for (entry, _) in &decoded.entries {
                if let EntryPayload::Normal(proposal) = &entry.payload {
                    let _ = proposal.decode();
                }
            }
            Ok(())
        });
    assert!(tried.refused_past("checksum") > 100 && tried.accepted() > 10, "{tried:?}");
}

#[test]
fn requests() {
    let identity = Identity { cluster_id: ClusterId(7), restore_epoch: RestoreEpoch(0) };
    let single = Batch { time_ms: 1, requests: batch().requests.into_iter().take(1).collect() };
    let samples = vec![codec::encode(&batch()), codec::encode(&single)];
    let tried = Target::new("requests", samples).run(|bytes| {
        let proposal = Proposal::from_bytes(Bytes::copy_from_slice(bytes));
        let batch = proposal.decode().map_err(|error| error.to_string())?;
        assert_eq!(Proposal::new(&batch).decode().unwrap(), batch);
        let mut state = State::new(identity);
        for request in &batch.requests {
            apply_request(&mut state, Stamp::at(batch.time_ms), request);
        }
        assert_eq!(state.check(), Ok(()));
        Ok(())
    });
    assert!(tried.refused() > 100 && tried.accepted() > 10, "{tried:?}");
}
