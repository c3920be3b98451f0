//! How many instances there should be in a network, from a state. Pure.

use std::{collections::BTreeMap, sync::Arc};

use quorate_core::{
    Command, Key, KeyRange, Kind, LoadId, Name, NetworkSpec, Partition, PartitionId,
    PartitionState, Process, Record, Resources, Revision, ScaleProcesses, ScaledProcess, Settings,
    State,
    plan::{Basis, ProcessScaling},
};
use quorate_plan::{
    NetworkView, Observation, ObservedProcess, ScaleDecision, ScaleHistory, ScalePolicy,
    ScaleRequest, UpLimit, scale,
};

use super::super::steward::Act;

/// A network as it should be scaled.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ScalePlan {
    /// The processes whose bounds leave a choice, by partition and id.
    pub(crate) decisions: Vec<ProcessScaling>,
    /// What does it. None: everything is as it should be.
    pub(crate) command: Option<Command>,
    /// For the next look.
    pub(crate) history: ScaleHistory,
}

impl ScalePlan {
    /// What is to be done, if anything.
    pub(super) fn act(&self) -> Option<Act> {
        let command = self.command.clone()?;
        let changed = || self.decisions.iter().filter(|it| it.wanted != it.parallelism);
        let up = changed().filter(|it| it.wanted > it.parallelism).count() as u64;
        let down = changed().count() as u64 - up;
        let first = changed().next().map(|it| it.why.clone()).unwrap_or_default();
        let reason = match up + down {
            0 | 1 => first,
            all => format!("{first}, and {} more", all - 1),
        };
        Some(Act { command, reason, counts: vec![("up", up), ("down", down)] })
    }
}

/// What workers have left.
#[derive(Debug, Default)]
pub(crate) struct Room(BTreeMap<Name, BTreeMap<Name, i128>>);

impl Room {
    /// What is left of what they declare, when all that they own runs.
    pub(crate) fn of(state: &State) -> Self {
        let mut left: BTreeMap<Name, BTreeMap<Name, i128>> = BTreeMap::new();
        for (key, record) in state.records_of(Kind::Worker) {
            let name = std::str::from_utf8(&key.bytes).ok().and_then(|text| Name::new(text).ok());
            if let (Some(name), Record::Worker(worker)) = (name, &record.value) {
                let has = worker.capacity.iter();
                left.insert(name, has.map(|(it, has)| (it.clone(), i128::from(has))).collect());
            }
        }
        let mut room = Self(left);
        for (_, record) in state.records_of(Kind::Partition) {
            if let Record::Partition(partition) = &record.value
                && let Some(owner) = &partition.owner
            {
                room.take(&owner.worker, &partition.demand, 1);
            }
        }
        room
    }

    /// So many times as much is needed from now on; less than none: no longer.
    fn take(&mut self, worker: &Name, needs: &Resources, times: i64) {
        let Some(left) = self.0.get_mut(worker) else { return };
        for (resource, amount) in needs.iter() {
            if let Some(left) = left.get_mut(resource) {
                *left -= i128::from(amount) * i128::from(times);
            }
        }
    }

    /// How many more instances have room, at most so many, and the resource of which there is too little.
    fn more(&self, worker: &Name, needs: &Resources, wanted: u32) -> (u32, Option<Name>) {
        let (mut most, mut lacking) = (wanted, None);
        for (resource, left) in self.0.get(worker).into_iter().flatten() {
            let need = i128::from(needs.get(resource));
            if need == 0 {
                continue;
            }
            let fits = u32::try_from((left / need).max(0)).unwrap_or(u32::MAX);
            if fits < most {
                (most, lacking) = (fits, Some(resource.clone()));
            }
        }
        (most, lacking)
    }
}

/// As the settings say.
pub(super) fn policy(settings: &Settings) -> ScalePolicy {
    let small = |value: u64| u32::try_from(value).unwrap_or(u32::MAX);
    ScalePolicy {
        target_ppm: small(settings.scale_target_ppm),
        tolerance_ppm: small(settings.scale_tolerance_ppm),
        down_stabilisation_ms: settings.scale_down_stabilisation_ms,
        up_limit: Some(UpLimit {
            times: 2,
            plus: small(settings.scale_up_instances_max),
            period_ms: settings.scale_up_period_ms,
        }),
        ..ScalePolicy::default()
    }
}

/// What is to be done now, without waiting until a load has been low for long enough. None: there is no such
/// network.
///
/// # Errors
/// None for a state whose invariants hold.
pub(crate) fn plan_now(state: &State, name: &Name) -> Result<Option<ScalePlan>, String> {
    if state.get(&Key::network(name)).is_none() {
        return Ok(None);
    }
    let policy = ScalePolicy { down_stabilisation_ms: 0, ..policy(state.settings()) };
    let history = ScaleHistory::default();
    let nothing = || ScalePlan { decisions: Vec::new(), command: None, history: history.clone() };
    let planned = plan(state, name, &policy, &history, 0, &mut Room::of(state))?;
    Ok(Some(planned.unwrap_or_else(nothing)))
}

/// Plans for one network. None: its processes leave no choice.
pub(super) fn plan(
    state: &State,
    name: &Name,
    policy: &ScalePolicy,
    history: &ScaleHistory,
    now_ms: u64,
    room: &mut Room,
) -> Result<Option<ScalePlan>, String> {
    let Some(Record::Network(network)) = state.get(&Key::network(name)).map(|it| &it.value) else {
        return Ok(None);
    };
    let spec = &network.spec;
    let has_choice = |process: &Process| process.parallelism.min < process.parallelism.max;
    if !spec.processes.iter().any(has_choice) {
        return Ok(None);
    }
    let places = places(state, name, spec)?;
    let observed: Vec<_> = places.iter().map(|place| place.observed(now_ms)).collect();
    let view = NetworkView::new(spec).map_err(|error| error.to_string())?;
    let request = ScaleRequest { view: &view, observed: &observed, policy, history, now_ms };
    let scaling = scale(&request).map_err(|error| error.to_string())?;
    let chosen = scaling.decisions.iter().zip(&places).zip(&spec.processes);
    let chosen: Vec<_> = chosen.filter(|(_, process)| has_choice(process)).collect();
    let fewer = |decision: &ScaleDecision| decision.wanted < decision.parallelism;
    // What becomes free is there for others.
    for ((decision, place), process) in chosen.iter().filter(|((it, _), _)| fewer(it)) {
        let freed = i64::from(decision.parallelism) - i64::from(decision.wanted);
        place.owner().into_iter().for_each(|owner| room.take(owner, &process.needs, -freed));
    }
    let fitted = chosen.iter().map(|((it, place), process)| fit(it, place, process, room));
    let mut decisions: Vec<ProcessScaling> = fitted.collect();
    decisions.sort_by(|a, b| (a.partition.index, &a.process).cmp(&(b.partition.index, &b.process)));
    let command = command(state, name, &decisions);
    Ok(Some(ScalePlan { decisions, command, history: scaling.history }))
}

/// A process that runs, or could.
struct Place {
    id: PartitionId,
    partition: Arc<Partition>,
    parallelism: u32,
    load_ppm: Option<u64>,
}

impl Place {
    fn observed(&self, time_ms: u64) -> ObservedProcess {
        let parallelism = self.parallelism;
        let seen = |load_ppm| Observation { time_ms, parallelism, load_ppm, flow: None };
        ObservedProcess { parallelism, series: self.load_ppm.map(seen).into_iter().collect() }
    }

    fn owner(&self) -> Option<&Name> {
        self.partition.owner.as_ref().map(|owner| &owner.worker)
    }
}

/// Where each process is, by its number.
fn places(state: &State, name: &Name, spec: &NetworkSpec) -> Result<Vec<Place>, String> {
    let mut places: BTreeMap<Name, Place> = BTreeMap::new();
    let range = KeyRange::Prefix(Kind::Partition, format!("{name}/").into());
    for (key, record) in state.range(&range) {
        let id = std::str::from_utf8(&key.bytes).ok().and_then(PartitionId::parse);
        let (Some(id), Record::Partition(partition)) = (id, &record.value) else { continue };
        if partition.state == PartitionState::Deleted {
            continue;
        }
        let load_ppm = load(state, &id, partition, record.modified);
        for placed in &partition.processes {
            let (id, partition) = (id.clone(), partition.clone());
            let parallelism = placed.parallelism;
            places.insert(placed.id.clone(), Place { id, partition, parallelism, load_ppm });
        }
    }
    let place = |process: &Process| {
        places.remove(&process.id).ok_or_else(|| format!("process {} is nowhere", process.id))
    };
    spec.processes.iter().map(place).collect()
}

/// The load that the owner of a partition observed since the partition changed last.
pub(in crate::controller) fn load(
    state: &State,
    id: &PartitionId,
    partition: &Partition,
    changed: Revision,
) -> Option<u64> {
    if partition.state != PartitionState::Assigned {
        return None;
    }
    let record = state.get(&Key::load(&LoadId::Partition(id.clone())))?;
    match record.value {
        Record::Load(load) if record.modified > changed => Some(load.load_ppm),
        _ => None,
    }
}

/// As many more as the owner's worker has the resources for.
fn fit(
    decision: &ScaleDecision,
    place: &Place,
    process: &Process,
    room: &mut Room,
) -> ProcessScaling {
    let ScaleDecision { parallelism, mut wanted, .. } = *decision;
    let mut lacking = None;
    if wanted > parallelism
        && let Some(owner) = place.owner()
    {
        let (more, lacks) = room.more(owner, &process.needs, wanted - parallelism);
        room.take(owner, &process.needs, i64::from(more));
        (wanted, lacking) = (parallelism + more, lacks);
    }
    let mut why = decision.to_string();
    if let Some(resource) = &lacking {
        why.push_str(&format!("; its worker has {resource} for {wanted}"));
    }
    let (partition, process) = (place.id.clone(), process.id.clone());
    ProcessScaling { partition, process, parallelism, wanted, why, lacking }
}

fn command(state: &State, name: &Name, decisions: &[ProcessScaling]) -> Option<Command> {
    let max = usize::try_from(state.settings().command_changes_max).unwrap_or(usize::MAX);
    let mut partitions: Vec<&PartitionId> = Vec::new();
    let mut changes = Vec::new();
    for it in decisions.iter().filter(|it| it.wanted != it.parallelism) {
        if partitions.last() != Some(&&it.partition) {
            // The others are for the next look.
            if partitions.len() == max {
                break;
            }
            partitions.push(&it.partition);
        }
        changes.push(ScaledProcess {
            partition: it.partition.index,
            process: it.process.clone(),
            parallelism: it.wanted,
        });
    }
    if changes.is_empty() {
        return None;
    }
    let keys = partitions.into_iter().map(Key::partition).chain([Key::network(name)]);
    let basis = Basis::of(state, keys);
    Some(Command::ScaleProcesses(ScaleProcesses { network: name.clone(), changes, basis }))
}
