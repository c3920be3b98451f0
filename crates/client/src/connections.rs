//! Connections between partitions: what there is, how each is doing, and what is seen of it.

use std::sync::Arc;

use quorate_core::{
    Connection, ConnectionId, ConnectionReport, ConnectionState, ConnectionStatus, Name,
    PartitionId, Record, SessionId, Versioned,
};
use quorate_proto::{ConvertError, convert::connection::read_with_status, v1};

use crate::{
    call::{Call, Carried, Operation, Read, Write, rpc},
    client::Client,
};

impl Client {
    /// The connections of one network, or of all, by network, sender and receiver, each with its
    /// status. [`Call::of_partition`] and [`Call::in_states`] leave others out.
    pub fn list_connections(&self, network: Option<&Name>) -> Call<ListConnections> {
        let network = network.cloned();
        Call::new(self, ListConnections { network, partition: None, states: Vec::new() })
    }

    /// One connection with its status. An error of kind `NotFound` when it does not exist.
    pub fn get_connection(&self, id: &ConnectionId) -> Call<GetConnection> {
        Call::new(self, GetConnection { id: id.clone() })
    }

    /// Reports what was seen of connections, by the session that owns an end of each. What is of
    /// other epochs than the connection's now is left out and counted.
    ///
    /// ```no_run
    /// # async fn example(
    /// #     client: quorate_client::Client,
    /// #     session: quorate_core::SessionId,
    /// #     id: quorate_core::ConnectionId,
    /// # ) -> Result<(), quorate_client::Error> {
    /// use quorate_core::{ConnectionReport, Seen};
    ///
    /// let found = client.get_connection(&id).await?.value;
    /// if let Some(status) = found.status {
    ///     let (from_epoch, to_epoch) = (status.from.epoch, status.to.epoch);
    ///     let report = ConnectionReport { id, from_epoch, to_epoch, seen: Seen::Up };
    ///     let reported = client.report_connections(session, vec![report]).await?.value;
    ///     println!("{} changed, {} of other epochs", reported.changed, reported.stale);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn report_connections(
        &self,
        session: impl Into<SessionId>,
        reports: Vec<ConnectionReport>,
    ) -> Call<ReportConnections> {
        Call::new(self, ReportConnections { session: session.into(), reports: reports.into() })
    }

    /// Lets a connection that is broken or has failed connect again, as if for the first time. Gives
    /// whether that changed anything.
    pub fn retry_connection(&self, id: &ConnectionId) -> Call<RetryConnection> {
        Call::new(self, RetryConnection { id: id.clone() })
    }
}

/// A connection as it is stored, and how it is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundConnection {
    /// Which.
    pub id: ConnectionId,
    /// As it is stored.
    pub connection: Versioned<Arc<Connection>>,
    /// How it is doing. None: it is pending, since an end has no owner.
    pub status: Option<ConnectionStatus>,
}

/// Lists connections.
#[derive(Debug, Clone)]
pub struct ListConnections {
    network: Option<Name>,
    partition: Option<PartitionId>,
    states: Vec<Option<ConnectionState>>,
}

impl Call<ListConnections> {
    /// Only those that begin or end at this partition.
    pub fn of_partition(mut self, partition: &PartitionId) -> Self {
        self.operation.partition = Some(partition.clone());
        self
    }

    /// Only those in one of these states; None: pending.
    pub fn in_states(mut self, states: Vec<Option<ConnectionState>>) -> Self {
        self.operation.states = states;
        self
    }
}

impl Read for ListConnections {}

impl Operation for ListConnections {
    type Output = Vec<FoundConnection>;
    rpc!(
        Read,
        connection_service_client::ConnectionServiceClient.list(ListConnectionsRequest)
            -> ListConnectionsResponse
    );

    fn request(&self, carried: Carried) -> v1::ListConnectionsRequest {
        let state = |state: &Option<ConnectionState>| match state {
            Some(state) => v1::ConnectionState::from(*state).into(),
            None => v1::ConnectionState::Pending.into(),
        };
        v1::ListConnectionsRequest {
            network: self.network.clone().map(String::from).unwrap_or_default(),
            read: Some(carried.read.into()),
            partition: self.partition.as_ref().map(ToString::to_string).unwrap_or_default(),
            states: self.states.iter().map(state).collect(),
        }
    }

    fn read(&self, answer: v1::ListConnectionsResponse) -> Result<Self::Output, ConvertError> {
        let read = |(at, record): (usize, v1::Record)| found(record, &format!("connections[{at}]"));
        answer.connections.into_iter().enumerate().map(read).collect()
    }
}

/// Reads one connection.
#[derive(Debug, Clone)]
pub struct GetConnection {
    id: ConnectionId,
}

impl Read for GetConnection {}

impl Operation for GetConnection {
    type Output = FoundConnection;
    rpc!(
        Read,
        connection_service_client::ConnectionServiceClient.get(GetConnectionRequest)
            -> GetConnectionResponse
    );

    fn request(&self, carried: Carried) -> v1::GetConnectionRequest {
        let connection = self.id.to_string();
        v1::GetConnectionRequest { connection, read: Some(carried.read.into()) }
    }

    fn read(&self, answer: v1::GetConnectionResponse) -> Result<FoundConnection, ConvertError> {
        let required = || ConvertError::new("connection", "required");
        found(answer.connection.ok_or_else(required)?, "connection")
    }
}

fn found(record: v1::Record, field: &str) -> Result<FoundConnection, ConvertError> {
    let ((key, record), status) = read_with_status(record).map_err(|error| error.within(field))?;
    let Versioned { created, modified, version, ref value } = *record;
    match (key.as_connection(), value) {
        (Some(id), Record::Connection(value)) => {
            let connection = Versioned { created, modified, version, value: value.clone() };
            Ok(FoundConnection { id, connection, status })
        }
        _ => Err(ConvertError::new(field, "a record of another kind")),
    }
}

/// Reports connections.
#[derive(Debug, Clone)]
pub struct ReportConnections {
    session: SessionId,
    reports: Arc<[ConnectionReport]>,
}

/// What reports came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReportedConnections {
    /// How many were news.
    pub changed: u32,
    /// How many were of other epochs, or of a connection that is not there.
    pub stale: u32,
}

impl Write for ReportConnections {}

impl Operation for ReportConnections {
    type Output = ReportedConnections;
    rpc!(
        Write,
        connection_service_client::ConnectionServiceClient.report(ReportConnectionsRequest)
            -> ReportConnectionsResponse
    );

    fn request(&self, carried: Carried) -> v1::ReportConnectionsRequest {
        v1::ReportConnectionsRequest {
            session: Some(self.session.into()),
            reports: self.reports.iter().map(Into::into).collect(),
            context: carried.context,
        }
    }

    fn read(&self, answer: v1::ReportConnectionsResponse) -> Result<Self::Output, ConvertError> {
        let v1::ReportConnectionsResponse { changed, stale, .. } = answer;
        Ok(ReportedConnections { changed, stale })
    }
}

/// Asks for another try.
#[derive(Debug, Clone)]
pub struct RetryConnection {
    id: ConnectionId,
}

impl Write for RetryConnection {}

impl Operation for RetryConnection {
    type Output = bool;
    rpc!(
        Write,
        connection_service_client::ConnectionServiceClient.retry(RetryConnectionRequest)
            -> RetryConnectionResponse
    );

    fn request(&self, carried: Carried) -> v1::RetryConnectionRequest {
        v1::RetryConnectionRequest { connection: self.id.to_string(), context: carried.context }
    }

    fn read(&self, answer: v1::RetryConnectionResponse) -> Result<bool, ConvertError> {
        Ok(answer.changed)
    }
}
