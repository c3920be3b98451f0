//! Connections under random reports, retries and changes of who owns what.

use std::collections::BTreeMap;

use proptest::{collection::vec, prelude::*, strategy::ValueTree, test_runner::TestRunner};
use quorate_core::{
    ApplyNetwork, Command, ConnectionPolicy, ConnectionState, Key, Kind, Name, NetworkSpec,
    PartitionPolicy, Process, ProcessEdge, Record, Stamp, State, apply,
};

use crate::{
    generate::IDENTITY,
    sessions::{self, SessionAct, TERM, act, connection_act},
};

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

/// Three partitions, with an edge where a bit is set.
fn network(state: &State, edges: u8) -> Command {
    let id = |index: usize| name(&format!("p{index}"));
    let pairs = (0..3).flat_map(|from| (0..3).map(move |to| (from, to)));
    let crossing = pairs.filter(|(from, to)| from != to).zip(0..);
    let kept = crossing.filter(|(_, bit)| edges & (1 << bit) != 0);
    let connections =
        kept.map(|((from, to), _)| ProcessEdge { from: id(from), to: id(to), rate: 1 });
    let spec = NetworkSpec {
        processes: (0..3).map(|index| Process::new(id(index), "stage")).collect(),
        connections: connections.collect(),
        policy: PartitionPolicy {
            partitions: 3,
            strategy: name("any"),
            ..PartitionPolicy::default()
        },
        connection: ConnectionPolicy {
            attempts_max: 2,
            backoff_ms: 5,
            backoff_ms_max: 20,
            ..ConnectionPolicy::default()
        },
    };
    let basis = state.get(&Key::network(&name("n"))).map(|it| it.modified);
    let assignment = vec![0, 1, 2];
    Command::ApplyNetwork(ApplyNetwork { name: name("n"), spec, assignment, basis })
}

#[derive(Debug, Clone)]
enum Act {
    Session(SessionAct, u8),
    Network(u8),
}

fn any_act() -> impl Strategy<Value = Act> {
    prop_oneof![
        12 => connection_act().prop_map(|act| Act::Session(act, 0)),
        4 => (act(), 0..2_u8).prop_map(|(act, which)| Act::Session(act, which)),
        1 => any::<u8>().prop_map(Act::Network),
    ]
}

/// Runs a history in which everything is connected at first; every state is checked.
fn run(acts: &[(u64, Act)], mut after: impl FnMut(&State, &State)) {
    let mut state = State::new(IDENTITY);
    let begin = network(&state, u8::MAX);
    assert!(apply(&mut state, Stamp::at(1), &begin).event.is_some());
    let mut time_ms = 1;
    let first = [SessionAct::AssignAll, SessionAct::AssignAll, SessionAct::AssignAll];
    let first = first.map(|act| (0, Act::Session(act, 0)));
    for (more_ms, act) in first.iter().chain(acts) {
        time_ms += more_ms;
        let command = match act {
            Act::Session(act, which) => {
                sessions::command(&state, act, sessions::nth(&state, *which))
            }
            Act::Network(edges) => network(&state, *edges),
        };
        let before = state.clone();
        apply(&mut state, Stamp { time_ms, term: TERM }, &command);
        assert_eq!(state.check(), Ok(()), "{command:?}");
        after(&before, &state);
    }
}

fn statuses(state: &State) -> BTreeMap<Key, quorate_core::ConnectionStatus> {
    let all = state.records_of(Kind::ConnectionStatus);
    let all = all.filter_map(|(key, record)| match &record.value {
        Record::ConnectionStatus(status) => Some((key.clone(), status.as_ref().clone())),
        _ => None,
    });
    all.collect()
}

proptest! {
    #![proptest_config(crate::cases(96))]

    #[test]
    fn connections_follow_and_change_as_they_may(acts in vec((0..40_u64, any_act()), 1..80)) {
        use ConnectionState::{Broken, Connecting, Failed, Up};
        run(&acts, |before, after| {
            let known = statuses(before);
            for (key, now) in statuses(after) {
                assert!(now.attempts <= 2, "its policy allows two: {now:?}");
                let Some(was) = known.get(&key).filter(|was| (was.from, was.to) == (now.from, now.to))
                else {
                    assert_eq!((now.state, now.attempts), (Connecting, 0), "{key} has new ends");
                    continue;
                };
                if *was == now {
                    continue;
                }
                let allowed = matches!(
                    (was.state, now.state),
                    (Connecting, Up | Broken) | (Up, Broken) | (Broken, Up | Connecting | Failed)
                        | (Failed, Connecting)
                );
                assert!(allowed, "{was:?} to {now:?}");
                assert!(was.since_ms <= now.since_ms);
                assert_eq!(now.retry_at_ms > now.since_ms, now.state == Broken);
            }
        });
    }
}

/// The generator must reach what the property is about.
#[test]
fn connections_come_to_every_state() {
    let mut runner = TestRunner::deterministic();
    let mut seen: BTreeMap<&str, u32> = BTreeMap::new();
    for _ in 0..150 {
        let acts = vec((0..40_u64, any_act()), 80).new_tree(&mut runner).unwrap().current();
        run(&acts, |before, after| {
            let known = statuses(before);
            for (key, status) in
                statuses(after).iter().filter(|(key, it)| known.get(key) != Some(it))
            {
                let again = known.get(key).is_some_and(|was| was.from != status.from);
                *seen.entry(if again { "new ends" } else { status.state.as_str() }).or_default() +=
                    1;
            }
            let gone = known.keys().any(|key| after.get(key).is_none());
            *seen.entry("gone").or_default() += u32::from(gone);
        });
    }
    for state in ["connecting", "up", "broken", "failed", "gone"] {
        assert!(seen.get(state).is_some_and(|count| *count > 20), "{state}: {seen:?}");
    }
}
