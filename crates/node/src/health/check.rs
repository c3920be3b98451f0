//! What a health check is: a name, a pace, and findings.

use std::{collections::BTreeMap, fmt, path::Path, sync::Arc, time::Duration};

use async_trait::async_trait;
use quorate_core::{MemberId, Name, Settings, Severity, State};
use quorate_storage::Mark;

use super::builtin;
use crate::{members::MemberInfo, replicas::Replicas};

/// How long a member has for its answer.
const PATIENCE: Duration = Duration::from_secs(1);

/// Looks for something that is not as it should be.
///
/// ```
/// use quorate_node::{
///     core::{Name, Severity},
///     health::{Finding, Findings, HealthCheck, HealthContext},
/// };
///
/// /// There must be a worker.
/// struct SomeWorker;
///
/// #[async_trait::async_trait]
/// impl HealthCheck for SomeWorker {
///     fn name(&self) -> Name {
///         Name::new("some_worker").expect("a valid name")
///     }
///
///     async fn check(&self, context: &HealthContext) -> Result<Findings, String> {
///         let none = (context.state().workers() == 0)
///             .then(|| ("workers".into(), Finding::new(Severity::Warning, "there is none")));
///         Ok(none.into_iter().collect())
///     }
/// }
/// ```
#[async_trait]
pub trait HealthCheck: Send + Sync {
    /// Its name, in the ids of its alerts. No other check has it.
    fn name(&self) -> Name;

    /// Who runs it.
    fn scope(&self) -> Scope {
        Scope::Cluster
    }

    /// How often it runs, and how often it must find the same. Default: what the settings say.
    fn pace(&self, settings: &Settings) -> Pace {
        Pace::of(settings)
    }

    /// Looks. What is not among the findings is as it should be.
    ///
    /// # Errors
    /// Why it cannot be said: nothing is raised or cleared then.
    async fn check(&self, context: &HealthContext) -> Result<Findings, String>;

    /// Does what [`Recovery::Custom`] stands for, before the alert about this subject is raised.
    ///
    /// # Errors
    /// Why it failed, for the log. It is not tried again for the same alert.
    async fn recover(&self, _context: &HealthContext, _subject: &str) -> Result<(), String> {
        Ok(())
    }
}

/// Who runs a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// The leader, for the whole cluster.
    Cluster,
    /// Each coordinator, about itself: the only subject is its member id.
    Member,
}

/// How often a check runs, and how often it must find the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// The time from one run to the next.
    pub interval: Duration,
    /// A run that takes longer has failed to answer.
    pub timeout: Duration,
    /// So many findings in a row raise an alert; at least 1.
    pub failures: u64,
    /// So many runs in a row without the finding clear it; at least 1.
    pub successes: u64,
}

impl Pace {
    /// What the settings say.
    #[must_use]
    pub fn of(settings: &Settings) -> Self {
        Self {
            interval: Duration::from_millis(settings.health_interval_ms),
            timeout: Duration::from_millis(settings.health_check_ms_max),
            failures: settings.health_failures_min,
            successes: settings.health_successes_min,
        }
    }
}

/// What a check found, by subject: a worker's name, a partition's id, or what the check is about.
pub type Findings = BTreeMap<String, Finding>;

/// Something that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// How much it matters.
    pub severity: Severity,
    /// What is wrong, for people. Cut at 512 bytes.
    pub message: String,
    /// What was measured, in the check's unit. 0 where nothing is.
    pub value: u64,
    /// What to do before the alert is raised.
    pub recovery: Recovery,
}

impl Finding {
    /// Without a measured value, and nothing to be done.
    #[must_use]
    pub fn new(severity: Severity, message: impl Into<String>) -> Self {
        Self { severity, message: message.into(), value: 0, recovery: Recovery::None }
    }
}

/// What to do about a finding. At most one action in `health_recovery_interval_ms`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Recovery {
    /// Nothing.
    None,
    /// Drain this worker.
    DrainWorker(Name),
    /// [`HealthCheck::recover`].
    Custom,
}

/// What a check sees.
#[derive(Debug, Clone)]
pub struct HealthContext {
    pub(super) state: State,
    pub(super) now_ms: u64,
    pub(super) member: MemberId,
    pub(super) members: Vec<MemberInfo>,
    pub(super) unheard: Vec<MemberId>,
    pub(super) replicas: Replicas,
}

impl HealthContext {
    /// The newest state that this coordinator has applied.
    #[must_use]
    pub fn state(&self) -> &State {
        &self.state
    }

    /// This coordinator's clock, milliseconds since 1970.
    #[must_use]
    pub fn now_ms(&self) -> u64 {
        self.now_ms
    }

    /// This coordinator.
    #[must_use]
    pub fn member(&self) -> MemberId {
        self.member
    }

    /// The members of the cluster.
    #[must_use]
    pub fn members(&self) -> &[MemberInfo] {
        &self.members
    }

    /// Members whom this leader has not heard for the largest election timeout.
    #[must_use]
    pub fn unheard(&self) -> &[MemberId] {
        &self.unheard
    }

    /// Asks the members what their states were after some log entries, and are now. Those that do not
    /// answer within a second, or half of what a check may take, are left out.
    pub async fn marks(&self) -> BTreeMap<MemberId, Vec<Mark>> {
        let half = Duration::from_millis(self.state.settings().health_check_ms_max / 2);
        self.replicas.marks(&self.members, half.min(PATIENCE)).await
    }
}

/// The checks of a coordinator. The same on every member: whoever leads runs them.
#[derive(Clone, Default)]
pub struct Checks(Vec<Arc<dyn HealthCheck>>);

impl Checks {
    /// None.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// Those built in, for a coordinator with this data directory.
    #[must_use]
    pub fn builtin(data_dir: &Path) -> Self {
        Self(builtin::all(data_dir))
    }

    /// With one more. It takes the place of one with the same name.
    #[must_use]
    pub fn with(mut self, check: impl HealthCheck + 'static) -> Self {
        self.0.retain(|known| known.name() != check.name());
        self.0.push(Arc::new(check));
        self
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Arc<dyn HealthCheck>> {
        self.0.iter()
    }
}

impl fmt::Debug for Checks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|check| check.name())).finish()
    }
}
