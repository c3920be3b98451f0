//! The interface behind which every way to partition a network stands, Quorate's and others'.
//!
//! A strategy only answers a question: which process goes where. [`partition`] asks it, checks
//! the answer against the rules of [`Assignment`] and adds the numbers, so that a faulty strategy
//! cannot break a network.
//!
//! ```
//! use quorate_core::{Name, NetworkSpec, Parallelism, PartitionPolicy, Process, Resources};
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
//! let process = |id: &str| Process {
//!     id: Name::new(id).unwrap(),
//!     component: "noop".into(),
//!     needs: Resources::default(),
//!     parallelism: Parallelism { min: 1, max: 1 },
//!     requires: Default::default(),
//!     affinity: None,
//!     anti_affinity: None,
//! };
//! let spec = NetworkSpec {
//!     processes: ["a", "b", "c", "d"].map(process).to_vec(),
//!     connections: Vec::new(),
//!     policy: PartitionPolicy::default(),
//! };
//! let view = NetworkView::new(&spec).unwrap();
//! let request = PartitionRequest { view: &view, partitions: 2, seed: Seed(1), current: None };
//! let plan = partition(&Blocks, &request).unwrap();
//! assert_eq!(plan.assignment.of_process(), [0, 0, 1, 1]);
//! ```

use quorate_core::Name;

use crate::{
    assignment::{Assignment, MalformedAssignment},
    facts::PlanFacts,
    registry::UnknownStrategy,
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
    /// number. Every partition must be chosen at least once.
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

/// Why a strategy found no assignment, in words for a person.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct StrategyFailure(String);

impl StrategyFailure {
    /// From anything that can be shown.
    #[must_use]
    pub fn new(why: impl std::fmt::Display) -> Self {
        Self(why.to_string())
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
/// [`PlanError`] when the partition count is not within 1 and the number of processes, or the
/// strategy fails.
pub fn partition(
    strategy: &dyn BalanceStrategy,
    request: &PartitionRequest<'_>,
) -> Result<PartitionPlan, PlanError> {
    let (partitions, processes) = (request.partitions, request.view.len());
    if partitions == 0 {
        return Err(PlanError::NoPartitions);
    }
    if partitions > processes {
        return Err(PlanError::TooManyPartitions { partitions, processes });
    }
    if let Some(current) = request.current.filter(|c| u32::try_from(c.len()) != Ok(processes)) {
        return Err(PlanError::Current { actual: current.len(), processes });
    }
    let name = Name::new(strategy.name())?;
    let of_process = strategy
        .assign(request)
        .map_err(|failure| PlanError::Failed { strategy: name.to_string(), failure })?;
    let assignment = Assignment::new(partitions, processes, of_process)
        .map_err(|error| PlanError::Malformed { strategy: name.to_string(), error })?;
    let facts = PlanFacts::of(request.view, &assignment);
    Ok(PartitionPlan { strategy: name, assignment, facts })
}
