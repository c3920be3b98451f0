//! `PartitionService` and `ConnectionService`: lists of what belongs to networks.

use quorate_core::{ConnectionId, Key, KeyRange, Kind, PartitionId, State};
use quorate_proto::{
    ConvertError,
    convert::{self, record::record},
    v1::{
        self, connection_service_server::ConnectionService,
        partition_service_server::PartitionService,
    },
};
use tonic::{Request, Response, Status, async_trait};

use super::read::Reader;

/// `PartitionService`.
pub(super) struct Partitions {
    pub(super) reader: Reader,
}

#[async_trait]
impl PartitionService for Partitions {
    async fn list(
        &self,
        request: Request<v1::ListPartitionsRequest>,
    ) -> Result<Response<v1::ListPartitionsResponse>, Status> {
        let (request, deadline) = self.reader.open(request);
        let range = range(Kind::Partition, &request.network)?;
        let (view, header) = self.reader.view(request.read, deadline).await?;
        let partitions = sorted(&view.state, &range, PartitionId::parse);
        Ok(Response::new(v1::ListPartitionsResponse { header: Some(header.into()), partitions }))
    }
}

/// `ConnectionService`.
pub(super) struct Connections {
    pub(super) reader: Reader,
}

#[async_trait]
impl ConnectionService for Connections {
    async fn list(
        &self,
        request: Request<v1::ListConnectionsRequest>,
    ) -> Result<Response<v1::ListConnectionsResponse>, Status> {
        let (request, deadline) = self.reader.open(request);
        let range = range(Kind::Connection, &request.network)?;
        let (view, header) = self.reader.view(request.read, deadline).await?;
        let connections = sorted(&view.state, &range, ConnectionId::parse);
        Ok(Response::new(v1::ListConnectionsResponse { header: Some(header.into()), connections }))
    }
}

/// The records of a kind that belong to a network; an empty name: to any.
fn range(kind: Kind, network: &str) -> Result<KeyRange, ConvertError> {
    if network.is_empty() {
        return Ok(KeyRange::Prefix(kind, bytes::Bytes::new()));
    }
    let network = convert::name(network, "network")?;
    Ok(KeyRange::Prefix(kind, format!("{network}/").into()))
}

/// Records in the order of their ids: numbers as numbers, unlike keys.
fn sorted<I: Ord>(
    state: &State,
    range: &KeyRange,
    parse: impl Fn(&str) -> Option<I>,
) -> Vec<v1::Record> {
    let id = |key: &Key| std::str::from_utf8(&key.bytes).ok().and_then(&parse);
    let mut found: Vec<_> = state.range(range).collect();
    found.sort_by_cached_key(|(key, _)| id(key));
    found.into_iter().map(|(key, found)| record(key, found)).collect()
}
