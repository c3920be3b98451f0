//! Coordinators that come and go: their ids are never used twice.
//!
//! Must not know about memberships of Raft.

use std::sync::Arc;

use super::draft::Draft;
use crate::{
    id::MemberId,
    key::Key,
    record::{Member, MemberState, Record},
    rejection::{Reason, Rejection},
    reply::Reply,
};

/// Notes a coordinator that joins. The same again changes nothing.
pub(super) fn add(
    draft: &mut Draft<'_>,
    id: MemberId,
    peer: &str,
    client: &str,
) -> Result<Reply, Rejection> {
    if id.0 == 0 {
        return Err(Rejection::invalid("id", "must not be 0"));
    }
    for (field, address) in [("peer", peer), ("client", client)] {
        if address.is_empty() || address.len() > super::validate::ADDRESS_BYTES_MAX {
            return Err(Rejection::invalid(field, "a host and port, at most 256 bytes"));
        }
    }
    let state = MemberState::Active;
    let member = Member { peer: peer.into(), client: client.into(), state };
    match draft.get(&Key::member(id)).map(|record| &record.value) {
        Some(Record::Member(known)) if **known == member => return Ok(Reply::Done),
        Some(Record::Member(known)) => {
            let what = match known.state {
                MemberState::Active => "is known with other addresses",
                MemberState::Removed => "was removed, and an id is never used again",
            };
            let message = format!("member {id} {what}");
            return Err(Rejection::new(Reason::AlreadyExists, message));
        }
        _ => {}
    }
    draft.put(&Key::member(id), Record::Member(Arc::new(member)));
    Ok(Reply::Done)
}

/// Notes that a coordinator is gone for good. The same again changes nothing.
pub(super) fn retire(draft: &mut Draft<'_>, id: MemberId) -> Reply {
    let key = Key::member(id);
    let (peer, client) = match draft.get(&key).map(|record| &record.value) {
        Some(Record::Member(known)) if known.state == MemberState::Removed => return Reply::Done,
        Some(Record::Member(known)) => (known.peer.clone(), known.client.clone()),
        _ => (String::new(), String::new()),
    };
    let state = MemberState::Removed;
    draft.put(&key, Record::Member(Arc::new(Member { peer, client, state })));
    Reply::Done
}
