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
use quorate_client::{Client, ClientConfig, Start, WatchEvent, WatchOptions};
use quorate_core::{Filter, Kind, MemberId, Record};
use tokio::time::sleep;

use crate::{
    Cluster,
    proxy::{Faults, Proxy},
};

const WRITES: u64 = 4_000;
const IN_FLIGHT: usize = 1_000;

#[tokio::test(flavor = "multi_thread")]
async fn lost_replies_and_leaders_apply_no_write_twice_and_none_never() {
    let mut cluster = Cluster::start().await;
    let direct = cluster.client();
    let mut proxies = Vec::new();
    for endpoint in direct.endpoints() {
        proxies.push(Proxy::start(endpoint.to_string()).await);
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
