//! Which processes of a network must be in one partition, and which must not.
//!
//! Processes of one affinity group are in one partition. Those of one anti-affinity group are in
//! different ones, and so are those that require different values of one label. Must not know how an
//! assignment is found.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    ops::RangeInclusive,
};

use crate::{
    label,
    name::Name,
    record::{NetworkSpec, Process},
    rejection::Rejection,
};

/// Two processes are not where their constraints allow.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{:?} and {:?} {rule}", first.as_str(), second.as_str())]
pub struct Conflict {
    /// The first of the two, in the order in which they were given.
    pub first: Name,
    /// The other one.
    pub second: Name,
    /// The place of the second, from 0.
    pub at: usize,
    /// What they must keep.
    pub rule: Constraint,
}

/// What two processes must keep.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Constraint {
    /// They are of this affinity group.
    Together(Name),
    /// They are of this anti-affinity group.
    Apart(Name),
    /// They require different values of one label.
    Label {
        /// The label.
        name: String,
        /// What they require, in their order.
        values: [String; 2],
    },
}

impl fmt::Display for Constraint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Together(group) => {
                write!(f, "are of affinity group {:?}: they are in one partition", group.as_str())
            }
            Self::Apart(group) => {
                let group = group.as_str();
                write!(f, "are of anti-affinity group {group:?}: they are in different partitions")
            }
            Self::Label { name, values: [first, second] } => {
                write!(
                    f,
                    "require {name:?} to be {first:?} and {second:?}: they are in different "
                )?;
                f.write_str("partitions")
            }
        }
    }
}

/// Checks that each process may be in the partition that is given for it.
///
/// # Errors
/// The first conflict.
pub fn check(processes: &[Process], partitions: &[u32]) -> Result<(), Conflict> {
    let mut groups: BTreeMap<&Name, (usize, u32)> = BTreeMap::new();
    let mut meeting = Meeting::default();
    for (at, (process, &partition)) in processes.iter().zip(partitions).enumerate() {
        if let Some(group) = &process.affinity {
            let (first, place) = *groups.entry(group).or_insert((at, partition));
            if place != partition {
                return Err(conflict(processes, first, at, Constraint::Together(group.clone())));
            }
        }
        meeting.join(processes, at, partition)?;
    }
    Ok(())
}

fn conflict(processes: &[Process], first: usize, at: usize, rule: Constraint) -> Conflict {
    let id = |at: usize| processes[at].id.clone();
    Conflict { first: id(first), second: id(at), at, rule }
}

/// Processes that meet in numbered places.
#[derive(Default)]
struct Meeting<'a> {
    apart: BTreeMap<(u32, &'a Name), usize>,
    labels: BTreeMap<(u32, &'a str), usize>,
}

impl<'a> Meeting<'a> {
    /// One more process comes to a place.
    fn join(&mut self, processes: &'a [Process], at: usize, place: u32) -> Result<(), Conflict> {
        let process = &processes[at];
        if let Some(group) = &process.anti_affinity {
            let first = *self.apart.entry((place, group)).or_insert(at);
            if first != at {
                return Err(conflict(processes, first, at, Constraint::Apart(group.clone())));
            }
        }
        for (name, value) in &process.requires {
            let first = *self.labels.entry((place, name)).or_insert(at);
            let required = &processes[first].requires[name];
            if required != value {
                let values = [required.clone(), value.clone()];
                let rule = Constraint::Label { name: name.clone(), values };
                return Err(conflict(processes, first, at, rule));
            }
        }
        Ok(())
    }
}

impl NetworkSpec {
    /// How many partitions the constraints of its processes allow: at least as many as the largest
    /// anti-affinity group has processes and one label has values; at most as many as there are processes,
    /// those of one affinity group being one. Not every number between them need be possible.
    #[must_use]
    pub fn partitions_possible(&self) -> RangeInclusive<u32> {
        let Counts { apart, values, units } = Counts::of(&self.processes);
        let apart = apart.values().map(Vec::len).max();
        let values = values.values().map(BTreeSet::len).max();
        let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        let least = apart.unwrap_or(0).max(values.unwrap_or(0)).max(1);
        count(least)..=count(units)
    }

    /// Checks that its processes' constraints can be kept, as far as can be told without looking for
    /// an assignment.
    pub(crate) fn validate_constraints(&self) -> Result<(), Rejection> {
        let processes = &self.processes;
        for (at, process) in processes.iter().enumerate() {
            label::validate(&format!("processes[{at}].requires"), &process.requires)?;
        }
        let mut numbers: BTreeMap<&Name, u32> = BTreeMap::new();
        let mut groups = Meeting::default();
        for (at, process) in processes.iter().enumerate() {
            let Some(group) = &process.affinity else { continue };
            let next = u32::try_from(numbers.len()).unwrap_or(u32::MAX);
            let number = *numbers.entry(group).or_insert(next);
            groups
                .join(processes, at, number)
                .map_err(|conflict| contradiction(conflict, group))?;
        }
        match self.policy.count() {
            0 => Ok(()),
            partitions => self.validate_count(partitions as usize),
        }
    }

    fn validate_count(&self, partitions: usize) -> Result<(), Rejection> {
        let Counts { apart, values, units } = Counts::of(&self.processes);
        if partitions > units {
            let rule = format!("at most {units}: those of one affinity group count as one process");
            return Err(Rejection::invalid("policy.partitions", rule));
        }
        for (group, members) in apart {
            if let Some(at) = members.get(partitions) {
                let field = format!("processes[{at}].anti_affinity");
                let rule = "at most policy.partitions";
                let rule = format!("{rule}, {partitions}, processes of group {:?}", group.as_str());
                return Err(Rejection::invalid(field, rule));
            }
        }
        for (label, values) in values {
            if values.len() > partitions {
                let values = values.len();
                let rule = format!("at least {values}: so many values of {label:?} are required");
                return Err(Rejection::invalid("policy.partitions", rule));
            }
        }
        Ok(())
    }
}

/// Two processes of one affinity group must not be together.
fn contradiction(conflict: Conflict, group: &Name) -> Rejection {
    let (Conflict { first, at, rule, .. }, group) = (conflict, group.as_str());
    let (field, rule) = match rule {
        Constraint::Label { name, values: [wanted, found] } => {
            let rule = format!("{name:?} must be {wanted:?}, as {:?} requires,", first.as_str());
            ("requires", format!("{rule} of the same affinity group {group:?}, not {found:?}"))
        }
        Constraint::Apart(apart) | Constraint::Together(apart) => {
            let rule = format!("must not be {:?}, as that of {:?}", apart.as_str(), first.as_str());
            ("anti_affinity", format!("{rule}, of the same affinity group {group:?}"))
        }
    };
    Rejection::invalid(format!("processes[{at}].{field}"), rule)
}

/// What bounds the number of partitions.
struct Counts<'a> {
    /// The places of the processes of each anti-affinity group.
    apart: BTreeMap<&'a Name, Vec<usize>>,
    /// The values that are required of each label.
    values: BTreeMap<&'a str, BTreeSet<&'a str>>,
    /// How many processes there are, those of one affinity group being one.
    units: usize,
}

impl<'a> Counts<'a> {
    fn of(processes: &'a [Process]) -> Self {
        let mut counts = Self { apart: BTreeMap::new(), values: BTreeMap::new(), units: 0 };
        let mut groups = BTreeSet::new();
        for (at, process) in processes.iter().enumerate() {
            if let Some(group) = &process.anti_affinity {
                counts.apart.entry(group).or_default().push(at);
            }
            for (name, value) in &process.requires {
                counts.values.entry(name).or_default().insert(value);
            }
            let first = process.affinity.as_ref().is_none_or(|group| groups.insert(group));
            counts.units += usize::from(first);
        }
        counts
    }
}
