//! Change streams: what a subscriber asks for and what it is told.
//!
//! Encoding what it is told is in [`crate::encoded`], because that is done once for all
//! subscribers.

use std::{sync::Arc, time::Duration};

use quorate_core::{
    ClusterId, Filter, Key, KeyedRecord, Origin, PartitionId, Record, RestoreEpoch, Revision,
    Versioned,
};

use super::{
    ConvertError, Within, key,
    key::required_key,
    name,
    record::{keyed_record, keyed_records},
    required,
};
use crate::v1;

/// Where a stream stands: everything that matches up to and including this revision was delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResumeToken {
    /// The cluster it belongs to.
    pub cluster_id: ClusterId,
    /// The cluster's restore epoch when it was made.
    pub restore_epoch: RestoreEpoch,
    /// The revision.
    pub revision: Revision,
}

impl From<ResumeToken> for v1::ResumeToken {
    fn from(token: ResumeToken) -> Self {
        Self {
            cluster_id: token.cluster_id.get(),
            restore_epoch: token.restore_epoch.get(),
            revision: token.revision.get(),
        }
    }
}

impl From<v1::ResumeToken> for ResumeToken {
    fn from(token: v1::ResumeToken) -> Self {
        Self {
            cluster_id: ClusterId(token.cluster_id),
            restore_epoch: RestoreEpoch(token.restore_epoch),
            revision: Revision(token.revision),
        }
    }
}

/// Where a stream starts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Start {
    /// Every change after the cluster's revision at the time of the call.
    #[default]
    Now,
    /// Every change from this revision on, itself included. 0 is the same as 1.
    From(Revision),
    /// The matching records as of some revision, then every change after it.
    Snapshot,
    /// Every change after the token's revision.
    Resume(ResumeToken),
}

/// What a subscriber asks for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WatchSpec {
    /// Where to start.
    pub start: Start,
    /// What to see.
    pub filter: Filter,
    /// Whether changes come with the record before them.
    pub with_previous: bool,
    /// Whether lost history is answered by a resync instead of an error.
    pub resync: bool,
    /// How often a quiet stream says how far it is. Zero: the server's default.
    pub progress_interval: Duration,
}

impl From<WatchSpec> for v1::WatchRequest {
    fn from(spec: WatchSpec) -> Self {
        use v1::watch_request::Start as S;
        let start = match spec.start {
            Start::Now => S::Now(true),
            Start::From(revision) => S::FromRevision(revision.get()),
            Start::Snapshot => S::Snapshot(true),
            Start::Resume(token) => S::Resume(token.into()),
        };
        let interval = u32::try_from(spec.progress_interval.as_millis()).unwrap_or(u32::MAX);
        Self {
            start: Some(start),
            filter: Some(spec.filter.into()),
            with_previous: spec.with_previous,
            resync: spec.resync,
            progress_interval_ms: interval,
        }
    }
}

impl TryFrom<v1::WatchRequest> for WatchSpec {
    type Error = ConvertError;

    fn try_from(request: v1::WatchRequest) -> Result<Self, ConvertError> {
        use v1::watch_request::Start as S;
        let start = match request.start {
            None | Some(S::Now(true)) => Start::Now,
            Some(S::Now(false)) => return Err(ConvertError::new("now", "must be true")),
            Some(S::Snapshot(false)) => return Err(ConvertError::new("snapshot", "must be true")),
            Some(S::FromRevision(revision)) => Start::From(Revision(revision.max(1))),
            Some(S::Snapshot(true)) => Start::Snapshot,
            Some(S::Resume(token)) => Start::Resume(token.into()),
        };
        Ok(Self {
            start,
            filter: request
                .filter
                .map_or_else(|| Ok(Filter::default()), TryInto::try_into)
                .within("filter")?,
            with_previous: request.with_previous,
            resync: request.resync,
            progress_interval: Duration::from_millis(request.progress_interval_ms.into()),
        })
    }
}

impl From<Filter> for v1::WatchFilter {
    fn from(filter: Filter) -> Self {
        let kinds = filter.kinds.into_iter().map(|kind| v1::Kind::from(kind).into()).collect();
        Self {
            kinds,
            key_prefix: filter.key_prefix,
            network: filter.network.map(String::from).unwrap_or_default(),
            partition: filter.partition.map(|id| id.to_string()).unwrap_or_default(),
            worker: filter.worker.map(String::from).unwrap_or_default(),
        }
    }
}

impl TryFrom<v1::WatchFilter> for Filter {
    type Error = ConvertError;

    fn try_from(filter: v1::WatchFilter) -> Result<Self, ConvertError> {
        let kind = |number| {
            key::kind(number)?
                .ok_or_else(|| ConvertError::new("", "KIND_UNSPECIFIED names no kind"))
        };
        let kinds = super::each(filter.kinds, "kinds", kind)?;
        let optional = |text: &str, field| match text {
            "" => Ok(None),
            text => name(text, field).map(Some),
        };
        let network = optional(&filter.network, "network")?;
        let worker = optional(&filter.worker, "worker")?;
        let partition = match filter.partition.as_str() {
            "" => None,
            text => Some(PartitionId::parse(text).ok_or_else(|| {
                ConvertError::new("partition", "must be a network's name, a slash and a number")
            })?),
        };
        Ok(Self { kinds, key_prefix: filter.key_prefix, network, partition, worker })
    }
}

/// A changed record, as a subscriber is told of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WatchedChange {
    /// The record's key.
    pub key: Key,
    /// The record after the change; None: deleted.
    pub current: Option<Arc<Versioned<Record>>>,
    /// Whether the key was absent before and is present now.
    pub created: bool,
    /// The record before the change: if there was one, and only if it was asked for.
    pub previous: Option<Arc<Versioned<Record>>>,
}

/// One step of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WatchEvent {
    /// All matching changes of one revision, in the order they were made.
    Changes {
        /// The revision.
        revision: Revision,
        /// The changes.
        changes: Vec<WatchedChange>,
        /// Who made them, and why.
        origin: Origin,
        /// The leader's clock at the revision, milliseconds since 1970.
        time_ms: u64,
    },
    /// Records of the snapshot at `revision`; more may follow.
    Snapshot {
        /// The revision of the snapshot.
        revision: Revision,
        /// Some of its records, in key order.
        records: Vec<KeyedRecord>,
    },
    /// The snapshot is complete; changes after it follow.
    SnapshotEnd {
        /// The revision of the snapshot.
        revision: Revision,
    },
    /// Every matching change up to `revision` has been delivered.
    Progress {
        /// The revision.
        revision: Revision,
    },
    /// History was lost to the subscriber: forget what was seen, a new snapshot follows.
    Resync {
        /// The revision of the snapshot that follows.
        revision: Revision,
    },
}

impl WatchEvent {
    /// The revision of the step.
    #[must_use]
    pub fn revision(&self) -> Revision {
        match self {
            Self::Changes { revision, .. }
            | Self::Snapshot { revision, .. }
            | Self::SnapshotEnd { revision }
            | Self::Progress { revision }
            | Self::Resync { revision } => *revision,
        }
    }
}

impl TryFrom<v1::Event> for WatchEvent {
    type Error = ConvertError;

    fn try_from(event: v1::Event) -> Result<Self, ConvertError> {
        let revision = Revision(event.revision);
        match v1::EventType::try_from(event.r#type) {
            Ok(v1::EventType::Changes) => {
                let changes = super::each(event.changes, "changes", TryInto::try_into)?;
                let origin = Origin { label: event.label.into(), reason: event.reason.into() };
                Ok(Self::Changes { revision, changes, origin, time_ms: event.time_ms })
            }
            Ok(v1::EventType::Snapshot) => {
                Ok(Self::Snapshot { revision, records: keyed_records(event.records, "records")? })
            }
            Ok(v1::EventType::SnapshotEnd) => Ok(Self::SnapshotEnd { revision }),
            Ok(v1::EventType::Progress) => Ok(Self::Progress { revision }),
            Ok(v1::EventType::Resync) => Ok(Self::Resync { revision }),
            Ok(v1::EventType::Unspecified) | Err(_) => {
                Err(ConvertError::new("type", format!("unknown value {}", event.r#type)))
            }
        }
    }
}

impl TryFrom<v1::Change> for WatchedChange {
    type Error = ConvertError;

    fn try_from(change: v1::Change) -> Result<Self, ConvertError> {
        let record = required(change.record, "record")?;
        let (key, current) = match v1::ChangeOp::try_from(change.op) {
            Ok(v1::ChangeOp::Put) => {
                let (key, current) = keyed_record(record).within("record")?;
                (key, Some(current))
            }
            Ok(v1::ChangeOp::Delete) => (required_key(record.key).within("record")?, None),
            Ok(v1::ChangeOp::Unspecified) | Err(_) => {
                return Err(ConvertError::new("op", format!("unknown value {}", change.op)));
            }
        };
        let previous = change.previous.map(keyed_record).transpose().within("previous")?;
        let previous = previous.map(|(_, previous)| previous);
        Ok(Self { key, current, created: change.created, previous })
    }
}

/// The message of a change at a revision.
#[must_use]
pub fn change(
    change: &quorate_core::Change,
    revision: Revision,
    with_previous: bool,
) -> v1::Change {
    let (op, message) = match &change.current {
        Some(current) => (v1::ChangeOp::Put, super::record::record(&change.key, current)),
        None => {
            let key = Some(change.key.clone().into());
            let deleted = v1::Record { key, modified: revision.get(), ..v1::Record::default() };
            (v1::ChangeOp::Delete, deleted)
        }
    };
    let previous = change.previous.as_deref().filter(|_| with_previous);
    v1::Change {
        op: op.into(),
        created: change.created(),
        record: Some(message),
        previous: previous.map(|previous| super::record::record(&change.key, previous)),
    }
}
