//! Every value comes back as it was, through its bytes.

use proptest::prelude::*;
use prost::Message;
use quorate_core::{
    ApplyOutcome, Filter, Key, KeyRange, Name, NetworkSpec, Operation, OperationReply, Origin,
    Revision, Transaction,
};
use quorate_proto::{
    convert::{
        Consistency, Header, NetworkNumbers, PutKeys, ResumeToken, WatchEvent, WatchSpec,
        WatchedChange,
        network::{apply_network_response, apply_outcome},
        record, transaction as convert, watch,
    },
    v1,
};

use crate::arbitrary;

/// Through the wire.
fn sent<M: Message + Default>(message: &M) -> M {
    M::decode(message.encode_to_vec().as_slice()).expect("just encoded")
}

proptest! {
    #[test]
    fn connections_with_their_status(
        id in arbitrary::connection_id(),
        status in proptest::option::of(arbitrary::connection_status()),
        record in arbitrary::connection_record(),
        report in arbitrary::connection_report(),
    ) {
        use quorate_proto::convert::connection::{read_with_status, with_status};
        let key = Key::connection(&id);
        let message = with_status(&key, &record, status.as_ref());
        prop_assert_eq!(read_with_status(message).unwrap(), ((key, record), status));
        let message = v1::ConnectionReport::from(&report);
        prop_assert_eq!(quorate_core::ConnectionReport::try_from(message), Ok(report));
    }

    #[test]
    fn keys_and_ranges(key in arbitrary::key(), range in arbitrary::range()) {
        prop_assert_eq!(Key::try_from(sent(&v1::Key::from(key.clone()))).unwrap(), key);
        prop_assert_eq!(
            KeyRange::try_from(sent(&v1::Selector::from(range.clone()))).unwrap(),
            range
        );
    }

    #[test]
    fn headers_and_consistency(
        header in arbitrary::header(),
        consistency in arbitrary::consistency(),
    ) {
        let message = sent(&v1::ResponseHeader::from(header));
        prop_assert_eq!(Header::of(Some(message)).unwrap(), header);
        let read = sent(&v1::ReadOptions::from(consistency));
        prop_assert_eq!(Consistency::try_from(Some(read)).unwrap(), consistency);
    }

    #[test]
    fn records(keyed in arbitrary::keyed_record()) {
        let message = sent(&record::record(&keyed.0, &keyed.1));
        prop_assert_eq!(record::keyed_record(message).unwrap(), keyed.clone());

        let bare = sent(&record::record_without_value(&keyed.0, &keyed.1));
        let (key, revisions) = record::keyed_revisions(bare).unwrap();
        prop_assert_eq!(key, keyed.0);
        prop_assert_eq!(revisions.modified, keyed.1.modified);
    }

    #[test]
    fn specs(name in arbitrary::name(), spec in arbitrary::spec()) {
        let request = v1::ApplyNetworkRequest {
            name: name.as_str().to_owned(),
            spec: Some((&spec).into()),
            context: None,        };
        let read: (Name, NetworkSpec) = sent(&request).try_into().unwrap();
        prop_assert_eq!(read, (name, spec));
    }

    #[test]
    fn applied_networks(
        header in arbitrary::header(),
        outcome in arbitrary::apply_outcome(),
        numbers in arbitrary::numbers(),
    ) {
        let response = sent(&apply_network_response(header, outcome, &numbers));
        let read: ApplyOutcome = apply_outcome(response.outcome).unwrap();
        prop_assert_eq!(read, outcome);
        prop_assert_eq!(NetworkNumbers::try_from(response.network.unwrap()).unwrap(), numbers);
    }

    #[test]
    fn transactions(transaction in arbitrary::transaction()) {
        let message = sent(&v1::TransactionRequest::from(transaction.clone()));
        prop_assert_eq!(Transaction::try_from(message).unwrap(), transaction);
    }

    #[test]
    fn replies(header in arbitrary::header(), (transaction, reply) in arbitrary::replied()) {
        let keys = PutKeys::of(&transaction);
        let response = sent(&convert::transaction_response(header, &keys, &reply));
        prop_assert_eq!(response.results.len(), reply.results.len());
        let branch = if reply.succeeded { &transaction.success } else { &transaction.failure };
        for (result, operation) in response.results.iter().zip(branch) {
            // A put's record before carries the put's key.
            let Some(v1::operation_result::Result::Put(put)) = &result.result else { continue };
            let Some(previous) = &put.previous else { continue };
            let Operation::Put { key, .. } = operation else { panic!("not a put") };
            let read = Key::try_from(previous.key.clone().unwrap()).unwrap();
            prop_assert_eq!(&read, key);
        }
        prop_assert_eq!(convert::transaction_reply(response).unwrap(), reply);
    }

    #[test]
    fn single_writes(header in arbitrary::header(), (transaction, reply) in arbitrary::replied()) {
        let Some(operation) = transaction.success.first().cloned() else { return Ok(()) };
        let message = v1::Operation::from(operation.clone()).operation.unwrap();
        let single = Transaction { success: vec![operation], ..Transaction::default() };
        let keys = PutKeys::of(&single);
        let reply = quorate_core::TransactionReply {
            succeeded: true,
            results: reply.results.into_iter().take(usize::from(reply.succeeded)).collect(),
        };
        match message {
            v1::operation::Operation::Put(put) => {
                let v1::PutOperation { key, value, return_previous, session } = put;
                let request = v1::PutRequest { key, value, return_previous, session, context: None };
                prop_assert_eq!(Transaction::try_from(request).unwrap(), single);
                let response = convert::put_response(header, &keys, &reply);
                let expected = match reply.results.first() {
                    Some(OperationReply::Put { previous }) => previous.clone(),
                    _ => None,
                };
                let previous = response.previous.map(record::keyed_record).transpose().unwrap();
                prop_assert_eq!(previous.map(|(_, record)| record), expected);
            }
            v1::operation::Operation::Delete(delete) => {
                let v1::DeleteOperation { selector, return_previous } = delete;
                let request = v1::DeleteRequest { selector, return_previous, context: None };
                prop_assert_eq!(Transaction::try_from(request).unwrap(), single);
                let response = convert::delete_response(header, &reply);
                if let Some(OperationReply::Delete { deleted, previous }) = reply.results.first() {
                    prop_assert_eq!(response.deleted, *deleted);
                    prop_assert_eq!(response.previous.len(), previous.len());
                }
            }
            v1::operation::Operation::Get(_) => {}
        }
    }

    #[test]
    fn watch_requests(spec in arbitrary::watch_spec(), token in arbitrary::token()) {
        let message = sent(&v1::WatchRequest::from(spec.clone()));
        prop_assert_eq!(WatchSpec::try_from(message).unwrap(), spec);
        prop_assert_eq!(ResumeToken::from(sent(&v1::ResumeToken::from(token))), token);
    }

    #[test]
    fn changes(
        change in arbitrary::change(),
        revision in arbitrary::revision(),
        with_previous in any::<bool>(),
    ) {
        let message = sent(&watch::change(&change, revision, with_previous));
        let read = WatchedChange::try_from(message).unwrap();
        prop_assert_eq!(&read.key, &change.key);
        prop_assert_eq!(read.created, change.created());
        prop_assert_eq!(&read.current, &change.current);
        let previous = change.previous.clone().filter(|_| with_previous);
        prop_assert_eq!(&read.previous, &previous);
    }
}

#[test]
fn an_absent_policy_and_parallelism_are_filled_in() {
    let process = v1::Process {
        id: "a".into(),
        component: "c".into(),
        needs: None,
        parallelism_min: 0,
        parallelism_max: 0,
        ..v1::Process::default()
    };
    let message = v1::NetworkSpec { processes: vec![process], ..v1::NetworkSpec::default() };
    let spec = NetworkSpec::try_from(message).unwrap();
    assert_eq!((spec.processes[0].parallelism.min, spec.processes[0].parallelism.max), (1, 1));
    assert_eq!(spec.policy, quorate_core::PartitionPolicy::default());
}

#[test]
fn an_empty_watch_request_is_everything_from_now_on() {
    let spec = WatchSpec::try_from(v1::WatchRequest::default()).unwrap();
    assert_eq!(spec, WatchSpec::default());
    assert_eq!(spec.filter, Filter::default());
}

#[test]
fn a_watch_from_revision_zero_is_one_from_the_first() {
    let start = Some(v1::watch_request::Start::FromRevision(0));
    let spec = WatchSpec::try_from(v1::WatchRequest { start, ..Default::default() }).unwrap();
    assert_eq!(spec.start, quorate_proto::convert::Start::From(Revision(1)));
}

#[test]
fn events_of_every_type_are_read() {
    let event = |r#type: v1::EventType| v1::Event {
        revision: 7,
        r#type: r#type.into(),
        ..v1::Event::default()
    };
    let revision = Revision(7);
    let read = |r#type| WatchEvent::try_from(event(r#type)).unwrap();
    assert_eq!(read(v1::EventType::SnapshotEnd), WatchEvent::SnapshotEnd { revision });
    assert_eq!(read(v1::EventType::Progress), WatchEvent::Progress { revision });
    assert_eq!(read(v1::EventType::Resync), WatchEvent::Resync { revision });
    assert_eq!(read(v1::EventType::Snapshot), WatchEvent::Snapshot { revision, records: vec![] });
    assert_eq!(
        read(v1::EventType::Changes),
        WatchEvent::Changes { revision, changes: vec![], origin: Origin::default(), time_ms: 0 }
    );
    assert!(WatchEvent::try_from(event(v1::EventType::Unspecified)).is_err());
}
