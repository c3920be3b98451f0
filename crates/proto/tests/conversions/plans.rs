//! Plans, layouts and explanations: what was encoded decodes to the same value.

use quorate_core::{
    Key, Name, PartitionId, Resources, Revision,
    plan::{
        Alternative, Basis, Blocked, Explanation, GranularityLimited, LaidOut, Layout, Leaving,
        Move, MoveReason, Occupancy, Plan, ProcessMove, ProcessReason, Rejected, Standing, Verdict,
        WorkerStanding,
    },
};
use quorate_proto::{ConvertError, convert::plan::explanation, v1};

fn name(text: &str) -> Name {
    Name::new(text).expect("a valid name")
}

fn id(index: u32) -> PartitionId {
    PartitionId { network: name("net"), index }
}

fn reasons() -> [MoveReason; 8] {
    [
        MoveReason::Place,
        MoveReason::Evacuate(Leaving::Draining),
        MoveReason::Evacuate(Leaving::Down),
        MoveReason::Label { label: "zone=a".into() },
        MoveReason::Overload { resource: name("cpu_millis") },
        MoveReason::AntiAffinity { group: name("replicas") },
        MoveReason::Balance,
        MoveReason::Traffic,
    ]
}

fn rules() -> [Blocked; 6] {
    [
        Blocked::NoWorker,
        Blocked::NotActive,
        Blocked::Label { label: "zone=a".into() },
        Blocked::Full { partitions_max: 7 },
        Blocked::Capacity { resource: name("gpu"), missing: u64::MAX },
        Blocked::AntiAffinity { group: name("replicas"), partition: id(3) },
    ]
}

fn standing() -> Standing {
    let worker = WorkerStanding { worker: name("w"), partitions: 3, load_ppm: 5 };
    Standing { workers: vec![worker], deviation_ppm: 9, traffic: u64::MAX }
}

fn plan() -> Plan {
    let one = |(at, reason)| Move {
        partition: id(at),
        from: (at > 0).then(|| name("a")),
        to: name("b"),
        reason,
        gain: -5,
        cost: i64::MAX,
        waits_for: (0..at).map(id).collect(),
    };
    let rejected = |(at, blocked)| Rejected { partition: id(at), blocked };
    Plan {
        basis: Basis {
            records: vec![(Key::partition(&id(0)), Revision(4))],
            targets: vec![Occupancy { worker: name("b"), partitions: 2, newest: Revision(9) }],
        },
        before: standing(),
        after: Standing::default(),
        waves: vec![(0..).zip(reasons()).map(one).collect(), Vec::new()],
        rejected: (0..).zip(rules()).map(rejected).collect(),
    }
}

#[test]
fn plans_come_back() {
    assert_eq!(Plan::try_from(v1::Plan::from(&plan())), Ok(plan()));
}

#[test]
fn layouts_and_moves_of_processes_come_back() {
    let demand: Resources = [(name("cpu_millis"), 5)].into_iter().collect();
    let laid_out = LaidOut { id: id(1), processes: vec![name("p")], demand, load_ppm: 1 };
    let limited = GranularityLimited { process: name("p"), share_ppm: 60_000 };
    for limited in [None, Some(limited)] {
        let partitions = vec![laid_out.clone()];
        let layout = Layout { partitions, deviation_ppm: 2, limited };
        assert_eq!(Layout::try_from(v1::Layout::from(&layout)), Ok(layout));
    }
    let reasons = [
        ProcessReason::New,
        ProcessReason::PartitionGone,
        ProcessReason::Traffic,
        ProcessReason::Balance,
    ];
    for (from, reason) in [None, Some(id(0)), Some(id(1)), Some(id(2))].into_iter().zip(reasons) {
        let one =
            ProcessMove { process: name("p"), from, to: id(3), reason, gain: i64::MIN, cost: 0 };
        assert_eq!(ProcessMove::try_from(v1::ProcessMove::from(&one)), Ok(one));
    }
}

#[test]
fn explanations_come_back() {
    let blocked = rules().map(Verdict::Blocked);
    let possible = Verdict::Possible { traffic: -4, load_ppm: 5, over_ppm: 6 };
    let others: Vec<Alternative> = blocked
        .into_iter()
        .chain([possible])
        .map(|verdict| Alternative { worker: name("w"), verdict })
        .collect();
    for worker in [None, Some(name("home"))] {
        let answer = v1::ExplainPartitionResponse {
            header: None,
            worker: worker.clone().map(String::from).unwrap_or_default(),
            leaving: "old".into(),
            traffic: 1,
            load_ppm: 2,
            fair_ppm: 3,
            others: others.iter().map(Into::into).collect(),
        };
        let others = others.clone();
        let leaving = Some(name("old"));
        let told = Explanation {
            partition: id(0),
            worker,
            leaving,
            traffic: 1,
            load_ppm: 2,
            fair_ppm: 3,
            others,
        };
        assert_eq!(explanation(id(0), answer), Ok(told));
    }
}

#[test]
fn what_is_wrong_is_named() {
    let field = |plan: v1::Plan| Plan::try_from(plan).unwrap_err().field;
    let wrong = |change: fn(&mut v1::Plan)| {
        let mut plan = v1::Plan::from(&plan());
        change(&mut plan);
        field(plan)
    };
    assert_eq!(wrong(|plan| plan.before = None), "before");
    assert_eq!(wrong(|plan| plan.basis[0].key = None), "basis[0].key");
    assert_eq!(wrong(|plan| plan.waves[0].moves[2].to = "?".into()), "waves[0].moves[2].to");
    assert_eq!(wrong(|plan| plan.waves[0].moves[2].reason = 0), "waves[0].moves[2].reason");
    assert_eq!(wrong(|plan| plan.rejected[1].blocked = None), "rejected[1].blocked");
    let error: ConvertError =
        Blocked::try_from(v1::Blocked { rule: 99, ..Default::default() }).unwrap_err();
    assert_eq!((error.field.as_str(), error.rule.as_str()), ("rule", "unknown value 99"));
}
