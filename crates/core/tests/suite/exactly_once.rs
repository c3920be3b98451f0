//! Requests that are sent again and again, in any order, over sessions that come and go, beside a
//! model that remembers everything.

use std::collections::BTreeMap;

use proptest::{collection::vec, prelude::*};
use quorate_core::{
    Call, Command, Key, Operation, Origin, Outcome, Reason, Record, Reply, Request, Serial,
    SessionId, Stamp, State, Term, Transaction, apply_request, digest,
};

use crate::generate::IDENTITY;

/// The window in these tests, so small that requests leave it.
const WINDOW: u64 = 8;

#[derive(Debug, Clone)]
enum Act {
    Open,
    Close(usize),
    /// From the leader of the entry's term, or of an older one.
    Expire(usize, bool),
    /// Session, serial after what is acknowledged, how far the acknowledgement grows, what is asked.
    Send {
        session: usize,
        ahead: u64,
        grow: u64,
        variant: u8,
    },
}

fn act() -> impl Strategy<Value = Act> {
    let send = (0..4_usize, 0..WINDOW + 4, 0..3_u64, 0..3_u8)
        .prop_map(|(session, ahead, grow, variant)| Act::Send { session, ahead, grow, variant });
    prop_oneof![
        1 => Just(Act::Open),
        1 => (0..4_usize).prop_map(Act::Close),
        1 => (0..4_usize, any::<bool>()).prop_map(|(session, current)| Act::Expire(session, current)),
        20 => send,
    ]
}

/// What is known of a session.
#[derive(Debug, Default)]
struct Known {
    acknowledged: u64,
    first: BTreeMap<u64, (u64, Outcome)>,
    ended: bool,
}

#[derive(Default)]
struct Model {
    sessions: Vec<(SessionId, Known)>,
    /// How often each request changed something.
    effects: BTreeMap<(SessionId, u64), u32>,
}

/// A put that always changes something, or a transaction that is always rejected.
fn command(session: SessionId, serial: u64, variant: u8) -> Command {
    let key = if variant == 2 { Key::entry("") } else { Key::entry(format!("{session}/{serial}")) };
    let record = Record::Entry(vec![variant].into());
    let put = Operation::Put { key, record, return_previous: true };
    Command::Transaction(Transaction { success: vec![put], ..Transaction::default() })
}

fn run(state: &mut State, command: Command, call: Option<Call>) -> (Outcome, bool) {
    let stamp = Stamp { time_ms: 1, term: Term(7) };
    let applied =
        apply_request(state, stamp, &Request { command, call, origin: Origin::default() });
    assert_eq!(state.check(), Ok(()));
    (applied.outcome, applied.event.is_some())
}

fn reason(outcome: &Outcome) -> Option<Reason> {
    outcome.result.as_ref().err().map(|rejection| rejection.reason)
}

impl Model {
    fn act(&mut self, state: &mut State, act: &Act) {
        match act {
            Act::Open => {
                let open = Command::OpenSession { ttl_ms: 1_000, label: String::new() };
                let (outcome, _) = run(state, open, None);
                let Ok(Reply::OpenSession { id, .. }) = outcome.result else {
                    panic!("{outcome:?}")
                };
                self.sessions.push((id, Known::default()));
            }
            Act::Close(at) => self.end(state, *at, |id| Command::CloseSession { id }, true),
            Act::Expire(at, current) => {
                let term = if *current { Term(7) } else { Term(6) };
                self.end(state, *at, |id| Command::ExpireSession { id, term }, *current);
            }
            Act::Send { session, ahead, grow, variant } => {
                self.send(state, *session, *ahead, *grow, *variant);
            }
        }
    }

    fn end(&mut self, state: &mut State, at: usize, by: impl Fn(SessionId) -> Command, ends: bool) {
        let Some((id, known)) = self.sessions.get_mut(at) else { return };
        let (outcome, _) = run(state, by(*id), None);
        assert_eq!(outcome.result.is_ok(), ends && !known.ended, "{outcome:?}");
        known.ended |= ends;
        assert_eq!(state.session(*id).is_none(), known.ended);
    }

    fn send(&mut self, state: &mut State, at: usize, ahead: u64, grow: u64, variant: u8) {
        let Some((id, known)) = self.sessions.get_mut(at) else { return };
        let serial = known.acknowledged + ahead;
        let acknowledged = known.acknowledged + grow;
        let command = command(*id, serial, variant);
        let digest = digest(&command);
        let (serial_, acknowledged_) = (Serial(serial), Serial(acknowledged));
        let call = Call { session: *id, serial: serial_, acknowledged: acknowledged_, digest };
        let before = state.clone();
        let (outcome, changed) = run(state, command, Some(call));
        *self.effects.entry((*id, serial)).or_default() += u32::from(changed);
        if known.ended {
            assert_eq!(reason(&outcome), Some(Reason::SessionExpired));
            assert_eq!(state.hash(), before.hash());
        } else if serial <= acknowledged {
            assert_eq!(reason(&outcome), Some(Reason::SerialTooOld));
            assert_eq!(state.hash(), before.hash());
        } else if serial > acknowledged + WINDOW {
            assert_eq!(reason(&outcome), Some(Reason::LimitExceeded));
            assert_eq!(state.hash(), before.hash());
        } else {
            known.acknowledged = acknowledged;
            match known.first.get(&serial) {
                Some((first, expected)) if *first == digest => assert_eq!(outcome, *expected),
                Some(_) => assert_eq!(reason(&outcome), Some(Reason::InvalidField)),
                None => {
                    assert_eq!(changed, variant != 2, "{outcome:?}");
                    known.first.insert(serial, (digest, outcome));
                }
            }
            assert!(!changed || before.revision().next() == state.revision());
        }
    }
}

proptest! {
    #![proptest_config(crate::cases(256))]

    /// Whatever is sent again in whatever order: applied at most once, the first reply for ever
    /// until it is acknowledged, nothing after the session.
    #[test]
    fn every_request_is_applied_at_most_once(acts in vec(act(), 1..120)) {
        let mut state = State::new(IDENTITY);
        let name = quorate_core::Name::new("session_window_max").unwrap();
        let record = Record::Setting(WINDOW.to_string().into());
        let put = Operation::Put { key: Key::setting(&name), record, return_previous: false };
        let transaction = Transaction { success: vec![put], ..Transaction::default() };
        run(&mut state, Command::Transaction(transaction), None);
        let mut model = Model::default();
        model.act(&mut state, &Act::Open);
        for act in &acts {
            model.act(&mut state, act);
        }
        prop_assert!(model.effects.values().all(|count| *count <= 1), "{:?}", model.effects);
        // What is kept is bounded by the windows of the sessions that are alive.
        let alive = model.sessions.iter().filter(|(_, known)| !known.ended).count() as u64;
        let kept = state.records_from(&Key::entry("")).count() as u64 - state.len() as u64;
        prop_assert!(kept <= alive * (WINDOW + 1), "{kept} records for {alive} sessions");
    }
}
