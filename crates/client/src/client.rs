//! The handle through which everything is called.

use std::sync::Arc;

use quorate_core::Revision;

use crate::{
    config::{ClientConfig, Endpoint},
    error::Error,
    pool::Pool,
    seen::Seen,
};

/// A client of one cluster. Cheap to clone; clones share connections and what was seen.
///
/// ```no_run
/// use quorate_client::{Client, ClientConfig};
///
/// # async fn example() -> Result<(), quorate_client::Error> {
/// let client = Client::new(ClientConfig::new(["127.0.0.1:7101", "127.0.0.1:7102"]))?;
/// let written = client.put("greeting", "hello").await?;
/// let read = client.get("greeting").await?;
/// assert!(read.revision() >= written.revision());
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Client(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    config: ClientConfig,
    endpoints: Vec<Endpoint>,
    pool: Pool,
    seen: Seen,
}

impl Client {
    /// Makes a client; connects when first used. Call within a tokio runtime.
    ///
    /// # Errors
    /// When the configuration is wrong.
    pub fn new(config: ClientConfig) -> Result<Self, Error> {
        let pool = Pool::new(&config)?;
        let endpoints = pool.endpoints().cloned().collect();
        Ok(Self(Arc::new(Shared { config, endpoints, pool, seen: Seen::default() })))
    }

    /// The coordinators' addresses, as configured.
    #[must_use]
    pub fn endpoints(&self) -> &[Endpoint] {
        &self.0.endpoints
    }

    /// How it was configured.
    #[must_use]
    pub fn config(&self) -> &ClientConfig {
        &self.0.config
    }

    /// The highest revision seen: no later read or stream answers from before it.
    #[must_use]
    pub fn seen_revision(&self) -> Revision {
        self.0.seen.revision()
    }

    pub(crate) fn pool(&self) -> &Pool {
        &self.0.pool
    }

    pub(crate) fn seen(&self) -> &Seen {
        &self.0.seen
    }
}
