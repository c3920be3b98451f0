//! Rows that show workers, and the lines of a worker that holds its session.
//!
//! The names of the JSON fields are an interface: fields are added, never renamed.

use std::collections::BTreeMap;

use quorate_client::FoundWorker;
use quorate_core::WorkerState;
use serde::Serialize;

use super::{
    Column::{self, Left, Right},
    Row,
    records::{amounts, demand, percent},
    text,
};

/// A worker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct WorkerRow {
    name: String,
    address: String,
    state: &'static str,
    session: Option<String>,
    capacity: BTreeMap<String, u64>,
    labels: BTreeMap<String, String>,
    load_ppm: u64,
    partitions: u32,
}

impl WorkerRow {
    /// The row of a worker.
    pub(crate) fn new(found: &FoundWorker) -> Self {
        let worker = &found.worker.value;
        Self {
            name: found.name.to_string(),
            address: worker.address.clone(),
            state: worker_state(worker.state),
            session: worker.session.map(|id| id.to_string()),
            capacity: amounts(&worker.capacity),
            labels: worker.labels.clone(),
            load_ppm: found.load_ppm,
            partitions: found.partitions,
        }
    }
}

impl Row for WorkerRow {
    const COLUMNS: &'static [Column] = &[
        Left("NAME"),
        Left("STATE"),
        Left("SESSION"),
        Right("PARTITIONS"),
        Right("LOAD"),
        Left("ADDRESS"),
        Left("CAPACITY"),
        Left("LABELS"),
    ];

    fn cells(&self) -> Vec<String> {
        let labels = self.labels.iter().map(|(name, value)| format!("{name}={value}"));
        let labels = labels.collect::<Vec<_>>().join(" ");
        vec![
            self.name.clone(),
            self.state.to_owned(),
            text::or_dash(self.session.as_deref()),
            self.partitions.to_string(),
            percent(self.load_ppm),
            self.address.clone(),
            demand(&self.capacity),
            text::or_dash(Some(labels.as_str()).filter(|labels| !labels.is_empty())),
        ]
    }
}

/// A worker's state, as text.
pub(crate) const fn worker_state(state: WorkerState) -> &'static str {
    match state {
        WorkerState::Joining => "joining",
        WorkerState::Active => "active",
        WorkerState::Draining => "draining",
        WorkerState::Down => "down",
    }
}

/// What happens to a worker that holds its session. Times are on the machine's boot clock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(crate) enum WorkerEvent {
    /// It is registered.
    Registered {
        /// Its name.
        worker: String,
        /// Its session.
        session: String,
        /// How long the session lives after it was heard last.
        ttl_ms: u64,
        /// The process that holds it.
        pid: u32,
        /// When.
        boot_ms: u64,
    },
    /// It may act for a partition from now on.
    Assigned {
        /// The partition.
        partition: String,
        /// The epoch of the grant.
        epoch: String,
        /// When.
        boot_ms: u64,
    },
    /// It was asked for a partition, has stopped to act for it, and gives it back.
    Releasing {
        /// The partition.
        partition: String,
        /// The epoch of the grant.
        epoch: String,
        /// When.
        boot_ms: u64,
    },
    /// It owns a partition no longer.
    Released {
        /// The partition.
        partition: String,
        /// The epoch of the grant.
        epoch: String,
        /// When.
        boot_ms: u64,
    },
    /// It may act for what it is assigned, until a time that later lines move on.
    Valid {
        /// For how many partitions.
        partitions: usize,
        /// Until when.
        until_boot_ms: u64,
        /// When.
        boot_ms: u64,
    },
    /// It was stopped, acts for nothing from now on, and leaves.
    Leaving {
        /// When.
        boot_ms: u64,
    },
    /// It has left: it owns nothing any more.
    Left {
        /// When.
        boot_ms: u64,
    },
}

impl WorkerEvent {
    /// The line for people. None: nothing that they need.
    pub(crate) fn line(&self) -> Option<String> {
        Some(match self {
            Self::Registered { worker, session, ttl_ms, pid, .. } => {
                let session = format!("session {session}, TTL {ttl_ms} ms");
                format!("worker {worker} registered with {session}, pid {pid}")
            }
            Self::Assigned { partition, epoch, .. } => {
                format!("assigned {partition} epoch {epoch}")
            }
            Self::Releasing { partition, epoch, .. } => {
                format!("releasing {partition} epoch {epoch}")
            }
            Self::Released { partition, epoch, .. } => {
                format!("released {partition} epoch {epoch}")
            }
            Self::Valid { .. } => return None,
            Self::Leaving { .. } => "leaving".to_owned(),
            Self::Left { .. } => "left".to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use quorate_core::{Name, Resources, RestoreEpoch, Revision, SessionId, Versioned, Worker};

    use super::*;

    #[test]
    fn a_worker_has_exactly_the_fields_of_the_interface() {
        let worker = Worker {
            address: "127.0.0.1:7400".into(),
            capacity: Resources::from_iter([(Name::new("cpu_millis").unwrap(), 4_000)]),
            labels: BTreeMap::from([("zone".to_owned(), "a".to_owned())]),
            state: WorkerState::Active,
            session: Some(SessionId { restore: RestoreEpoch(1), revision: Revision(7) }),
        };
        let worker = Versioned {
            created: Revision(8),
            modified: Revision(8),
            version: 1,
            value: Arc::new(worker),
        };
        let found = FoundWorker {
            name: Name::new("w1").unwrap(),
            worker,
            partitions: 3,
            load_ppm: 500_000,
        };
        let row = WorkerRow::new(&found);
        assert_eq!(
            serde_json::to_string(&row).unwrap(),
            r#"{"name":"w1","address":"127.0.0.1:7400","state":"active","session":"1.7","capacity":{"cpu_millis":4000},"labels":{"zone":"a"},"load_ppm":500000,"partitions":3}"#
        );
        assert_eq!(
            row.cells(),
            ["w1", "active", "1.7", "3", "50.0%", "127.0.0.1:7400", "cpu_millis=4000", "zone=a"]
        );
    }

    #[test]
    fn events_are_tagged() {
        let event = WorkerEvent::Assigned {
            partition: "net/0".to_owned(),
            epoch: "1.9".to_owned(),
            boot_ms: 12,
        };
        let json = r#"{"type":"assigned","partition":"net/0","epoch":"1.9","boot_ms":12}"#;
        assert_eq!(serde_json::to_string(&event).unwrap(), json);
        assert_eq!(event.line().as_deref(), Some("assigned net/0 epoch 1.9"));
    }
}
