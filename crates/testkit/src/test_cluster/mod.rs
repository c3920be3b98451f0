//! Coordinators with sockets and disks in the test's own process, for tests of what is built on
//! Quorate.
//!
//! Each coordinator has a thread with a runtime of its own, ports on loopback, and a data directory
//! below a temporary one. All that they say to each other goes through proxies (`links`), which
//! hold it back when links are cut.
//!
//! Invariants: an address belongs to its member as long as the cluster lives, whether it runs or
//! not; a life of a member begins when nothing of the one before is left. Must not know what the
//! cluster is used for.

mod error;
mod leader;
mod links;
mod member;
mod side;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    time::Duration,
};

use quorate_client::{Client, ClientConfig};
use quorate_node::{Coordinator, config::Config, core::MemberId};

pub use error::TestClusterError;

use self::{
    leader::Electorate,
    links::Links,
    member::{Life, Place},
    side::Side,
};
use crate::cluster::{Agreed, NotRunning};

/// How long members may take to start, to elect a leader and to agree, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long a call of [`TestCluster::client`] may take with all its retries.
const CALL_MAX: Duration = Duration::from_secs(20);

/// A cluster of real coordinators in this process, with faults to make.
///
/// ```
/// use quorate_testkit::TestCluster;
///
/// #[tokio::main(flavor = "current_thread")] // in a test: #[tokio::test]
/// async fn main() -> Result<(), Box<dyn std::error::Error>> {
///     let mut cluster = TestCluster::start(3).await?;
///     let client = cluster.client()?;
///     client.put("orders/17", "paid").await?;
///
///     // The leader is cut off from the others: they elect another one and go on.
///     let old = cluster.leader().await?;
///     cluster.partition(&[&[old]])?;
///     let new = cluster.leader().await?;
///     assert_ne!(old, new);
///     client.put("orders/17", "shipped").await?;
///
///     // The links are mended, and the new leader dies.
///     cluster.heal();
///     cluster.kill(new).await?;
///     assert_ne!(cluster.leader().await?, new);
///     let found = client.get("orders/17").await?.value.expect("it was acknowledged");
///     assert_eq!(found.version, 2);
///
///     // It comes back with what it had, and all have the same state.
///     cluster.restart(new).await?;
///     cluster.converge().await?;
///     cluster.shutdown().await;
///     Ok(())
/// }
/// ```
///
/// What a fault is, and what it is not:
///
/// | | like | but |
/// | --- | --- | --- |
/// | [`partition`](Self::partition) | cables between coordinators pulled out: nothing passes, nobody is told, TCP sends again after [`heal`](Self::heal) | clients reach every member |
/// | [`pause`](Self::pause) | `SIGSTOP`: no task runs, no timer fires, sockets take connections and answer nothing | what was handed to the disk's threads is still written |
/// | [`kill`](Self::kill) | `SIGKILL`: no task goes on, nothing more is written, connections break | sled writes what it held in memory, which a real kill loses and the journal has |
/// | [`stop`](Self::stop) | `SIGTERM` | |
///
/// It runs in real time: a test with paused time is for [`SimCluster`](crate::SimCluster), which
/// also loses power. Elections take one to two seconds unless [`start_with`](Self::start_with) says
/// otherwise. A call that was under way at a coordinator that is paused moves on when the client
/// notices that the connection is dead, which takes some eight seconds with the defaults.
///
/// When it is dropped, all members are killed; threads, ports and directory are gone when that
/// returns.
pub struct TestCluster {
    /// Ends first: nothing of it may reach what follows.
    lives: BTreeMap<MemberId, Life>,
    places: BTreeMap<MemberId, Place>,
    change: Box<dyn Fn(&mut Config) + Send + Sync>,
    links: Links,
    side: Side,
    directory: tempfile::TempDir,
}

impl TestCluster {
    /// Starts so many members, with the ids 1, 2 and so on, and waits until they have a leader.
    ///
    /// # Errors
    /// [`TestClusterError`] of whatever did not start.
    pub async fn start(members: u64) -> Result<Self, TestClusterError> {
        Self::start_with(members, |_| {}).await
    }

    /// The same with a configuration that is changed, at every start of a member: shorter election
    /// timeouts, say, or checkpoints after fewer entries. Addresses, ids and data directory stay.
    ///
    /// # Errors
    /// [`TestClusterError`] of whatever did not start.
    pub async fn start_with(
        members: u64,
        change: impl Fn(&mut Config) + Send + Sync + 'static,
    ) -> Result<Self, TestClusterError> {
        let directory = tempfile::Builder::new().prefix("quorate-test-").tempdir();
        let directory = directory.map_err(TestClusterError::io("no temporary directory"))?;
        let side = Side::start().map_err(TestClusterError::io("no thread for the links"))?;
        let mut places = BTreeMap::new();
        for id in (1..=members).map(MemberId) {
            let place = Place::reserve(id, directory.path());
            places.insert(id, place.map_err(TestClusterError::io("no free ports on loopback"))?);
        }
        let peers = places.iter().map(|(id, place)| (*id, place.peer.to_string())).collect();
        let links = side.run(Links::start(peers)).await;
        let links = links.map_err(TestClusterError::io("no ports for the links"))?;
        let (lives, change) = (BTreeMap::new(), Box::new(change));
        let mut cluster = Self { lives, places, change, links, side, directory };
        cluster.begin(&cluster.members().collect::<Vec<_>>()).await?;
        cluster.leader().await?;
        Ok(cluster)
    }

    /// All members, running or not.
    pub fn members(&self) -> impl Iterator<Item = MemberId> {
        self.places.keys().copied()
    }

    /// The members that run, those that are paused among them.
    pub fn running(&self) -> impl Iterator<Item = MemberId> {
        self.lives.keys().copied()
    }

    /// Where a member serves clients, host:port.
    ///
    /// # Errors
    /// [`TestClusterError::NoSuchMember`].
    pub fn endpoint(&self, id: MemberId) -> Result<String, TestClusterError> {
        Ok(self.place(id)?.client.to_string())
    }

    /// Where all members serve clients.
    pub fn endpoints(&self) -> impl Iterator<Item = String> {
        self.places.values().map(|place| place.client.to_string())
    }

    /// The folder of a member's data.
    ///
    /// # Errors
    /// [`TestClusterError::NoSuchMember`].
    pub fn data_dir(&self, id: MemberId) -> Result<&Path, TestClusterError> {
        Ok(&self.place(id)?.data_dir)
    }

    /// A client of all members, which connects when it is first used. Its calls have 20 seconds;
    /// for another configuration see [`TestCluster::endpoints`].
    ///
    /// # Errors
    /// [`TestClusterError::Client`].
    pub fn client(&self) -> Result<Client, TestClusterError> {
        Ok(Client::new(ClientConfig::new(self.endpoints()).with_timeout(CALL_MAX))?)
    }

    /// A client of one member alone, for what is seen from there. Its calls have the default time,
    /// five seconds.
    ///
    /// # Errors
    /// [`TestClusterError::NoSuchMember`], [`TestClusterError::Client`].
    pub fn client_through(&self, id: MemberId) -> Result<Client, TestClusterError> {
        Ok(Client::new(ClientConfig::new([self.endpoint(id)?]))?)
    }

    /// The handle of a member that runs, to read and write without gRPC as an embedder does. It
    /// answers nothing while the member is paused.
    ///
    /// # Errors
    /// [`TestClusterError::NotRunning`].
    pub fn coordinator(&self, id: MemberId) -> Result<Coordinator, TestClusterError> {
        Ok(self.life(id)?.coordinator().clone())
    }

    /// Waits for a leader that a majority of all members follows, and that has just heard from
    /// them; at most a minute.
    ///
    /// # Errors
    /// [`TestClusterError::NoLeader`], with what each member takes itself for.
    pub async fn leader(&self) -> Result<MemberId, TestClusterError> {
        self.leader_within(PATIENCE).await
    }

    /// The same with another limit.
    ///
    /// # Errors
    /// [`TestClusterError::NoLeader`], with what each member takes itself for.
    pub async fn leader_within(&self, within: Duration) -> Result<MemberId, TestClusterError> {
        self.side.run(self.electorate().leader(within)).await
    }

    /// Waits until all members that run, but for paused ones, have applied the same log to the same
    /// state; at most a minute.
    ///
    /// # Errors
    /// [`TestClusterError::NotConverged`], with how far each is.
    pub async fn converge(&self) -> Result<Agreed, TestClusterError> {
        self.side.run(self.electorate().converge(PATIENCE)).await
    }

    /// Cuts every link between members of different groups, and mends all others. Members that are
    /// in no group make one more. So `partition(&[&[leader]])` cuts the leader off.
    ///
    /// What had arrived before may still have an effect, as in any network.
    ///
    /// # Errors
    /// [`TestClusterError::NoSuchMember`], [`TestClusterError::TwoGroups`]; nothing is cut then.
    pub fn partition(&self, groups: &[&[MemberId]]) -> Result<(), TestClusterError> {
        let mut group_of = BTreeMap::new();
        for (group, id) in
            groups.iter().enumerate().flat_map(|(at, ids)| ids.iter().map(move |id| (at, *id)))
        {
            self.place(id)?;
            if group_of.insert(id, group).is_some_and(|other| other != group) {
                return Err(TestClusterError::TwoGroups(id));
            }
        }
        self.links.set(|from, to| group_of.get(&from) == group_of.get(&to));
        tracing::debug!(?groups, "partitioned the cluster");
        Ok(())
    }

    /// Mends all links. Members that are paused or do not run stay so.
    pub fn heal(&self) {
        self.links.set(|_, _| true);
        tracing::debug!("mended all links");
    }

    /// A member stands still until [`TestCluster::resume`]; see [`TestCluster`] for what that is.
    /// Returns when it does. Nothing happens to one that is paused already.
    ///
    /// # Errors
    /// [`TestClusterError::NotRunning`].
    pub async fn pause(&mut self, id: MemberId) -> Result<(), TestClusterError> {
        self.life_mut(id)?.pause().await;
        tracing::debug!(member = %id, "paused a member");
        Ok(())
    }

    /// A paused member goes on, as if no time had passed for it.
    ///
    /// # Errors
    /// [`TestClusterError::NotRunning`].
    pub fn resume(&mut self, id: MemberId) -> Result<(), TestClusterError> {
        self.life_mut(id)?.resume();
        tracing::debug!(member = %id, "resumed a member");
        Ok(())
    }

    /// A member dies where it stands. Returns when nothing of it is left but its data directory.
    ///
    /// # Errors
    /// [`TestClusterError::NotRunning`].
    pub async fn kill(&mut self, id: MemberId) -> Result<(), TestClusterError> {
        self.take(id)?.kill().await;
        tracing::debug!(member = %id, "killed a member");
        Ok(())
    }

    /// Stops a member in good order: it hands leadership over and closes its storage. One that is
    /// paused goes on first.
    ///
    /// # Errors
    /// [`TestClusterError::NotRunning`].
    pub async fn stop(&mut self, id: MemberId) -> Result<(), TestClusterError> {
        self.take(id)?.stop().await;
        tracing::debug!(member = %id, "stopped a member");
        Ok(())
    }

    /// Starts a member, from its data directory and at its addresses; one that runs is stopped in
    /// good order before. Returns when it serves, whether or not there is a leader.
    ///
    /// # Errors
    /// [`TestClusterError`]; the member does not run then.
    pub async fn restart(&mut self, id: MemberId) -> Result<(), TestClusterError> {
        self.place(id)?;
        if self.lives.contains_key(&id) {
            self.stop(id).await?;
        }
        self.begin(&[id]).await
    }

    /// Mends all links and stops all members in good order.
    pub async fn shutdown(mut self) {
        self.heal();
        let lives = std::mem::take(&mut self.lives);
        futures::future::join_all(lives.into_values().map(Life::stop)).await;
    }

    /// Starts members that do not run, all at once.
    async fn begin(&mut self, ids: &[MemberId]) -> Result<(), TestClusterError> {
        let mut starting = Vec::new();
        for id in ids {
            let place = self.place(*id)?;
            let mut config = Config::local(*id, &self.initial_members(), &place.data_dir);
            (self.change)(&mut config);
            place.settle(&mut config);
            config.cluster.initial_members = self.initial_members();
            let life = Life::begin(config, self.links.of(*id));
            starting.push(life.map_err(TestClusterError::io("no thread for a member"))?);
        }
        // Those that started are kept when others did not: the cluster ends them.
        for begun in self.side.run(member::all_within(starting, PATIENCE)).await {
            let life = begun?;
            self.lives.insert(life.id(), life);
        }
        Ok(())
    }

    fn initial_members(&self) -> Vec<quorate_node::config::Member> {
        self.places.values().map(Place::member).collect()
    }

    /// Who may lead now.
    fn electorate(&self) -> Electorate {
        let standing = self.lives.values().filter(|life| !life.is_paused());
        Electorate {
            members: self.members().collect(),
            paused: self
                .lives
                .values()
                .filter(|it| it.is_paused())
                .map(Life::id)
                .collect::<BTreeSet<_>>(),
            standing: standing.map(|life| life.coordinator().clone()).collect(),
        }
    }

    fn place(&self, id: MemberId) -> Result<&Place, TestClusterError> {
        self.places.get(&id).ok_or(TestClusterError::NoSuchMember(id))
    }

    fn life(&self, id: MemberId) -> Result<&Life, TestClusterError> {
        self.place(id)?;
        Ok(self.lives.get(&id).ok_or(NotRunning(id))?)
    }

    fn life_mut(&mut self, id: MemberId) -> Result<&mut Life, TestClusterError> {
        self.place(id)?;
        Ok(self.lives.get_mut(&id).ok_or(NotRunning(id))?)
    }

    fn take(&mut self, id: MemberId) -> Result<Life, TestClusterError> {
        self.place(id)?;
        Ok(self.lives.remove(&id).ok_or(NotRunning(id))?)
    }
}

impl Drop for TestCluster {
    fn drop(&mut self) {
        // All at once, so that one waits while another ends.
        self.lives.values_mut().for_each(Life::condemn);
        self.lives.clear();
    }
}

impl std::fmt::Debug for TestCluster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let running: Vec<_> = self.running().collect();
        let directory = self.directory.path();
        f.debug_struct("TestCluster")
            .field("running", &running)
            .field("directory", &directory)
            .finish()
    }
}
