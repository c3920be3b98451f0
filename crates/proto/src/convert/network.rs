//! Network specs, and what the network service answers.
//!
//! Left out means: `parallelism_min` 0 is 1, `parallelism_max` 0 is the minimum, and an empty
//! policy leaves the choice to the coordinator ([`PartitionPolicy::CHOOSE`]).

use quorate_core::{
    ApplyOutcome, Connection, Generation, Name, Network, NetworkSpec, Parallelism, PartitionPolicy,
    Process, ProcessEdge,
};

use super::{
    ConvertError, Within, each, header::Header, name, name_or_empty, optional_name,
    record::resources, required,
};
use crate::v1;

impl From<&NetworkSpec> for v1::NetworkSpec {
    fn from(spec: &NetworkSpec) -> Self {
        Self {
            processes: spec.processes.iter().map(v1::Process::from).collect(),
            connections: spec.connections.iter().map(v1::ProcessEdge::from).collect(),
            policy: Some((&spec.policy).into()),
            connection: (!spec.connection.is_open()).then(|| spec.connection.into()),
        }
    }
}

impl TryFrom<v1::NetworkSpec> for NetworkSpec {
    type Error = ConvertError;

    fn try_from(spec: v1::NetworkSpec) -> Result<Self, ConvertError> {
        Ok(Self {
            processes: each(spec.processes, "processes", TryInto::try_into)?,
            connections: each(spec.connections, "connections", TryInto::try_into)?,
            policy: spec
                .policy
                .map_or_else(|| Ok(PartitionPolicy::default()), TryInto::try_into)
                .within("policy")?,
            connection: spec.connection.map(Into::into).unwrap_or_default(),
        })
    }
}

impl From<&Process> for v1::Process {
    fn from(process: &Process) -> Self {
        Self {
            id: process.id.as_str().to_owned(),
            component: process.component.clone(),
            needs: Some((&process.needs).into()),
            parallelism_min: process.parallelism.min,
            parallelism_max: process.parallelism.max,
            requires: process.requires.clone(),
            affinity: name_or_empty(process.affinity.as_ref()),
            anti_affinity: name_or_empty(process.anti_affinity.as_ref()),
        }
    }
}

impl TryFrom<v1::Process> for Process {
    type Error = ConvertError;

    fn try_from(process: v1::Process) -> Result<Self, ConvertError> {
        let min = process.parallelism_min.max(1);
        let max = if process.parallelism_max == 0 { min } else { process.parallelism_max };
        Ok(Self {
            id: name(&process.id, "id")?,
            component: process.component,
            needs: resources(process.needs, "needs")?,
            parallelism: Parallelism { min, max },
            requires: process.requires,
            affinity: optional_name(&process.affinity, "affinity")?,
            anti_affinity: optional_name(&process.anti_affinity, "anti_affinity")?,
        })
    }
}

impl From<&ProcessEdge> for v1::ProcessEdge {
    fn from(edge: &ProcessEdge) -> Self {
        Self {
            from: edge.from.as_str().to_owned(),
            to: edge.to.as_str().to_owned(),
            rate: edge.rate,
        }
    }
}

impl TryFrom<v1::ProcessEdge> for ProcessEdge {
    type Error = ConvertError;

    fn try_from(edge: v1::ProcessEdge) -> Result<Self, ConvertError> {
        let (from, to) = (name(&edge.from, "from")?, name(&edge.to, "to")?);
        Ok(Self { from, to, rate: edge.rate })
    }
}

impl From<&PartitionPolicy> for v1::PartitionPolicy {
    fn from(policy: &PartitionPolicy) -> Self {
        let strategy = match policy.strategy.as_str() {
            PartitionPolicy::CHOOSE => String::new(),
            strategy => strategy.to_owned(),
        };
        Self {
            partitions: policy.partitions,
            strategy,
            shares: policy.shares.clone(),
            pool: name_or_empty(policy.pool.as_ref()),
            tenant: name_or_empty(policy.tenant.as_ref()),
        }
    }
}

impl TryFrom<v1::PartitionPolicy> for PartitionPolicy {
    type Error = ConvertError;

    fn try_from(policy: v1::PartitionPolicy) -> Result<Self, ConvertError> {
        let default = Self::default();
        let strategy = match policy.strategy.as_str() {
            "" => default.strategy,
            strategy => name(strategy, "strategy")?,
        };
        let pool = optional_name(&policy.pool, "pool")?;
        let tenant = optional_name(&policy.tenant, "tenant")?;
        Ok(Self { partitions: policy.partitions, strategy, shares: policy.shares, pool, tenant })
    }
}

/// A request to apply a network.
impl TryFrom<v1::ApplyNetworkRequest> for (Name, NetworkSpec) {
    type Error = ConvertError;

    fn try_from(request: v1::ApplyNetworkRequest) -> Result<Self, ConvertError> {
        Ok((name(&request.name, "name")?, network_spec(request.spec)?))
    }
}

/// Reads the specification in the field `spec` of a request.
///
/// # Errors
/// [`ConvertError`] when it is absent, or not one.
pub fn network_spec(spec: Option<v1::NetworkSpec>) -> Result<NetworkSpec, ConvertError> {
    required(spec, "spec")?.try_into().within("spec")
}

impl From<ApplyOutcome> for v1::ApplyOutcome {
    fn from(outcome: ApplyOutcome) -> Self {
        match outcome {
            ApplyOutcome::Created => Self::Created,
            ApplyOutcome::Updated => Self::Updated,
            ApplyOutcome::Unchanged => Self::Unchanged,
        }
    }
}

/// Reads what applying did.
///
/// # Errors
/// [`ConvertError`] when the number is unknown.
pub fn apply_outcome(number: i32) -> Result<ApplyOutcome, ConvertError> {
    match v1::ApplyOutcome::try_from(number) {
        Ok(v1::ApplyOutcome::Created) => Ok(ApplyOutcome::Created),
        Ok(v1::ApplyOutcome::Updated) => Ok(ApplyOutcome::Updated),
        Ok(v1::ApplyOutcome::Unchanged) => Ok(ApplyOutcome::Unchanged),
        Ok(v1::ApplyOutcome::Unspecified) | Err(_) => {
            Err(ConvertError::new("outcome", format!("unknown value {number}")))
        }
    }
}

/// The answer to a request to apply a network.
#[must_use]
pub fn apply_network_response(
    header: Header,
    outcome: ApplyOutcome,
    numbers: &NetworkNumbers,
) -> v1::ApplyNetworkResponse {
    v1::ApplyNetworkResponse {
        header: Some(header.into()),
        outcome: v1::ApplyOutcome::from(outcome).into(),
        network: Some(numbers.into()),
    }
}

/// A network in numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetworkNumbers {
    /// Its name.
    pub name: Name,
    /// Counts the changes of the spec, from 1.
    pub generation: Generation,
    /// How many processes it has.
    pub processes: u32,
    /// How many partitions it has.
    pub partitions: u32,
    /// How many connections between partitions it has.
    pub connections: u32,
    /// How many process edges it has.
    pub edges: u32,
    /// The traffic that crosses partitions, bytes per second.
    pub cut_rate: u64,
    /// All traffic, bytes per second.
    pub total_rate: u64,
    /// The strategy that partitioned it.
    pub strategy: Name,
}

impl NetworkNumbers {
    /// Counts a network, given its connections' records.
    pub fn count<'a>(
        name: &Name,
        network: &Network,
        connections: impl IntoIterator<Item = &'a Connection>,
    ) -> Self {
        let (mut count, mut cut_rate) = (0_u32, 0_u64);
        for connection in connections {
            count = count.saturating_add(1);
            cut_rate = cut_rate.saturating_add(sum_rate(&connection.edges));
        }
        let spec = &network.spec;
        Self {
            name: name.clone(),
            generation: network.generation,
            processes: u32::try_from(spec.processes.len()).unwrap_or(u32::MAX),
            partitions: spec.policy.partitions,
            connections: count,
            edges: u32::try_from(spec.connections.len()).unwrap_or(u32::MAX),
            cut_rate,
            total_rate: sum_rate(&spec.connections),
            strategy: spec.policy.strategy.clone(),
        }
    }
}

fn sum_rate(edges: &[ProcessEdge]) -> u64 {
    edges.iter().fold(0, |sum, edge| sum.saturating_add(edge.rate))
}

impl From<&NetworkNumbers> for v1::NetworkSummary {
    fn from(numbers: &NetworkNumbers) -> Self {
        Self {
            name: numbers.name.as_str().to_owned(),
            generation: numbers.generation.get(),
            processes: numbers.processes,
            partitions: numbers.partitions,
            connections: numbers.connections,
            edges: numbers.edges,
            cut_rate: numbers.cut_rate,
            total_rate: numbers.total_rate,
            strategy: numbers.strategy.as_str().to_owned(),
        }
    }
}

impl TryFrom<v1::NetworkSummary> for NetworkNumbers {
    type Error = ConvertError;

    fn try_from(summary: v1::NetworkSummary) -> Result<Self, ConvertError> {
        Ok(Self {
            name: name(&summary.name, "name")?,
            generation: Generation(summary.generation),
            processes: summary.processes,
            partitions: summary.partitions,
            connections: summary.connections,
            edges: summary.edges,
            cut_rate: summary.cut_rate,
            total_rate: summary.total_rate,
            strategy: name(&summary.strategy, "strategy")?,
        })
    }
}
