//! Everything that is served on the client address.

use quorate_proto::{
    DESCRIPTORS,
    v1::{
        cluster_service_server::{self, ClusterServiceServer},
        connection_service_server::{self, ConnectionServiceServer},
        network_service_server::{self, NetworkServiceServer},
        partition_service_server::{self, PartitionServiceServer},
        resource_service_server::{self, ResourceServiceServer},
        session_service_server::{self, SessionServiceServer},
        snapshot_service_server::{self, SnapshotServiceServer},
        store_service_server::{self, StoreServiceServer},
        watch_service_server,
        worker_service_server::{self, WorkerServiceServer},
    },
};
use tonic::service::Routes;

use super::{
    Context, cluster::Cluster, connection_map::Connections, health, layer::CountLayer,
    lists::Partitions, network::Networks, read::Reader, resources::Pools, sessions::Sessions,
    snapshot::Snapshots, store::Store, workers::Workers, write::Writer,
};
use crate::{
    loads::Loads,
    watch::{WatchServer, Watches},
};

/// The services whose health is told, each by its name; the empty name is the whole server.
const SERVICES: [&str; 11] = [
    "",
    store_service_server::SERVICE_NAME,
    watch_service_server::SERVICE_NAME,
    session_service_server::SERVICE_NAME,
    network_service_server::SERVICE_NAME,
    partition_service_server::SERVICE_NAME,
    connection_service_server::SERVICE_NAME,
    cluster_service_server::SERVICE_NAME,
    snapshot_service_server::SERVICE_NAME,
    worker_service_server::SERVICE_NAME,
    resource_service_server::SERVICE_NAME,
];

/// The services for clients, with health and reflection, for a tonic server. Starts the tasks that
/// they need.
#[must_use]
pub fn client_routes(context: &Context) -> Routes {
    let Context { coordinator, config, metrics, tasks, shutdown } = context;
    let limits = &config.limits;
    let bytes_max = limits.request_bytes_max;
    tasks.spawn(metrics.leaders.clone().follow(coordinator.clone(), shutdown.clone()));
    let reader = Reader::new(coordinator.clone(), limits.clone());
    let writer = Writer::new(coordinator.clone(), limits.clone(), metrics.writes.clone());
    let watches = Watches::start(
        coordinator.clone(),
        limits.clone(),
        metrics.streams.clone(),
        tasks,
        shutdown.clone(),
    );
    let store = Store {
        reader: reader.clone(),
        writer: writer.clone(),
        response_bytes_max: limits.response_bytes_max,
    };
    let cluster = Cluster {
        coordinator: coordinator.clone(),
        reader: reader.clone(),
        cluster_name: config.cluster.name.as_str().to_owned(),
        endpoint: config.client_address(),
    };
    let sessions = Sessions {
        coordinator: coordinator.clone(),
        reader: reader.clone(),
        writer: writer.clone(),
        metrics: metrics.sessions.clone(),
        shutdown: shutdown.clone(),
    };
    let pools = Pools {
        reader: reader.clone(),
        writer: writer.clone(),
        response_bytes_max: limits.response_bytes_max,
    };
    let networks = Networks { reader: reader.clone(), writer: writer.clone() };
    let loads = Loads::start(coordinator.clone(), tasks, shutdown.clone());
    let workers = Workers { reader: reader.clone(), writer: writer.clone(), loads };
    let partitions = Partitions { reader: reader.clone(), writer: writer.clone() };
    let snapshots = Snapshots::new(context, reader.clone());
    let connections = Connections { reader, writer };

    let routes = Routes::new(StoreServiceServer::new(store).max_decoding_message_size(bytes_max))
        .add_service(WatchServer::new(watches))
        .add_service(SessionServiceServer::new(sessions).max_decoding_message_size(bytes_max))
        .add_service(NetworkServiceServer::new(networks).max_decoding_message_size(bytes_max))
        .add_service(PartitionServiceServer::new(partitions).max_decoding_message_size(bytes_max))
        .add_service(WorkerServiceServer::new(workers).max_decoding_message_size(bytes_max))
        .add_service(ConnectionServiceServer::new(connections).max_decoding_message_size(bytes_max))
        .add_service(ResourceServiceServer::new(pools).max_decoding_message_size(bytes_max))
        .add_service(ClusterServiceServer::new(cluster).max_decoding_message_size(bytes_max))
        .add_service(SnapshotServiceServer::new(snapshots).max_decoding_message_size(bytes_max));
    let routes = add_reflection(add_health(routes, context));
    let layer = CountLayer { metrics: metrics.rpc.clone(), request_bytes_max: bytes_max };
    Routes::from(routes.into_axum_router().layer(layer)).prepare()
}

fn add_health(routes: Routes, context: &Context) -> Routes {
    let (reporter, server) = tonic_health::server::health_reporter();
    let (coordinator, shutdown) = (context.coordinator.clone(), context.shutdown.clone());
    context.tasks.spawn(health::report(coordinator, reporter, &SERVICES, shutdown));
    routes.add_service(server)
}

/// Reflection in both versions: older tools know only the alpha one.
fn add_reflection(routes: Routes) -> Routes {
    let builder = || {
        let builder = tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(DESCRIPTORS)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET);
        SERVICES
            .iter()
            .chain([&tonic_health::pb::health_server::SERVICE_NAME])
            .filter(|name| !name.is_empty())
            .fold(builder, |builder, name| builder.with_service_name(*name))
    };
    let v1 = builder().build_v1().expect("descriptors are made by the build");
    let v1alpha = builder().build_v1alpha().expect("descriptors are made by the build");
    routes.add_service(v1).add_service(v1alpha)
}
