//! The handle through which everything is called.

use std::sync::Arc;

use quorate_core::Revision;

use crate::{
    config::{ClientConfig, Endpoint},
    error::Error,
    exactly_once::Writes,
    pool::Pool,
    seen::Seen,
    session::{Keeper, Link},
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
    link: Arc<Link>,
    endpoints: Vec<Endpoint>,
    keeper: Keeper,
    writes: Writes,
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.writes.leave(&self.link);
    }
}

impl Client {
    /// Makes a client; connects when first used. Call within a tokio runtime.
    ///
    /// # Errors
    /// When the configuration is wrong.
    pub fn new(config: ClientConfig) -> Result<Self, Error> {
        let pool = Pool::new(&config)?;
        let endpoints = pool.endpoints().cloned().collect();
        let link = Arc::new(Link { config, pool, seen: Seen::default() });
        let (keeper, writes) = (Keeper::new(link.clone()), Writes::default());
        Ok(Self(Arc::new(Shared { link, endpoints, keeper, writes })))
    }

    /// The coordinators' addresses, as configured.
    #[must_use]
    pub fn endpoints(&self) -> &[Endpoint] {
        &self.0.endpoints
    }

    /// How it was configured.
    #[must_use]
    pub fn config(&self) -> &ClientConfig {
        &self.0.link.config
    }

    /// The highest revision seen: no later read or stream answers from before it.
    #[must_use]
    pub fn seen_revision(&self) -> Revision {
        self.0.link.seen.revision()
    }

    pub(crate) fn pool(&self) -> &Pool {
        &self.0.link.pool
    }

    pub(crate) fn seen(&self) -> &Seen {
        &self.0.link.seen
    }

    pub(crate) fn link(&self) -> &Arc<Link> {
        &self.0.link
    }

    pub(crate) fn keeper(&self) -> &Keeper {
        &self.0.keeper
    }

    pub(crate) fn writes(&self) -> &Writes {
        &self.0.writes
    }

    /// Ends the session under which this client's writes are applied at most once, if it has one.
    /// Without this it is ended in the background when the last clone is dropped, as far as the
    /// runtime lives long enough, else the cluster ends it after its time to live. A later write
    /// opens another one.
    pub async fn close(&self) {
        self.0.writes.close(self).await;
    }
}
