//! One member: the addresses and the directory that it has, and the life that it leads there.
//!
//! A life is a thread with a runtime of that thread alone, so that it can be held up as a whole
//! and dropped as a whole.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    sync::{Arc, mpsc as blocking},
    thread,
    time::{Duration, Instant},
};

use futures::future::join_all;
use quorate_node::{
    Coordinator, Environment, Node, StartError,
    config::{Config, Listen, Listeners, Member},
    core::MemberId,
    storage::check_unused,
};
use tokio::{
    net::TcpSocket,
    runtime::Builder,
    sync::{mpsc, oneshot},
    time::timeout,
};

use super::{
    error::TestClusterError,
    links::{Detours, Linked},
};
use crate::disk::LifeDisk;

/// How long the storage of a life that has ended may take to let go of its files.
const RELEASE_MAX: Duration = Duration::from_secs(20);
/// How often that is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// What a member has, whether it runs or not.
pub(super) struct Place {
    id: MemberId,
    pub(super) client: SocketAddr,
    pub(super) peer: SocketAddr,
    metrics: SocketAddr,
    pub(super) data_dir: PathBuf,
    /// Bound to the three addresses and never listening: so the member can bind them too, others
    /// cannot, and while it does not run connections are refused.
    _reserved: [TcpSocket; 3],
}

impl Place {
    pub(super) fn reserve(id: MemberId, directory: &Path) -> io::Result<Self> {
        let reserved = [reserve()?, reserve()?, reserve()?];
        let [client, peer, metrics] = &reserved;
        Ok(Self {
            id,
            client: client.local_addr()?,
            peer: peer.local_addr()?,
            metrics: metrics.local_addr()?,
            data_dir: directory.join(format!("node{id}")),
            _reserved: reserved,
        })
    }

    /// The row in the list of initial members.
    pub(super) fn member(&self) -> Member {
        Member { id: self.id, peer: self.peer.to_string(), client: self.client.to_string() }
    }

    /// Puts into a configuration what is of this place.
    pub(super) fn settle(&self, config: &mut Config) {
        let Self { client, peer, metrics, .. } = *self;
        config.node.id = self.id;
        config.node.data_dir.clone_from(&self.data_dir);
        config.listen = Listen { client, peer, metrics };
    }
}

fn reserve() -> io::Result<TcpSocket> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind((Ipv4Addr::LOCALHOST, 0).into())?;
    Ok(socket)
}

/// What a life is told from outside.
enum Order {
    /// Stand still until the other end of the channel is gone.
    Pause { stands: oneshot::Sender<()>, go_on: blocking::Receiver<()> },
    /// End in good order.
    Stop,
    /// End.
    Kill,
}

/// A member that has started.
pub(super) struct Life {
    coordinator: Coordinator,
    body: Body,
    /// Dropped, a paused member goes on.
    paused: Option<blocking::Sender<()>>,
}

/// A member that starts.
pub(super) struct Beginning {
    id: MemberId,
    body: Body,
    started: oneshot::Receiver<Result<Coordinator, StartError>>,
}

/// The thread of a life. Killed when it is dropped.
struct Body {
    disk: LifeDisk,
    orders: mpsc::UnboundedSender<Order>,
    /// Fails when the thread is about to end and nothing of the life is left.
    ended: oneshot::Receiver<()>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Body {
    fn order(&self, order: Order) {
        // One that has ended by itself needs no order.
        drop(self.orders.send(order));
    }

    fn kill(&self) {
        // First: what the threads of the storage still do must not count.
        self.disk.end();
        self.order(Order::Kill);
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        self.kill();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread of a member panicked");
        }
    }
}

impl Life {
    /// Begins a life that reaches its peers by detours.
    pub(super) fn begin(config: Config, detours: Detours) -> Result<Beginning, io::Error> {
        let id = config.node.id;
        let mut environment = Environment::of_machine(&config).map_err(io::Error::other)?;
        let disk = LifeDisk::new(environment.disk);
        environment.disk = Arc::new(disk.clone());
        environment.transport = Arc::new(Linked { transport: environment.transport, detours });
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let ((tell, started), (orders, ordered)) = (oneshot::channel(), mpsc::unbounded_channel());
        let (end, ended) = oneshot::channel::<()>();
        let thread = thread::Builder::new().name(format!("quorate-member-{id}"));
        let thread = thread.spawn(move || {
            let data_dir = config.node.data_dir.clone();
            runtime.block_on(live(config, environment, ordered, tell));
            // Nothing that was under way goes on; waits for what is at the disk.
            drop(runtime);
            wait_released(&data_dir);
            drop(end);
        })?;
        let body = Body { disk, orders, ended, thread: Some(thread) };
        Ok(Beginning { id, body, started })
    }

    pub(super) fn id(&self) -> MemberId {
        self.coordinator.member_id()
    }

    pub(super) fn coordinator(&self) -> &Coordinator {
        &self.coordinator
    }

    pub(super) fn is_paused(&self) -> bool {
        self.paused.is_some()
    }

    pub(super) async fn pause(&mut self) {
        if self.paused.is_none() {
            let ((stands, stood), (hold, go_on)) = (oneshot::channel(), blocking::channel());
            self.body.order(Order::Pause { stands, go_on });
            // An error: it has ended, and stands still, too.
            drop(stood.await);
            self.paused = Some(hold);
        }
    }

    pub(super) fn resume(&mut self) {
        self.paused = None;
    }

    /// Returns when nothing of it is left.
    pub(super) async fn kill(mut self) {
        self.condemn();
        self.end().await;
    }

    /// Kills it, without waiting for its end.
    pub(super) fn condemn(&mut self) {
        self.body.kill();
        // Not one task of it runs in between: the order is there already.
        self.resume();
    }

    /// Returns when nothing of it is left.
    pub(super) async fn stop(mut self) {
        self.resume();
        self.body.order(Order::Stop);
        self.end().await;
    }

    async fn end(mut self) {
        // It never says anything: it is dropped.
        drop((&mut self.body.ended).await);
    }
}

/// Ends the pause of a member before its thread is waited for.
impl Drop for Life {
    fn drop(&mut self) {
        self.condemn();
    }
}

/// Waits for members to start.
pub(super) async fn all_within(
    beginnings: Vec<Beginning>,
    within: Duration,
) -> Vec<Result<Life, TestClusterError>> {
    join_all(beginnings.into_iter().map(|beginning| beginning.within(within))).await
}

impl Beginning {
    async fn within(self, within: Duration) -> Result<Life, TestClusterError> {
        let Self { id: member, body, started } = self;
        match timeout(within, started).await {
            Ok(Ok(Ok(coordinator))) => Ok(Life { coordinator, body, paused: None }),
            Ok(Ok(Err(source))) => Err(TestClusterError::NotStarted { member, source }),
            Ok(Err(_)) => Err(TestClusterError::NotStarted { member, source: StartError::Stopped }),
            Err(_) => Err(TestClusterError::StartsForever { member, within }),
        }
    }
}

/// A life, from its start to its end.
async fn live(
    config: Config,
    environment: Environment,
    mut orders: mpsc::UnboundedReceiver<Order>,
    tell: oneshot::Sender<Result<Coordinator, StartError>>,
) {
    let starting = async {
        let listeners = Listeners::bind(&config.listen).await?;
        Node::start_in(config, listeners, environment).await
    };
    let started = tokio::select! {
        biased;
        // Before it has started it is told nothing else.
        _ = orders.recv() => return,
        started = starting => started,
    };
    let node = match started {
        Ok(node) => node,
        Err(error) => {
            drop(tell.send(Err(error)));
            return;
        }
    };
    drop(tell.send(Ok(node.coordinator().clone())));
    loop {
        match orders.recv().await {
            Some(Order::Pause { stands, go_on }) => {
                let _ = stands.send(());
                // Blocks the thread, and with it everything that runs here. Nothing is ever sent.
                let _ = go_on.recv();
            }
            Some(Order::Stop) => return node.shutdown().await,
            Some(Order::Kill) | None => return,
        }
    }
}

/// Waits until the threads of the storage have let go of the data directory.
fn wait_released(data_dir: &Path) {
    let give_up = Instant::now() + RELEASE_MAX;
    while let Err(error) = check_unused(data_dir) {
        if Instant::now() >= give_up {
            tracing::error!(%error, "the storage of a member that has ended does not let go");
            return;
        }
        thread::sleep(LOOK_EVERY);
    }
}
