//! Sealed values from bytes that nobody wrote: identity, vote, positions, membership.

use std::collections::{BTreeMap, BTreeSet};

use quorate_core::{ClusterId, MemberId, RestoreEpoch};
use quorate_fuzz::Target;
use serde::{Serialize, de::DeserializeOwned};

use super::{
    FormatError, HEADER_BYTES, Position, StoredMembershipRecord, VoteRecord, checksum, seal, unseal,
};
use crate::{
    identity::NodeIdentity,
    raft_types::{LogId, MemberAddress, Membership, StoredMembership},
};

pub(crate) fn repair(bytes: &mut [u8]) {
    if let Some(length) = bytes.len().checked_sub(HEADER_BYTES) {
        let length = u32::try_from(length).unwrap();
        bytes[5..HEADER_BYTES].copy_from_slice(&length.to_le_bytes());
        let sum = checksum(bytes[0], &bytes[5..]);
        bytes[1..5].copy_from_slice(&sum.to_le_bytes());
    }
}

fn comes_back<T>(bytes: &[u8]) -> Result<T, FormatError>
where
    T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug,
{
    let value: T = unseal(bytes)?;
    assert_eq!(unseal::<T>(&seal(&value)).as_ref(), Ok(&value));
    Ok(value)
}

#[test]
fn sealed_values() {
    let identity = NodeIdentity {
        member_id: MemberId(3),
        cluster_id: ClusterId(u64::MAX),
        restore_epoch: RestoreEpoch(9),
        cluster_name: "tests".into(),
        members_hash: 1 << 40,
        initialized: true,
    };
    let address = |id: u64| MemberAddress { peer: format!("p:{id}"), client: format!("c:{id}") };
    let members: BTreeMap<_, _> = (1..=3).map(|id| (id, address(id))).collect();
    let membership = Membership::new(vec![BTreeSet::from([1, 2, 3])], members).unwrap();
    let stored = StoredMembership::new(Some(LogId::new_term_index(4, 9)), membership);
    let samples = vec![
        seal(&identity),
        seal(&VoteRecord { term: 7, committed: true, voted_for: 300 }),
        seal(&Some(Position { term: 3, index: 1 << 40 })),
        seal(&StoredMembershipRecord::from(&stored)),
    ];
    let tried =
        Target::new("sealed values", samples).repaired_by(|bytes| repair(bytes)).run(|bytes| {
            let membership = comes_back::<StoredMembershipRecord>(bytes);
            let restored = membership.and_then(StoredMembershipRecord::restore).map(drop);
            // Whatever it was to be, it is taken for nothing worse than something else.
            let refusals = [
                restored,
                comes_back::<NodeIdentity>(bytes).map(drop),
                comes_back::<VoteRecord>(bytes).map(drop),
                comes_back::<Option<Position>>(bytes).map(drop),
            ];
            let refusals = refusals.into_iter().collect::<Vec<_>>();
            match refusals.iter().find_map(|it| it.as_ref().err()) {
                Some(error) if refusals.iter().all(Result::is_err) => Err(error.to_string()),
                _ => Ok(()),
            }
        });
    assert!(tried.refused_past("checksum") > 100 && tried.accepted() > 10, "{tried:?}");
}
