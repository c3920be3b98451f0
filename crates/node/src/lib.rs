//! The embeddable coordinator of Quorate.

pub mod clock;
pub mod config;
pub mod coordinator;
pub mod http;
pub mod metrics;
pub mod network;
pub mod replica;
pub mod service;
pub mod transport;
pub mod watch;

mod bootstrap;
mod compaction;
mod consensus;
mod frontend;
mod node;

pub use bootstrap::BootstrapError;
pub use coordinator::Coordinator;
pub use node::Node;
pub use quorate_core as core;
pub use quorate_proto as proto;
pub use quorate_storage as storage;
pub use replica::{Environment, Replica, StartError};
