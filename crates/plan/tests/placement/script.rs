//! Small clusters, planned and printed: the whole answer can be read and judged by eye.

use std::fmt::Write as _;

use quorate_core::plan::{Plan, Verdict};
use quorate_plan::cluster::{
    BalancePolicy, ClusterView, Traffic, explain, explain_worker, rebalance, what_if_lost,
};

use crate::{
    checker::check,
    support::{Cluster, id, name},
};

/// May move half of everything.
pub(crate) fn policy() -> BalancePolicy {
    BalancePolicy {
        moved_ppm_max: 500_000,
        moved_load_ppm_max: 500_000,
        ..BalancePolicy::default()
    }
}

pub(crate) fn print(plan: &Plan) -> String {
    let mut out = String::new();
    for (at, wave) in plan.waves.iter().enumerate() {
        for one in wave {
            let from = one.from.as_ref().map_or("-", |name| name.as_str());
            write!(out, "{at}: {} {from} -> {}: {}", one.partition, one.to, one.reason).unwrap();
            if one.gain != 0 {
                write!(out, ", gain {}", one.gain).unwrap();
            }
            if !one.waits_for.is_empty() {
                let ids: Vec<_> = one.waits_for.iter().map(ToString::to_string).collect();
                write!(out, ", after {}", ids.join(" ")).unwrap();
            }
            out.push('\n');
        }
    }
    for it in &plan.rejected {
        writeln!(out, "no place for {}: {}", it.partition, it.blocked).unwrap();
    }
    for it in &plan.after.workers {
        write!(out, "{}={}/{}% ", it.worker, it.partitions, it.load_ppm / 10_000).unwrap();
    }
    writeln!(out, "traffic={}", plan.after.traffic).unwrap();
    out
}

pub(crate) fn run(text: &str) -> String {
    let cluster = Cluster::parse(text);
    let plan = rebalance(&cluster.view(), &policy());
    check(&cluster, &policy(), &plan);
    print(&plan)
}

#[test]
fn nobodys_partitions_fill_workers_by_what_they_give() {
    let text = "
        worker large cpu=300
        worker small cpu=100
        0 cpu=50
        1 cpu=50
        2 cpu=50
        3 cpu=50";
    assert_eq!(
        run(text),
        "\
0: p/0 - -> large: nobody has it
0: p/1 - -> large: nobody has it
0: p/2 - -> small: nobody has it
0: p/3 - -> large: nobody has it
large=3/50% small=1/50% traffic=0
"
    );
}

#[test]
fn what_exchanges_much_is_placed_together() {
    let text = "
        worker a cpu=100
        worker b cpu=100
        0 cpu=20
        1 cpu=20
        2 cpu=20
        3 cpu=20
        0 3 9
        1 2 9";
    assert_eq!(
        run(text),
        "\
0: p/0 - -> a: nobody has it
0: p/1 - -> b: nobody has it
0: p/2 - -> b: nobody has it
0: p/3 - -> a: nobody has it
a=2/40% b=2/40% traffic=0
"
    );
}

#[test]
fn a_worker_that_is_lost_or_drained_is_left_by_all() {
    let text = "
        worker a cpu=100
        worker b cpu=100 draining
        worker c cpu=100 down
        0 cpu=10 on b
        1 cpu=30 on c
        2 cpu=20 on gone
        3 cpu=10 on a
        4 cpu=90";
    assert_eq!(
        run(text),
        "\
0: p/1 c -> a: its worker is down
0: p/2 gone -> a: its worker is down
0: p/0 b -> a: its worker is being drained
no place for p/4: 60 cpu are missing
a=4/70% traffic=0
"
    );
}

#[test]
fn a_balanced_cluster_is_left_alone() {
    let text = "
        worker a cpu=100
        worker b cpu=100
        0 cpu=40 on a
        1 cpu=20 on b
        2 cpu=22 on b";
    assert_eq!(run(text), "a=1/40% b=2/42% traffic=0\n");
}

#[test]
fn who_has_more_than_its_share_gives_to_who_has_less() {
    let text = "
        worker a cpu=100
        worker b cpu=100
        0 cpu=20 on a
        1 cpu=20 on a
        2 cpu=20 on a
        3 cpu=20 on a
        0 1 5
        2 3 4";
    assert_eq!(
        run(text),
        "\
0: p/2 a -> b: its worker has more than its share, gain -4
0: p/3 a -> b: its worker has more than its share, gain 4
a=2/40% b=2/40% traffic=0
"
    );
}

#[test]
fn what_rests_stays_unless_it_must_go() {
    let text = "
        worker a cpu=100
        worker b cpu=100
        0 cpu=20 on a rests
        1 cpu=20 on a rests";
    assert_eq!(run(text), "a=2/40% b=0/0% traffic=0\n");
    let text = "
        worker a cpu=100 draining
        worker b cpu=100
        0 cpu=20 on a rests";
    assert_eq!(run(text), "0: p/0 a -> b: its worker is being drained\nb=1/20% traffic=0\n");
}

#[test]
fn what_was_moved_lately_is_not_moved_on() {
    let mut cluster = Cluster::parse(
        "
        worker a cpu=100
        worker b cpu=100
        0 cpu=20 on a
        1 cpu=20 on a",
    );
    let mut lately = Vec::new();
    let plan = rebalance(&cluster.view(), &policy());
    assert_eq!(plan.moves().count(), 1);
    for one in plan.moves() {
        lately.push(one.partition.clone());
        let moved = cluster.partitions.iter_mut().find(|it| it.id == one.partition).unwrap();
        moved.worker = Some(one.to.clone());
    }
    // Then a has too little again, and only what has just come could be given to it.
    cluster.partitions.retain(|it| it.worker == Some(name("b")));
    cluster.partitions.push(Cluster::parse("9 cpu=20 on b rests").partitions.remove(0));
    let resting = cluster.view().resting(|id| lately.contains(id));
    assert_eq!(rebalance(&resting, &policy()).moves().count(), 0);
    assert_eq!(rebalance(&cluster.view(), &policy()).moves().count(), 1);
}

#[test]
fn what_was_seen_counts_for_balance_and_what_is_declared_for_capacity() {
    // All declare the same; those on a are busy, those on b idle.
    let text = "
        worker a cpu=100
        worker b cpu=100
        0 cpu=20 on a seen 1000000
        1 cpu=20 on a seen 1000000
        2 cpu=20 on b seen 0
        3 cpu=20 on b seen 0";
    let moved = "0: p/0 a -> b: its worker has more than its share\na=1/20% b=3/20% traffic=0\n";
    assert_eq!(run(text), moved);
    // Nobody was seen: all is even.
    assert_eq!(
        run(&text.replace(" seen 1000000", "").replace(" seen 0", "")),
        "a=2/40% b=2/40% traffic=0\n"
    );
    // What b declares leaves no room, whatever it uses.
    let full = text.replace("2 cpu=20", "2 cpu=70");
    assert_eq!(run(&full), "a=2/40% b=2/0% traffic=0\n");
    // What is seen to need more than a worker has is no reason against a place.
    let hot = "
        worker a cpu=100
        0 cpu=100 seen 3000000";
    assert_eq!(run(hot), "0: p/0 - -> a: nobody has it\na=1/300% traffic=0\n");
}

#[test]
fn what_still_runs_on_a_worker_is_waited_for() {
    // Nobody knows how long 0 takes to leave b, which has no room for another until then.
    let text = "
        worker a cpu=100
        worker b cpu=100
        worker c cpu=100
        0 cpu=90 on c leaves b rests
        1 cpu=40 on a
        2 cpu=40 on a";
    let plan = rebalance(&Cluster::parse(text).view(), &policy());
    let moves: Vec<_> = plan.moves().collect();
    assert_eq!((moves.len(), &moves[0].to), (1, &name("b")));
    assert_eq!(moves[0].waits_for, [id(0)]);
    assert_eq!(plan.waves[0], [], "nothing can be moved now");
    let free = rebalance(&Cluster::parse(&text.replace("leaves b", "")).view(), &policy());
    assert_eq!(free.waves[0].len(), 1);
}

#[test]
fn what_exchanges_much_is_brought_together_where_loads_allow_it() {
    let text = "
        worker a cpu=100
        worker b cpu=100
        0 cpu=10 on a
        1 cpu=10 on a
        2 cpu=1 on a
        3 cpu=10 on b
        4 cpu=10 on b
        5 cpu=1 on b
        2 3 100
        0 1 1";
    let text_after = "\
0: p/2 a -> b: what it exchanges is nearer there, gain 100
a=2/20% b=4/22% traffic=0
";
    assert_eq!(run(text), text_after);
}

#[test]
fn a_label_that_is_required_is_kept_and_mended() {
    let text = "
        worker a cpu=100 zone=x
        worker b cpu=100 zone=y
        worker c cpu=100 zone=y
        0 cpu=10 on a needs zone=y
        1 cpu=10 needs zone=x
        2 cpu=10 needs zone=z
        3 cpu=10 on c";
    assert_eq!(
        run(text),
        "\
0: p/1 - -> a: nobody has it
0: p/0 a -> b: its worker is not zone=y
no place for p/2: the worker is not zone=z
a=1/10% b=1/10% c=1/10% traffic=0
"
    );
}

#[test]
fn more_than_a_worker_gives_goes_elsewhere() {
    let text = "
        worker a cpu=30
        worker b cpu=100
        0 cpu=20 on a
        1 cpu=20 on a
        2 cpu=70 on b";
    assert_eq!(
        run(text),
        "\
0: p/0 a -> b: its worker has too little cpu
a=1/66% b=2/90% traffic=0
"
    );
}

#[test]
fn what_finds_its_label_while_an_overloaded_worker_is_relieved_is_moved_once() {
    // 0 requires rack=y and must leave b; only a has that rack, and room when 1 has left it.
    let text = "
        worker a cpu=10 rack=y
        worker b cpu=5
        worker c cpu=90
        0 cpu=8 on b needs rack=y
        1 cpu=11 on a";
    assert_eq!(
        run(text),
        "\
0: p/1 a -> c: its worker has too little cpu
1: p/0 b -> a: its worker has too little cpu, after p/1
a=1/80% b=0/0% c=1/12% traffic=0
"
    );
}

#[test]
fn a_move_waits_for_what_must_leave_first() {
    // b has room for what c has only when its own has gone to a, whose label that requires.
    let text = "
        worker a cpu=50 zone=x
        worker b cpu=50 zone=y
        worker c cpu=50 zone=x draining
        0 cpu=40 on b needs zone=x
        1 cpu=40 on c needs zone=y";
    assert_eq!(
        run(text),
        "\
0: p/0 b -> a: its worker is not zone=x
1: p/1 c -> b: its worker is being drained, after p/0
a=1/80% b=1/80% traffic=0
"
    );
}

#[test]
fn near_is_better_than_far() {
    let text = "
        worker a cpu=100 zone=x rack=one
        worker b cpu=100 zone=x rack=two
        worker c cpu=100 zone=y rack=one
        worker d cpu=100 zone=x rack=one
        0 cpu=30 on a
        1 cpu=30 on b
        2 cpu=30 on c
        3 cpu=30
        0 3 7";
    assert_eq!(
        run(text),
        "\
0: p/3 - -> d: nobody has it
a=1/30% b=1/30% c=1/30% d=1/30% traffic=7
"
    );
    let view = Cluster::parse(text).view();
    let far = |a: &str, b: &str| {
        view.distance(view.worker(&name(a)).unwrap(), view.worker(&name(b)).unwrap())
    };
    assert_eq!([far("a", "a"), far("a", "d"), far("a", "b"), far("a", "c")], [0, 1, 2, 3]);
}

#[test]
fn no_more_is_moved_than_the_policy_allows() {
    let mut text = "worker a cpu=1000\nworker b cpu=1000\n".to_owned();
    for partition in 0..100 {
        writeln!(text, "{partition} cpu=10 on a").unwrap();
    }
    let cluster = Cluster::parse(&text);
    let plan = rebalance(&cluster.view(), &BalancePolicy::default());
    check(&cluster, &BalancePolicy::default(), &plan);
    assert_eq!(plan.moves().count(), 5, "5% of the partitions");
    let heavy = BalancePolicy { moved_ppm_max: 1_000_000, ..BalancePolicy::default() };
    assert_eq!(rebalance(&cluster.view(), &heavy).moves().count(), 9, "9% of the load");
}

#[test]
fn who_has_very_many_gives_those_away_that_hold_together() {
    // In groups of ten that exchange much, each of which goes to another worker as a whole.
    let mut text = "worker a cpu=2000\nworker b cpu=2000\n".to_owned();
    for partition in 0..1_000 {
        writeln!(text, "{partition} cpu=1 on a").unwrap();
    }
    for partition in (0..1_000).filter(|it| it % 10 != 9) {
        writeln!(text, "{partition} {} 100", partition + 1).unwrap();
    }
    let cluster = Cluster::parse(&text);
    let plan = rebalance(&cluster.view(), &policy());
    check(&cluster, &policy(), &plan);
    let moves = plan.moves().count();
    assert!((480..=500).contains(&moves), "{moves}");
    let cut = plan.after.traffic / 300;
    assert!(cut <= 10, "{cut} of 900 connections go across");
}

#[test]
fn where_nobody_needs_anything_partitions_are_counted() {
    let text = "worker a\nworker b\n0\n1\n2\n3\n";
    assert_eq!(
        run(text),
        "\
0: p/0 - -> a: nobody has it
0: p/1 - -> b: nobody has it
0: p/2 - -> a: nobody has it
0: p/3 - -> b: nobody has it
a=2/100% b=2/100% traffic=0
"
    );
}

#[test]
fn a_wish_is_granted_when_it_can_be() {
    let text = "
        worker a cpu=100
        worker b cpu=100 max=2
        0 cpu=10 to b
        1 cpu=10 to b
        2 cpu=10 to b
        3 cpu=10 to nobody
        4 cpu=10 avoids a";
    assert_eq!(
        run(text),
        "\
0: p/0 - -> b: nobody has it
0: p/1 - -> b: nobody has it
0: p/2 - -> a: nobody has it
0: p/3 - -> a: nobody has it
0: p/4 - -> a: nobody has it
a=3/30% b=2/20% traffic=0
"
    );
    let text = "worker a cpu=100\nworker b cpu=100\n0 cpu=10 avoids a\n1 cpu=10 avoids a";
    assert_eq!(
        run(text),
        "0: p/0 - -> b: nobody has it\n0: p/1 - -> b: nobody has it\na=0/0% b=2/20% traffic=0\n"
    );
}

#[test]
fn what_nobody_limits_does_not_count() {
    let text = "
        worker a cpu=100
        worker b cpu=100
        0 cpu=10 gpu=1 on a
        1 cpu=10 on b";
    assert_eq!(run(text), "a=1/10% b=1/10% traffic=0\n");
    // Unless nobody limits anything.
    let text = "
        worker a
        worker b
        0 cpu=10 on a
        1 cpu=10 on b
        2 cpu=10
        3 cpu=10";
    assert_eq!(
        run(text),
        "\
0: p/2 - -> a: nobody has it
0: p/3 - -> b: nobody has it
a=2/100% b=2/100% traffic=0
"
    );
}

#[test]
fn nothing_has_a_place_without_workers() {
    assert_eq!(run("0 cpu=1"), "no place for p/0: no worker takes partitions\ntraffic=0\n");
    assert_eq!(run(""), "traffic=0\n");
    assert_eq!(
        run("worker a max=1\n0\n1"),
        "0: p/0 - -> a: nobody has it\n\
         no place for p/1: the worker has as many partitions as it may, 1\n\
         a=1/50% traffic=0\n"
    );
}

#[test]
fn what_speaks_against_a_worker_is_said() {
    let text = "
        worker a cpu=100 zone=x
        worker b cpu=100 zone=y
        worker c cpu=20
        worker d cpu=100 draining
        0 cpu=30 on a needs zone=x
        1 cpu=30 on a
        2 cpu=30 on b
        1 0 4";
    let view = Cluster::parse(text).view();
    let why = |partition: u32, worker: &str| match explain_worker(
        &view,
        &policy(),
        &id(partition),
        &name(worker),
    ) {
        None => "there".to_owned(),
        Some(Verdict::Blocked(blocked)) => blocked.to_string(),
        Some(Verdict::Possible { traffic, load_ppm, over_ppm }) => {
            format!("{traffic} {load_ppm} {over_ppm}")
        }
    };
    assert_eq!(why(0, "b"), "the worker is not zone=x");
    assert_eq!(why(1, "c"), "10 cpu are missing");
    assert_eq!(why(1, "d"), "the worker takes no partitions");
    assert_eq!(why(1, "a"), "there");
    // 90 of 220 are needed: a fair share of 40.9%, and 5% above it at most.
    assert_eq!(why(1, "b"), "12 600000 170456", "3 steps away at 4 bytes per second");
    let why = explain(&view, &policy(), &id(1)).unwrap();
    assert_eq!((why.worker, why.traffic, why.load_ppm), (Some(name("a")), 0, 600_000));
    let others: Vec<_> = why.others.iter().map(|other| other.worker.as_str()).collect();
    assert_eq!(others, ["b", "c", "d"]);
    assert_eq!(explain(&view, &policy(), &id(9)), None);
}

#[test]
fn what_would_move_without_a_worker_is_only_what_has_to() {
    let text = "
        worker a cpu=100
        worker b cpu=100
        worker c cpu=100
        0 cpu=30 on a
        1 cpu=10 on b
        2 cpu=10 on b
        3 cpu=10 on b";
    let cluster = Cluster::parse(text);
    let plan = what_if_lost(&cluster.view(), &policy(), &name("a")).unwrap();
    assert_eq!(print(&plan), "0: p/0 a -> c: its worker is down\nb=3/30% c=1/30% traffic=0\n");
    assert_eq!(what_if_lost(&cluster.view(), &policy(), &name("x")), None);
}

#[test]
fn a_cluster_that_contradicts_itself_is_an_error() {
    let cluster = Cluster::parse("worker a\n0\n");
    let twice = [cluster.workers.clone(), cluster.workers.clone()].concat();
    let error = ClusterView::new(twice, Vec::new(), &[]).unwrap_err();
    assert_eq!(error.to_string(), "worker a occurs twice");
    let twice = [cluster.partitions.clone(), cluster.partitions.clone()].concat();
    let error = ClusterView::new(Vec::new(), twice, &[]).unwrap_err();
    assert_eq!(error.to_string(), "partition p/0 occurs twice");
    let traffic = [Traffic { from: id(0), to: id(7), rate: 1 }];
    let error = ClusterView::new(Vec::new(), cluster.partitions, &traffic).unwrap_err();
    assert_eq!(error.to_string(), "traffic p/0 -> p/7: there is no partition p/7");
}
