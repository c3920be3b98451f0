//! Locks and elections over real sessions.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use quorate_client::{
    Client, ClientConfig, ErrorKind, Gone, Lock, Lost, NotTaken, Reason, SessionOptions, entries,
};
use quorate_core::{Epoch, MemberId};
use quorate_testkit::{Faults, Proxy};
use tokio::time::{Instant, timeout};

use crate::Cluster;

const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread")]
async fn holders_never_overlap_and_epochs_grow() {
    let cluster = Cluster::start().await;
    let (busy, last) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(None::<Epoch>)));
    let turns = Arc::new(AtomicU32::new(0));
    let contenders = (0..4).map(|_| {
        let (client, busy, last, turns) =
            (cluster.client(), busy.clone(), last.clone(), turns.clone());
        tokio::spawn(async move {
            let session = client.open_session(SessionOptions::default()).await.unwrap();
            for _ in 0..10 {
                let lock = session.lock("locks/one").await.unwrap();
                assert!(!busy.swap(true, Ordering::SeqCst), "two hold it");
                let before = last.lock().replace(lock.epoch());
                assert!(before.is_none_or(|before| before < lock.epoch()), "epochs grow");
                tokio::task::yield_now().await;
                assert!(lock.is_held());
                busy.store(false, Ordering::SeqCst);
                turns.fetch_add(1, Ordering::SeqCst);
                lock.release().await.unwrap();
            }
            session.close().await.unwrap();
        })
    });
    let contenders: Vec<_> = contenders.collect();
    let client = cluster.client();
    for target in [1, 2, 3].map(MemberId) {
        client.transfer_leader(Some(target)).await.unwrap();
    }
    futures::future::try_join_all(contenders).await.unwrap();
    assert_eq!(turns.load(Ordering::SeqCst), 40);
    assert_eq!(client.count(entries("locks/")).await.unwrap().value, 0, "nothing is left");
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_holder_that_is_cut_off_knows_before_another_holds_it() {
    let cluster = Cluster::start().await;
    let direct = cluster.client();
    let mut proxies = Vec::new();
    for endpoint in direct.endpoints() {
        proxies.push(Proxy::start(endpoint.to_string()).await.unwrap());
    }
    let cut_off = Client::new(ClientConfig::new(proxies.iter().map(Proxy::endpoint))).unwrap();
    let ttl = Duration::from_secs(2);
    let session = cut_off.open_session(SessionOptions::new(ttl)).await.unwrap();
    let lock = session.lock("locks/one").await.unwrap();
    let other = direct.open_session(SessionOptions::new(ttl)).await.unwrap();
    let waiting = tokio::spawn(async move {
        let lock = other.lock("locks/one").await.unwrap();
        (Instant::now(), lock)
    });
    tokio::time::sleep(ttl).await;
    assert!(lock.is_held() && !waiting.is_finished(), "keep-alives keep it");

    proxies.iter().for_each(|proxy| proxy.set(Faults::Blackhole));
    let gone = timeout(PATIENCE, lock.lost()).await.unwrap();
    let lost_at = Instant::now();
    assert_eq!((gone, lock.is_held()), (Gone::Session(Lost::Unheard), false));
    let (taken_at, next) = timeout(PATIENCE, waiting).await.unwrap().unwrap();
    assert!(lost_at < taken_at, "it was told {:?} too late", lost_at - taken_at);
    println!("told {:?} before another held it", taken_at - lost_at);
    assert!(lock.epoch() < next.epoch());
    // What the old holder still sends is refused, once its entry is required.
    proxies.iter().for_each(|proxy| proxy.set(Faults::None));
    let late = cut_off.transaction().guard_session(&session).put("effect", "late").commit().await;
    let error = late.unwrap_err();
    assert_eq!((error.kind(), error.reason()), {
        (ErrorKind::Rejected, Some(Reason::SessionExpired))
    });
    next.release().await.unwrap();
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn locks_are_tried_waited_for_and_broken() {
    let cluster = Cluster::start().await;
    let client = cluster.client();
    let open = || client.open_session(SessionOptions::default());
    let (first, second) = (open().await.unwrap(), open().await.unwrap());
    let lock: Lock = first.try_lock("locks/a").await.unwrap().expect("nobody has it");
    assert!(first.try_lock("locks/a").await.unwrap().is_none(), "not twice by one session");
    assert!(second.try_lock("locks/a").await.unwrap().is_none());
    let within = second.lock_within("locks/a", Duration::from_millis(200)).await;
    assert!(matches!(within, Err(NotTaken::Timeout)), "{within:?}");
    assert_eq!(client.count(entries("locks/a/")).await.unwrap().value, 1, "nobody else queues");
    assert!(second.try_lock("locks").await.unwrap().is_some(), "locks/a is another one");

    client.delete(lock.key()).await.unwrap();
    assert_eq!(timeout(PATIENCE, lock.lost()).await.unwrap(), Gone::Removed);
    assert!(!lock.is_held() && first.is_valid());

    // A session that closes hands on what it holds.
    let held = first.lock("locks/b").await.unwrap();
    let waiting =
        tokio::spawn(async move { second.lock("locks/b").await.map(|lock| lock.epoch()) });
    first.close().await.unwrap();
    assert_eq!(held.lost().await, Gone::Session(Lost::Closed));
    let epoch = timeout(PATIENCE, waiting).await.unwrap().unwrap().unwrap();
    assert!(epoch > held.epoch());
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_candidate_leads_and_everybody_sees_who() {
    let cluster = Cluster::start().await;
    let client = cluster.client();
    let mut seen = client.watch_leader("elections/x");
    assert_eq!(seen.next().await.unwrap(), None);
    let first = client.open_session(SessionOptions::default()).await.unwrap();
    let leadership = first.campaign("elections/x", "one").await.unwrap();
    let told = seen.next().await.unwrap().expect("a leader");
    assert_eq!((&told.value[..], told.epoch), (&b"one"[..], leadership.epoch()));
    leadership.proclaim("uno").await.unwrap();
    assert_eq!(&seen.next().await.unwrap().unwrap().value[..], b"uno");

    let second = cluster.client().open_session(SessionOptions::default()).await.unwrap();
    let candidate = tokio::spawn(async move {
        let leadership = second.campaign("elections/x", "two").await.unwrap();
        (second, leadership)
    });
    leadership.resign().await.unwrap();
    let (second, next) = timeout(PATIENCE, candidate).await.unwrap().unwrap();
    assert!(next.epoch() > told.epoch);
    assert_eq!(&client.leader("elections/x").await.unwrap().unwrap().value[..], b"two");
    second.close().await.unwrap();
    assert_eq!(client.leader("elections/x").await.unwrap(), None);
    let error = next.proclaim("late").await.unwrap_err();
    assert_eq!(error.reason(), Some(Reason::PreconditionFailed));
    cluster.shutdown().await;
}
