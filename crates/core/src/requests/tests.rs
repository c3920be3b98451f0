//! What is kept, against a plain map of the records as which it is seen.

use std::collections::BTreeMap;

use proptest::{collection::vec, prelude::*};

use super::*;
use crate::{Outcome, Reason, Rejection, RestoreEpoch, size};

type Records = BTreeMap<Key, Arc<Versioned<Record>>>;

#[derive(Debug, Clone)]
enum Act {
    Keep(SessionId, Serial),
    Acknowledge(SessionId, Serial),
    Forget(SessionId),
}

fn session() -> impl Strategy<Value = SessionId> {
    (0_u64..2, 1_u64..4).prop_map(|(restore, revision)| SessionId {
        restore: RestoreEpoch(restore),
        revision: Revision(revision),
    })
}

fn act() -> impl Strategy<Value = Act> {
    let serial = || (1_u64..9).prop_map(Serial);
    prop_oneof![
        6 => (session(), serial()).prop_map(|(session, serial)| Act::Keep(session, serial)),
        2 => (session(), serial()).prop_map(|(session, upto)| Act::Acknowledge(session, upto)),
        1 => session().prop_map(Act::Forget),
    ]
}

/// Keys of all lengths and kinds, between those that are there too.
fn start() -> impl Strategy<Value = Key> {
    let kind = prop_oneof![Just(Kind::Entry), Just(Kind::Window), Just(Kind::Reply)];
    let bytes = (session(), 0_u64..10, 0_usize..26).prop_map(|(session, serial, len)| {
        let mut bytes = [&session.to_bytes()[..], &serial.to_be_bytes(), &[0, 0]].concat();
        bytes.truncate(len);
        bytes
    });
    (kind, bytes).prop_map(|(kind, bytes)| Key { kind, bytes: bytes.into() })
}

fn reply(digest: u64) -> KeptReply {
    let length = usize::try_from(digest % 7).unwrap();
    let rejection = Rejection::new(Reason::InvalidField, "x".repeat(length));
    KeptReply { digest, outcome: Outcome { revision: Revision(1), result: Err(rejection) } }
}

fn perform(requests: &mut Requests, act: &Act, at: u64) {
    let revision = Revision(at);
    match *act {
        Act::Keep(session, serial) => {
            let (reply, mut window) = (reply(at), requests.window(session));
            window.bytes += size::kept(&reply);
            requests.keep(session, serial, reply, window, revision);
        }
        Act::Acknowledge(session, upto) => {
            let window = requests.acknowledge(session, upto, revision, size::kept);
            assert_eq!(window, requests.window(session));
        }
        Act::Forget(session) => requests.forget(session),
    }
}

fn all(requests: &Requests) -> Records {
    let listed: Vec<_> = requests.records_from(&Key::entry("")).collect();
    let records: Records = listed.iter().cloned().collect();
    assert!(listed.iter().map(|(key, _)| key).eq(records.keys()), "in key order, each once");
    records
}

/// Does to the records what the act means.
fn mirror(records: &mut Records, act: &Act, at: u64, window: Window) {
    let seen = |value| seen(Revision(at), value);
    match *act {
        Act::Keep(session, serial) => {
            let kept = Record::Reply(Arc::new(reply(at)));
            records.insert(Key::reply(session, serial), seen(kept));
            records.insert(Key::window(session), seen(Record::Window(window)));
        }
        Act::Acknowledge(session, upto) => {
            for serial in 0..=upto.0 {
                records.remove(&Key::reply(session, Serial(serial)));
            }
            records.insert(Key::window(session), seen(Record::Window(window)));
        }
        Act::Forget(session) => {
            records.retain(|key, _| SessionId::from_bytes(&key.bytes) != Some(session));
        }
    }
}

proptest! {
    #[test]
    fn it_is_what_a_map_of_records_would_be(
        acts in vec(act(), 0..60),
        split in any::<prop::sample::Index>(),
        starts in vec(start(), 8),
    ) {
        let (mut requests, mut records) = (Requests::default(), Records::new());
        let split = split.index(acts.len() + 1);
        let mut older = (requests.clone(), records.clone());
        for (at, act) in acts.iter().enumerate() {
            if at == split {
                older = (requests.clone(), records.clone());
            }
            let at = at as u64;
            perform(&mut requests, act, at);
            let (Act::Keep(session, _) | Act::Acknowledge(session, _) | Act::Forget(session)) = act;
            mirror(&mut records, act, at, requests.window(*session));
        }
        prop_assert_eq!(&all(&requests), &records);
        prop_assert_eq!(requests.count(), records.len());
        let sum = records.iter().map(|(key, record)| hash::record(key, record));
        prop_assert_eq!(requests.sum(), sum.fold(0, u64::wrapping_add));
        for start in starts {
            let found: Vec<_> = requests.records_from(&start).map(|(key, _)| key).collect();
            let expected: Vec<_> = records.range(start..).map(|(key, _)| key.clone()).collect();
            prop_assert_eq!(found, expected);
        }
        let differ = |key: &&Key| older.1.get(*key) != records.get(*key);
        let mut keys: Vec<_> = older.1.keys().chain(records.keys()).filter(differ).cloned().collect();
        keys.sort();
        keys.dedup();
        prop_assert_eq!(requests.changed_since(&older.0), keys);
        let mut restored = Requests::default();
        for (key, record) in &records {
            prop_assert_eq!(restored.restore(key, record), Ok(()));
        }
        prop_assert_eq!((restored.count(), restored.sum()), (requests.count(), requests.sum()));
        prop_assert!(restored.changed_since(&requests).is_empty());
    }
}

#[test]
fn what_was_never_kept_is_not_taken() {
    let session = SessionId { restore: RestoreEpoch(1), revision: Revision(2) };
    let window = || Record::Window(Window::default());
    let reply = || Record::Reply(Arc::new(reply(1)));
    let cut = |key: Key| Key { bytes: key.bytes.slice(..key.bytes.len() - 1), ..key };
    let (of_window, of_reply) = (Key::window(session), Key::reply(session, Serial(3)));
    let at = |created, modified, version, value| Versioned {
        created: Revision(created),
        modified: Revision(modified),
        version,
        value,
    };
    let bad = [
        (of_window.clone(), at(4, 4, 1, reply()), "holds a reply"),
        (of_reply.clone(), at(4, 4, 1, window()), "holds a window"),
        (of_window.clone(), at(3, 4, 1, window()), "has revisions of its own"),
        (of_reply.clone(), at(4, 4, 2, reply()), "has revisions of its own"),
        (cut(of_window.clone()), at(4, 4, 1, window()), "no key of its kind"),
        (cut(of_reply.clone()), at(4, 4, 1, reply()), "no key of its kind"),
        (Key { kind: Kind::Window, ..of_reply }, at(4, 4, 1, window()), "no key of its kind"),
    ];
    for (key, record, why) in bad {
        let mut requests = Requests::default();
        assert_eq!(requests.restore(&key, &record), Err(why.into()), "{key}");
        assert_eq!((requests.count(), requests.sum()), (0, 0));
    }
}
