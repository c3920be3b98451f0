//! What one revision changed.
//!
//! Owns the shape that apply returns, history keeps and change streams deliver.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::{
    command::Origin,
    id::Revision,
    key::Key,
    record::{Record, Versioned},
};

/// All changes of one revision, in the order they were made. Never empty; at most one per key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// The revision.
    pub revision: Revision,
    /// The leader's clock at the revision, milliseconds since 1970.
    pub time_ms: u64,
    /// The changes.
    pub changes: Vec<Change>,
    /// Who made them, and why.
    pub origin: Origin,
}

/// One changed record.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Change {
    /// The record's key.
    pub key: Key,
    /// The record after the change; None: deleted.
    pub current: Option<Arc<Versioned<Record>>>,
    /// The record before the change; None: the key was absent.
    pub previous: Option<Arc<Versioned<Record>>>,
    /// A place for the one encoding of this change that all subscribers share: filled by whoever
    /// encodes it first. `[0]` without the previous record, `[1]` with it. No part of the value.
    #[serde(skip)]
    pub encoded: [OnceLock<Bytes>; 2],
}

impl Change {
    /// Makes a change.
    #[must_use]
    pub fn new(
        key: Key,
        current: Option<Arc<Versioned<Record>>>,
        previous: Option<Arc<Versioned<Record>>>,
    ) -> Self {
        Self { key, current, previous, encoded: Default::default() }
    }

    /// Whether the key was absent before and is present now.
    #[must_use]
    pub fn created(&self) -> bool {
        self.previous.is_none() && self.current.is_some()
    }
}

impl PartialEq for Change {
    fn eq(&self, other: &Self) -> bool {
        (&self.key, &self.current, &self.previous) == (&other.key, &other.current, &other.previous)
    }
}

impl Eq for Change {}
