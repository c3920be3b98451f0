//! What every write carries beside what it does: session, serial, label, guards.

use quorate_core::{
    Call, Epoch, Guard, Origin, PartitionId, RestoreEpoch, Revision, Serial, SessionId,
};

use super::{ConvertError, required};
use crate::v1;

impl From<SessionId> for v1::SessionId {
    fn from(id: SessionId) -> Self {
        Self { restore: id.restore.get(), revision: id.revision.get() }
    }
}

impl From<v1::SessionId> for SessionId {
    fn from(id: v1::SessionId) -> Self {
        Self { restore: RestoreEpoch(id.restore), revision: Revision(id.revision) }
    }
}

impl From<Epoch> for v1::Epoch {
    fn from(epoch: Epoch) -> Self {
        Self { restore: epoch.restore.get(), revision: epoch.revision.get() }
    }
}

impl From<v1::Epoch> for Epoch {
    fn from(epoch: v1::Epoch) -> Self {
        Self { restore: RestoreEpoch(epoch.restore), revision: Revision(epoch.revision) }
    }
}

/// Reads a write's context. `digest`: of what the client asks for ([`quorate_core::digest`]).
///
/// # Errors
/// [`ConvertError`] when there is a session without a serial, or the other way round.
pub fn write_context(
    context: Option<v1::WriteContext>,
    digest: impl FnOnce() -> u64,
) -> Result<(Option<Call>, Origin), ConvertError> {
    let Some(context) = context else { return Ok((None, Origin::default())) };
    let v1::WriteContext { session, serial, acknowledged, label, reason } = context;
    let rule = |field: &str, rule: &str| Err(ConvertError::new(format!("context.{field}"), rule));
    let call = match session {
        None if serial != 0 => return rule("session", "required with a serial"),
        None => None,
        Some(_) if serial == 0 => return rule("serial", "from 1 on, with a session"),
        Some(_) if acknowledged >= serial => return rule("acknowledged", "below serial"),
        Some(session) => Some(Call {
            session: session.into(),
            serial: Serial(serial),
            acknowledged: Serial(acknowledged),
            digest: digest(),
        }),
    };
    Ok((call, Origin::new(&label, &reason)))
}

/// Reads who asks for what no serial counts, and why.
///
/// # Errors
/// [`ConvertError`] when there is a session or a serial.
pub fn origin(context: Option<v1::WriteContext>) -> Result<Origin, ConvertError> {
    match context {
        Some(v1::WriteContext { session: Some(_), .. }) => {
            Err(ConvertError::new("context.session", "none: a repeat does no harm"))
        }
        context => write_context(context, || 0).map(|(_, origin)| origin),
    }
}

/// Writes who asks, and why.
#[must_use]
pub fn from_origin(origin: &Origin) -> Option<v1::WriteContext> {
    let Origin { label, reason } = origin;
    let (label, reason) = (label.to_string(), reason.to_string());
    (*origin != Origin::default()).then(|| v1::WriteContext {
        label,
        reason,
        ..v1::WriteContext::default()
    })
}

/// A session id that must be there.
///
/// # Errors
/// [`ConvertError`] when it is not.
pub fn required_session(
    session: Option<v1::SessionId>,
    field: &str,
) -> Result<SessionId, ConvertError> {
    required(session, field).map(Into::into)
}

/// An epoch that must be there.
///
/// # Errors
/// [`ConvertError`] when it is not.
pub fn required_epoch(epoch: Option<v1::Epoch>, field: &str) -> Result<Epoch, ConvertError> {
    required(epoch, field).map(Into::into)
}

/// Reads a partition's id.
///
/// # Errors
/// [`ConvertError`] when it is none.
pub fn partition_id(text: &str, field: &str) -> Result<PartitionId, ConvertError> {
    PartitionId::parse(text)
        .ok_or_else(|| ConvertError::new(field, "must be a partition id such as net/0"))
}

impl From<Guard> for v1::Guard {
    fn from(guard: Guard) -> Self {
        use v1::guard::Guard as G;
        let guard = match guard {
            Guard::Session(id) => G::Session(id.into()),
            Guard::Partition { id, epoch } => G::Partition(v1::PartitionGuard {
                partition: id.to_string(),
                epoch: Some(epoch.into()),
            }),
        };
        Self { guard: Some(guard) }
    }
}

impl TryFrom<v1::Guard> for Guard {
    type Error = ConvertError;

    fn try_from(guard: v1::Guard) -> Result<Self, ConvertError> {
        use v1::guard::Guard as G;
        match guard.guard {
            None => Err(ConvertError::new("", "one of session and partition must be set")),
            Some(G::Session(id)) => Ok(Self::Session(id.into())),
            Some(G::Partition(guard)) => Ok(Self::Partition {
                id: partition_id(&guard.partition, "partition.partition")?,
                epoch: required_epoch(guard.epoch, "partition.epoch")?,
            }),
        }
    }
}
