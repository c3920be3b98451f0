//! What typed calls send and give back.

use quorate_client::{ErrorKind, Previous, Reason, Role};
use quorate_core::{
    ApplyOutcome, Key, MemberId, Name, NetworkSpec, Operation, PartitionPolicy, Record, Revision,
    Test, Transaction,
};
use quorate_proto::ErrorDetails;

use crate::server::{Asked, Coordinator, Step, client, header};

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

#[tokio::test]
async fn a_transaction_is_what_was_built() {
    let one = Coordinator::start([]).await;
    let client = client(&[one.endpoint()]);
    let setting = Key::setting(&name("range_records_max"));
    let reply = client
        .transaction()
        .when_exists("a")
        .when_modified_at("b", Revision(3))
        .put("a", "1")
        .put_with(setting.clone(), "500", Previous::Return)
        .or_else()
        .get("a")
        .delete("b")
        .commit()
        .await
        .unwrap();
    assert!(reply.value.succeeded);
    let Some(Asked::Transaction(request)) = one.asked().pop() else { panic!("no transaction") };
    let sent = Transaction::try_from(request).unwrap();
    assert_eq!(sent.preconditions.len(), 2);
    assert_eq!(sent.preconditions[1].test, Test::ModifiedAt(Revision(3)));
    assert_eq!(
        sent.success[1],
        Operation::Put {
            key: setting,
            record: Record::Setting("500".into()),
            return_previous: true
        }
    );
    assert!(matches!(sent.failure[..], [Operation::Get { .. }, Operation::Delete { .. }]));
}

#[tokio::test]
async fn puts_take_entries_and_settings() {
    let one = Coordinator::start([]).await;
    let client = client(&[one.endpoint()]);
    client.put_setting(&name("value_bytes_max"), "10").returning_previous().await.unwrap();
    let Some(Asked::Put(request)) = one.asked().pop() else { panic!("no put") };
    assert_eq!(request.key.unwrap(), Key::setting(&name("value_bytes_max")).into());
    assert_eq!((&request.value[..], request.return_previous), (&b"10"[..], true));
    assert_eq!(client.delete("k").await.unwrap().value.deleted, 1);
}

#[tokio::test]
async fn networks_and_partitions_are_typed() {
    let not_found = ErrorDetails::new(Reason::NotFound, "no network \"other\"");
    let one = Coordinator::start([
        Step::Answer(header(3)),
        Step::Answer(header(4)),
        Step::Fail(not_found.into()),
    ])
    .await;
    let client = client(&[one.endpoint()]);
    let spec = NetworkSpec {
        processes: vec![],
        connections: vec![],
        policy: PartitionPolicy::default(),
        connection: Default::default(),
    };
    let applied = client.apply_network(&name("net"), spec).await.unwrap().value;
    assert_eq!((applied.outcome, applied.network.partitions), (ApplyOutcome::Created, 2));
    assert_eq!(applied.network.name, name("net"));
    let partitions = client.list_partitions(None).await.unwrap().value;
    let (id, partition) = &partitions[0];
    assert_eq!((id.to_string().as_str(), partition.version), ("net/1", 2));
    let error = client.get_network(&name("other")).await.unwrap_err();
    assert_eq!((error.kind(), error.message()), (ErrorKind::NotFound, "no network \"other\""));
}

#[tokio::test]
async fn an_answer_that_makes_no_sense_is_an_error() {
    let one = Coordinator::start((0..10_000).map(|_| Step::Answer(header(3)))).await;
    let client = client(&[one.endpoint()]);
    // The scripted answer has no network in it.
    let call = client.get_network(&name("net")).timeout(std::time::Duration::from_secs(2));
    let error = call.await.unwrap_err();
    assert!(error.message().contains("network: required"), "{error}");
}

#[tokio::test]
async fn the_cluster_is_asked_about_itself() {
    let one = Coordinator::start([]).await;
    let two = Coordinator::start([]).await;
    let client = client(&[one.endpoint(), two.endpoint()]);
    let status = client.status(&client.endpoints()[1]).await.unwrap().value;
    assert_eq!((status.role, status.leader), (Role::Follower, None));
    assert_eq!((one.asked().len(), two.asked().len()), (0, 1));
    assert_eq!(client.members().await.unwrap().value.leader, Some(MemberId(2)));
    let leader = client.transfer_leader(Some(MemberId(3))).await.unwrap().value;
    assert_eq!(leader, MemberId(3));
}
