//! Plans, layouts and explanations.

use quorate_core::{
    Key, Name, PartitionId, Revision,
    plan::{
        Alternative, Basis, Blocked, Explanation, GranularityLimited, LaidOut, Layout, Leaving,
        Move, MoveReason, Occupancy, Plan, ProcessMove, ProcessReason, Rejected, Standing, Verdict,
        WorkerStanding,
    },
};

use super::{ConvertError, Within, each, name, record::resources, required, write::partition_id};
use crate::v1;

impl From<&Plan> for v1::Plan {
    fn from(plan: &Plan) -> Self {
        let wave = |moves: &Vec<Move>| v1::Wave { moves: moves.iter().map(Into::into).collect() };
        let record = |(key, modified): &(Key, Revision)| v1::BasisRecord {
            key: Some(key.clone().into()),
            modified: modified.get(),
        };
        let target = |it: &Occupancy| v1::Occupancy {
            worker: it.worker.to_string(),
            partitions: it.partitions,
            newest: it.newest.get(),
        };
        Self {
            targets: plan.basis.targets.iter().map(target).collect(),
            basis: plan.basis.records.iter().map(record).collect(),
            before: Some((&plan.before).into()),
            after: Some((&plan.after).into()),
            waves: plan.waves.iter().map(wave).collect(),
            rejected: plan.rejected.iter().map(Into::into).collect(),
        }
    }
}

impl TryFrom<v1::Plan> for Plan {
    type Error = ConvertError;

    fn try_from(plan: v1::Plan) -> Result<Self, ConvertError> {
        let record = |record: v1::BasisRecord| {
            let key = required(record.key, "key")?.try_into().within("key")?;
            Ok((key, Revision(record.modified)))
        };
        let target = |it: v1::Occupancy| {
            let (worker, newest) = (name(&it.worker, "worker")?, Revision(it.newest));
            Ok(Occupancy { worker, partitions: it.partitions, newest })
        };
        let wave = |wave: v1::Wave| each(wave.moves, "moves", TryInto::try_into);
        Ok(Self {
            basis: Basis {
                records: each(plan.basis, "basis", record)?,
                targets: each(plan.targets, "targets", target)?,
            },
            before: required(plan.before, "before")?.try_into().within("before")?,
            after: required(plan.after, "after")?.try_into().within("after")?,
            waves: each(plan.waves, "waves", wave)?,
            rejected: each(plan.rejected, "rejected", TryInto::try_into)?,
        })
    }
}

impl From<&Move> for v1::PartitionMove {
    fn from(one: &Move) -> Self {
        let subject = match &one.reason {
            MoveReason::Label { label } => label.clone(),
            MoveReason::Overload { resource } => resource.to_string(),
            MoveReason::AntiAffinity { group } => group.to_string(),
            _ => String::new(),
        };
        Self {
            partition: one.partition.to_string(),
            from: one.from.as_ref().map(ToString::to_string).unwrap_or_default(),
            to: one.to.to_string(),
            reason: reason_number(&one.reason).into(),
            subject,
            text: one.reason.to_string(),
            gain: one.gain,
            cost: one.cost,
            waits_for: one.waits_for.iter().map(ToString::to_string).collect(),
        }
    }
}

fn reason_number(reason: &MoveReason) -> v1::MoveReason {
    match reason {
        MoveReason::Place => v1::MoveReason::Place,
        MoveReason::Evacuate(Leaving::Draining) => v1::MoveReason::Draining,
        MoveReason::Evacuate(Leaving::Down) => v1::MoveReason::Down,
        MoveReason::Label { .. } => v1::MoveReason::Label,
        MoveReason::Overload { .. } => v1::MoveReason::Overload,
        MoveReason::AntiAffinity { .. } => v1::MoveReason::AntiAffinity,
        MoveReason::Balance => v1::MoveReason::Balance,
        MoveReason::Traffic => v1::MoveReason::Traffic,
    }
}

impl TryFrom<v1::PartitionMove> for Move {
    type Error = ConvertError;

    fn try_from(one: v1::PartitionMove) -> Result<Self, ConvertError> {
        let unknown = || ConvertError::new("reason", format!("unknown value {}", one.reason));
        let reason = match v1::MoveReason::try_from(one.reason).map_err(|_| unknown())? {
            v1::MoveReason::Unspecified => return Err(unknown()),
            v1::MoveReason::Place => MoveReason::Place,
            v1::MoveReason::Draining => MoveReason::Evacuate(Leaving::Draining),
            v1::MoveReason::Down => MoveReason::Evacuate(Leaving::Down),
            v1::MoveReason::Label => MoveReason::Label { label: one.subject },
            v1::MoveReason::Overload => {
                MoveReason::Overload { resource: name(&one.subject, "subject")? }
            }
            v1::MoveReason::AntiAffinity => {
                MoveReason::AntiAffinity { group: name(&one.subject, "subject")? }
            }
            v1::MoveReason::Balance => MoveReason::Balance,
            v1::MoveReason::Traffic => MoveReason::Traffic,
        };
        Ok(Self {
            partition: partition_id(&one.partition, "partition")?,
            from: optional_name(&one.from, "from")?,
            to: name(&one.to, "to")?,
            reason,
            gain: one.gain,
            cost: one.cost,
            waits_for: each(one.waits_for, "waits_for", |text| partition_id(&text, ""))?,
        })
    }
}

/// A worker's name; empty: none.
fn optional_name(text: &str, field: &str) -> Result<Option<Name>, ConvertError> {
    if text.is_empty() { Ok(None) } else { name(text, field).map(Some) }
}

impl From<&Rejected> for v1::RejectedPartition {
    fn from(rejected: &Rejected) -> Self {
        let partition = rejected.partition.to_string();
        Self { partition, blocked: Some((&rejected.blocked).into()) }
    }
}

impl TryFrom<v1::RejectedPartition> for Rejected {
    type Error = ConvertError;

    fn try_from(rejected: v1::RejectedPartition) -> Result<Self, ConvertError> {
        Ok(Self {
            partition: partition_id(&rejected.partition, "partition")?,
            blocked: required(rejected.blocked, "blocked")?.try_into().within("blocked")?,
        })
    }
}

impl From<&Blocked> for v1::Blocked {
    fn from(blocked: &Blocked) -> Self {
        let (rule, subject, amount) = match blocked {
            Blocked::NoWorker => (v1::BlockedRule::NoWorker, String::new(), 0),
            Blocked::NotActive => (v1::BlockedRule::NotActive, String::new(), 0),
            Blocked::Label { label } => (v1::BlockedRule::Label, label.clone(), 0),
            Blocked::Full { partitions_max } => {
                (v1::BlockedRule::Full, String::new(), *partitions_max)
            }
            Blocked::Capacity { resource, missing } => {
                (v1::BlockedRule::Capacity, resource.to_string(), *missing)
            }
            Blocked::AntiAffinity { group, .. } => {
                (v1::BlockedRule::AntiAffinity, group.to_string(), 0)
            }
        };
        let partition = match blocked {
            Blocked::AntiAffinity { partition, .. } => partition.to_string(),
            _ => String::new(),
        };
        Self { rule: rule.into(), subject, amount, text: blocked.to_string(), partition }
    }
}

impl TryFrom<v1::Blocked> for Blocked {
    type Error = ConvertError;

    fn try_from(blocked: v1::Blocked) -> Result<Self, ConvertError> {
        let unknown = || ConvertError::new("rule", format!("unknown value {}", blocked.rule));
        Ok(match v1::BlockedRule::try_from(blocked.rule).map_err(|_| unknown())? {
            v1::BlockedRule::Unspecified => return Err(unknown()),
            v1::BlockedRule::NoWorker => Self::NoWorker,
            v1::BlockedRule::NotActive => Self::NotActive,
            v1::BlockedRule::Label => Self::Label { label: blocked.subject },
            v1::BlockedRule::Full => Self::Full { partitions_max: blocked.amount },
            v1::BlockedRule::Capacity => {
                let resource = name(&blocked.subject, "subject")?;
                Self::Capacity { resource, missing: blocked.amount }
            }
            v1::BlockedRule::AntiAffinity => Self::AntiAffinity {
                group: name(&blocked.subject, "subject")?,
                partition: partition_id(&blocked.partition, "partition")?,
            },
        })
    }
}

impl From<&Standing> for v1::Standing {
    fn from(standing: &Standing) -> Self {
        let worker = |it: &WorkerStanding| v1::WorkerStanding {
            worker: it.worker.to_string(),
            partitions: it.partitions,
            load_ppm: it.load_ppm,
        };
        Self {
            workers: standing.workers.iter().map(worker).collect(),
            deviation_ppm: standing.deviation_ppm,
            traffic: standing.traffic,
        }
    }
}

impl TryFrom<v1::Standing> for Standing {
    type Error = ConvertError;

    fn try_from(standing: v1::Standing) -> Result<Self, ConvertError> {
        let worker = |it: v1::WorkerStanding| {
            let worker = name(&it.worker, "worker")?;
            Ok(WorkerStanding { worker, partitions: it.partitions, load_ppm: it.load_ppm })
        };
        Ok(Self {
            workers: each(standing.workers, "workers", worker)?,
            deviation_ppm: standing.deviation_ppm,
            traffic: standing.traffic,
        })
    }
}

impl From<&Alternative> for v1::Alternative {
    fn from(other: &Alternative) -> Self {
        let worker = other.worker.to_string();
        match &other.verdict {
            Verdict::Blocked(blocked) => {
                Self { worker, blocked: Some(blocked.into()), ..Self::default() }
            }
            Verdict::Possible { traffic, load_ppm, over_ppm } => Self {
                worker,
                blocked: None,
                traffic: *traffic,
                load_ppm: *load_ppm,
                over_ppm: *over_ppm,
            },
        }
    }
}

impl TryFrom<v1::Alternative> for Alternative {
    type Error = ConvertError;

    fn try_from(other: v1::Alternative) -> Result<Self, ConvertError> {
        let v1::Alternative { worker, blocked, traffic, load_ppm, over_ppm } = other;
        let verdict = match blocked {
            Some(blocked) => Verdict::Blocked(blocked.try_into().within("blocked")?),
            None => Verdict::Possible { traffic, load_ppm, over_ppm },
        };
        Ok(Self { worker: name(&worker, "worker")?, verdict })
    }
}

/// Reads an explanation of a partition.
///
/// # Errors
/// [`ConvertError`] when it is not one.
pub fn explanation(
    partition: PartitionId,
    answer: v1::ExplainPartitionResponse,
) -> Result<Explanation, ConvertError> {
    Ok(Explanation {
        partition,
        worker: optional_name(&answer.worker, "worker")?,
        leaving: optional_name(&answer.leaving, "leaving")?,
        traffic: answer.traffic,
        load_ppm: answer.load_ppm,
        fair_ppm: answer.fair_ppm,
        others: each(answer.others, "others", TryInto::try_into)?,
    })
}

impl From<&Layout> for v1::Layout {
    fn from(layout: &Layout) -> Self {
        let partition = |it: &LaidOut| v1::LaidOutPartition {
            id: it.id.to_string(),
            processes: it.processes.iter().map(ToString::to_string).collect(),
            demand: Some((&it.demand).into()),
            load_ppm: it.load_ppm,
        };
        Self {
            partitions: layout.partitions.iter().map(partition).collect(),
            deviation_ppm: layout.deviation_ppm,
            limited_by: layout
                .limited
                .as_ref()
                .map_or_else(String::new, |it| it.process.to_string()),
            limited_ppm: layout.limited.as_ref().map_or(0, |it| it.share_ppm),
        }
    }
}

impl TryFrom<v1::Layout> for Layout {
    type Error = ConvertError;

    fn try_from(layout: v1::Layout) -> Result<Self, ConvertError> {
        let partition = |it: v1::LaidOutPartition| {
            Ok(LaidOut {
                id: partition_id(&it.id, "id")?,
                processes: each(it.processes, "processes", |text| name(&text, ""))?,
                demand: resources(it.demand, "demand")?,
                load_ppm: it.load_ppm,
            })
        };
        let partitions = each(layout.partitions, "partitions", partition)?;
        let limited = optional_name(&layout.limited_by, "limited_by")?;
        let share_ppm = layout.limited_ppm;
        let limited = limited.map(|process| GranularityLimited { process, share_ppm });
        Ok(Self { partitions, deviation_ppm: layout.deviation_ppm, limited })
    }
}

impl From<&ProcessMove> for v1::ProcessMove {
    fn from(one: &ProcessMove) -> Self {
        let reason = match one.reason {
            ProcessReason::New => v1::ProcessReason::New,
            ProcessReason::PartitionGone => v1::ProcessReason::PartitionGone,
            ProcessReason::Traffic => v1::ProcessReason::Traffic,
            ProcessReason::Balance => v1::ProcessReason::Balance,
        };
        Self {
            process: one.process.to_string(),
            from: one.from.as_ref().map(ToString::to_string).unwrap_or_default(),
            to: one.to.to_string(),
            reason: reason.into(),
            gain: one.gain,
            cost: one.cost,
        }
    }
}

impl TryFrom<v1::ProcessMove> for ProcessMove {
    type Error = ConvertError;

    fn try_from(one: v1::ProcessMove) -> Result<Self, ConvertError> {
        let unknown = || ConvertError::new("reason", format!("unknown value {}", one.reason));
        let reason = match v1::ProcessReason::try_from(one.reason).map_err(|_| unknown())? {
            v1::ProcessReason::Unspecified => return Err(unknown()),
            v1::ProcessReason::New => ProcessReason::New,
            v1::ProcessReason::PartitionGone => ProcessReason::PartitionGone,
            v1::ProcessReason::Traffic => ProcessReason::Traffic,
            v1::ProcessReason::Balance => ProcessReason::Balance,
        };
        let process = name(&one.process, "process")?;
        let from = match one.from.as_str() {
            "" => None,
            text => Some(partition_id(text, "from")?),
        };
        let to = partition_id(&one.to, "to")?;
        Ok(Self { process, from, to, reason, gain: one.gain, cost: one.cost })
    }
}
