//! From what was read to a canonical spec: sorted, unique, and whole.
//!
//! Invariant: both formats pass through here, so the rules between processes and connections are
//! the same for both. Each part comes with the field it was read from, for what is said when a
//! rule is broken.

use std::collections::BTreeMap;

use quorate_core::{Name, NetworkSpec, PartitionPolicy, Process, ProcessEdge};

use super::field::{Field, Invalid};

/// Processes by id, in the making.
#[derive(Default)]
pub(super) struct Processes {
    by_id: BTreeMap<Name, (Process, String)>,
}

impl Processes {
    /// Adds a process that was read from `item`.
    pub(super) fn add(&mut self, process: Process, item: &Field<'_, '_>) -> Result<(), Invalid> {
        if let Some((_, first)) = self.by_id.get(&process.id) {
            let rule = format!("{:?} is already {first}", process.id.as_str());
            return Err(item.required("id")?.invalid(rule));
        }
        self.by_id.insert(process.id.clone(), (process, item.path()));
        Ok(())
    }

    /// The process that `field` names.
    pub(super) fn named_by(&self, field: &Field<'_, '_>) -> Result<Name, Invalid> {
        let text = field.text()?;
        let found = Name::new(text).ok().and_then(|name| self.by_id.get_key_value(&name));
        found.map(|(name, _)| name.clone()).ok_or_else(|| {
            let shown: String = text.chars().take(128).collect();
            field.invalid(format!("there is no process {shown:?}"))
        })
    }

    /// The process of that id.
    pub(super) fn get_mut(&mut self, id: &Name) -> Option<&mut Process> {
        self.by_id.get_mut(id).map(|(process, _)| process)
    }

    /// The spec of these processes and connections. `list` is where processes come from.
    pub(super) fn into_spec(
        self,
        connections: BTreeMap<(Name, Name), u64>,
        policy: PartitionPolicy,
        list: &Field<'_, '_>,
    ) -> Result<NetworkSpec, Invalid> {
        if self.by_id.is_empty() {
            return Err(list.invalid("a network has at least one process"));
        }
        self.check_demand()?;
        let processes = self.by_id.into_values().map(|(process, _)| process).collect();
        let edge = |((from, to), rate)| ProcessEdge { from, to, rate };
        let connections = connections.into_iter().map(edge).collect();
        Ok(NetworkSpec { processes, connections, policy, connection: Default::default() })
    }

    /// What all processes need together must be countable.
    fn check_demand(&self) -> Result<(), Invalid> {
        let mut total: BTreeMap<&Name, u64> = BTreeMap::new();
        for (process, path) in self.by_id.values() {
            for (resource, amount) in process.needs.iter() {
                let sum = total.entry(resource).or_default();
                let demand = amount.checked_mul(u64::from(process.parallelism.min));
                *sum =
                    demand.and_then(|demand| sum.checked_add(demand)).ok_or_else(|| Invalid {
                        offset: None,
                        field: format!("{path}.needs.{resource}"),
                        rule: "the sum over all processes must be below 2^64".to_owned(),
                    })?;
            }
        }
        Ok(())
    }
}
