//! One client that writes entries, each under a key of its own, and remembers what it was told.
//!
//! Every second write is a transaction that requires the key to be absent. A write that certainly
//! was not applied is tried again with another value, so that a false `NOT_APPLIED` shows up; one
//! whose outcome is unknown is never tried again.

use std::time::Duration;

use quorate_core::Revision;
use tokio::{
    sync::watch,
    time::{MissedTickBehavior, interval},
};

use crate::calls::{Coordinator, Failure};

/// What a client was told of one attempt to write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Told {
    /// Applied at this revision.
    Applied(Revision),
    /// Never applied.
    NotApplied,
    /// Nothing certain.
    Unknown,
    /// A create found its key, which nobody else writes.
    Exists,
}

/// One attempt to write. No two attempts have the same value.
#[derive(Debug, Clone)]
pub(super) struct Attempt {
    pub(super) key: String,
    pub(super) value: String,
    pub(super) told: Told,
}

/// A client's pace: load enough that every kill meets writes in flight, little enough that a run
/// of a given number of writes has time for all its kills.
const PACE: Duration = Duration::from_millis(6);

/// Writes until told to stop; counts acknowledged writes in `acknowledged`.
pub(super) async fn run(
    client: u32,
    coordinators: Vec<Coordinator>,
    acknowledged: watch::Sender<u64>,
    stop: watch::Receiver<bool>,
) -> Vec<Attempt> {
    let mut attempts: Vec<Attempt> = Vec::new();
    let mut pace = interval(PACE);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut at = client as usize;
    let (mut number, mut again) = (0_u64, 0_u32);
    while !*stop.borrow() {
        pace.tick().await;
        let key = format!("w{client:03}/{number:08}");
        let value = format!("{key} attempt {again}");
        let coordinator = &coordinators[at % coordinators.len()];
        let told = if number.is_multiple_of(2) {
            told(coordinator.put(&key, value.as_bytes()).await.map(Some))
        } else {
            told(coordinator.create(&key, value.as_bytes()).await)
        };
        attempts.push(Attempt { key, value, told });
        match told {
            Told::Applied(_) => acknowledged.send_modify(|count| *count += 1),
            Told::NotApplied | Told::Unknown | Told::Exists => at += 1,
        }
        (number, again) =
            if told == Told::NotApplied { (number, again + 1) } else { (number + 1, 0) };
    }
    attempts
}

fn told(answer: Result<Option<Revision>, Failure>) -> Told {
    match answer {
        Ok(Some(revision)) => Told::Applied(revision),
        Ok(None) => Told::Exists,
        Err(failure) if failure.not_applied() => Told::NotApplied,
        Err(_) => Told::Unknown,
    }
}
