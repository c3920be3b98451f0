//! When a command is asked to end, and when it is killed. Pure: times in, signals out.
//!
//! ```text
//!   start              until - grace                 until
//!   |------------------------|------------------------|---------
//!   |  runs                  |  asked to end: TERM    |  KILL
//!            extended: later |                        |
//!            nobody extends it any more: at once ->|  | (grace from then, at most)
//! ```
//!
//! Invariants: the deadline grows only by an extension; a signal is due once; after KILL there is
//! nothing left to do. Times are those of one clock that runs while the machine sleeps.

use std::time::Duration;

use rustix::process::Signal;

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Deadline {
    /// Nothing of the command may run at this time.
    until: Duration,
    /// How long before that it is asked to end.
    grace: Duration,
    stage: Stage,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    Running,
    Asked,
    Killed,
}

impl Deadline {
    /// A command that has not been started.
    pub(super) fn new(until: Duration, grace: Duration) -> Self {
        Self { until, grace, stage: Stage::Running }
    }

    /// Whether a command may be started at all.
    pub(super) fn may_start(&self, now: Duration) -> bool {
        now < self.until
    }

    /// It may run until then. An earlier time than before changes nothing.
    pub(super) fn extend(&mut self, until: Duration) {
        self.until = self.until.max(until);
    }

    /// Nobody will extend it: it is asked to end now, and has no longer than the grace for that.
    pub(super) fn abandon(&mut self, now: Duration) {
        self.until = self.until.min(now + self.grace);
    }

    /// What is to be sent to the command by now.
    pub(super) fn due(&mut self, now: Duration) -> Option<Signal> {
        let stage = if now >= self.until {
            Stage::Killed
        } else if now + self.grace >= self.until {
            Stage::Asked
        } else {
            Stage::Running
        };
        if stage <= self.stage {
            return None;
        }
        self.stage = stage;
        match stage {
            Stage::Running => None,
            Stage::Asked => Some(Signal::TERM),
            Stage::Killed => Some(Signal::KILL),
        }
    }

    /// When something is due next, if nothing is extended.
    pub(super) fn next(&self) -> Option<Duration> {
        match self.stage {
            Stage::Running => Some(self.until.saturating_sub(self.grace)),
            Stage::Asked => Some(self.until),
            Stage::Killed => None,
        }
    }

    /// Whether the command was asked to end, or killed, because its time was over.
    pub(super) fn ran_out(&self) -> bool {
        self.stage > Stage::Running
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: Duration = Duration::from_secs(1);

    /// Runs it to its end without an extension: what is sent when.
    fn script(deadline: &mut Deadline) -> Vec<(Duration, Signal)> {
        let mut sent = Vec::new();
        while let Some(now) = deadline.next() {
            sent.extend(deadline.due(now).map(|signal| (now, signal)));
        }
        sent
    }

    #[test]
    fn it_is_asked_first_and_killed_at_the_deadline() {
        let mut deadline = Deadline::new(10 * S, 2 * S);
        assert_eq!(deadline.due(7 * S), None);
        assert_eq!(script(&mut deadline), [(8 * S, Signal::TERM), (10 * S, Signal::KILL)]);
        assert!(deadline.ran_out());
    }

    #[test]
    fn an_extension_counts_from_what_it_says_and_never_shortens() {
        let mut deadline = Deadline::new(10 * S, 2 * S);
        deadline.extend(15 * S);
        deadline.extend(12 * S);
        assert_eq!(deadline.due(12 * S), None);
        assert!(!deadline.ran_out());
        assert_eq!(script(&mut deadline), [(13 * S, Signal::TERM), (15 * S, Signal::KILL)]);
    }

    #[test]
    fn who_was_asked_stays_asked_and_is_killed_at_the_later_deadline() {
        let mut deadline = Deadline::new(10 * S, 2 * S);
        assert_eq!(deadline.due(9 * S), Some(Signal::TERM));
        deadline.extend(20 * S);
        assert_eq!(deadline.due(11 * S), None);
        assert!(deadline.ran_out());
        assert_eq!(script(&mut deadline), [(20 * S, Signal::KILL)]);
    }

    #[test]
    fn who_slept_through_all_of_it_kills_at_once() {
        let mut deadline = Deadline::new(10 * S, 2 * S);
        assert_eq!(deadline.due(100 * S), Some(Signal::KILL));
        assert_eq!((deadline.due(200 * S), deadline.next()), (None, None));
    }

    #[test]
    fn an_abandoned_command_has_the_grace_and_never_more_than_its_time() {
        let mut deadline = Deadline::new(10 * S, 2 * S);
        deadline.abandon(3 * S);
        assert_eq!(script(&mut deadline), [(3 * S, Signal::TERM), (5 * S, Signal::KILL)]);
        let mut late = Deadline::new(10 * S, 2 * S);
        assert_eq!(late.due(9 * S), Some(Signal::TERM));
        late.abandon(9 * S);
        assert_eq!(script(&mut late), [(10 * S, Signal::KILL)]);
    }

    #[test]
    fn nothing_is_started_when_the_time_is_over() {
        let deadline = Deadline::new(10 * S, 2 * S);
        assert!(deadline.may_start(9 * S));
        assert!(!deadline.may_start(10 * S));
    }
}
