//! Every write is applied exactly once, whatever becomes of its replies and of its leaders.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use futures::StreamExt as _;
use quorate_client::{Client, ClientConfig, SessionOptions, Start, WatchEvent, WatchOptions};
use quorate_core::{Filter, Key, Kind, MemberId, Name, Record};
use quorate_proto::v1::{self, store_service_client::StoreServiceClient};
use quorate_testkit::{Faults, Proxy};
use tokio::time::sleep;

use crate::Cluster;

const WRITES: u64 = 4_000;
const IN_FLIGHT: usize = 1_000;

#[tokio::test(flavor = "multi_thread")]
async fn lost_replies_and_leaders_apply_no_write_twice_and_none_never() {
    let mut cluster = Cluster::start().await;
    let direct = cluster.client();
    let mut proxies = Vec::new();
    for endpoint in direct.endpoints() {
        proxies.push(Proxy::start(endpoint.to_string()).await.unwrap());
    }
    let mut config = ClientConfig::new(proxies.iter().map(Proxy::endpoint));
    (config.timeout, config.exactly_once_ttl) = (Duration::from_secs(120), Duration::from_secs(60));
    let client = Client::new(config).unwrap();
    client.put("warm", "up").await.unwrap();
    proxies.iter().for_each(|proxy| proxy.set(Faults::LoseReplies));

    let (writer, done) = (client.clone(), Arc::new(AtomicU64::new(0)));
    let counted = done.clone();
    let write = move |number: u64| {
        let put = writer.put("counter", number.to_string()).into_future();
        let counted = counted.clone();
        async move {
            let revision = put.await.unwrap().revision();
            counted.fetch_add(1, Ordering::Relaxed);
            (revision, number)
        }
    };
    let writing = futures::stream::iter(0..WRITES).map(write).buffer_unordered(IN_FLIGHT);
    let writing = tokio::spawn(writing.collect::<BTreeMap<_, _>>());
    let (mut transfers, mut restarted, started) = (0, false, Instant::now());
    while !writing.is_finished() {
        for target in [1, 2, 3].map(MemberId) {
            sleep(Duration::from_millis(500)).await;
            let moved = direct.transfer_leader(Some(target)).timeout(Duration::from_secs(2)).await;
            transfers += u64::from(moved.is_ok());
            println!("{:?} {} of {WRITES}", started.elapsed(), done.load(Ordering::Relaxed));
        }
        if !std::mem::replace(&mut restarted, true) {
            cluster.stop(3).await;
            cluster.restart(3).await;
        }
    }
    let replies = writing.await.unwrap();
    let broken: u64 = proxies.iter().map(Proxy::broken).sum();
    println!("writes={WRITES} in_flight={IN_FLIGHT} broken={broken} transfers={transfers}");
    assert!(broken > 0 && transfers > 0, "nothing went wrong");
    assert_eq!(replies.len() as u64, WRITES, "every reply has a revision of its own");

    let counter = direct.get("counter").await.unwrap();
    assert_eq!(counter.value.as_ref().unwrap().version, WRITES, "each was applied exactly once");
    let filter =
        Filter { kinds: vec![Kind::Entry], key_prefix: "counter".into(), ..Filter::default() };
    let start = Start::From(replies.first_key_value().unwrap().0.to_owned());
    let mut watch = direct.watch(WatchOptions { start, filter, ..WatchOptions::default() });
    let mut applied = BTreeMap::new();
    while applied.len() as u64 != WRITES {
        let WatchEvent::Changes { revision, changes, .. } = watch.next().await.unwrap() else {
            continue;
        };
        let Record::Entry(entry) = &changes[0].current.as_ref().unwrap().value else { panic!() };
        let number = std::str::from_utf8(&entry.value).unwrap().parse().unwrap();
        applied.insert(revision, number);
    }
    assert_eq!(applied, replies, "each at the revision that its reply says");
    client.close().await;
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeat_is_answered_as_the_first_time_whatever_the_limits_are_now() {
    let cluster = Cluster::start().await;
    let client = cluster.client();
    let session = client.open_session(SessionOptions::default()).await.unwrap();
    let address = format!("http://{}", client.endpoints()[0]);
    let mut store = StoreServiceClient::connect(address).await.unwrap();
    let put = v1::PutRequest {
        key: Some(Key::entry("large").into()),
        value: vec![0; 2_000].into(),
        context: Some(v1::WriteContext {
            session: Some(session.id().into()),
            serial: 1,
            ..v1::WriteContext::default()
        }),
        ..v1::PutRequest::default()
    };
    let first = store.put(put.clone()).await.unwrap().into_inner();
    client.put_setting(&Name::new("value_bytes_max").unwrap(), "1024").await.unwrap();
    let repeat = store.put(put.clone()).await.unwrap().into_inner();
    assert_eq!(repeat.header.unwrap().revision, first.header.unwrap().revision);
    let mut other = put;
    other.context.as_mut().unwrap().serial = 2;
    store.put(other).await.unwrap_err();
    cluster.shutdown().await;
}
