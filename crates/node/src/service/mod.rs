//! The gRPC services on the client address.
//!
//! Handlers decode, make one call on the [`Coordinator`], and encode: what a request means is in
//! `core`, what it looks like is in `proto`. Owns deadlines, limits on sizes, and what callers are
//! told when something has no answer.
//!
//! Must not know how a write is committed or how fresh a view is.

pub(crate) mod connections;
pub(crate) mod deadline;
pub(crate) mod error;
pub(crate) mod header;
pub(crate) mod page;

mod cluster;
mod connection_map;
mod health;
mod layer;
mod lists;
mod network;
mod plans;
mod read;
mod reshapes;
mod resources;
mod routes;
mod scales;
mod sessions;
mod snapshot;
mod store;
mod workers;
mod write;

use std::sync::Arc;

use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{config::Config, coordinator::Coordinator, metrics::Metrics};

pub use health::is_serving;
pub use routes::client_routes;

/// What the services work with. A clone is cheap.
#[derive(Clone)]
pub struct Context {
    /// Through which they read and write.
    pub coordinator: Coordinator,
    /// Limits and names.
    pub config: Arc<Config>,
    /// What they count.
    pub metrics: Metrics,
    /// Owns the tasks that they start.
    pub tasks: TaskTracker,
    /// Ends those tasks, and every change stream.
    pub shutdown: CancellationToken,
}
