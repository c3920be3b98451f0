//! The embeddable coordinator of Quorate.

pub mod config;
pub mod coordinator;
pub mod clock;
pub mod replica;
pub mod transport;

mod bootstrap;
mod compaction;
mod consensus;

pub use bootstrap::BootstrapError;
pub use coordinator::Coordinator;
pub use replica::{Environment, Replica, StartError};
