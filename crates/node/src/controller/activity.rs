//! What controllers did, and what holds them back, for metrics.

use std::{collections::BTreeMap, sync::Arc};

use parking_lot::Mutex;

use super::{
    balancer::{Held, Why},
    connections::{self, Connections},
};

/// What controllers of this coordinator did. A clone is another handle.
#[derive(Debug, Clone, Default)]
pub struct Activity(Arc<Mutex<Balancer>>, pub(super) connections::Kept);

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
        self.0.lock().clone()
    }

    /// What the connection manager did.
    #[must_use]
    pub fn connections(&self) -> Connections {
        self.1.get()
    }

    pub(super) fn looked(&self, held: Option<Held>) {
        let mut balancer = self.0.lock();
        balancer.looks += 1;
        balancer.held = held;
    }

    pub(super) fn moved(&self, whys: impl IntoIterator<Item = Why>) {
        let mut balancer = self.0.lock();
        for why in whys {
            *balancer.moves.entry(why).or_default() += 1;
        }
    }

    pub(super) fn refused(&self) {
        self.0.lock().refused += 1;
    }
}
