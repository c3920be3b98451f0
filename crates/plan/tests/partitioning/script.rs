//! Small networks, partitioned and printed: the whole answer can be read and judged by eye.

use std::fmt::Write as _;

use crate::support::{edge, network, process};
use quorate_core::NetworkSpec;
use quorate_plan::{NetworkView, PartitionRequest, Seed, Strategies, partition, topological_order};

/// Reads `a:100 b:50 a->b:7`, in any order: a process with its CPU need, a connection with its
/// rate.
fn parse(text: &str) -> NetworkSpec {
    let (mut processes, mut connections) = (Vec::new(), Vec::new());
    for word in text.split_whitespace() {
        let (what, number) = word.split_once(':').unwrap();
        let number = number.parse().unwrap();
        match what.split_once("->") {
            Some((from, to)) => connections.push(edge(from, to, number)),
            None => processes.push(process(what, number)),
        }
    }
    network(processes, connections)
}

fn run(text: &str, strategy: &str, partitions: u32) -> String {
    let spec = parse(text);
    let view = match NetworkView::new(&spec) {
        Ok(view) => view,
        Err(error) => return format!("error: {error}\n"),
    };
    let id = |number: &u32| spec.processes[*number as usize].id.as_str();
    let order = topological_order(&view);
    let order: Vec<_> = order.iter().map(id).collect();
    let mut out = format!("order: {}\n", order.join(" "));
    let strategies = Strategies::builtin();
    let request =
        PartitionRequest { view: &view, partitions, shares: &[], seed: Seed(1), current: None };
    let plan = strategies
        .get(strategy)
        .map_err(Into::into)
        .and_then(|strategy| partition(strategy, &request));
    let plan = match plan {
        Ok(plan) => plan,
        Err(error) => return format!("{out}error: {error}\n"),
    };
    for (at, facts) in plan.facts.partitions.iter().enumerate() {
        let placed = plan.assignment.of_process().iter().zip(&spec.processes);
        let ids: Vec<_> = placed
            .filter(|(partition, _)| **partition as usize == at)
            .map(|(_, process)| process.id.as_str())
            .collect();
        writeln!(out, "{at}: {} load={}", ids.join(" "), facts.load_ppm).unwrap();
    }
    let facts = &plan.facts;
    writeln!(
        out,
        "cut={}/{} edges={} imbalance={}",
        facts.cut_rate, facts.total_rate, facts.cut_edges, facts.imbalance_ppm
    )
    .unwrap();
    out
}

#[test]
fn a_pipeline_is_dealt_in_order_of_flow() {
    // The ids are in the opposite order.
    let answer = run("d:10 c:10 b:10 a:10 d->c:5 c->b:6 b->a:7", "round-robin", 2);
    assert_eq!(
        answer,
        "\
order: d c b a
0: b d load=500000
1: a c load=500000
cut=18/18 edges=3 imbalance=0
"
    );
}

#[test]
fn ties_go_to_the_lower_id() {
    let answer = run("z:30 a:10 m:20 q:0 x:40 z->x:1 a->x:2 m->x:4 z->q:8", "round-robin", 3);
    assert_eq!(
        answer,
        "\
order: a m z q x
0: a q load=100000
1: m x load=600000
2: z load=300000
cut=11/15 edges=3 imbalance=616441
"
    );
}

#[test]
fn a_cycle_stands_together_between_what_feeds_it_and_what_it_feeds() {
    let text = "in:1 loop1:1 loop2:1 loop3:1 out:1 aside:1 \
                in->loop2:1 loop2->loop3:1 loop3->loop1:1 loop1->loop2:1 loop3->out:1";
    assert_eq!(
        run(text, "round-robin", 2),
        "\
order: aside in loop1 loop2 loop3 out
0: aside loop1 loop3 load=500000
1: in loop2 out load=500000
cut=3/5 edges=3 imbalance=0
"
    );
}

#[test]
fn one_partition_cuts_nothing() {
    assert_eq!(
        run("a:1 b:1 a->b:9 b->a:9 a->a:3", "round-robin", 1),
        "\
order: a b
0: a b load=1000000
cut=0/21 edges=0 imbalance=0
"
    );
}

#[test]
fn processes_that_need_nothing_have_no_load() {
    assert_eq!(
        run("a:0 b:0", "round-robin", 2),
        "order: a b\n0: a load=0\n1: b load=0\ncut=0/0 edges=0 imbalance=0\n"
    );
}

#[test]
fn what_cannot_be_planned_is_said() {
    assert_eq!(run("", "round-robin", 1), "error: the network has no processes\n");
    assert_eq!(
        run("a:1 a->ghost:1", "round-robin", 1),
        "error: connection a -> ghost: there is no process ghost\n"
    );
    assert_eq!(
        run("a:1", "round-robin", 0),
        "order: a\nerror: a network has at least 1 partition, 0 were asked for\n"
    );
    assert_eq!(
        run("a:1 b:1", "round-robin", 3),
        "order: a b\nerror: a network of 2 processes has at most as many partitions, 3 were asked for\n"
    );
    assert_eq!(
        run("a:1", "psychic", 1),
        "order: a\nerror: there is no strategy \"psychic\"; known: load-based, multilevel, round-robin\n"
    );
}
