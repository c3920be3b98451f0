//! Runs the checks when they are due, and writes what follows from them.
//!
//! Checks that are due together run together, each in a task of its own: one that hangs or panics
//! takes no other along. What they find is judged and proposed in one command for the cluster, by
//! the leader to itself, and in one for the own machine, through the leader.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use quorate_core::{AlertId, Command, Name, Origin, Raised, Request, Severity, State, Term};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::{
    check::{Checks, Findings, HealthCheck, HealthContext, Pace, Recovery, Scope},
    judge::{Judge, Verdict},
};
use crate::{clock::Clock, coordinator::Coordinator, members, replicas::Replicas};

/// A proposal without an outcome after so long is given up: the next run proposes again.
const PATIENCE: Duration = Duration::from_secs(10);
/// Settings are looked at so often.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// The rest between two looks, whatever is due: what cannot run now is tried again.
const REST_MIN: Duration = Duration::from_millis(50);
/// At most so many alerts are raised with one command.
const RAISED_MAX: usize = 1_000;
/// Who raises alerts, as the history has it.
const LABEL: &str = "health";

/// Runs until `stop`.
pub(super) async fn run(
    coordinator: Coordinator,
    checks: Checks,
    clock: Arc<dyn Clock>,
    stop: CancellationToken,
) {
    let now = Instant::now();
    let due = |check: &Arc<dyn HealthCheck>| Due {
        check: check.clone(),
        last: now,
        judge: Judge::default(),
    };
    let checks: Vec<_> = checks.iter().map(due).collect();
    if checks.is_empty() {
        return;
    }
    let left = Left { last: now, judge: Judge::default() };
    let replicas = Replicas::of(&coordinator);
    let (term, recovered) = (None, None);
    let mut monitor = Monitor { coordinator, clock, checks, left, replicas, term, recovered };
    loop {
        let now = Instant::now();
        let next = monitor.next().clamp(now + REST_MIN, now + LOOK_EVERY);
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            () = sleep_until(next) => {}
        }
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            () = monitor.look() => {}
        }
    }
}

/// A check with what is known of it.
struct Due {
    check: Arc<dyn HealthCheck>,
    last: Instant,
    judge: Judge,
}

/// Alerts that no check is about any more: they pass.
struct Left {
    last: Instant,
    judge: Judge,
}

struct Monitor {
    coordinator: Coordinator,
    clock: Arc<dyn Clock>,
    checks: Vec<Due>,
    left: Left,
    /// Asks the members of their states.
    replicas: Replicas,
    /// The term in which it judged last; None: it does not lead.
    term: Option<Term>,
    /// When the last recovery action began.
    recovered: Option<Instant>,
}

type Standing = BTreeMap<AlertId, Severity>;

impl Monitor {
    /// When the next check is due.
    fn next(&self) -> Instant {
        let view = self.coordinator.view();
        let settings = view.state.settings();
        if self.is_held(&view.state) {
            return Instant::now() + LOOK_EVERY;
        }
        let leads = self.coordinator.leads().is_some();
        let runs = self.checks.iter();
        let runs = runs.filter(|due| leads || due.check.scope() == Scope::Member);
        let due = runs.map(|due| due.last + due.check.pace(settings).interval);
        due.min().unwrap_or_else(|| Instant::now() + LOOK_EVERY)
    }

    /// Whether nothing is checked: it is switched off, or nobody would hear of it.
    fn is_held(&self, state: &State) -> bool {
        state.settings().health_enabled == 0 || !*self.coordinator.in_contact().borrow()
    }

    async fn look(&mut self) {
        let term = self.coordinator.leads();
        if term != self.term {
            let of_cluster =
                self.checks.iter_mut().filter(|due| due.check.scope() == Scope::Cluster);
            of_cluster.for_each(|due| due.judge.reset());
            self.left.judge.reset();
            self.term = term;
        }
        let context = Arc::new(self.context());
        let settings = context.state.settings();
        if self.is_held(&context.state) {
            return;
        }
        let now = Instant::now();
        let wanted = |due: &Due| due.check.scope() == Scope::Member || term.is_some();
        let due =
            self.checks.iter().enumerate().filter(|(_, due)| {
                wanted(due) && now >= due.last + due.check.pace(settings).interval
            });
        let due: Vec<usize> = due.map(|(at, _)| at).collect();
        let ran = due.iter().map(|&at| ran(self.checks[at].check.clone(), context.clone()));
        let ran = futures::future::join_all(ran).await;
        if self.coordinator.leads() != term {
            return;
        }
        let mut verdicts: [Verdict; 2] = Default::default();
        for (at, (found, took)) in due.into_iter().zip(ran) {
            let of_cluster = self.judge(at, found, took, &context).await;
            let to = usize::from(self.checks[at].check.scope() == Scope::Member);
            verdicts[to].raise.extend(of_cluster.raise);
            verdicts[to].clear.extend(of_cluster.clear);
        }
        if term.is_some() && now >= self.left.last + Pace::of(settings).interval {
            self.left.last = now;
            verdicts[0].clear.extend(self.judge_left(&context));
        }
        let [of_cluster, own] = verdicts;
        self.propose(of_cluster, Scope::Cluster).await;
        self.propose(own, Scope::Member).await;
    }

    fn context(&self) -> HealthContext {
        let view = self.coordinator.view();
        HealthContext {
            state: view.state.clone(),
            now_ms: self.clock.unix_ms(),
            member: self.coordinator.member_id(),
            members: members::list(&view),
            unheard: self.coordinator.unheard(),
            replicas: self.replicas.clone(),
        }
    }

    /// Judges the run of a check, and does what is to be done before an alert is raised.
    async fn judge(
        &mut self,
        at: usize,
        found: Result<Findings, String>,
        took: Duration,
        context: &HealthContext,
    ) -> Verdict {
        let due = &mut self.checks[at];
        let (name, scope) = (due.check.name(), due.check.scope());
        due.last = Instant::now();
        let seen = self.coordinator.health_seen();
        let mut findings = match found {
            Ok(findings) => findings,
            Err(error) => {
                tracing::warn!(check = %name, error, "a health check did not answer");
                seen.checked(&name, None, took);
                return Verdict::default();
            }
        };
        let me = context.member.to_string();
        let mut standing = standing(&context.state, |id| id.check == name);
        if scope == Scope::Member {
            findings.retain(|subject, _| *subject == me);
            standing.retain(|id, _| id.subject == me);
        }
        seen.checked(&name, Some(findings.len()), took);
        let pace = due.check.pace(context.state.settings());
        let verdict = due.judge.judge(&name, findings, &standing, pace);
        for (id, recovery, message) in &verdict.recover {
            if !self.recover(at, (id, recovery, message), context).await {
                self.checks[at].judge.defer(id, recovery.clone());
            }
        }
        verdict
    }

    /// Clears alerts of checks that there are no more, and of members that there are no more.
    fn judge_left(&mut self, context: &HealthContext) -> Vec<AlertId> {
        let scopes: BTreeMap<Name, Scope> =
            self.checks.iter().map(|due| (due.check.name(), due.check.scope())).collect();
        let is_member =
            |subject: &str| context.members.iter().any(|it| it.id.to_string() == subject);
        let standing = standing(&context.state, |id| match scopes.get(&id.check) {
            None => true,
            Some(Scope::Member) => !is_member(&id.subject),
            Some(Scope::Cluster) => false,
        });
        let pace = Pace::of(context.state.settings());
        let any = Name::new("none").expect("the text is a valid name");
        self.left.judge.judge(&any, Findings::new(), &standing, pace).clear
    }

    /// Acts, unless something else was done a moment ago. False: later.
    async fn recover(
        &mut self,
        at: usize,
        (id, recovery, message): (&AlertId, &Recovery, &str),
        context: &HealthContext,
    ) -> bool {
        let now = Instant::now();
        let settings = context.state.settings();
        let rest = Duration::from_millis(settings.health_recovery_interval_ms);
        if self.recovered.is_some_and(|last| now < last + rest) {
            return false;
        }
        self.recovered = Some(now);
        tracing::info!(%id, ?recovery, message, "acting on what a health check found");
        match recovery {
            Recovery::None => {}
            Recovery::DrainWorker(name) => {
                let command = Command::DrainWorker { name: name.clone(), drain: true };
                self.propose_one(command, &reason(&format!("{id}: {message}")), Scope::Cluster)
                    .await;
            }
            Recovery::Custom => {
                let check = self.checks[at].check.clone();
                let limit = check.pace(settings).timeout;
                match timeout(limit, check.recover(context, &id.subject)).await {
                    Ok(Ok(())) => {}
                    Ok(Err(error)) => tracing::warn!(%id, error, "the recovery action failed"),
                    Err(_) => tracing::warn!(%id, "the recovery action took too long"),
                }
            }
        }
        true
    }

    /// Writes what was judged; what cannot be written is judged again by the next run.
    async fn propose(&self, verdict: Verdict, scope: Scope) {
        let Verdict { mut raise, clear, .. } = verdict;
        let view = self.coordinator.view();
        let standing = standing(&view.state, |_| true);
        let room = room(&view.state, standing.len(), clear.len());
        let fits = bounded(&mut raise, &standing, room);
        if fits > 0 {
            tracing::warn!(dropped = fits, "too many alerts: some are not raised (alerts_max)");
            self.coordinator.health_seen().dropped(fits);
        }
        let mut clear = Some(clear).filter(|clear| !clear.is_empty());
        while clear.is_some() || !raise.is_empty() {
            let some = raise.drain(..raise.len().min(RAISED_MAX)).collect::<Vec<_>>();
            let clear = clear.take().unwrap_or_default();
            let reason = format!("{} raised, {} cleared", some.len(), clear.len());
            self.propose_one(Command::SetAlerts { raise: some, clear }, &reason, scope).await;
        }
    }

    async fn propose_one(&self, command: Command, reason: &str, scope: Scope) {
        let origin = Origin::new(LABEL, reason);
        let request = Request { origin, ..Request::from(command) };
        let deadline = Instant::now() + PATIENCE;
        let committed = match scope {
            Scope::Cluster => self.coordinator.propose_here(request, deadline).await,
            Scope::Member => self.coordinator.propose(request, deadline).await,
        };
        match committed.map(|committed| committed.outcome.result) {
            Ok(Ok(_)) => {}
            Ok(Err(rejection)) => tracing::warn!(%rejection, "the state refused it"),
            Err(unanswered) => tracing::debug!(%unanswered, "it has no outcome"),
        }
    }
}

/// Runs a check in a task of its own, within its time; how long it took.
async fn ran(
    check: Arc<dyn HealthCheck>,
    context: Arc<HealthContext>,
) -> (Result<Findings, String>, Duration) {
    let began = Instant::now();
    let limit = check.pace(context.state.settings()).timeout;
    let mut task = tokio::spawn(async move { check.check(&context).await });
    let found = match timeout(limit, &mut task).await {
        Ok(Ok(found)) => found,
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => {
            task.abort();
            Err(format!("it took longer than {} ms", limit.as_millis()))
        }
    };
    (found, began.elapsed())
}

/// The alerts that are raised.
fn standing(state: &State, wanted: impl Fn(&AlertId) -> bool) -> Standing {
    let alerts = state.alerts().map(|(id, alert)| (id, alert.severity));
    alerts.filter(|(id, _)| wanted(id)).collect()
}

/// How many more alerts may be raised.
fn room(state: &State, standing: usize, cleared: usize) -> usize {
    let max = usize::try_from(state.settings().alerts_max).unwrap_or(usize::MAX);
    (max + cleared).saturating_sub(standing)
}

/// Keeps those that matter most; how many new ones were dropped.
fn bounded(raise: &mut Vec<(AlertId, Raised)>, standing: &Standing, room: usize) -> usize {
    raise.sort_by_key(|(_, raised)| std::cmp::Reverse(raised.severity));
    let before = raise.len();
    let mut new = 0;
    raise.retain(|(id, _)| {
        new += usize::from(!standing.contains_key(id));
        standing.contains_key(id) || new <= room
    });
    before - raise.len()
}

/// A reason that the state takes: at most a kibibyte.
fn reason(text: &str) -> String {
    text.chars().take(250).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raised(subject: &str, severity: Severity) -> (AlertId, Raised) {
        let check = Name::new("check").unwrap();
        let raised = Raised { severity, message: String::new(), value: 0 };
        (AlertId { check, subject: subject.into() }, raised)
    }

    #[test]
    fn what_matters_most_is_raised_where_not_all_is() {
        let (warning, critical) = (Severity::Warning, Severity::Critical);
        let (known, _) = raised("a", warning);
        let standing = Standing::from([(known, critical)]);
        let mut raise = vec![
            raised("a", warning),
            raised("b", warning),
            raised("c", critical),
            raised("d", warning),
        ];
        assert_eq!(bounded(&mut raise, &standing, 2), 1);
        let left: Vec<_> = raise.iter().map(|(id, _)| id.subject.as_str()).collect();
        assert_eq!(left, ["c", "a", "b"], "a is raised already, and needs no room");
    }
}
