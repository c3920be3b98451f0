//! Connections, their rules, their status, and what is said of it.
//!
//! The service answers a connection with its status in one message ([`with_status`]); as records
//! they are two.

use quorate_core::{
    Connection, ConnectionEnd, ConnectionId, ConnectionPolicy, ConnectionReport, ConnectionState,
    ConnectionStatus, Key, Record, Seen, Versioned,
};

use super::{
    ConvertError, Within, each, record, required,
    write::{required_epoch, required_session},
};
use crate::v1;

impl From<ConnectionPolicy> for v1::ConnectionPolicy {
    fn from(policy: ConnectionPolicy) -> Self {
        Self {
            attempts_max: policy.attempts_max,
            backoff_factor_percent: policy.backoff_factor_percent,
            backoff_ms: policy.backoff_ms,
            backoff_ms_max: policy.backoff_ms_max,
            bytes_in_flight_max: policy.bytes_in_flight_max,
            connect_timeout_ms: policy.connect_timeout_ms,
            messages_in_flight_max: policy.messages_in_flight_max,
            request_timeout_ms: policy.request_timeout_ms,
        }
    }
}

impl From<v1::ConnectionPolicy> for ConnectionPolicy {
    fn from(policy: v1::ConnectionPolicy) -> Self {
        Self {
            attempts_max: policy.attempts_max,
            backoff_factor_percent: policy.backoff_factor_percent,
            backoff_ms: policy.backoff_ms,
            backoff_ms_max: policy.backoff_ms_max,
            bytes_in_flight_max: policy.bytes_in_flight_max,
            connect_timeout_ms: policy.connect_timeout_ms,
            messages_in_flight_max: policy.messages_in_flight_max,
            request_timeout_ms: policy.request_timeout_ms,
        }
    }
}

impl From<ConnectionState> for v1::ConnectionState {
    fn from(state: ConnectionState) -> Self {
        match state {
            ConnectionState::Connecting => Self::Connecting,
            ConnectionState::Up => Self::Up,
            ConnectionState::Broken => Self::Broken,
            ConnectionState::Failed => Self::Failed,
        }
    }
}

/// Reads a state; None: pending, which is to have no status.
///
/// # Errors
/// [`ConvertError`] when the number is unknown, or not set.
pub fn state(number: i32) -> Result<Option<ConnectionState>, ConvertError> {
    match v1::ConnectionState::try_from(number) {
        Ok(v1::ConnectionState::Pending) => Ok(None),
        Ok(v1::ConnectionState::Connecting) => Ok(Some(ConnectionState::Connecting)),
        Ok(v1::ConnectionState::Up) => Ok(Some(ConnectionState::Up)),
        Ok(v1::ConnectionState::Broken) => Ok(Some(ConnectionState::Broken)),
        Ok(v1::ConnectionState::Failed) => Ok(Some(ConnectionState::Failed)),
        Ok(v1::ConnectionState::Unspecified) | Err(_) => {
            Err(ConvertError::new("", format!("unknown value {number}")))
        }
    }
}

/// Reads a connection's id.
///
/// # Errors
/// [`ConvertError`] when it is none.
pub fn connection_id(text: &str, field: &str) -> Result<ConnectionId, ConvertError> {
    ConnectionId::parse(text)
        .ok_or_else(|| ConvertError::new(field, "must be a connection id such as net/0->net/1"))
}

/// A connection's record as the service answers it: with its state and status.
#[must_use]
pub fn with_status(
    key: &Key,
    connection: &Versioned<Record>,
    status: Option<&ConnectionStatus>,
) -> v1::Record {
    let mut message = record::record(key, connection);
    if let Some(v1::record::Value::Connection(connection)) = &mut message.value {
        let state = status.map_or(v1::ConnectionState::Pending, |status| status.state.into());
        connection.state = state.into();
        connection.status = status.map(|status| status_message(key, status));
    }
    message
}

/// Reads what [`with_status`] made: the record, and the status.
///
/// # Errors
/// [`ConvertError`] when a field is missing or wrong.
pub fn read_with_status(
    message: v1::Record,
) -> Result<(quorate_core::KeyedRecord, Option<ConnectionStatus>), ConvertError> {
    let status = match &message.value {
        Some(v1::record::Value::Connection(connection)) => connection.status.clone(),
        _ => None,
    };
    let (key, record) = record::keyed_record(message)?;
    let status = status.map(|status| read_status(&key, status)).transpose();
    Ok(((key, record), status.within("connection.status")?))
}

pub(super) fn message(key: &Key, connection: &Connection) -> v1::Connection {
    let (network, from, to) = parts(key);
    v1::Connection {
        network,
        from,
        to,
        edges: connection.edges.iter().map(v1::ProcessEdge::from).collect(),
        state: v1::ConnectionState::Unspecified.into(),
        policy: Some(connection.policy.into()),
        status: None,
    }
}

pub(super) fn read(key: &Key, message: &v1::Connection) -> Result<Connection, ConvertError> {
    fits(key, (&message.network, message.from, message.to))?;
    let policy = required(message.policy, "policy")?.into();
    Ok(Connection { edges: each(message.edges.clone(), "edges", TryInto::try_into)?, policy })
}

pub(super) fn status_message(key: &Key, status: &ConnectionStatus) -> v1::ConnectionStatus {
    let (network, from, to) = parts(key);
    v1::ConnectionStatus {
        network,
        from,
        to,
        from_epoch: Some(status.from.epoch.into()),
        from_session: Some(status.from.session.into()),
        to_epoch: Some(status.to.epoch.into()),
        to_session: Some(status.to.session.into()),
        state: v1::ConnectionState::from(status.state).into(),
        attempts: status.attempts,
        since_ms: status.since_ms,
        retry_at_ms: status.retry_at_ms,
        error: status.error.as_ref().to_owned(),
    }
}

pub(super) fn read_status(
    key: &Key,
    message: v1::ConnectionStatus,
) -> Result<ConnectionStatus, ConvertError> {
    fits(key, (&message.network, message.from, message.to))?;
    let from = ConnectionEnd {
        epoch: required_epoch(message.from_epoch, "from_epoch")?,
        session: required_session(message.from_session, "from_session")?,
    };
    let to = ConnectionEnd {
        epoch: required_epoch(message.to_epoch, "to_epoch")?,
        session: required_session(message.to_session, "to_session")?,
    };
    let state = state(message.state).within("state")?;
    Ok(ConnectionStatus {
        from,
        to,
        state: state.ok_or_else(|| ConvertError::new("state", "a status is not pending"))?,
        attempts: message.attempts,
        since_ms: message.since_ms,
        retry_at_ms: message.retry_at_ms,
        error: message.error.into(),
    })
}

/// What messages repeat of the key.
fn parts(key: &Key) -> (String, u32, u32) {
    let id = key.as_connection();
    id.map(|id| (id.network.as_str().to_owned(), id.from, id.to)).unwrap_or_default()
}

fn fits(key: &Key, (network, from, to): (&str, u32, u32)) -> Result<(), ConvertError> {
    let id = key
        .as_connection()
        .ok_or_else(|| ConvertError::new("", "the key is no connection id such as net/0->net/1"))?;
    if (network, from, to) == (id.network.as_str(), id.from, id.to) {
        return Ok(());
    }
    Err(ConvertError::new("network", format!("not that of the key {id}")))
}

impl From<&ConnectionReport> for v1::ConnectionReport {
    fn from(report: &ConnectionReport) -> Self {
        use v1::connection_report::Seen as S;
        let seen = match &report.seen {
            Seen::Up => S::Up(true),
            Seen::Broken(error) => S::Broken(error.clone()),
        };
        Self {
            connection: report.id.to_string(),
            from_epoch: Some(report.from_epoch.into()),
            to_epoch: Some(report.to_epoch.into()),
            seen: Some(seen),
        }
    }
}

impl TryFrom<v1::ConnectionReport> for ConnectionReport {
    type Error = ConvertError;

    fn try_from(report: v1::ConnectionReport) -> Result<Self, ConvertError> {
        use v1::connection_report::Seen as S;
        let seen = match report.seen {
            Some(S::Up(true)) => Seen::Up,
            Some(S::Up(false)) => return Err(ConvertError::new("up", "true, or broken")),
            Some(S::Broken(error)) => Seen::Broken(error),
            None => return Err(ConvertError::new("", "one of up and broken must be set")),
        };
        Ok(Self {
            id: connection_id(&report.connection, "connection")?,
            from_epoch: required_epoch(report.from_epoch, "from_epoch")?,
            to_epoch: required_epoch(report.to_epoch, "to_epoch")?,
            seen,
        })
    }
}

/// Reads reports; an error names `reports` and the report's number.
///
/// # Errors
/// [`ConvertError`] when a field is missing or wrong.
pub fn reports(messages: Vec<v1::ConnectionReport>) -> Result<Vec<ConnectionReport>, ConvertError> {
    each(messages, "reports", TryInto::try_into)
}
