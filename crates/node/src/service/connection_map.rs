//! `ConnectionService`: the connections between partitions, and how each is doing.

use quorate_core::{Command, ConnectionId, ConnectionState, Key, KeyRange, Kind, Reply, State};
use quorate_proto::{
    ConvertError, ErrorDetails, Reason,
    convert::{
        connection::{connection_id, reports, state, with_status},
        write::{partition_id, required_session},
    },
    v1::{self, connection_service_server::ConnectionService},
};
use tonic::{Request, Response, Status, async_trait};

use super::{
    lists::range,
    read::Reader,
    write::{Sender, Writer, wrong_reply},
};

/// `ConnectionService`.
pub(super) struct Connections {
    pub(super) reader: Reader,
    pub(super) writer: Writer,
}

#[async_trait]
impl ConnectionService for Connections {
    async fn list(
        &self,
        request: Request<v1::ListConnectionsRequest>,
    ) -> Result<Response<v1::ListConnectionsResponse>, Status> {
        let (request, deadline) = self.reader.open(request);
        let wanted = Wanted::read(&request)?;
        let (view, header) = self.reader.view(request.read, deadline).await?;
        let connections = wanted.of(&view.state);
        Ok(Response::new(v1::ListConnectionsResponse { header: Some(header.into()), connections }))
    }

    async fn get(
        &self,
        request: Request<v1::GetConnectionRequest>,
    ) -> Result<Response<v1::GetConnectionResponse>, Status> {
        let (request, deadline) = self.reader.open(request);
        let id = connection_id(&request.connection, "connection")?;
        let (view, header) = self.reader.view(request.read, deadline).await?;
        let connection = message(&view.state, &id);
        let connection = connection
            .ok_or_else(|| ErrorDetails::new(Reason::NotFound, format!("no connection {id}")))?;
        let header = Some(header.into());
        Ok(Response::new(v1::GetConnectionResponse { header, connection: Some(connection) }))
    }

    async fn report(
        &self,
        request: Request<v1::ReportConnectionsRequest>,
    ) -> Result<Response<v1::ReportConnectionsResponse>, Status> {
        let (request, deadline) = self.writer.open(request);
        let session = required_session(request.session, "session")?;
        let reports = reports(request.reports)?;
        let sender = Sender::new(request.context, &(session, &reports), deadline)?;
        let command = Command::ReportConnections { session, reports };
        match self.writer.commit(command, &sender).await? {
            (header, Reply::ReportConnections { changed, stale }) => {
                let header = Some(header.into());
                Ok(Response::new(v1::ReportConnectionsResponse { header, changed, stale }))
            }
            (_, reply) => Err(wrong_reply(&reply)),
        }
    }

    async fn retry(
        &self,
        request: Request<v1::RetryConnectionRequest>,
    ) -> Result<Response<v1::RetryConnectionResponse>, Status> {
        let (request, deadline) = self.writer.open(request);
        let id = connection_id(&request.connection, "connection")?;
        let sender = Sender::new(request.context, &id, deadline)?;
        match self.writer.commit(Command::RetryConnection { id }, &sender).await? {
            (header, Reply::Changed { changed }) => {
                let header = Some(header.into());
                Ok(Response::new(v1::RetryConnectionResponse { header, changed: changed > 0 }))
            }
            (_, reply) => Err(wrong_reply(&reply)),
        }
    }
}

/// Which connections are asked for.
struct Wanted {
    range: KeyRange,
    partition: Option<quorate_core::PartitionId>,
    /// None: pending. Empty: in any state.
    states: Vec<Option<ConnectionState>>,
}

impl Wanted {
    fn read(request: &v1::ListConnectionsRequest) -> Result<Self, ConvertError> {
        let partition = match request.partition.as_str() {
            "" => None,
            text => Some(partition_id(text, "partition")?),
        };
        let states = request.states.iter().enumerate();
        let states = states
            .map(|(at, number)| state(*number).map_err(|it| it.within(&format!("states[{at}]"))));
        let range = range(Kind::Connection, &request.network)?;
        Ok(Self { range, partition, states: states.collect::<Result<_, _>>()? })
    }

    /// In the order of their ids: numbers as numbers, unlike keys.
    fn of(&self, state: &State) -> Vec<v1::Record> {
        let mut ids: Vec<ConnectionId> = match &self.partition {
            Some(partition) => state.connections_of(partition),
            None => state.range(&self.range).filter_map(|(key, _)| key.as_connection()).collect(),
        };
        ids.retain(|id| self.range.contains(&Key::connection(id)) && self.in_state(state, id));
        ids.sort_unstable();
        ids.iter().filter_map(|id| message(state, id)).collect()
    }

    fn in_state(&self, state: &State, id: &ConnectionId) -> bool {
        self.states.is_empty()
            || self.states.contains(&state.connection_status(id).map(|status| status.state))
    }
}

fn message(state: &State, id: &ConnectionId) -> Option<v1::Record> {
    let key = Key::connection(id);
    let connection = state.get(&key)?;
    let status = state.connection_status(id);
    Some(with_status(&key, connection, status.map(AsRef::as_ref)))
}
