//! Sessions: showing the cluster that one is alive, and knowing for how long that is believed.
//!
//! ```text
//!   open -> Session (shared lease) <- extends, ends - keeper: one stream per client
//!              |                         at the latest: the clock
//!              +-> is_valid, remaining, lost
//! ```
//!
//! Invariant: a holder that acts only while [`Session::is_valid`] says so has stopped before the
//! cluster gives to another what the session holds.

mod clock;
mod keeper;
mod lease;
mod remote;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use quorate_core::SessionId;

pub use self::{
    clock::{BootClock, Clock},
    lease::Lost,
};
pub(crate) use self::{
    keeper::Keeper,
    lease::{Lease, holds},
    remote::{OpenSession, close, close_in_background},
};
use crate::{
    call::Call,
    client::Client,
    config::ClientConfig,
    error::{Error, ErrorKind},
    pool::Pool,
    seen::Seen,
};

/// The shortest margin that is chosen when none is given.
const MARGIN_MIN: Duration = Duration::from_millis(50);

/// What tasks in the background need of a client, so that they do not keep it alive.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) config: ClientConfig,
    pub(crate) pool: Pool,
    pub(crate) seen: Seen,
}

/// How a session is held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionOptions {
    /// How long it lives after its last keep-alive. The cluster has bounds for it (settings
    /// `session_ttl_ms_min` and `session_ttl_ms_max`).
    pub ttl: Duration,
    /// What its holder calls itself. None: as the client does.
    pub label: Option<String>,
    /// How long before the cluster may end it the holder counts it as lost. None: a tenth of the
    /// time to live, at least 50 ms.
    pub margin: Option<Duration>,
}

impl Default for SessionOptions {
    fn default() -> Self {
        Self { ttl: Duration::from_secs(10), label: None, margin: None }
    }
}

impl SessionOptions {
    /// The defaults, with this time to live.
    #[must_use]
    pub fn new(ttl: Duration) -> Self {
        Self { ttl, ..Self::default() }
    }
}

impl Client {
    /// Opens a session and keeps it alive until it is closed or dropped.
    ///
    /// ```no_run
    /// # async fn example(client: quorate_client::Client) -> Result<(), quorate_client::Error> {
    /// use quorate_client::SessionOptions;
    ///
    /// let session = client.open_session(SessionOptions::default()).await?;
    /// client.put("online/me", "yes").bound_to(&session).await?;
    /// tokio::select! {
    ///     why = session.lost() => println!("stop everything: {why:?}"),
    ///     _ = tokio::signal::ctrl_c() => {}
    /// }
    /// session.close().await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// When the cluster does not answer in time, or refuses.
    pub async fn open_session(&self, options: SessionOptions) -> Result<Session, Error> {
        let SessionOptions { ttl, label, margin } = options;
        let clock = self.config().clock.clone();
        let label = label.unwrap_or_else(|| self.config().label.clone());
        let operation = OpenSession::new(ttl, label, clock.clone());
        let t0 = operation.sent_at();
        let opened = Call::new(self, operation).await.map_err(Error::before_write)?.value;
        let margin = margin.unwrap_or_else(|| (opened.ttl / 10).max(MARGIN_MIN));
        let holds = holds(opened.ttl, margin);
        let lease = Arc::new(Lease::new(opened.id, t0.get(), Some(holds), clock));
        self.keeper().keep(lease.clone(), opened.ttl);
        let (client, places) = (self.clone(), AtomicU64::new(0));
        Ok(Session(Arc::new(Held { client, lease, ttl: opened.ttl, places })))
    }
}

/// A session that is kept alive. Clones are the same session; when the last one is dropped, it is
/// closed in the background, as far as the runtime lives long enough.
#[derive(Debug, Clone)]
pub struct Session(Arc<Held>);

#[derive(Debug)]
struct Held {
    client: Client,
    lease: Arc<Lease>,
    ttl: Duration,
    /// How many places in queues it has taken.
    places: AtomicU64,
}

impl Session {
    /// Its id.
    #[must_use]
    pub fn id(&self) -> SessionId {
        self.0.lease.id()
    }

    /// How long it lives after its last keep-alive, as the cluster counts.
    #[must_use]
    pub fn ttl(&self) -> Duration {
        self.0.ttl
    }

    /// Whether its holder may still act on it. Once false, always false.
    #[must_use]
    pub fn is_valid(&self) -> bool {
        self.0.lease.remaining().is_ok()
    }

    /// For how long it is valid without a further keep-alive. Zero when it is lost.
    #[must_use]
    pub fn remaining(&self) -> Duration {
        self.0.lease.remaining().unwrap_or_default()
    }

    /// Waits until it is lost: at the latest when its validity passes, before the cluster ends it.
    pub async fn lost(&self) -> Lost {
        self.0.lease.lost().await
    }

    /// Waits until it is valid for at most so much longer, or lost: keep-alives are not answered,
    /// and it is time to get ready.
    pub async fn expires_within(&self, left: Duration) {
        self.0.lease.within(left).await;
    }

    /// Ends it, and with it everything that is bound to it.
    ///
    /// # Errors
    /// When the cluster does not answer: it ends after its time to live. For its holder it has
    /// ended in any case.
    pub async fn close(&self) -> Result<(), Error> {
        let Held { client, lease, .. } = &*self.0;
        lease.end(Lost::Closed);
        client.keeper().forget(lease.id());
        close(client, lease.id()).await
    }

    /// Stops keeping it alive, as if its holder had died: nobody tells the cluster, which ends it
    /// after its time to live, and with it everything that is bound to it. For its holder it has
    /// ended at once. For tests of what happens then; whoever is done with it calls
    /// [`Session::close`].
    pub fn abandon(&self) {
        let Held { client, lease, .. } = &*self.0;
        lease.end(Lost::Closed);
        client.keeper().forget(lease.id());
    }

    pub(crate) fn client(&self) -> &Client {
        &self.0.client
    }

    /// A number that it has not given before.
    pub(crate) fn next_place(&self) -> u64 {
        self.0.places.fetch_add(1, Ordering::Relaxed)
    }
}

impl From<&Session> for SessionId {
    fn from(session: &Session) -> Self {
        session.id()
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let known = self.lease.remaining();
        self.client.keeper().forget(self.lease.id());
        self.lease.end(Lost::Closed);
        if known.is_ok() {
            close_in_background(self.client.link(), self.lease.id());
        }
    }
}

/// Whether a session that was to be closed has ended before.
fn has_ended(error: &Error) -> bool {
    error.kind() == ErrorKind::Rejected
        && error.reason() == Some(quorate_proto::Reason::SessionExpired)
}
