//! Groups of partitions that must be on different workers.

use quorate_core::plan::Verdict;
use quorate_plan::cluster::{BalancePolicy, Moves, explain_worker, rebalance, what_if_lost};

use crate::{
    checker::check,
    script::{policy, print, run},
    support::{Cluster, id, name},
};

#[test]
fn no_two_of_a_group_come_to_one_worker() {
    let text = "
        worker a cpu=1000
        worker b cpu=10
        worker c cpu=10
        0 cpu=5 apart g
        1 cpu=5 apart g
        2 cpu=5 apart g
        3 cpu=5 apart g
        4 cpu=5 apart h
        0 1 9";
    assert_eq!(
        run(text),
        "\
0: p/0 - -> a: nobody has it
0: p/1 - -> b: nobody has it
0: p/2 - -> c: nobody has it
0: p/4 - -> a: nobody has it
no place for p/3: the worker has p/0 of the group g
a=2/1% b=1/50% c=1/50% traffic=9
"
    );
}

#[test]
fn of_those_that_share_a_worker_the_higher_numbers_move() {
    let text = "
        worker a cpu=100
        worker b cpu=100
        worker c cpu=100 joining
        0 cpu=10 on a apart g
        1 cpu=10 on a apart g apart h
        2 cpu=10 on a
        3 cpu=10 on a apart h
        4 cpu=10 on c apart g
        5 cpu=10 on c apart g";
    // 1 has no place; it stays, because 0 leaves.
    assert_eq!(
        run(text),
        "\
0: p/3 a -> b: its worker has another of the group h
0: p/0 a -> b: its worker has another of the group g
a=2/20% b=2/20% traffic=0
"
    );
}

#[test]
fn a_move_waits_until_the_other_of_its_group_has_left() {
    // Nothing but the group keeps 1 from b, which 0 leaves for the label that it requires.
    let text = "
        worker a cpu=100 zone=x
        worker b cpu=100 zone=y
        worker c cpu=100 zone=y draining
        0 cpu=10 on b needs zone=x apart g
        1 cpu=10 on c needs zone=y apart g";
    assert_eq!(
        run(text),
        "\
0: p/0 b -> a: its worker is not zone=x
1: p/1 c -> b: its worker is being drained, after p/0
a=1/10% b=1/10% traffic=0
"
    );
}

#[test]
fn who_shares_stays_when_the_other_has_left() {
    // 1 has no place; then 0, which it shares a with, leaves a that is overloaded.
    let text = "
        worker a cpu=10 zone=x
        worker b cpu=10 zone=y
        0 cpu=9 on a apart g
        1 cpu=5 on a needs zone=x apart g";
    assert_eq!(
        run(text),
        "0: p/0 a -> b: its worker has another of the group g\na=1/50% b=1/90% traffic=0\n"
    );
}

#[test]
fn balance_and_traffic_keep_groups_apart() {
    let text = "
        worker a cpu=100
        worker b cpu=100
        0 cpu=20 on a apart g
        1 cpu=20 on a
        2 cpu=20 on a
        3 cpu=1 on b apart g
        0 3 100";
    assert_eq!(
        run(text),
        "\
0: p/1 a -> b: its worker has more than its share
a=2/40% b=2/21% traffic=100
"
    );
}

#[test]
fn a_group_is_one_of_its_network() {
    let mut cluster = Cluster::parse("worker a\n0 on a apart g\n1 on a apart g");
    cluster.partitions[1].id.network = name("q");
    let plan = rebalance(&cluster.view(), &policy());
    check(&cluster, &policy(), &plan);
    assert_eq!(print(&plan), "a=2/100% traffic=0\n");
}

#[test]
fn a_group_speaks_against_a_worker() {
    let text = "
        worker a cpu=100
        worker b cpu=100
        0 cpu=30 on a apart g
        1 cpu=30 on b apart g
        2 cpu=30 on b apart g";
    let cluster = Cluster::parse(text);
    let verdict = explain_worker(&cluster.view(), &policy(), &id(0), &name("b")).unwrap();
    let Verdict::Blocked(blocked) = verdict else { panic!("{verdict:?}") };
    assert_eq!(blocked.to_string(), "the worker has p/1 of the group g");
    let plan = what_if_lost(&cluster.view(), &policy(), &name("a")).unwrap();
    assert_eq!(
        print(&plan),
        "\
no place for p/0: the worker has p/1 of the group g
no place for p/1: no worker takes partitions
no place for p/2: no worker takes partitions
b=2/60% traffic=0
"
    );
}

#[test]
fn who_grants_moves_nothing_that_has_a_worker() {
    let text = "
        worker a cpu=30
        worker b cpu=100
        worker c cpu=100 draining
        0 cpu=20 on a apart g
        1 cpu=20 on a apart g
        2 cpu=20 on c
        3 cpu=20 on gone
        4 cpu=20 apart g to a
        5 cpu=90";
    let policy = BalancePolicy { moves: Moves::Grants, ..policy() };
    let cluster = Cluster::parse(text);
    let plan = rebalance(&cluster.view(), &policy);
    check(&cluster, &policy, &plan);
    assert_eq!(
        print(&plan),
        "\
0: p/5 - -> b: nobody has it
no place for p/4: the worker has p/0 of the group g
a=2/133% b=1/90% traffic=0
"
    );
}
