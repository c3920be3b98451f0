//! What a valid network description is, and its canonical form.
//!
//! Used by apply, and by whoever wants to tell early: errors name the field in the order in which
//! the caller gave it. Must not know how networks are partitioned.

use std::collections::BTreeMap;

use crate::{
    name::Name,
    record::{NetworkSpec, PartitionPolicy, Process, ProcessEdge},
    rejection::Rejection,
    resources::Resources,
    setting::Settings,
};

/// Longest name of a component, bytes.
pub const COMPONENT_BYTES_MAX: usize = 256;
/// Most parallel instances of a process.
pub const PARALLELISM_MAX: u32 = 4096;
/// Most kinds of resources that a process may need.
pub const RESOURCES_MAX: usize = 32;

impl NetworkSpec {
    /// Brings it into canonical order: processes by id, connections by (from, to). Two valid specs
    /// mean the same if and only if their canonical forms are equal.
    pub fn canonicalize(&mut self) {
        self.processes.sort_by(|a, b| a.id.cmp(&b.id));
        self.connections.sort_by(|a, b| (&a.from, &a.to).cmp(&(&b.from, &b.to)));
    }

    /// Checks it, in any order of processes and connections. A policy that leaves choices open is
    /// valid here; see [`NetworkSpec::validate_chosen`].
    ///
    /// A connection from a process to itself is valid: it never crosses partitions.
    ///
    /// # Errors
    /// The first rule that is broken, with the path of the field.
    pub fn validate(&self, limits: &Settings) -> Result<(), Rejection> {
        let processes = self.processes.len() as u64;
        if processes == 0 {
            return Err(Rejection::invalid("processes", "must not be empty"));
        }
        at_most("processes", "network_processes_max", processes, limits.network_processes_max)?;
        let connections = self.connections.len() as u64;
        let connections_max = limits.network_connections_max;
        at_most("connections", "network_connections_max", connections, connections_max)?;
        self.validate_policy(processes)?;
        self.connection.validate()?;
        let ids = self.validate_processes()?;
        self.validate_constraints()?;
        self.validate_connections(&ids)
    }

    /// Checks what [`NetworkSpec::validate`] leaves open: that the policy is chosen.
    ///
    /// # Errors
    /// The rule that is broken, with the path of the field.
    pub fn validate_chosen(&self) -> Result<(), Rejection> {
        if self.policy.partitions == 0 {
            return Err(Rejection::invalid("policy.partitions", "must be at least 1"));
        }
        if self.policy.strategy.as_str() == PartitionPolicy::CHOOSE {
            return Err(Rejection::invalid("policy.strategy", "must name a strategy"));
        }
        Ok(())
    }

    fn validate_policy(&self, processes: u64) -> Result<(), Rejection> {
        let PartitionPolicy { partitions, shares, .. } = &self.policy;
        if u64::from(*partitions) > processes {
            let rule = format!("at most the number of processes, {processes}");
            return Err(Rejection::invalid("policy.partitions", rule));
        }
        let given = shares.len();
        if *partitions == 0 && given as u64 > processes {
            let rule = format!("at most the number of processes, {processes}, not {given}");
            return Err(Rejection::invalid("policy.shares", rule));
        }
        if given != 0 && u64::from(self.policy.count()) != given as u64 {
            let rule = format!("one per partition: {partitions}, not {given}");
            return Err(Rejection::invalid("policy.shares", rule));
        }
        if let Some(at) = shares.iter().position(|share| *share == 0) {
            return Err(Rejection::invalid(format!("policy.shares[{at}]"), "at least 1"));
        }
        match (&self.policy.pool, &self.policy.tenant) {
            (Some(_), None) => Err(Rejection::invalid("policy.tenant", "given with policy.pool")),
            (None, Some(_)) => Err(Rejection::invalid("policy.pool", "given with policy.tenant")),
            _ => Ok(()),
        }
    }

    /// Checks each process and their sum; gives each id's place.
    fn validate_processes(&self) -> Result<BTreeMap<&Name, usize>, Rejection> {
        let mut ids = BTreeMap::new();
        let mut total = BTreeMap::new();
        for (at, process) in self.processes.iter().enumerate() {
            validate_process(at, process)?;
            if let Some(first) = ids.insert(&process.id, at) {
                let rule = format!("{:?} is already processes[{first}]", process.id.as_str());
                return Err(Rejection::invalid(format!("processes[{at}].id"), rule));
            }
            add_demand(&mut total, at, process)?;
        }
        Ok(ids)
    }

    fn validate_connections(&self, ids: &BTreeMap<&Name, usize>) -> Result<(), Rejection> {
        let mut pairs = BTreeMap::new();
        let mut rates = 0_u64;
        for (at, ProcessEdge { from, to, rate }) in self.connections.iter().enumerate() {
            for (end, id) in [("from", from), ("to", to)] {
                if !ids.contains_key(id) {
                    let rule = format!("no process {:?}", id.as_str());
                    return Err(Rejection::invalid(format!("connections[{at}].{end}"), rule));
                }
            }
            if let Some(first) = pairs.insert((from, to), at) {
                let (from, to) = (from.as_str(), to.as_str());
                let rule = format!("{from:?} to {to:?} is already connections[{first}]");
                return Err(Rejection::invalid(format!("connections[{at}]"), rule));
            }
            rates = rates.checked_add(*rate).ok_or_else(|| {
                let rule = "the sum of all rates must be below 2^64";
                Rejection::invalid(format!("connections[{at}].rate"), rule)
            })?;
        }
        Ok(())
    }
}

fn at_most(field: &str, limit: &str, actual: u64, max: u64) -> Result<(), Rejection> {
    if actual > max { Err(Rejection::limit(field, limit, actual, max)) } else { Ok(()) }
}

fn validate_process(at: usize, process: &Process) -> Result<(), Rejection> {
    let invalid = |field: &str, rule: String| {
        Err(Rejection::invalid(format!("processes[{at}].{field}"), rule))
    };
    if process.component.is_empty() {
        return invalid("component", "must not be empty".into());
    }
    if process.component.len() > COMPONENT_BYTES_MAX {
        return invalid("component", format!("at most {COMPONENT_BYTES_MAX} bytes"));
    }
    if process.needs.len() > RESOURCES_MAX {
        return invalid("needs", format!("at most {RESOURCES_MAX} resources"));
    }
    let (min, max) = (process.parallelism.min, process.parallelism.max);
    if min == 0 {
        return invalid("parallelism.min", "at least 1".into());
    }
    if max < min {
        return invalid("parallelism.max", format!("at least parallelism.min, {min}"));
    }
    if max > PARALLELISM_MAX {
        return invalid("parallelism.max", format!("at most {PARALLELISM_MAX}"));
    }
    Ok(())
}

/// What a network needs must be countable, resource by resource.
fn add_demand(
    total: &mut BTreeMap<Name, u64>,
    at: usize,
    process: &Process,
) -> Result<(), Rejection> {
    for (name, amount) in process.needs.iter() {
        let sum = total.entry(name.clone()).or_insert(0);
        let added = amount.checked_mul(u64::from(process.parallelism.min));
        *sum = added.and_then(|added| sum.checked_add(added)).ok_or_else(|| {
            let rule = "the sum over all processes must be below 2^64";
            Rejection::invalid(format!("processes[{at}].needs.{name}"), rule)
        })?;
    }
    Ok(())
}

/// The demand of all processes at their least parallelism.
pub(crate) fn demand<'a>(processes: impl IntoIterator<Item = &'a Process>) -> Resources {
    let mut demand = Resources::default();
    for process in processes {
        demand.add(&process.needs, process.parallelism.min);
    }
    demand
}
