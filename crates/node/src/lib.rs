//! The embeddable coordinator of Quorate: consensus, reads, change streams and services.
//!
//! Start a [`Node`] with a [`config::Config`]; read and write in this process through its
//! [`Coordinator`], or over gRPC through its sockets. [`Replica`] is the same without sockets, for
//! simulations.
//!
//! Invariants: no globals, several nodes run in one process; nothing but the log changes the state;
//! an error of a write says whether it was applied. Must not know about command lines.

pub mod clock;
pub mod config;
pub mod controller;
pub mod coordinator;
pub mod health;
pub mod http;
pub mod members;
pub mod metrics;
pub mod network;
pub mod planner;
pub mod rejoin;
pub mod replica;
pub mod restore;
pub mod service;
pub mod transport;
pub mod watch;

mod beginning;
mod bootstrap;
mod compaction;
mod consensus;
mod frontend;
mod loads;
mod node;
mod periodic;
mod replicas;
mod session;

pub use bootstrap::BootstrapError;
pub use coordinator::Coordinator;
pub use node::Node;
pub use quorate_core as core;
pub use quorate_plan as plan;
pub use quorate_proto as proto;
pub use quorate_storage as storage;
pub use replica::{Environment, Replica, StartError};
