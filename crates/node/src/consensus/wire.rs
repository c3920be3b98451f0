//! Conversions between openraft's messages and the peer protocol.
//!
//! openraft's types end here: the wire knows terms, indexes and bytes. A message that lacks what
//! it must have is refused as [`PeerErrorKind::Invalid`].

use std::collections::{BTreeMap, BTreeSet};

use openraft::{
    EntryPayload,
    entry::RaftEntry,
    raft::{
        AppendEntriesRequest, StreamAppendError, StreamAppendResult, TransferLeaderRequest,
        VoteRequest, VoteResponse,
    },
};
use quorate_proto::v1;
use quorate_storage::{
    Entry, LogId, MemberAddress, Membership, Proposal, StoredMembership, TypeConfig, Vote,
};

use crate::transport::{PeerError, PeerErrorKind};

fn missing(field: &str) -> PeerError {
    PeerError::new(PeerErrorKind::Invalid, format!("{field} is missing"))
}

/// Reads a log position.
pub(super) fn log_id(id: v1::LogId) -> LogId {
    LogId::new_term_index(id.term, id.index)
}

/// Writes a log position.
pub(super) fn to_log_id(id: LogId) -> v1::LogId {
    v1::LogId { term: id.leader_id.term, index: id.index }
}

/// Reads a vote.
pub(super) fn vote(vote: Option<v1::Vote>) -> Result<Vote, PeerError> {
    let vote = vote.ok_or_else(|| missing("vote"))?;
    Ok(if vote.committed {
        Vote::new_committed(vote.term, vote.voted_for)
    } else {
        Vote::new(vote.term, vote.voted_for)
    })
}

/// Writes a vote.
pub(super) fn to_vote(vote: &Vote) -> v1::Vote {
    v1::Vote {
        term: vote.leader_id.term,
        voted_for: vote.leader_id.voted_for,
        committed: vote.committed,
    }
}

/// Reads a membership.
pub(super) fn membership(membership: v1::Membership) -> Result<Membership, PeerError> {
    let configs: Vec<BTreeSet<u64>> =
        membership.configs.into_iter().map(|set| set.ids.into_iter().collect()).collect();
    let address = |member: v1::PeerMember| {
        (member.id, MemberAddress { peer: member.peer_address, client: member.client_address })
    };
    let nodes: BTreeMap<u64, MemberAddress> = membership.members.into_iter().map(address).collect();
    Membership::new(configs, nodes)
        .map_err(|error| PeerError::new(PeerErrorKind::Invalid, error.to_string()))
}

/// Writes a membership.
pub(super) fn to_membership(membership: &Membership) -> v1::Membership {
    let set = |ids: &BTreeSet<u64>| v1::MemberSet { ids: ids.iter().copied().collect() };
    let member = |(id, address): (&u64, &MemberAddress)| v1::PeerMember {
        id: *id,
        peer_address: address.peer.clone(),
        client_address: address.client.clone(),
    };
    v1::Membership {
        configs: membership.get_joint_config().iter().map(set).collect(),
        members: membership.nodes().map(member).collect(),
    }
}

/// Reads a checkpoint's membership.
pub(super) fn stored_membership(
    log_id_: Option<v1::LogId>,
    members: Option<v1::Membership>,
) -> Result<StoredMembership, PeerError> {
    let members = membership(members.ok_or_else(|| missing("header.membership"))?)?;
    Ok(StoredMembership::new(log_id_.map(log_id), members))
}

fn entry(entry: v1::LogEntry) -> Result<Entry, PeerError> {
    let id = log_id(entry.id.ok_or_else(|| missing("entries.id"))?);
    let payload = match entry.payload {
        None => EntryPayload::Blank,
        Some(v1::log_entry::Payload::Batch(bytes)) => {
            EntryPayload::Normal(Proposal::from_bytes(bytes))
        }
        Some(v1::log_entry::Payload::Membership(members)) => {
            EntryPayload::Membership(membership(members)?)
        }
    };
    Ok(Entry::new(id, payload))
}

fn to_entry(entry: &Entry) -> v1::LogEntry {
    let payload = match &entry.payload {
        EntryPayload::Blank => None,
        EntryPayload::Normal(proposal) => {
            Some(v1::log_entry::Payload::Batch(proposal.bytes().clone()))
        }
        EntryPayload::Membership(members) => {
            Some(v1::log_entry::Payload::Membership(to_membership(members)))
        }
    };
    v1::LogEntry { id: Some(to_log_id(entry.log_id)), payload }
}

/// Reads an append request.
pub(super) fn append_request(
    request: v1::AppendRequest,
) -> Result<AppendEntriesRequest<TypeConfig>, PeerError> {
    Ok(AppendEntriesRequest {
        vote: vote(request.vote)?,
        prev_log_id: request.prev.map(log_id),
        entries: request.entries.into_iter().map(entry).collect::<Result<_, _>>()?,
        leader_commit: request.commit.map(log_id),
    })
}

/// Writes an append request.
pub(super) fn to_append_request(
    request: &AppendEntriesRequest<TypeConfig>,
    header: v1::PeerHeader,
) -> v1::AppendRequest {
    v1::AppendRequest {
        header: Some(header),
        vote: Some(to_vote(&request.vote)),
        prev: request.prev_log_id.map(to_log_id),
        entries: request.entries.iter().map(to_entry).collect(),
        commit: request.leader_commit.map(to_log_id),
    }
}

/// Reads the answer to an append request.
pub(super) fn append_response(
    response: v1::AppendResponse,
) -> Result<StreamAppendResult<TypeConfig>, PeerError> {
    use v1::append_response::Result as Answer;
    Ok(match response.result.ok_or_else(|| missing("result"))? {
        Answer::Appended(appended) => Ok(appended.last.map(log_id)),
        Answer::Conflict(id) => Err(StreamAppendError::Conflict(log_id(id))),
        Answer::HigherVote(higher) => Err(StreamAppendError::HigherVote(vote(Some(higher))?)),
    })
}

/// Writes the answer to an append request.
pub(super) fn to_append_response(result: StreamAppendResult<TypeConfig>) -> v1::AppendResponse {
    use v1::append_response::Result as Answer;
    let answer = match result {
        Ok(last) => Answer::Appended(v1::AppendedUpTo { last: last.map(to_log_id) }),
        Err(StreamAppendError::Conflict(id)) => Answer::Conflict(to_log_id(id)),
        Err(StreamAppendError::HigherVote(higher)) => Answer::HigherVote(to_vote(&higher)),
    };
    v1::AppendResponse { result: Some(answer) }
}

/// Reads a vote request.
pub(super) fn vote_request(request: v1::VoteRequest) -> Result<VoteRequest<TypeConfig>, PeerError> {
    let mut read = VoteRequest::new(vote(request.vote)?, request.last.map(log_id));
    read.leadership_transfer = request.leadership_transfer;
    Ok(read)
}

/// Writes a vote request.
pub(super) fn to_vote_request(
    request: &VoteRequest<TypeConfig>,
    header: v1::PeerHeader,
) -> v1::VoteRequest {
    v1::VoteRequest {
        header: Some(header),
        vote: Some(to_vote(&request.vote)),
        last: request.last_log_id.map(to_log_id),
        leadership_transfer: request.leadership_transfer,
    }
}

/// Reads the answer to a vote request.
pub(super) fn vote_response(
    response: v1::VoteResponse,
) -> Result<VoteResponse<TypeConfig>, PeerError> {
    Ok(VoteResponse {
        vote: vote(response.vote)?,
        vote_granted: response.granted,
        last_log_id: response.last.map(log_id),
    })
}

/// Writes the answer to a vote request.
pub(super) fn to_vote_response(response: &VoteResponse<TypeConfig>) -> v1::VoteResponse {
    v1::VoteResponse {
        vote: Some(to_vote(&response.vote)),
        granted: response.vote_granted,
        last: response.last_log_id.map(to_log_id),
    }
}

/// Reads a request to take leadership over.
pub(super) fn transfer_request(
    request: v1::PeerTransferRequest,
) -> Result<TransferLeaderRequest<TypeConfig>, PeerError> {
    let from = vote(request.from_leader)?;
    Ok(TransferLeaderRequest::new(from, request.to, request.last.map(log_id)))
}

/// Writes a request to take leadership over.
pub(super) fn to_transfer_request(
    request: &TransferLeaderRequest<TypeConfig>,
    header: v1::PeerHeader,
) -> v1::PeerTransferRequest {
    v1::PeerTransferRequest {
        header: Some(header),
        from_leader: Some(to_vote(request.from_leader())),
        to: *request.to_node_id(),
        last: request.last_log_id().copied().map(to_log_id),
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use openraft::raft::{StreamAppendError, VoteRequest, VoteResponse};

    use super::*;

    fn members() -> Membership {
        let address = |id: u64| MemberAddress {
            peer: format!("10.0.0.{id}:7201"),
            client: format!("10.0.0.{id}:7101"),
        };
        let configs = vec![BTreeSet::from([1, 2, 3]), BTreeSet::from([1, 2, 4])];
        let nodes: BTreeMap<u64, MemberAddress> = (1..=5).map(|id| (id, address(id))).collect();
        Membership::new(configs, nodes).unwrap()
    }

    fn id(term: u64, index: u64) -> LogId {
        LogId::new_term_index(term, index)
    }

    #[test]
    fn an_append_request_survives_the_wire_with_every_kind_of_entry() {
        let batch = Proposal::from_bytes(Bytes::from_static(b"\x01batch"));
        let sent = AppendEntriesRequest::<TypeConfig> {
            vote: Vote::new_committed(7, 2),
            prev_log_id: Some(id(6, 41)),
            entries: vec![
                Entry::new(id(7, 42), EntryPayload::Blank),
                Entry::new(id(7, 43), EntryPayload::Normal(batch)),
                Entry::new(id(7, 44), EntryPayload::Membership(members())),
            ],
            leader_commit: None,
        };
        let header = v1::PeerHeader { cluster_id: 1, from: 2, to: 3 };
        let read = append_request(to_append_request(&sent, header)).unwrap();
        assert_eq!((read.vote, read.prev_log_id), (sent.vote, sent.prev_log_id));
        assert_eq!((read.entries, read.leader_commit), (sent.entries, None));
    }

    #[test]
    fn every_answer_to_an_append_survives_the_wire() {
        let answers: [StreamAppendResult<TypeConfig>; 4] = [
            Ok(None),
            Ok(Some(id(3, 9))),
            Err(StreamAppendError::Conflict(id(2, 8))),
            Err(StreamAppendError::HigherVote(Vote::new(4, 1))),
        ];
        for sent in answers {
            assert_eq!(append_response(to_append_response(sent.clone())).unwrap(), sent);
        }
    }

    #[test]
    fn votes_survive_the_wire() {
        let header = v1::PeerHeader::default();
        let mut request = VoteRequest::<TypeConfig>::new(Vote::new(5, 3), Some(id(4, 10)));
        request.leadership_transfer = true;
        assert_eq!(vote_request(to_vote_request(&request, header)).unwrap(), request);

        let response = VoteResponse::<TypeConfig>::new(Vote::new_committed(5, 3), None, true);
        assert_eq!(vote_response(to_vote_response(&response)).unwrap(), response);
    }

    #[test]
    fn what_lacks_a_field_is_refused_by_name() {
        let error = append_request(v1::AppendRequest::default()).unwrap_err();
        assert_eq!(error.to_string(), "invalid message: vote is missing");
        let entry = v1::LogEntry { id: None, payload: None };
        let request = v1::AppendRequest {
            vote: Some(v1::Vote::default()),
            entries: vec![entry],
            ..v1::AppendRequest::default()
        };
        let error = append_request(request).unwrap_err();
        assert_eq!(error.to_string(), "invalid message: entries.id is missing");
        assert!(append_response(v1::AppendResponse::default()).is_err());
    }

    #[test]
    fn a_membership_whose_voters_have_no_address_is_refused() {
        let mut sent = to_membership(&members());
        sent.members.clear();
        assert!(membership(sent).is_err());
    }
}
