//! Networks of processes and their partitions.

use std::sync::Arc;

use quorate_core::{
    ApplyOutcome, Key, Kind, Name, Network, NetworkSpec, Partition, PartitionId, Record, Versioned,
};
use quorate_proto::{
    ConvertError,
    convert::{NetworkNumbers, network::apply_outcome, record::keyed_record},
    v1,
};

use crate::{
    call::{Call, Carried, Operation, Read, Write, rpc},
    client::Client,
};

/// A partition as it is stored.
pub type FoundPartition = (PartitionId, Versioned<Arc<Partition>>);

impl Client {
    /// Creates or updates a network: it is validated, partitioned and committed with its
    /// partitions and their connections at one revision. The same spec again changes nothing.
    ///
    /// ```no_run
    /// # async fn example(
    /// #     client: quorate_client::Client,
    /// #     name: quorate_core::Name,
    /// #     spec: quorate_core::NetworkSpec,
    /// # ) -> Result<(), quorate_client::Error> {
    /// let applied = client.apply_network(&name, spec).await?.value;
    /// println!("{:?}: {} partitions", applied.outcome, applied.network.partitions);
    /// # Ok(())
    /// # }
    /// ```
    pub fn apply_network(&self, name: &Name, spec: NetworkSpec) -> Call<Apply> {
        Call::new(self, Apply { name: name.clone(), spec: Arc::new(spec) })
    }

    /// One network. An error of kind `NotFound` when it does not exist.
    pub fn get_network(&self, name: &Name) -> Call<GetNetwork> {
        Call::new(self, GetNetwork { name: name.clone() })
    }

    /// All networks in numbers, by name.
    pub fn list_networks(&self) -> Call<ListNetworks> {
        Call::new(self, ListNetworks)
    }

    /// Deletes a network with its partitions and their connections, at one revision.
    pub fn delete_network(&self, name: &Name) -> Call<DeleteNetwork> {
        Call::new(self, DeleteNetwork { name: name.clone() })
    }

    /// The partitions of one network, or of all, by network and number.
    pub fn list_partitions(&self, network: Option<&Name>) -> Call<ListPartitions> {
        Call::new(self, ListPartitions { network: network.cloned() })
    }
}

/// Creates or updates a network.
#[derive(Debug, Clone)]
pub struct Apply {
    name: Name,
    spec: Arc<NetworkSpec>,
}

/// What applying a network did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppliedNetwork {
    /// What was done.
    pub outcome: ApplyOutcome,
    /// The network in numbers.
    pub network: NetworkNumbers,
}

impl Write for Apply {}

impl Operation for Apply {
    type Output = AppliedNetwork;
    rpc!(
        Write,
        network_service_client::NetworkServiceClient.apply(ApplyNetworkRequest)
            -> ApplyNetworkResponse
    );

    fn request(&self, carried: Carried) -> v1::ApplyNetworkRequest {
        let (name, spec) = (self.name.as_str().to_owned(), self.spec.as_ref().into());
        v1::ApplyNetworkRequest { name, spec: Some(spec), context: carried.context }
    }

    fn read(&self, answer: v1::ApplyNetworkResponse) -> Result<AppliedNetwork, ConvertError> {
        let network = numbers(answer.network, "network")?;
        Ok(AppliedNetwork { outcome: apply_outcome(answer.outcome)?, network })
    }
}

/// Reads one network.
#[derive(Debug, Clone)]
pub struct GetNetwork {
    name: Name,
}

/// A network as it is stored, and in numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundNetwork {
    /// In numbers.
    pub numbers: NetworkNumbers,
    /// As it is stored.
    pub network: Versioned<Arc<Network>>,
}

impl Read for GetNetwork {}

impl Operation for GetNetwork {
    type Output = FoundNetwork;
    rpc!(
        Read,
        network_service_client::NetworkServiceClient.get(GetNetworkRequest) -> GetNetworkResponse
    );

    fn request(&self, carried: Carried) -> v1::GetNetworkRequest {
        v1::GetNetworkRequest {
            name: self.name.as_str().to_owned(),
            read: Some(carried.read.into()),
        }
    }

    fn read(&self, answer: v1::GetNetworkResponse) -> Result<FoundNetwork, ConvertError> {
        let record = required(answer.network, "network")?;
        let (_, record) = keyed_record(record).map_err(|error| error.within("network"))?;
        let network = versioned(&record, |record| match record {
            Record::Network(network) => Some(network.clone()),
            _ => None,
        });
        Ok(FoundNetwork {
            numbers: numbers(answer.summary, "summary")?,
            network: required(network, "network.value")?,
        })
    }
}

/// Lists networks.
#[derive(Debug, Clone)]
pub struct ListNetworks;

impl Read for ListNetworks {}

impl Operation for ListNetworks {
    type Output = Vec<NetworkNumbers>;
    rpc!(
        Read,
        network_service_client::NetworkServiceClient.list(ListNetworksRequest)
            -> ListNetworksResponse
    );

    fn request(&self, carried: Carried) -> v1::ListNetworksRequest {
        v1::ListNetworksRequest { read: Some(carried.read.into()) }
    }

    fn read(&self, answer: v1::ListNetworksResponse) -> Result<Self::Output, ConvertError> {
        let networks = answer.networks.into_iter().map(NetworkNumbers::try_from);
        networks.collect::<Result<_, _>>().map_err(|error| error.within("networks"))
    }
}

/// Deletes a network.
#[derive(Debug, Clone)]
pub struct DeleteNetwork {
    name: Name,
}

/// What went with a deleted network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeletedNetwork {
    /// How many partitions.
    pub partitions: u32,
    /// How many connections.
    pub connections: u32,
}

impl Write for DeleteNetwork {}

impl Operation for DeleteNetwork {
    type Output = DeletedNetwork;
    rpc!(
        Write,
        network_service_client::NetworkServiceClient.delete(DeleteNetworkRequest)
            -> DeleteNetworkResponse
    );

    fn request(&self, carried: Carried) -> v1::DeleteNetworkRequest {
        let name = self.name.as_str().to_owned();
        v1::DeleteNetworkRequest { name, context: carried.context }
    }

    fn read(&self, answer: v1::DeleteNetworkResponse) -> Result<DeletedNetwork, ConvertError> {
        let v1::DeleteNetworkResponse { partitions, connections, .. } = answer;
        Ok(DeletedNetwork { partitions, connections })
    }
}

/// Lists partitions.
#[derive(Debug, Clone)]
pub struct ListPartitions {
    network: Option<Name>,
}

impl Read for ListPartitions {}

impl Operation for ListPartitions {
    type Output = Vec<FoundPartition>;
    rpc!(
        Read,
        partition_service_client::PartitionServiceClient.list(ListPartitionsRequest)
            -> ListPartitionsResponse
    );

    fn request(&self, carried: Carried) -> v1::ListPartitionsRequest {
        let network = self.network.clone().map(String::from).unwrap_or_default();
        v1::ListPartitionsRequest { network, read: Some(carried.read.into()) }
    }

    fn read(&self, answer: v1::ListPartitionsResponse) -> Result<Self::Output, ConvertError> {
        listed(answer.partitions, "partitions", partition)
    }
}

/// A partition of a range's or a watch's records; None when the record is of another kind.
#[must_use]
pub fn partition(key: &Key, record: &Versioned<Record>) -> Option<FoundPartition> {
    let id = PartitionId::parse(std::str::from_utf8(&key.bytes).ok()?)?;
    let found = versioned(record, |record| match record {
        Record::Partition(partition) if key.kind == Kind::Partition => Some(partition.clone()),
        _ => None,
    })?;
    Some((id, found))
}

fn versioned<T>(
    record: &Versioned<Record>,
    select: impl Fn(&Record) -> Option<T>,
) -> Option<Versioned<T>> {
    let Versioned { created, modified, version, value } = record;
    let (created, modified, version) = (*created, *modified, *version);
    Some(Versioned { created, modified, version, value: select(value)? })
}

fn listed<T>(
    records: Vec<v1::Record>,
    field: &str,
    select: impl Fn(&Key, &Versioned<Record>) -> Option<T>,
) -> Result<Vec<T>, ConvertError> {
    let read = |record| {
        let (key, record) = keyed_record(record).map_err(|error| error.within(field))?;
        select(&key, &record).ok_or_else(|| ConvertError::new(field, "a record of another kind"))
    };
    records.into_iter().map(read).collect()
}

fn numbers(
    summary: Option<v1::NetworkSummary>,
    field: &str,
) -> Result<NetworkNumbers, ConvertError> {
    required(summary, field)?.try_into().map_err(|error: ConvertError| error.within(field))
}

fn required<T>(value: Option<T>, field: &str) -> Result<T, ConvertError> {
    value.ok_or_else(|| ConvertError::new(field, "required"))
}
