//! Where plans are made: beside what consensus runs on, and not too many at a time.
//!
//! Invariants: clients' plans and questions are at most `limits.plans_max` at a time, those whose caller
//! has given up included; further ones wait until their deadline. What the leader plans by itself does
//! not wait for them. In a simulation all work runs where it is asked for, so that there is one thread.
//!
//! What it does not do: stop a plan whose caller has given up.

use std::sync::Arc;

use quorate_plan::Strategies;
use quorate_storage::Executor;
use tokio::{
    sync::Semaphore,
    time::{Instant, timeout_at},
};

/// How often a plan is made that others make stale each time, before that is the answer.
pub const PLANS_MAX: usize = 4;

/// Makes plans. A clone shares its places.
#[derive(Debug, Clone)]
pub struct Planner {
    strategies: Arc<Strategies>,
    executor: Executor,
    places: Arc<Semaphore>,
    max: usize,
}

/// No plan was made, and nothing was changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoPlan {
    /// No place became free in time.
    #[error("{max} plans and questions about placement are being worked on, no more at a time")]
    Busy {
        /// How many places there are: `limits.plans_max`.
        max: usize,
    },
    /// A bug, most likely in a strategy.
    #[error("the strategy panicked")]
    Panicked,
}

impl Planner {
    /// One with so many places.
    #[must_use]
    pub fn new(strategies: Strategies, executor: Executor, plans_max: usize) -> Self {
        let places = Arc::new(Semaphore::new(plans_max));
        Self { strategies: Arc::new(strategies), executor, places, max: plans_max }
    }

    /// How networks may be partitioned.
    #[must_use]
    pub fn strategies(&self) -> Arc<Strategies> {
        self.strategies.clone()
    }

    /// Works on something for a client, when there is a place.
    ///
    /// # Errors
    /// [`NoPlan`].
    pub async fn ask<T: Send + 'static>(
        &self,
        deadline: Instant,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, NoPlan> {
        let place = timeout_at(deadline, self.places.clone().acquire_owned()).await;
        let Ok(Ok(place)) = place else { return Err(NoPlan::Busy { max: self.max }) };
        // The place is taken until the work is done, whether or not somebody still waits for it.
        self.run(move || {
            let done = work();
            drop(place);
            done
        })
        .await
    }

    /// Works on something at once.
    ///
    /// # Errors
    /// [`NoPlan::Panicked`].
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, NoPlan> {
        match self.executor {
            Executor::Tasks => Ok(work()),
            Executor::Threads => tokio::task::spawn_blocking(work).await.map_err(|error| {
                tracing::error!(%error, "planning panicked");
                NoPlan::Panicked
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::mpsc, time::Duration};

    use super::*;

    fn planner(max: usize) -> Planner {
        Planner::new(Strategies::builtin(), Executor::Threads, max)
    }

    #[tokio::test]
    async fn work_that_nobody_waits_for_keeps_its_place() {
        let planner = planner(1);
        let (go, wait) = mpsc::channel::<()>();
        let (started, begun) = tokio::sync::oneshot::channel();
        let far = Instant::now() + Duration::from_secs(60);
        let asked = planner.clone();
        let given_up = tokio::spawn(async move {
            let work = move || {
                started.send(()).unwrap();
                wait.recv().unwrap();
            };
            asked.ask(far, work).await
        });
        begun.await.unwrap();
        given_up.abort();
        let busy = planner.ask(Instant::now(), || ()).await;
        assert_eq!(busy, Err(NoPlan::Busy { max: 1 }));
        assert_eq!(planner.run(|| 7).await, Ok(7), "the leader's own do not wait");
        go.send(()).unwrap();
        assert_eq!(planner.ask(far, || 8).await, Ok(8));
    }

    #[tokio::test]
    async fn a_panic_is_an_error_and_frees_its_place() {
        let planner = planner(1);
        let far = Instant::now() + Duration::from_secs(60);
        let panicked = planner.ask(far, || panic!("a bug")).await;
        assert_eq!(panicked, Err::<(), _>(NoPlan::Panicked));
        assert_eq!(planner.ask(far, || 9).await, Ok(9));
    }
}
