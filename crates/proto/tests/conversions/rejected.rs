//! What is wrong is named: field and rule.

use bytes::Bytes;
use quorate_core::{Name, NetworkSpec, Origin, Rejection, Transaction};
use quorate_proto::{
    ConvertError,
    convert::{Consistency, WatchSpec, record::keyed_record, write},
    v1,
};

fn key(kind: v1::Kind, text: &'static str) -> v1::Key {
    v1::Key { kind: kind.into(), key: Bytes::from_static(text.as_bytes()) }
}

fn put(key: Option<v1::Key>, value: &'static [u8]) -> v1::Operation {
    let put = v1::PutOperation { key, value: Bytes::from_static(value), ..Default::default() };
    v1::Operation { operation: Some(v1::operation::Operation::Put(put)) }
}

fn rejected<M, T>(message: M) -> (String, String)
where
    T: TryFrom<M, Error = ConvertError> + std::fmt::Debug,
{
    let error = T::try_from(message).expect_err("wrong");
    let rejection = Rejection::from(error.clone());
    assert_eq!(rejection.message, error.to_string());
    (error.field, error.rule)
}

fn field<M, T>(message: M) -> String
where
    T: TryFrom<M, Error = ConvertError> + std::fmt::Debug,
{
    rejected::<M, T>(message).0
}

#[test]
fn operations_name_their_place() {
    let good = || put(Some(key(v1::Kind::Entry, "k")), b"v");
    let request =
        |success, failure| v1::TransactionRequest { success, failure, ..Default::default() };

    let missing = request(vec![good(), good(), put(None, b"v")], vec![]);
    assert_eq!(
        rejected::<_, Transaction>(missing),
        ("success[2].put.key".into(), "required".into())
    );
    let kind = request(vec![], vec![put(Some(key(v1::Kind::Network, "n")), b"")]);
    assert_eq!(field::<_, Transaction>(kind), "failure[0].put.key.kind");
    let text = request(vec![put(Some(key(v1::Kind::Setting, "s")), &[0xff])], vec![]);
    assert_eq!(field::<_, Transaction>(text), "success[0].put.value");
    let empty = request(vec![v1::Operation { operation: None }], vec![]);
    assert_eq!(field::<_, Transaction>(empty), "success[0]");
    let get = v1::operation::Operation::Get(v1::GetOperation::default());
    let get = request(vec![v1::Operation { operation: Some(get) }], vec![]);
    assert_eq!(field::<_, Transaction>(get), "success[0].get.selector");
    let selector = Some(v1::Selector { kind: 77, target: None });
    let delete = v1::DeleteOperation { selector, return_previous: false };
    let delete = v1::operation::Operation::Delete(delete);
    let delete = request(vec![v1::Operation { operation: Some(delete) }], vec![]);
    assert_eq!(
        rejected::<_, Transaction>(delete),
        ("success[0].delete.selector.kind".into(), "unknown kind 77".into())
    );
}

#[test]
fn preconditions_name_their_place() {
    let request = |precondition| v1::TransactionRequest {
        preconditions: vec![precondition],
        ..v1::TransactionRequest::default()
    };
    let target = Some(v1::Selector {
        kind: 0,
        target: Some(v1::selector::Target::Key(Bytes::from_static(b"k"))),
    });
    let no_test = v1::Precondition { target: target.clone(), test: None };
    assert_eq!(field::<_, Transaction>(request(no_test)), "preconditions[0]");
    let test = Some(v1::precondition::Test::Exists(false));
    let negated = v1::Precondition { target, test };
    assert_eq!(field::<_, Transaction>(request(negated)), "preconditions[0].exists");
    let no_target = v1::Precondition::default();
    assert_eq!(field::<_, Transaction>(request(no_target)), "preconditions[0].target");
}

#[test]
fn single_writes_name_their_fields() {
    assert_eq!(field::<_, Transaction>(v1::PutRequest::default()), "key");
    assert_eq!(field::<_, Transaction>(v1::DeleteRequest::default()), "selector");
    let selector = Some(v1::Selector::default());
    let request = v1::DeleteRequest { selector, ..Default::default() };
    assert_eq!(
        rejected::<_, Transaction>(request),
        ("selector".into(), "one of key, prefix and bounds must be set".into())
    );
}

#[test]
fn reads_name_their_fields() {
    let read = v1::ReadOptions { consistency: 9, min_revision: 0 };
    assert_eq!(field::<_, Consistency>(Some(read)), "read.consistency");
    let read = v1::ReadOptions { consistency: 0, min_revision: 4 };
    assert_eq!(field::<_, Consistency>(Some(read)), "read.min_revision");
}

#[test]
fn networks_name_their_place() {
    let process =
        |id: &str| v1::Process { id: id.into(), component: "c".into(), ..v1::Process::default() };
    let request = |spec| v1::ApplyNetworkRequest { name: "net".into(), spec, context: None };
    type Applied = (Name, NetworkSpec);
    assert_eq!(field::<_, Applied>(request(None)), "spec");
    let bad_name = v1::ApplyNetworkRequest { name: "no name".into(), ..Default::default() };
    assert_eq!(field::<_, Applied>(bad_name), "name");

    let processes = vec![process("a"), process("")];
    let spec = v1::NetworkSpec { processes, ..v1::NetworkSpec::default() };
    assert_eq!(field::<_, Applied>(request(Some(spec))), "spec.processes[1].id");

    let mut needy = process("a");
    let amounts = [("cpu millis".to_owned(), 1)].into();
    needy.needs = Some(v1::Resources { amounts });
    let spec = v1::NetworkSpec { processes: vec![needy], ..v1::NetworkSpec::default() };
    assert_eq!(
        field::<_, Applied>(request(Some(spec))),
        "spec.processes[0].needs.amounts[cpu millis]"
    );

    let edge = v1::ProcessEdge { from: "a".into(), to: "-".into(), rate: 1 };
    let spec = v1::NetworkSpec { connections: vec![edge], ..v1::NetworkSpec::default() };
    assert_eq!(field::<_, Applied>(request(Some(spec))), "spec.connections[0].to");

    for (field, path) in [("affinity", "a/b"), ("anti_affinity", "-")] {
        let mut grouped = process("a");
        match field {
            "affinity" => grouped.affinity = path.into(),
            _ => grouped.anti_affinity = path.into(),
        }
        let spec = v1::NetworkSpec { processes: vec![grouped], ..v1::NetworkSpec::default() };
        let named = format!("spec.processes[0].{field}");
        assert_eq!(self::field::<_, Applied>(request(Some(spec))), named);
    }

    let policy = Some(v1::PartitionPolicy { strategy: "a b".into(), ..Default::default() });
    let spec = v1::NetworkSpec { policy, ..v1::NetworkSpec::default() };
    assert_eq!(field::<_, Applied>(request(Some(spec))), "spec.policy.strategy");
}

#[test]
fn connections_name_their_fields() {
    let epoch = Some(v1::Epoch { restore: 1, revision: 2 });
    let good = || v1::ConnectionReport {
        connection: "net/0->net/1".into(),
        from_epoch: epoch,
        to_epoch: epoch,
        seen: Some(v1::connection_report::Seen::Up(true)),
    };
    let field = |report: v1::ConnectionReport| {
        quorate_proto::convert::connection::reports(vec![good(), report]).unwrap_err().field
    };
    assert_eq!(field(v1::ConnectionReport { seen: None, ..good() }), "reports[1]");
    let down = Some(v1::connection_report::Seen::Up(false));
    assert_eq!(field(v1::ConnectionReport { seen: down, ..good() }), "reports[1].up");
    assert_eq!(field(v1::ConnectionReport { to_epoch: None, ..good() }), "reports[1].to_epoch");
    for connection in ["net/0", "net/0->other/1", "net/00->net/1", ""] {
        let connection = connection.into();
        assert_eq!(field(v1::ConnectionReport { connection, ..good() }), "reports[1].connection");
    }
    for number in [0, 9] {
        assert!(quorate_proto::convert::connection::state(number).is_err());
    }
}

#[test]
fn watches_name_their_fields() {
    let filter = |filter| v1::WatchRequest { filter: Some(filter), ..v1::WatchRequest::default() };
    let default = v1::WatchFilter::default;
    let kinds = filter(v1::WatchFilter { kinds: vec![1, 0], ..default() });
    assert_eq!(field::<_, WatchSpec>(kinds), "filter.kinds[1]");
    let network = filter(v1::WatchFilter { network: "a/b".into(), ..default() });
    assert_eq!(field::<_, WatchSpec>(network), "filter.network");
    for partition in ["net", "net/", "net/01", "/0", "net/x"] {
        let partition = filter(v1::WatchFilter { partition: partition.into(), ..default() });
        assert_eq!(field::<_, WatchSpec>(partition), "filter.partition");
    }
    let start = Some(v1::watch_request::Start::Snapshot(false));
    let request = v1::WatchRequest { start, ..v1::WatchRequest::default() };
    assert_eq!(field::<_, WatchSpec>(request), "snapshot");
}

#[test]
fn records_that_contradict_themselves_are_refused() {
    let record = |key, value| v1::Record { key: Some(key), value, ..v1::Record::default() };
    let refused = |record| keyed_record(record).unwrap_err().field;
    let entry = Some(v1::record::Value::Entry(Bytes::new()));
    assert_eq!(refused(record(key(v1::Kind::Setting, "s"), entry)), "value");
    assert_eq!(refused(record(key(v1::Kind::Entry, "e"), None)), "value");
    let partition = v1::Partition { network: "net".into(), index: 1, ..v1::Partition::default() };
    let partition = Some(v1::record::Value::Partition(partition));
    assert_eq!(
        refused(record(key(v1::Kind::Partition, "net/0"), partition.clone())),
        "partition.network"
    );
    assert_eq!(
        refused(record(key(v1::Kind::Partition, "net/1"), partition.clone())),
        "partition.state"
    );
    assert_eq!(refused(record(key(v1::Kind::Partition, "net"), partition)), "partition");
}

#[test]
fn who_asks_for_what_no_serial_counts_names_no_session() {
    let asked = || v1::WriteContext {
        label: "ops".into(),
        reason: "because".into(),
        ..v1::WriteContext::default()
    };
    let origin = write::origin(Some(asked())).unwrap();
    assert_eq!((&*origin.label, &*origin.reason), ("ops", "because"));
    assert_eq!(write::from_origin(&origin), Some(asked()));
    assert_eq!(write::origin(None), Ok(Origin::default()));
    assert_eq!(write::from_origin(&Origin::default()), None);
    let session = Some(v1::SessionId { restore: 1, revision: 2 });
    let refused = write::origin(Some(v1::WriteContext { session, serial: 1, ..asked() }));
    assert_eq!(refused.unwrap_err().field, "context.session");
    let refused = write::origin(Some(v1::WriteContext { serial: 1, ..asked() }));
    assert_eq!(refused.unwrap_err().field, "context.session");
}
