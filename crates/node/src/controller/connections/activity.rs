//! What the connection manager did, and what holds it back, for metrics.

use std::{collections::BTreeMap, sync::Arc};

use parking_lot::Mutex;
use quorate_core::ConnectionState;

/// What the connection manager did since this coordinator started.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Connections {
    /// How often it looked.
    pub looks: u64,
    /// How many connections came to each state by it.
    pub changes: BTreeMap<ConnectionState, u64>,
    /// Commands that were refused by a limit.
    pub refused: u64,
    /// How many connections it waits for.
    pub waiting: usize,
    /// What held it back at its last look; None: nothing.
    pub held: Option<ConnectionsHeld>,
}

/// Why the connection manager did nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConnectionsHeld {
    /// This coordinator does not lead.
    NotLeading,
    /// `connections_enabled` is 0.
    Disabled,
}

impl ConnectionsHeld {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::NotLeading, Self::Disabled];

    /// Its name in metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NotLeading => "not_leading",
            Self::Disabled => "disabled",
        }
    }
}

/// What is kept of it. A clone is another handle.
#[derive(Debug, Clone, Default)]
pub(in crate::controller) struct Kept(Arc<Mutex<Connections>>);

impl Kept {
    pub(in crate::controller) fn get(&self) -> Connections {
        self.0.lock().clone()
    }

    pub(super) fn looked(&self, held: Option<ConnectionsHeld>, waiting: usize) {
        let mut kept = self.0.lock();
        kept.looks += 1;
        kept.held = held;
        kept.waiting = waiting;
    }

    pub(super) fn changed(&self, states: &[ConnectionState]) {
        let mut kept = self.0.lock();
        for state in states {
            *kept.changes.entry(*state).or_default() += 1;
        }
    }

    pub(super) fn refused(&self) {
        self.0.lock().refused += 1;
    }
}
