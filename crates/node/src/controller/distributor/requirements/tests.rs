//! That following comes to what looking does, and that nothing is proposed without need.

use std::collections::BTreeSet;

use quorate_core::{
    ApplyNetwork, ClusterId, Command, Identity, Key, Name, NetworkSpec, Operation, Parallelism,
    PartitionId, PartitionPolicy, Pool, Process, Record, Reply, Resources, RestoreEpoch,
    ScaleProcesses, ScaledProcess, Stamp, State, Tenant, Term, Transaction, apply,
};

use super::Requirements;

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn run(state: &mut State, command: &Command) -> Reply {
    let applied = apply(state, Stamp { time_ms: 1, term: Term(1) }, command);
    assert_eq!(state.check(), Ok(()));
    applied.outcome.result.unwrap()
}

fn network(state: &mut State, text: &str, partitions: u32, pool: Option<&str>) {
    let process = |number| Process {
        needs: [(name("cpu"), 1)].into_iter().collect::<Resources>(),
        parallelism: Parallelism { min: 1, max: 3 },
        ..Process::new(name(&format!("p{number:03}")), "test")
    };
    let policy = PartitionPolicy {
        partitions,
        strategy: name("any"),
        shares: Vec::new(),
        pool: pool.map(name),
        tenant: pool.map(|_| name("a")),
    };
    let processes = (0..partitions).map(process).collect();
    let spec =
        NetworkSpec { processes, connections: Vec::new(), policy, connection: Default::default() };
    let basis = state.get(&Key::network(&name(text))).map(|it| it.modified);
    let assignment = (0..partitions).collect();
    let command = ApplyNetwork { name: name(text), spec, assignment, basis };
    run(state, &Command::ApplyNetwork(command));
}

fn with_pools() -> State {
    let identity = Identity { cluster_id: ClusterId(1), restore_epoch: RestoreEpoch(1) };
    let mut state = State::new(identity);
    for text in ["p", "q"] {
        let tenants = [(name("a"), Tenant::default())].into();
        run(
            &mut state,
            &Command::PutPool { name: name(text), pool: Pool { tenants, ..Pool::default() } },
        );
    }
    state
}

/// Follows and tells apply, in commands about so many, until there is nothing more to tell. How many
/// commands that took, and how many partitions they changed.
fn settle(state: &mut State, requirements: &mut Requirements, most: usize) -> (usize, u32) {
    let mut all = 0;
    for commands in 0..1_000 {
        requirements.follow(state);
        let partitions = requirements.unmet(most);
        assert!(partitions.len() <= most);
        if partitions.is_empty() {
            return (commands, all);
        }
        let command = Command::RequireAllocations { partitions: partitions.clone() };
        let Reply::Changed { changed } = run(state, &command) else { panic!("another reply") };
        all += changed;
        requirements.tried(state, partitions);
    }
    panic!("it never ends")
}

fn set(state: &mut State, text: &str, value: &str) {
    let put = Operation::Put {
        key: Key::setting(&name(text)),
        record: Record::Setting(value.into()),
        return_previous: false,
    };
    run(state, &Command::Transaction(Transaction { success: vec![put], ..Transaction::default() }));
}

#[test]
fn requirements_are_met_in_bounded_commands_and_then_nothing_is_left() {
    let mut state = with_pools();
    let mut requirements = Requirements::of(&state);
    network(&mut state, "n", 10, Some("p"));
    network(&mut state, "other", 5, None);
    assert_eq!(settle(&mut state, &mut requirements, 4), (3, 10));
    assert_eq!(settle(&mut state, &mut requirements, 4), (0, 0));
    // Whoever begins to lead finds the same: nothing.
    for _ in 0..10 {
        let mut anew = Requirements::of(&state);
        assert_eq!(settle(&mut state, &mut anew, 4), (0, 0));
    }
}

#[test]
fn following_finds_what_looking_does() {
    let mut state = with_pools();
    let mut requirements = Requirements::of(&state);
    let scale = |parallelism| {
        Command::ScaleProcesses(ScaleProcesses {
            network: name("n"),
            changes: vec![ScaledProcess { partition: 1, process: name("p001"), parallelism }],
            basis: Default::default(),
        })
    };
    type Act<'a> = (&'a str, Box<dyn Fn(&mut State) + 'a>, usize);
    let acts: Vec<Act<'_>> = vec![
        ("a network comes", Box::new(|it| network(it, "n", 4, Some("p"))), 4),
        ("another pool", Box::new(|it| network(it, "n", 4, Some("q"))), 4),
        ("more partitions", Box::new(|it| network(it, "n", 6, Some("q"))), 2),
        ("more of a process", Box::new(|it| _ = run(it, &scale(3))), 1),
        ("less again", Box::new(|it| _ = run(it, &scale(1))), 1),
        ("fewer partitions", Box::new(|it| network(it, "n", 2, Some("q"))), 0),
        ("no pool", Box::new(|it| network(it, "n", 2, None)), 2),
        ("a pool again", Box::new(|it| network(it, "n", 2, Some("p"))), 2),
        ("gone", Box::new(|it| _ = run(it, &Command::DeleteNetwork { name: name("n") })), 0),
    ];
    for (what, act, unmet) in acts {
        act(&mut state);
        requirements.follow(&state);
        let found: BTreeSet<_> = requirements.unmet(100).into_iter().collect();
        assert_eq!(found.len(), unmet, "{what}: {found:?}");
        let looked = Requirements::of(&state);
        assert_eq!(requirements, looked, "{what}");
        assert_eq!(settle(&mut state, &mut requirements, 100).1, u32::try_from(unmet).unwrap());
    }
    assert_eq!(state.pool_use(&name("p")), None);
}

#[test]
fn what_is_not_in_the_history_any_more_is_looked_at() {
    let mut state = with_pools();
    let mut requirements = Requirements::of(&state);
    network(&mut state, "n", 3, Some("p"));
    set(&mut state, "history_bytes_max", "0");
    set(&mut state, "value_bytes_max", "1000");
    assert!(state.history().oldest().get() > 4);
    assert_eq!(settle(&mut state, &mut requirements, 100), (1, 3));
}

#[test]
fn what_a_pool_has_no_place_for_is_told_again_when_that_may_have_changed() {
    let mut state = with_pools();
    let mut requirements = Requirements::of(&state);
    set(&mut state, "allocations_max", "2");
    network(&mut state, "n", 5, Some("p"));
    assert_eq!(settle(&mut state, &mut requirements, 100), (1, 2), "told once");
    network(&mut state, "m", 1, Some("q"));
    assert_eq!(settle(&mut state, &mut requirements, 100), (1, 1), "another pool has place");
    run(&mut state, &Command::DeleteNetwork { name: name("m") });
    assert_eq!(settle(&mut state, &mut requirements, 100), (0, 0), "that was another pool's");
    let gone = |index| PartitionId { network: name("n"), index };
    assert!(state.requirement_is_met(&gone(1)) && !state.requirement_is_met(&gone(2)));
    set(&mut state, "allocations_max", "4");
    assert_eq!(settle(&mut state, &mut requirements, 100).1, 2);
    // One fewer: there is a place for another one.
    network(&mut state, "n2", 1, None);
    network(&mut state, "n", 5, None);
    network(&mut state, "n2", 1, Some("p"));
    assert_eq!(settle(&mut state, &mut requirements, 2).1, 4 + 1);
    assert_eq!(settle(&mut state, &mut requirements, 2), (0, 0));
}

#[test]
fn a_place_that_becomes_free_is_for_one() {
    let mut state = with_pools();
    let mut requirements = Requirements::of(&state);
    set(&mut state, "allocations_max", "3");
    network(&mut state, "m", 1, Some("p"));
    assert_eq!(settle(&mut state, &mut requirements, 100), (1, 1));
    network(&mut state, "n", 5, Some("p"));
    assert_eq!(settle(&mut state, &mut requirements, 100), (1, 2));
    run(&mut state, &Command::DeleteNetwork { name: name("m") });
    requirements.follow(&state);
    assert_eq!(requirements.unmet(100).len(), 1, "the others are not told of in vain");
    assert_eq!(settle(&mut state, &mut requirements, 100), (1, 1));
}

#[test]
fn what_was_refused_waits_for_another_limit() {
    let mut state = with_pools();
    let mut requirements = Requirements::of(&state);
    network(&mut state, "n", 2, Some("p"));
    requirements.follow(&state);
    requirements.refused(requirements.unmet(1));
    assert_eq!(settle(&mut state, &mut requirements, 100), (1, 1), "the other one");
    set(&mut state, "command_bytes_max", "10000000");
    assert_eq!(settle(&mut state, &mut requirements, 100), (1, 1));
    // What is not required any more must go as well, whatever was refused before.
    network(&mut state, "n", 2, None);
    requirements.follow(&state);
    requirements.refused(requirements.unmet(100));
    assert_eq!(settle(&mut state, &mut requirements, 100), (0, 0));
    set(&mut state, "command_bytes_max", "20000000");
    assert_eq!(settle(&mut state, &mut requirements, 100), (1, 2));
}
