//! A coordinator with its sockets: what `quorate serve` runs and what embedders start.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use quorate_node::{Node, config::Config};
//!
//! let config = Config::load("config/node1.toml".as_ref())?;
//! let node = Node::start(config).await?;
//! println!("serving clients on {}", node.client_address());
//! tokio::signal::ctrl_c().await?;
//! node.shutdown().await;
//! # Ok(())
//! # }
//! ```
//!
//! Invariants: no globals, so several run in one process; every task ends with
//! [`Node::shutdown`], or when the node is dropped.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use quorate_plan::Strategies;
use quorate_storage::{Executor, Fatal, SimulatedBarrier, SledDisk, SledOptions};
use tokio::{net::TcpListener, sync::watch, task::JoinHandle, time::Instant};
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::transport::{Server, server::TcpIncoming};

use crate::{
    clock::SystemClock,
    config::{Config, Listeners},
    coordinator::{Coordinator, Role},
    frontend::Frontend,
    health::Checks,
    rejoin,
    replica::{Environment, Replica, StartError},
    transport::{
        grpc::{GrpcTransport, Timing},
        server,
    },
};

/// How long open calls may take to end at shutdown.
const GRACE: Duration = Duration::from_secs(5);
/// How long a leader that stops tries to hand leadership over.
const HANDOVER_MAX: Duration = Duration::from_millis(1_500);

/// A running coordinator.
pub struct Node {
    replica: Arc<Replica>,
    coordinator: Coordinator,
    addresses: Addresses,
    servers: Vec<JoinHandle<()>>,
    stop_clients: CancellationToken,
    stop_peers: CancellationToken,
    _stop_on_drop: [DropGuard; 2],
}

#[derive(Debug, Clone, Copy)]
struct Addresses {
    client: SocketAddr,
    peer: SocketAddr,
    metrics: SocketAddr,
}

impl Node {
    /// Binds the configured addresses and starts. Returns when this member is part of a cluster:
    /// waits for the other initial members when there is none yet.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn start(config: Config) -> Result<Self, StartError> {
        config.validate().map_err(|error| StartError::Config(error.to_string()))?;
        let listeners = Listeners::bind(&config.listen).await?;
        Self::start_on(config, listeners).await
    }

    /// Like [`Node::start`], on sockets that are bound already.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn start_on(config: Config, listeners: Listeners) -> Result<Self, StartError> {
        let config = followed(config)?;
        let told = config.clone();
        let environment = blocking(move || Environment::of_machine(&told)).await?;
        Self::start_followed(config, listeners, environment).await
    }

    /// Like [`Node::start_on`], with strategies or health checks of one's own, or, for tests that make faults, with a disk,
    /// a transport or a clock. Begin with [`Environment::of_machine`].
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn start_in(
        config: Config,
        listeners: Listeners,
        environment: Environment,
    ) -> Result<Self, StartError> {
        Self::start_followed(followed(config)?, listeners, environment).await
    }

    async fn start_followed(
        config: Config,
        listeners: Listeners,
        environment: Environment,
    ) -> Result<Self, StartError> {
        let addresses = Addresses {
            client: listeners.client.local_addr()?,
            peer: listeners.peer.local_addr()?,
            metrics: listeners.metrics.local_addr()?,
        };
        let (stop_clients, stop_peers) = (CancellationToken::new(), CancellationToken::new());
        let stop_on_drop = [stop_clients.clone().drop_guard(), stop_peers.clone().drop_guard()];

        let replica = Arc::new(open(config.clone(), environment).await?);
        let peers = serve_peers(&replica, listeners.peer, stop_peers.clone());
        let frontend = Frontend::new(&config, replica.storage_metrics()).map_err(metrics_error)?;
        let metrics = frontend.serve_metrics(listeners.metrics, stop_clients.clone());
        let coordinator = match replica.join().await {
            Ok(coordinator) => coordinator,
            Err(error) => {
                stop_clients.cancel();
                stop_peers.cancel();
                replica.shutdown().await;
                return Err(error);
            }
        };
        let clients = frontend
            .serve_clients(&coordinator, listeners.client, stop_clients.clone())
            .map_err(metrics_error)?;
        tracing::info!(
            member = %config.node.id,
            cluster = %coordinator.cluster_id(),
            client = %addresses.client,
            peer = %addresses.peer,
            metrics = %addresses.metrics,
            "serving"
        );
        tokio::spawn(stop_when_failed(replica.fatal(), stop_clients.clone()));
        Ok(Self {
            replica,
            coordinator,
            addresses,
            servers: vec![peers, metrics, clients],
            stop_clients,
            stop_peers,
            _stop_on_drop: stop_on_drop,
        })
    }

    /// The handle to read and write in this process, without gRPC.
    #[must_use]
    pub fn coordinator(&self) -> &Coordinator {
        &self.coordinator
    }

    /// Where it serves clients.
    #[must_use]
    pub fn client_address(&self) -> SocketAddr {
        self.addresses.client
    }

    /// Where it serves its peers.
    #[must_use]
    pub fn peer_address(&self) -> SocketAddr {
        self.addresses.peer
    }

    /// Where it serves /metrics and /health.
    #[must_use]
    pub fn metrics_address(&self) -> SocketAddr {
        self.addresses.metrics
    }

    /// Returns when the storage has failed, or when this member was removed from its cluster: the
    /// process must exit, non-zero.
    pub async fn failed(&self) -> Fatal {
        let mut fatal = self.replica.fatal();
        let failed = fatal.wait_for(Option::is_some).await.map(|fatal| fatal.clone());
        match failed {
            Ok(Some(fatal)) => fatal,
            // The storage went away without a failure: nothing to report.
            _ => std::future::pending().await,
        }
    }

    /// Stops: hands leadership over, ends streams, finishes open calls, closes the storage.
    pub async fn shutdown(self) {
        let member = self.replica.member_id();
        tracing::info!(%member, "stopping");
        if self.coordinator.status().role == Role::Leader {
            let deadline = Instant::now() + HANDOVER_MAX;
            if let Err(error) = self.coordinator.transfer_leader(None, deadline).await {
                tracing::debug!(%member, %error, "leadership was not handed over");
            }
        }
        self.stop_clients.cancel();
        let finished = futures::future::join_all(self.servers);
        let stopped = async {
            self.replica.shutdown().await;
            self.stop_peers.cancel();
        };
        let (_, ended) = tokio::join!(stopped, tokio::time::timeout(GRACE, finished));
        if ended.is_err() {
            tracing::warn!(%member, "some connections did not end in time");
        }
        tracing::info!(%member, "stopped");
    }
}

/// A coordinator whose storage failed, or that was removed, serves nobody any more.
async fn stop_when_failed(mut fatal: watch::Receiver<Option<Fatal>>, stop: CancellationToken) {
    tokio::select! {
        biased;
        () = stop.cancelled() => {}
        Ok(failed) = fatal.wait_for(Option::is_some) => {
            let error = failed.as_ref().map(ToString::to_string).unwrap_or_default();
            tracing::error!(error, "this coordinator stops serving");
            stop.cancel();
        }
    }
}

/// As which member it starts, in a configuration that keeps the rules.
fn followed(config: Config) -> Result<Config, StartError> {
    let config = rejoin::follow(config).map_err(|error| StartError::Config(error.to_string()))?;
    config.validate().map_err(|error| StartError::Config(error.to_string()))?;
    Ok(config)
}

impl Environment {
    /// What a coordinator needs of the machine that it runs on: the disk in its data directory,
    /// which is created when it is not there, gRPC to its peers, and the clock.
    ///
    /// # Errors
    /// When the data directory cannot be created.
    pub fn of_machine(config: &Config) -> Result<Self, StartError> {
        let options =
            SledOptions { cache_bytes: config.storage.cache_bytes, ..SledOptions::default() };
        Ok(Self {
            disk: Arc::new(SledDisk::new(&config.node.data_dir, options)?),
            executor: Executor::Threads,
            simulated_barrier: SimulatedBarrier::default(),
            transport: Arc::new(GrpcTransport::new(Timing::of(config.raft.election_max()))),
            clock: Arc::new(SystemClock),
            draw_cluster_id: rand::random,
            strategies: Strategies::builtin(),
            checks: Checks::builtin(&config.node.data_dir),
        })
    }
}

async fn open(config: Config, environment: Environment) -> Result<Replica, StartError> {
    blocking(move || Replica::open(config, environment)).await
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StartError> + Send + 'static,
) -> Result<T, StartError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| StartError::Consensus(error.to_string()))?
}

/// Two metrics of one name: a mistake of the build, not of the configuration.
fn metrics_error(error: prometheus::Error) -> StartError {
    StartError::Config(error.to_string())
}

fn serve_peers(
    replica: &Replica,
    listener: TcpListener,
    stop: CancellationToken,
) -> JoinHandle<()> {
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    let server = Server::builder()
        .initial_connection_window_size(8 << 20)
        .initial_stream_window_size(4 << 20)
        .add_routes(server::routes(replica.peer(), stop.clone()));
    tokio::spawn(async move {
        let served = server.serve_with_incoming_shutdown(incoming, stop.cancelled_owned()).await;
        if let Err(error) = served {
            tracing::error!(%error, "serving peers failed");
        }
    })
}

#[cfg(test)]
mod tests;
