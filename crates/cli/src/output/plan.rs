//! Plans and explanations: as text with bars for loads, or as JSON.
//!
//! The names of the JSON fields are an interface: fields are added, never renamed.

use std::{collections::BTreeMap, fmt::Write as _};

use quorate_core::{
    NetworkSpec, PartitionId, ProcessEdge,
    plan::{
        Alternative, Blocked, Explanation, GranularityLimited, Layout, Move, NetworkPlan, Plan,
        ProcessMove, ProcessReason, Standing, Verdict,
    },
};
use serde_json::{Value, json};

use super::{
    Column::{self, Left, Right},
    Table,
    cluster::NetworkRow,
    graph::Places,
    records::{amounts, percent},
    text,
};

/// So many moves are shown as text; JSON has all.
const MOVES_SHOWN: usize = 50;
/// The longest bar, in characters.
const BAR: u64 = 24;

const LAYOUT: &[Column] =
    &[Left("PARTITION"), Right("PROCESSES"), Right("LOAD NOW"), Right("LOAD THEN"), Left("")];
const PROCESS_MOVES: &[Column] =
    &[Left("PROCESS"), Left("FROM"), Left("TO"), Right("GAIN"), Left("WHY")];
const MOVES: &[Column] =
    &[Right("WAVE"), Left("PARTITION"), Left("FROM"), Left("TO"), Right("GAIN"), Left("WHY")];
const REJECTED: &[Column] = &[Left("NO PLACE FOR"), Left("BECAUSE")];
const WORKERS: &[Column] = &[
    Left("WORKER"),
    Right("PARTITIONS NOW"),
    Right("THEN"),
    Right("LOAD NOW"),
    Right("LOAD THEN"),
    Left(""),
];
const OTHERS: &[Column] =
    &[Left("OTHER WORKER"), Right("LOAD THERE"), Right("TRAFFIC"), Left("WHY NOT")];

/// A bar for a load, as long as its share of the largest.
fn bar(load_ppm: u64, largest: u64) -> String {
    let length = u128::from(load_ppm) * u128::from(BAR) / u128::from(largest.max(1));
    "#".repeat(usize::try_from(length).unwrap_or(0))
}

/// What applying a network would do.
pub(crate) fn network_text(plan: &NetworkPlan) -> String {
    let NetworkPlan { before, after, moves, placement, .. } = plan;
    let mut out = layout_text(before, after);
    if let Some(GranularityLimited { process, share_ppm }) = &after.limited {
        let share = percent(*share_ppm);
        writeln!(out, "\nLoads differ: process {process} alone needs {share} of what a partition has on average.")
            .expect("a String takes everything");
    }
    // Of a new network all processes are new.
    let moves: Vec<&ProcessMove> = match before.partitions.is_empty() {
        true => Vec::new(),
        false => moves.iter().collect(),
    };
    if !moves.is_empty() {
        let mut table = Table::new(PROCESS_MOVES);
        for one in moves.iter().take(MOVES_SHOWN) {
            table.push(vec![
                one.process.to_string(),
                one.from.as_ref().map_or_else(|| "-".to_owned(), ToString::to_string),
                one.to.to_string(),
                one.gain.to_string(),
                one.reason.to_string(),
            ]);
        }
        write!(out, "\n{table}{}", more(moves.len())).expect("a String takes everything");
    }
    out.push('\n');
    out.push_str(&plan_text(placement));
    out
}

fn layout_text(before: &Layout, after: &Layout) -> String {
    let largest = after.partitions.iter().map(|it| it.load_ppm).max().unwrap_or(0);
    let before: BTreeMap<_, _> = before.partitions.iter().map(|it| (&it.id, it)).collect();
    let mut table = Table::new(LAYOUT);
    for partition in &after.partitions {
        let was = before.get(&partition.id);
        table.push(vec![
            partition.id.to_string(),
            partition.processes.len().to_string(),
            was.map_or_else(|| "-".to_owned(), |was| percent(was.load_ppm)),
            percent(partition.load_ppm),
            bar(partition.load_ppm, largest),
        ]);
    }
    table.to_string()
}

fn more(count: usize) -> String {
    match count.checked_sub(MOVES_SHOWN) {
        None | Some(0) => String::new(),
        Some(rest) => format!("and {rest} more; --output json has all\n"),
    }
}

/// Where partitions go.
pub(crate) fn plan_text(plan: &Plan) -> String {
    let mut out = String::new();
    let moves: Vec<(usize, &Move)> = (1..)
        .zip(&plan.waves)
        .flat_map(|(wave, moves)| moves.iter().map(move |m| (wave, m)))
        .collect();
    if moves.is_empty() && plan.rejected.is_empty() {
        out.push_str("No partition has to move.\n");
    }
    if !moves.is_empty() {
        let mut table = Table::new(MOVES);
        for (wave, one) in moves.iter().take(MOVES_SHOWN) {
            table.push(vec![
                wave.to_string(),
                one.partition.to_string(),
                text::or_dash(one.from.as_ref().map(|name| name.as_str())),
                one.to.to_string(),
                one.gain.to_string(),
                one.reason.to_string(),
            ]);
        }
        write!(out, "{table}{}", more(moves.len())).expect("a String takes everything");
    }
    if !plan.rejected.is_empty() {
        let mut table = Table::new(REJECTED);
        for rejected in plan.rejected.iter().take(MOVES_SHOWN) {
            table.push(vec![rejected.partition.to_string(), rejected.blocked.to_string()]);
        }
        let gap = if moves.is_empty() { "" } else { "\n" };
        write!(out, "{gap}{table}{}", more(plan.rejected.len()))
            .expect("a String takes everything");
    }
    if !plan.after.workers.is_empty() {
        write!(out, "\n{}", workers_text(&plan.before, &plan.after))
            .expect("a String takes everything");
    }
    out
}

fn workers_text(before: &Standing, after: &Standing) -> Table {
    let largest = after.workers.iter().map(|it| it.load_ppm).max().unwrap_or(0);
    let before: BTreeMap<_, _> = before.workers.iter().map(|it| (&it.worker, it)).collect();
    let mut table = Table::new(WORKERS);
    for then in &after.workers {
        let now = before.get(&then.worker);
        table.push(vec![
            then.worker.to_string(),
            now.map_or_else(|| "-".to_owned(), |now| now.partitions.to_string()),
            then.partitions.to_string(),
            now.map_or_else(|| "-".to_owned(), |now| percent(now.load_ppm)),
            percent(then.load_ppm),
            bar(then.load_ppm, largest),
        ]);
    }
    table
}

/// Why a partition is where it is.
pub(crate) fn explanation_text(explained: &Explanation) -> String {
    let Explanation { partition, worker, leaving, traffic, load_ppm, fair_ppm, others } = explained;
    let mut out = match worker {
        None => format!("Partition {partition} is on no worker.\n"),
        Some(worker) => format!(
            "Partition {partition} is on {worker}: its traffic costs {traffic} there; the worker's \
             load is {}, a fair share is {}.\n",
            percent(*load_ppm),
            percent(*fair_ppm)
        ),
    };
    if let Some(leaving) = leaving {
        writeln!(out, "It is on its way: {leaving} still runs it, and was asked to give it up.")
            .expect("a String takes everything");
    }
    if !others.is_empty() {
        let mut table = Table::new(OTHERS);
        others.iter().for_each(|other| table.push(other_cells(other)));
        write!(out, "\n{table}").expect("a String takes everything");
    }
    out
}

fn other_cells(other: &Alternative) -> Vec<String> {
    let worker = other.worker.to_string();
    match &other.verdict {
        Verdict::Blocked(blocked) => {
            vec![worker, "-".into(), "-".into(), blocked.to_string()]
        }
        Verdict::Possible { traffic, load_ppm, over_ppm } => {
            let why = match (*over_ppm, *traffic) {
                (over, _) if over > 0 => format!("{} more than it should have", percent(over)),
                (_, more) if more > 0 => format!("traffic would cost {more} more"),
                (_, 0) => "nothing speaks against it, nor for a move".to_owned(),
                (_, less) => format!("traffic would cost {} less", less.unsigned_abs()),
            };
            vec![worker, percent(*load_ppm), format!("{traffic:+}"), why]
        }
    }
}

/// What applying a network would do.
pub(crate) fn network_json(plan: &NetworkPlan) -> Value {
    let moves: Vec<Value> = plan.moves.iter().map(process_move_json).collect();
    json!({
        "before": layout_json(&plan.before),
        "after": layout_json(&plan.after),
        "moves": moves,
        "placement": plan_json(&plan.placement),
    })
}

fn layout_json(layout: &Layout) -> Value {
    let partition = |it: &quorate_core::plan::LaidOut| {
        json!({
            "id": it.id.to_string(),
            "processes": it.processes.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "demand": amounts(&it.demand),
            "load_ppm": it.load_ppm,
        })
    };
    let partitions: Vec<Value> = layout.partitions.iter().map(partition).collect();
    let limited = layout
        .limited
        .as_ref()
        .map(|it| json!({ "process": it.process.to_string(), "share_ppm": it.share_ppm }));
    json!({
        "partitions": partitions, "deviation_ppm": layout.deviation_ppm, "limited_by": limited,
    })
}

fn process_move_json(one: &ProcessMove) -> Value {
    let reason = match one.reason {
        ProcessReason::New => "new",
        ProcessReason::PartitionGone => "partition_gone",
        ProcessReason::Traffic => "traffic",
        ProcessReason::Balance => "balance",
    };
    json!({
        "process": one.process.to_string(), "from": one.from.as_ref().map(ToString::to_string),
        "to": one.to.to_string(), "reason": reason,
        "gain": one.gain, "cost": one.cost,
    })
}

/// Where partitions go.
pub(crate) fn plan_json(plan: &Plan) -> Value {
    let wave = |moves: &Vec<Move>| moves.iter().map(move_json).collect::<Vec<_>>();
    let record = |(key, modified): &(quorate_core::Key, quorate_core::Revision)| {
        let id = String::from_utf8_lossy(&key.bytes);
        json!({ "kind": key.kind.to_string(), "key": id, "modified": modified.get() })
    };
    let rejected = |it: &quorate_core::plan::Rejected| json!({ "partition": it.partition.to_string(), "because": blocked_json(&it.blocked) });
    json!({
        "basis": plan.basis.records.iter().map(record).collect::<Vec<_>>(),
        "before": standing_json(&plan.before),
        "after": standing_json(&plan.after),
        "waves": plan.waves.iter().map(wave).collect::<Vec<_>>(),
        "rejected": plan.rejected.iter().map(rejected).collect::<Vec<_>>(),
    })
}

fn move_json(one: &Move) -> Value {
    json!({
        "partition": one.partition.to_string(),
        "from": one.from.as_ref().map(ToString::to_string),
        "to": one.to.to_string(),
        "reason": one.reason.to_string(),
        "gain": one.gain,
        "cost": one.cost,
        "waits_for": one.waits_for.iter().map(ToString::to_string).collect::<Vec<_>>(),
    })
}

fn blocked_json(blocked: &Blocked) -> Value {
    let (rule, subject, amount) = match blocked {
        Blocked::NoWorker => ("no_worker", None, None),
        Blocked::NotActive => ("not_active", None, None),
        Blocked::Label { label } => ("label", Some(label.clone()), None),
        Blocked::Full { partitions_max } => ("full", None, Some(*partitions_max)),
        Blocked::Capacity { resource, missing } => {
            ("capacity", Some(resource.to_string()), Some(*missing))
        }
        Blocked::AntiAffinity { group, .. } => ("anti_affinity", Some(group.to_string()), None),
    };
    json!({ "rule": rule, "subject": subject, "amount": amount, "text": blocked.to_string() })
}

fn standing_json(standing: &Standing) -> Value {
    let worker = |it: &quorate_core::plan::WorkerStanding| {
        json!({
            "worker": it.worker.to_string(), "partitions": it.partitions, "load_ppm": it.load_ppm,
        })
    };
    json!({
        "workers": standing.workers.iter().map(worker).collect::<Vec<_>>(),
        "deviation_ppm": standing.deviation_ppm,
        "traffic": standing.traffic,
    })
}

/// Why a partition is where it is.
pub(crate) fn explanation_json(explained: &Explanation) -> Value {
    let other = |other: &Alternative| {
        let worker = other.worker.to_string();
        match &other.verdict {
            Verdict::Blocked(blocked) => {
                json!({ "worker": worker, "blocked": blocked_json(blocked) })
            }
            Verdict::Possible { traffic, load_ppm, over_ppm } => json!({
                "worker": worker, "blocked": null, "traffic": traffic, "load_ppm": load_ppm,
                "over_ppm": over_ppm,
            }),
        }
    };
    json!({
        "partition": explained.partition.to_string(),
        "worker": explained.worker.as_ref().map(ToString::to_string),
        "leaving": explained.leaving.as_ref().map(ToString::to_string),
        "traffic": explained.traffic,
        "load_ppm": explained.load_ppm,
        "fair_ppm": explained.fair_ppm,
        "others": explained.others.iter().map(other).collect::<Vec<_>>(),
    })
}

const PARTITIONS: &[Column] = &[
    Left("PARTITION"),
    Right("PROCESSES"),
    Right("LOAD"),
    Right("INSIDE"),
    Right("ACROSS"),
    Left("HEAVIEST EDGE ACROSS"),
];

/// What one partition exchanges.
#[derive(Debug, Clone, Default)]
struct Exchange<'a> {
    processes: usize,
    inside: u64,
    across: u64,
    heaviest: Option<&'a ProcessEdge>,
}

fn exchanges<'a>(spec: &'a NetworkSpec, places: &Places) -> BTreeMap<u32, Exchange<'a>> {
    let mut all: BTreeMap<u32, Exchange<'a>> = BTreeMap::new();
    places.values().for_each(|at| all.entry(*at).or_default().processes += 1);
    for edge in &spec.connections {
        let (Some(from), Some(to)) = (places.get(&edge.from), places.get(&edge.to)) else {
            continue;
        };
        if from == to {
            let one = all.entry(*from).or_default();
            one.inside = one.inside.saturating_add(edge.rate);
            continue;
        }
        for end in [from, to] {
            let one = all.entry(*end).or_default();
            one.across = one.across.saturating_add(edge.rate);
            if one.heaviest.is_none_or(|other| other.rate < edge.rate) {
                one.heaviest = Some(edge);
            }
        }
    }
    all
}

/// How a network is partitioned: what each partition keeps inside, and what goes across.
pub(crate) fn network_explained_text(
    row: &NetworkRow,
    spec: &NetworkSpec,
    places: &Places,
    loads: &[(PartitionId, u64)],
) -> String {
    let across = u128::from(row.cut_rate) * 1_000_000 / u128::from(row.total_rate.max(1));
    let across = u64::try_from(across).unwrap_or(u64::MAX);
    let mut out = format!(
        "Network {}, generation {}: {} processes in {} partitions by strategy {}; {} of the traffic \
         goes across.\n\n",
        row.name,
        row.generation,
        row.processes,
        row.partitions,
        row.strategy,
        percent(across)
    );
    let all = exchanges(spec, places);
    let mut table = Table::new(PARTITIONS);
    for (id, load) in loads {
        let one = all.get(&id.index).cloned().unwrap_or_default();
        let heaviest =
            one.heaviest.map(|edge| format!("{} -> {} {}", edge.from, edge.to, edge.rate));
        table.push(vec![
            id.to_string(),
            one.processes.to_string(),
            percent(*load),
            one.inside.to_string(),
            one.across.to_string(),
            text::or_dash(heaviest.as_deref()),
        ]);
    }
    write!(out, "{table}").expect("a String takes everything");
    out
}

/// How a network is partitioned.
pub(crate) fn network_explained_json(
    spec: &NetworkSpec,
    places: &Places,
    loads: &[(PartitionId, u64)],
) -> Value {
    let all = exchanges(spec, places);
    let partition = |(id, load): &(PartitionId, u64)| {
        let one = all.get(&id.index).cloned().unwrap_or_default();
        let edge = |edge: &ProcessEdge| json!({ "from": edge.from.to_string(), "to": edge.to.to_string(), "rate": edge.rate });
        json!({
            "id": id.to_string(), "processes": one.processes, "load_ppm": load,
            "inside_rate": one.inside, "across_rate": one.across, "heaviest": one.heaviest.map(edge),
        })
    };
    json!({ "explained": loads.iter().map(partition).collect::<Vec<_>>() })
}

#[cfg(test)]
mod tests {
    use quorate_core::{Name, PartitionId, plan::MoveReason};

    use super::*;

    #[test]
    fn bars_are_shares_of_the_largest() {
        assert_eq!(bar(500_000, 1_000_000).len(), 12);
        assert_eq!(bar(1_000_000, 1_000_000).len(), 24);
        assert_eq!(bar(0, 0), "");
    }

    #[test]
    fn long_plans_are_cut_and_say_so() {
        let name = |text: &str| Name::new(text).unwrap();
        let one = |index| Move {
            partition: PartitionId { network: name("net"), index },
            from: None,
            to: name("w"),
            reason: MoveReason::Place,
            gain: 0,
            cost: 0,
            waits_for: Vec::new(),
        };
        let plan = Plan {
            basis: Default::default(),
            before: Standing::default(),
            after: Standing::default(),
            waves: vec![(0..60).map(one).collect()],
            rejected: Vec::new(),
        };
        let text = plan_text(&plan);
        assert_eq!(text.lines().count(), 52);
        assert!(text.ends_with("and 10 more; --output json has all\n"), "{text}");
        assert_eq!(plan_json(&plan)["waves"][0].as_array().unwrap().len(), 60);
    }
}
