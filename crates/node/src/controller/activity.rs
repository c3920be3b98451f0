//! What controllers did, and what holds them back, for metrics.

use std::{collections::BTreeMap, sync::Arc};

use parking_lot::Mutex;

use super::{
    balancer::{Held, Why},
    connections::{self, Connections},
    steward::Idle,
};

/// What controllers of this coordinator did. A clone is another handle.
#[derive(Debug, Clone, Default)]
pub struct Activity {
    balancer: Arc<Mutex<Balancer>>,
    pub(super) connections: connections::Kept,
    distribution: Arc<Mutex<Distribution>>,
    acts: Arc<Mutex<BTreeMap<Controller, Acts>>>,
}

/// What the distributor did since this coordinator started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Distribution {
    /// How often it looked.
    pub looks: u64,
    /// Allocations that it granted.
    pub granted: u64,
    /// Grants that it asked back.
    pub revoked: u64,
    /// Grants that it ended, because they were asked back and over, or idle.
    pub ended: u64,
    /// Commands of its that were refused, by a limit.
    pub refused: u64,
    /// Whether this coordinator led at its last look.
    pub leads: bool,
    /// Whether the setting `distribute_enabled` held it back then.
    pub disabled: bool,
    /// Partitions for which it asked for what they require, or ended what they did not require any more.
    pub required: u64,
}

/// What the balancer did since this coordinator started.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Balancer {
    /// How often it looked.
    pub looks: u64,
    /// Partitions that owners were asked to give up, by reason.
    pub moves: BTreeMap<Why, u64>,
    /// What it asked for and was refused, because the state had changed or by a limit.
    pub refused: u64,
    /// What held it back at its last look; None: nothing.
    pub held: Option<Held>,
}

impl Activity {
    /// What the balancer did.
    #[must_use]
    pub fn balancer(&self) -> Balancer {
        self.balancer.lock().clone()
    }

    /// What the connection manager did.
    #[must_use]
    pub fn connections(&self) -> Connections {
        self.connections.get()
    }

    /// What the distributor did.
    #[must_use]
    pub fn distribution(&self) -> Distribution {
        *self.distribution.lock()
    }

    pub(super) fn distributed(&self, note: impl FnOnce(&mut Distribution)) {
        note(&mut self.distribution.lock());
    }

    pub(super) fn looked(&self, held: Option<Held>) {
        let mut balancer = self.balancer.lock();
        balancer.looks += 1;
        balancer.held = held;
    }

    pub(super) fn moved(&self, whys: impl IntoIterator<Item = Why>) {
        let mut balancer = self.balancer.lock();
        for why in whys {
            *balancer.moves.entry(why).or_default() += 1;
        }
    }

    pub(super) fn refused(&self) {
        self.balancer.lock().refused += 1;
    }

    /// What another controller did.
    #[must_use]
    pub fn acts(&self, controller: Controller) -> Acts {
        self.acts.lock().get(&controller).cloned().unwrap_or_default()
    }

    pub(super) fn note(&self, controller: Controller, change: impl FnOnce(&mut Acts)) {
        change(self.acts.lock().entry(controller).or_default());
    }
}

/// The controllers that look every so often, but for the balancer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Controller {
    /// Changes how many instances of processes run.
    Scaler,
    /// Splits partitions that are too large, and merges those that are too small.
    Partitioner,
    /// Removes what nobody else will.
    Janitor,
}

impl Controller {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Scaler, Self::Partitioner, Self::Janitor];

    /// As metrics and origins name it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Scaler => "scaler",
            Self::Partitioner => "partitioner",
            Self::Janitor => "janitor",
        }
    }

    /// What it does, as metrics name it.
    #[must_use]
    pub fn actions(self) -> &'static [&'static str] {
        match self {
            Self::Scaler => &["up", "down"],
            Self::Partitioner => &["split", "merge"],
            Self::Janitor => &["worker", "target"],
        }
    }
}

/// What a controller did since this coordinator started.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Acts {
    /// How often it looked.
    pub looks: u64,
    /// What it did, by [`Controller::actions`].
    pub done: BTreeMap<&'static str, u64>,
    /// What it asked for and was refused, because the state had changed or by a limit.
    pub refused: u64,
    /// What held it back at its last look; None: nothing.
    pub held: Option<Idle>,
}
