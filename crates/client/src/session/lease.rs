//! How long a session is valid, as its holder counts it.
//!
//! ```text
//!   t0           sent, the cluster counts anew                     the cluster may end it
//!   |-------------|-----------------------------------------|--------------|
//!   |<---------- D(1 - rho) - m: valid ------------->|      m, clock rates
//! ```
//!
//! Invariants: t0 is taken before the keep-alive (or the open) is sent; once lost, never valid
//! again, whatever arrives later. Nobody has to be waiting for that: it is a matter of the clock.

use std::{sync::Arc, time::Duration};

use quorate_core::SessionId;
use tokio::{sync::watch, time::sleep};

use super::clock::Clock;

/// By how much clocks may differ in rate: one in so many.
const RATE_ERROR: u32 = 100;
/// Timers of the runtime stand still while the machine sleeps, so none is trusted for longer.
const RECHECK: Duration = Duration::from_millis(250);

/// Why a session is not valid any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Lost {
    /// No keep-alive was answered for too long: the cluster may end it soon, or has.
    Unheard,
    /// The cluster says that it has ended.
    Ended,
    /// It was closed here.
    Closed,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Lease {
    id: SessionId,
    /// None: as long as the cluster says nothing else.
    holds: Option<Duration>,
    clock: Arc<dyn Clock>,
    state: watch::Sender<State>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Until this time on the clock.
    Valid(Duration),
    Lost(Lost),
}

/// For how long a session is valid after a keep-alive was sent.
pub(crate) fn holds(ttl: Duration, margin: Duration) -> Duration {
    (ttl - ttl / RATE_ERROR).saturating_sub(margin)
}

impl Lease {
    /// A session whose opening was sent at `t0`.
    pub(crate) fn new(
        id: SessionId,
        t0: Duration,
        holds: Option<Duration>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let until = holds.map_or(Duration::MAX, |holds| t0 + holds);
        Self { id, holds, clock, state: watch::Sender::new(State::Valid(until)) }
    }

    pub(crate) fn id(&self) -> SessionId {
        self.id
    }

    /// The time on its clock.
    pub(crate) fn now(&self) -> Duration {
        self.clock.now()
    }

    /// How long it is still valid; the error says why it is not.
    pub(crate) fn remaining(&self) -> Result<Duration, Lost> {
        // Only this look at the state, without a lock for writing, in the common case.
        match *self.state.borrow() {
            State::Lost(why) => return Err(why),
            State::Valid(until) => {
                let left = until.saturating_sub(self.now());
                if left > Duration::ZERO {
                    return Ok(left);
                }
            }
        }
        self.change(|state| state);
        match *self.state.borrow() {
            State::Lost(why) => Err(why),
            State::Valid(until) => Ok(until.saturating_sub(self.now())),
        }
    }

    /// A keep-alive that was sent at `t0` was answered: it is alive.
    pub(crate) fn extend(&self, t0: Duration) {
        let Some(holds) = self.holds else { return };
        self.change(|state| match state {
            State::Valid(until) => State::Valid(until.max(t0 + holds)),
            lost @ State::Lost(_) => lost,
        });
    }

    /// It is lost; the first reason stays.
    pub(crate) fn end(&self, why: Lost) {
        self.change(|state| match state {
            State::Valid(_) => State::Lost(why),
            lost @ State::Lost(_) => lost,
        });
    }

    /// Changes the state, after what the clock says of it.
    fn change(&self, change: impl FnOnce(State) -> State) {
        self.state.send_if_modified(|state| {
            let before = *state;
            if let State::Valid(until) = before
                && self.now() >= until
            {
                *state = State::Lost(Lost::Unheard);
            }
            *state = change(*state);
            *state != before
        });
    }

    /// Waits until it is valid for at most so much longer. Zero: until it is lost.
    pub(crate) async fn within(&self, left: Duration) {
        let mut changes = self.state.subscribe();
        loop {
            changes.mark_unchanged();
            let wait = match self.remaining() {
                Ok(remaining) if remaining > left => (remaining - left).min(RECHECK),
                Ok(_) | Err(_) => return,
            };
            tokio::select! {
                biased;
                _ = changes.changed() => {}
                () = sleep(wait) => {}
            }
        }
    }

    /// Waits until it is lost.
    pub(crate) async fn lost(&self) -> Lost {
        loop {
            self.within(Duration::ZERO).await;
            if let Err(why) = self.remaining() {
                return why;
            }
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::time::Duration;

    use parking_lot::Mutex;
    use proptest::{collection::vec, prelude::*};
    use quorate_core::{RestoreEpoch, Revision};

    use super::*;

    /// A clock that stands still until it is told to go on.
    #[derive(Debug, Default)]
    pub(crate) struct HandClock(Mutex<Duration>);

    impl HandClock {
        pub(crate) fn advance(&self, by: Duration) {
            *self.0.lock() += by;
        }
    }

    impl Clock for HandClock {
        fn now(&self) -> Duration {
            *self.0.lock()
        }
    }

    const MS: Duration = Duration::from_millis(1);

    fn lease(clock: &Arc<HandClock>) -> Lease {
        let id = SessionId { restore: RestoreEpoch(1), revision: Revision(2) };
        Lease::new(id, clock.now(), Some(holds(1000 * MS, 100 * MS)), clock.clone())
    }

    #[test]
    fn the_rate_of_clocks_and_the_margin_shorten_it() {
        assert_eq!(holds(1000 * MS, 100 * MS), 890 * MS);
        assert_eq!(holds(100 * MS, 200 * MS), Duration::ZERO, "a margin as long as the session");
    }

    #[test]
    fn it_counts_from_before_the_keep_alive_was_sent() {
        let clock = Arc::new(HandClock::default());
        let lease = lease(&clock);
        assert_eq!(lease.remaining(), Ok(890 * MS));
        clock.advance(300 * MS);
        let t0 = clock.now();
        clock.advance(200 * MS);
        // The answer came 200 ms after it was sent: those count.
        lease.extend(t0);
        assert_eq!(lease.remaining(), Ok(690 * MS));
        clock.advance(690 * MS);
        assert_eq!(lease.remaining(), Err(Lost::Unheard));
    }

    #[test]
    fn an_answer_after_the_deadline_comes_too_late_even_if_nobody_looked() {
        let clock = Arc::new(HandClock::default());
        let lease = lease(&clock);
        clock.advance(400 * MS);
        let t0 = clock.now();
        clock.advance(490 * MS);
        lease.extend(t0);
        assert_eq!(lease.remaining(), Err(Lost::Unheard));
        lease.end(Lost::Ended);
        assert_eq!(lease.remaining(), Err(Lost::Unheard), "the first reason stays");
    }

    #[tokio::test]
    async fn who_waits_is_told_before_it_ends_and_also_after_a_sleep_of_the_machine() {
        let clock = Arc::new(HandClock::default());
        let lease = lease(&clock);
        // The machine slept: the runtime's timers stood still.
        clock.advance(700 * MS);
        lease.within(200 * MS).await;
        assert_eq!(lease.remaining(), Ok(190 * MS));
        clock.advance(500 * MS);
        assert_eq!(lease.lost().await, Lost::Unheard);
    }

    #[tokio::test]
    async fn the_word_of_the_cluster_ends_it_at_once() {
        let clock = Arc::new(HandClock::default());
        let lease = lease(&clock);
        let (lost, ()) = tokio::join!(lease.lost(), async { lease.end(Lost::Ended) });
        assert_eq!(lost, Lost::Ended);
    }

    #[derive(Debug, Clone)]
    enum Event {
        Pass(u64),
        Send,
        Answer,
        End,
    }

    fn event() -> impl Strategy<Value = Event> {
        prop_oneof![
            4 => (0..400_u64).prop_map(Event::Pass),
            4 => Just(Event::Send),
            4 => Just(Event::Answer),
            1 => Just(Event::End),
        ]
    }

    proptest! {
        #[test]
        fn it_is_valid_exactly_while_an_answered_keep_alive_covers_it(events in vec(event(), 1..60)) {
            let clock = Arc::new(HandClock::default());
            let lease = lease(&clock);
            let (mut until, mut sent, mut lost) = (890 * MS, None, false);
            for event in events {
                match event {
                    Event::Pass(ms) => clock.advance(Duration::from_millis(ms)),
                    Event::Send => sent = Some(clock.now()),
                    Event::Answer => {
                        lost |= clock.now() >= until;
                        if let Some(t0) = sent.take() {
                            lease.extend(t0);
                            until = until.max(t0 + 890 * MS);
                        }
                    }
                    Event::End => {
                        lease.end(Lost::Ended);
                        lost = true;
                    }
                }
                lost |= clock.now() >= until;
                prop_assert_eq!(lease.remaining().is_err(), lost);
            }
        }
    }
}
