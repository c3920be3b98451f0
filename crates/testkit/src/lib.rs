//! A Quorate cluster in one process, with faults to inject.
//!
//! [`TestCluster`] is for tests of what is built on Quorate: real coordinators, on sockets and disk,
//! in the test's own process.
//!
//! [`SimCluster`] runs coordinators without sockets, threads or files: consensus, storage and
//! bootstrap are the real ones, behind them are a [`SimNetwork`], disks in memory that lose power,
//! and a clock that a test sets. On a tokio runtime with paused time, minutes of elections pass in
//! milliseconds.
//!
//! ```
//! use std::time::Duration;
//! use quorate_node::core::MemberId;
//! use quorate_node::coordinator::Freshness;
//! use quorate_testkit::{SimCluster, SimOptions, put};
//! use tokio::time::Instant;
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let mut cluster = SimCluster::start(SimOptions::default()).await?;
//! let leader = cluster.leader(Duration::from_secs(10)).await?;
//!
//! // Write through a member that does not lead, while the third one has lost its power.
//! let mut others = cluster.members().filter(|id| *id != leader);
//! let (writer, victim) = (others.next().unwrap(), others.next().unwrap());
//! drop(others);
//! cluster.crash(victim);
//! let deadline = Instant::now() + Duration::from_secs(5);
//! cluster.coordinator(writer)?.propose(put("key", "value"), deadline).await?;
//!
//! // It comes back with what it had synced, and catches up.
//! cluster.restart(victim).await?;
//! let agreed = cluster.converge(Duration::from_secs(30)).await?;
//! assert_eq!(agreed.revision.get(), 1);
//! cluster.shutdown().await;
//! # Ok(())
//! # }
//! ```
//!
//! [`Proxy`] is for clusters with sockets: it stands before a coordinator and loses replies, or
//! holds everything back.
//!
//! [`simulation`] uses such clusters: clients, workers and subscribers work while faults are made,
//! and what they saw is checked. `cargo run --release -p quorate-testkit --bin simulate -- --seeds
//! 200 --time 120` runs many seeds; equal seeds take equal courses ([`simulate`], [`repeats`]). That it
//! finds faults is shown by the command `mutants`, which plants known ones (`MUTATIONS.md`).
//!
//! What the simulation does not do: it has crashes, lost power, cut links, delay, broken
//! connections, slow disks and wrong clocks; not paused processes, and no full disks.
//!
//! Must not know what the commands do.

mod clock;
mod cluster;
mod course;
mod disk;
mod network;
mod peer;
mod proxy;
pub mod simulation;
mod test_cluster;
mod wire;

pub use clock::SimClock;
pub use cluster::{Agreed, NoLeader, NotConverged, NotRunning, SimCluster, SimOptions, put};
pub use course::{repeats, simulate};
pub use network::{Conditions, Counts, SimNetwork};
pub use proxy::{Faults, Proxy};
pub use test_cluster::{TestCluster, TestClusterError};
