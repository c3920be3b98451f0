//! The interface behind which every way to partition a network stands, Quorate's and others'.
//!
//! A strategy only answers a question: which process goes where. [`partition`] asks it, checks
//! the answer against the rules of [`Assignment`] and the constraints of the processes, and adds the
//! numbers, so that a faulty strategy cannot break a network.
//!
//! ```
//! use quorate_core::{Name, NetworkSpec, PartitionPolicy, Process};
//! use quorate_plan::{
//!     NetworkView, PartitionRequest, BalanceStrategy, Seed, StrategyFailure, partition,
//! };
//!
//! /// The first processes go into the first partition, and so on.
//! struct Blocks;
//!
//! impl BalanceStrategy for Blocks {
//!     fn name(&self) -> &str {
//!         "blocks"
//!     }
//!
//!     fn assign(&self, request: &PartitionRequest<'_>) -> Result<Vec<u32>, StrategyFailure> {
//!         let (k, n) = (u64::from(request.partitions), u64::from(request.view.len()));
//!         let block = |process: u32| u32::try_from(u64::from(process) * k / n);
//!         request.view.numbers().map(block).collect::<Result<_, _>>().map_err(StrategyFailure::new)
//!     }
//! }
//!
//! let process = |id: &str| Process::new(Name::new(id).unwrap(), "noop");
//! let spec = NetworkSpec {
//!     processes: ["a", "b", "c", "d"].map(process).to_vec(),
//!     connections: Vec::new(),
//!     policy: PartitionPolicy::default(),
//!     connection: Default::default(),
//! };
//! let view = NetworkView::new(&spec).unwrap();
//! let request =
//!     PartitionRequest { view: &view, partitions: 2, shares: &[], seed: Seed(1), current: None };
//! let plan = partition(&Blocks, &request).unwrap();
//! assert_eq!(plan.assignment.of_process(), [0, 0, 1, 1]);
//! ```

use quorate_core::{
    Name,
    constraint::{self, Conflict},
};

use crate::{
    assignment::{Assignment, MalformedAssignment},
    facts::PlanFacts,
    merged::Merged,
    registry::UnknownStrategy,
    seating::NoPlace,
    view::{NetworkView, ViewError},
};

/// A way to partition a network. Object-safe; registered in
/// [`Strategies`](crate::Strategies).
///
/// An implementation is pure: the same request gives the same answer, whenever and wherever it
/// is asked. All randomness comes from the request's seed.
pub trait BalanceStrategy: Send + Sync {
    /// The name by which a network's policy asks for it; a valid [`Name`].
    fn name(&self) -> &str;

    /// Chooses a partition below [`PartitionRequest::partitions`] for each process, by process
    /// number. Every partition must be chosen at least once, and processes whose
    /// [tags](NetworkView::tags) conflict must not meet. The processes of one affinity group are
    /// one process here.
    ///
    /// # Errors
    /// [`StrategyFailure`] when it finds no assignment.
    fn assign(&self, request: &PartitionRequest<'_>) -> Result<Vec<u32>, StrategyFailure>;
}

/// What a strategy is asked. [`partition`] sees to it that
/// `1 <= partitions <= view.len()` before any strategy is asked.
#[derive(Debug, Clone, Copy)]
pub struct PartitionRequest<'a> {
    /// The network.
    pub view: &'a NetworkView<'a>,
    /// Into how many partitions.
    pub partitions: u32,
    /// How large they are to be in proportion to each other, by number, each at least 1. Empty: all
    /// alike.
    pub shares: &'a [u32],
    /// For strategies that draw lots.
    pub seed: Seed,
    /// Where each process is now, by process number; None: nowhere. Partitions that are no longer
    /// asked for may occur. A strategy that can leaves processes where they are. None: the network is
    /// new, or was partitioned in another way.
    pub current: Option<&'a [Option<u32>]>,
}

/// The only source of randomness in a plan.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Seed(pub u64);

/// A partitioned network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionPlan {
    /// The strategy that made it.
    pub strategy: Name,
    /// Which process goes where.
    pub assignment: Assignment,
    /// What that means in numbers.
    pub facts: PlanFacts,
}

/// Why a strategy found no assignment.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StrategyFailure {
    /// In words for a person.
    #[error("{0}")]
    Other(String),
    /// A process found no place that its constraints allow.
    #[error(transparent)]
    NoPlace(#[from] NoPlace),
}

impl StrategyFailure {
    /// From anything that can be shown.
    #[must_use]
    pub fn new(why: impl std::fmt::Display) -> Self {
        Self::Other(why.to_string())
    }
}

/// A network cannot be partitioned as asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// The network itself cannot be planned for.
    #[error(transparent)]
    View(#[from] ViewError),
    /// No strategy has that name.
    #[error(transparent)]
    UnknownStrategy(#[from] UnknownStrategy),
    /// Into no partitions.
    #[error("a network has at least 1 partition, 0 were asked for")]
    NoPartitions,
    /// More partitions than processes: one would be empty.
    #[error(
        "a network of {processes} processes has at most as many partitions, {partitions} were asked for"
    )]
    TooManyPartitions {
        /// How many were asked for.
        partitions: u32,
        /// How many processes there are.
        processes: u32,
    },
    /// More partitions than processes, those of one affinity group being one.
    #[error(
        "{units} processes may be apart, those of one affinity group being one; \
         {partitions} partitions were asked for"
    )]
    Together {
        /// How many partitions were asked for.
        partitions: u32,
        /// How many processes may be apart.
        units: u32,
    },
    /// Not one share for each partition, or one is 0.
    #[error("{actual} shares were given for {partitions} partitions, each must be at least 1")]
    Shares {
        /// How many were given.
        actual: usize,
        /// How many partitions there are.
        partitions: u32,
    },
    /// Two processes of one affinity group must not be together.
    #[error("affinity group {:?}: {conflict}", group.as_str())]
    Contradiction {
        /// The affinity group.
        group: Name,
        /// The two, and why.
        conflict: Box<Conflict>,
    },
    /// No assignment was found that keeps the constraints.
    #[error("strategy {strategy}: {place}")]
    NoPlace {
        /// The strategy's name.
        strategy: String,
        /// The process that found no place.
        place: NoPlace,
    },
    /// The strategy's answer does not keep the constraints: a bug in the strategy.
    #[error("strategy {strategy} broke a constraint: {conflict}")]
    Constraint {
        /// Its name.
        strategy: String,
        /// The two processes, and what they must keep.
        conflict: Box<Conflict>,
    },
    /// The strategy gave up.
    #[error("strategy {strategy}: {failure}")]
    Failed {
        /// Its name.
        strategy: String,
        /// Why.
        failure: StrategyFailure,
    },
    /// The strategy's answer breaks a rule: a bug in the strategy.
    #[error("strategy {strategy} gave no valid answer: {error}")]
    Malformed {
        /// Its name.
        strategy: String,
        /// The rule.
        error: MalformedAssignment,
    },
    /// Not as many current partitions as processes: a bug of the caller.
    #[error("{actual} current partitions were given for {processes} processes")]
    Current {
        /// How many were given.
        actual: usize,
        /// How many processes there are.
        processes: u32,
    },
    /// The strategy's name is no [`Name`]: a bug in the strategy.
    #[error("strategy name: {0}")]
    Unnamed(#[from] quorate_core::name::InvalidName),
}

/// Asks a strategy, checks its answer and adds the numbers.
///
/// # Errors
/// [`PlanError`] when the partition count is not within 1 and the number of processes, there are
/// not as many shares, the constraints contradict each other, or the strategy fails.
pub fn partition(
    strategy: &dyn BalanceStrategy,
    request: &PartitionRequest<'_>,
) -> Result<PartitionPlan, PlanError> {
    validate(request)?;
    let view = request.view;
    let name = Name::new(strategy.name())?;
    let (partitions, processes) = (request.partitions, view.len());
    let malformed = |error| PlanError::Malformed { strategy: name.to_string(), error };
    let of_process = match Merged::of(view) {
        None => assign(strategy, &name, request)?,
        Some(merged) => {
            let of_unit = assign_merged(strategy, &name, request, &merged)?;
            let units = u32::try_from(of_unit.len()).unwrap_or(u32::MAX);
            let of_unit = Assignment::new(partitions, units, of_unit).map_err(malformed)?;
            merged.spread(of_unit.of_process())
        }
    };
    let assignment = Assignment::new(partitions, processes, of_process).map_err(malformed)?;
    constraint::check(view.processes(), assignment.of_process())
        .map_err(Box::new)
        .map_err(|conflict| PlanError::Constraint { strategy: name.to_string(), conflict })?;
    let facts = PlanFacts::of(view, &assignment, request.shares);
    Ok(PartitionPlan { strategy: name, assignment, facts })
}

fn validate(request: &PartitionRequest<'_>) -> Result<(), PlanError> {
    let PartitionRequest { view, partitions, shares, .. } = *request;
    let processes = view.len();
    if partitions == 0 {
        return Err(PlanError::NoPartitions);
    }
    if partitions > processes {
        return Err(PlanError::TooManyPartitions { partitions, processes });
    }
    let one_each = u32::try_from(shares.len()) == Ok(partitions) && !shares.contains(&0);
    if !shares.is_empty() && !one_each {
        return Err(PlanError::Shares { actual: shares.len(), partitions });
    }
    match request.current {
        Some(current) if u32::try_from(current.len()) != Ok(processes) => {
            Err(PlanError::Current { actual: current.len(), processes })
        }
        _ => Ok(()),
    }
}

fn assign(
    strategy: &dyn BalanceStrategy,
    name: &Name,
    request: &PartitionRequest<'_>,
) -> Result<Vec<u32>, PlanError> {
    strategy.assign(request).map_err(|failure| {
        let strategy = name.to_string();
        match failure {
            StrategyFailure::NoPlace(place) => PlanError::NoPlace { strategy, place },
            failure => PlanError::Failed { strategy, failure },
        }
    })
}

/// Asks about a network in which each affinity group is one process.
fn assign_merged(
    strategy: &dyn BalanceStrategy,
    name: &Name,
    request: &PartitionRequest<'_>,
    merged: &Merged<'_>,
) -> Result<Vec<u32>, PlanError> {
    let processes = request.view.processes();
    if let Err(conflict) = constraint::check(processes, merged.units()) {
        // Only those of a group share a unit.
        let group = processes[conflict.at].affinity.clone();
        let group = group.unwrap_or_else(|| conflict.second.clone());
        return Err(PlanError::Contradiction { group, conflict: conflict.into() });
    }
    let view = merged.view();
    let (partitions, units) = (request.partitions, view.len());
    if partitions > units {
        return Err(PlanError::Together { partitions, units });
    }
    let current = request.current.map(|current| merged.current(current));
    let request = PartitionRequest { view: &view, current: current.as_deref(), ..*request };
    let of_unit = assign(strategy, name, &request)?;
    match u32::try_from(of_unit.len()) == Ok(units) {
        true => Ok(of_unit),
        false => Err(PlanError::Malformed {
            strategy: name.to_string(),
            error: MalformedAssignment::Length { actual: of_unit.len(), expected: units },
        }),
    }
}
