//! Writes that are applied at most once: the session under which a client sends them, and their
//! serials.
//!
//! ```text
//!   write -> begin: the session (opened by the first) -> a serial -> attempts, all with it
//!                                                          |
//!            acknowledged moves past it <- finished <- the call ends, however it ends
//! ```
//!
//! Invariants: a serial is used for one call, and finished when that call has ended, so that what
//! nobody waits for any more is not applied after a later write; a session that has ended gives no
//! further serial.

mod serials;

use std::sync::Arc;

use parking_lot::Mutex;
use quorate_core::Serial;
use quorate_proto::v1;
use tokio::{
    sync::Notify,
    time::{Instant, timeout_at},
};

use self::serials::Serials;
use crate::{
    call::Call,
    client::Client,
    config::Endpoint,
    error::Error,
    session::{Lease, Link, Lost, OpenSession, close, close_in_background},
};

/// The writes of one client.
#[derive(Debug, Default)]
pub(crate) struct Writes {
    line: Mutex<Option<Arc<Line>>>,
    /// Held by who opens a session.
    opening: tokio::sync::Mutex<()>,
}

/// The writes under one session.
#[derive(Debug)]
struct Line {
    lease: Arc<Lease>,
    serials: Mutex<Serials>,
    room: Notify,
}

/// A serial in use. Dropped, it is finished.
#[derive(Debug)]
pub(crate) struct Ticket {
    line: Arc<Line>,
    serial: Serial,
}

impl Writes {
    /// A serial for a write that was never sent, under a session that lives as far as is known.
    ///
    /// # Errors
    /// When no session can be opened, or no serial is free, by the deadline. Nothing was applied.
    pub(crate) async fn begin(
        &self,
        client: &Client,
        via: Option<&Endpoint>,
        deadline: Instant,
    ) -> Result<Ticket, Error> {
        loop {
            let line = match self.current() {
                Some(line) => line,
                None => self.open(client, via, deadline).await?,
            };
            if let Some(ticket) = Line::begin(&line, deadline).await? {
                return Ok(ticket);
            }
        }
    }

    fn current(&self) -> Option<Arc<Line>> {
        self.line.lock().clone().filter(|line| line.lease.remaining().is_ok())
    }

    async fn open(
        &self,
        client: &Client,
        via: Option<&Endpoint>,
        deadline: Instant,
    ) -> Result<Arc<Line>, Error> {
        let late = |_| Error::no_time("no session was opened in time");
        let _opening = timeout_at(deadline, self.opening.lock()).await.map_err(late)?;
        if let Some(line) = self.current() {
            return Ok(line);
        }
        let config = client.config();
        let (label, clock) = (config.label.clone(), config.clock.clone());
        let operation = OpenSession::new(config.exactly_once_ttl, label, clock.clone());
        let mut call = Call::new(client, operation);
        call = call.timeout(deadline.saturating_duration_since(Instant::now()));
        if let Some(endpoint) = via {
            call = call.via(endpoint);
        }
        let opened = call.await.map_err(Error::before_write)?.value;
        // What the holder counts does not matter here: the cluster says when it has ended.
        let lease = Arc::new(Lease::new(opened.id, clock.now(), None, clock));
        client.keeper().keep(lease.clone(), opened.ttl);
        let line = Line { lease, serials: Mutex::default(), room: Notify::new() };
        let line = Arc::new(line);
        *self.line.lock() = Some(line.clone());
        Ok(line)
    }

    /// Ends the session, if there is one.
    pub(crate) async fn close(&self, client: &Client) {
        let Some(line) = self.line.lock().take() else { return };
        line.lease.end(Lost::Closed);
        client.keeper().forget(line.lease.id());
        if let Err(error) = close(client, line.lease.id()).await {
            tracing::debug!(%error, "the session of a client could not be closed");
        }
    }

    /// The client is gone.
    pub(crate) fn leave(&self, link: &Arc<Link>) {
        let Some(line) = self.line.lock().take() else { return };
        if line.lease.remaining().is_ok() {
            close_in_background(link, line.lease.id());
        }
    }
}

impl Line {
    /// The next serial, as soon as one is free; None when the session has ended.
    async fn begin(line: &Arc<Self>, deadline: Instant) -> Result<Option<Ticket>, Error> {
        loop {
            let mut room = std::pin::pin!(line.room.notified());
            room.as_mut().enable();
            if line.lease.remaining().is_err() {
                return Ok(None);
            }
            if let Some(serial) = line.serials.lock().begin() {
                return Ok(Some(Ticket { line: line.clone(), serial }));
            }
            let full = |_| Error::no_time("too many writes of this client are under way");
            tokio::select! {
                biased;
                room = timeout_at(deadline, room) => room.map_err(full)?,
                _ = line.lease.lost() => {}
            }
        }
    }
}

impl Ticket {
    /// What an attempt carries.
    pub(crate) fn context(&self) -> v1::WriteContext {
        v1::WriteContext {
            session: Some(self.line.lease.id().into()),
            serial: self.serial.0,
            acknowledged: self.line.serials.lock().acknowledged().0,
            ..v1::WriteContext::default()
        }
    }

    /// The cluster says that the session has ended.
    pub(crate) fn session_ended(&self) {
        self.line.lease.end(Lost::Ended);
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if self.line.serials.lock().finish(self.serial) {
            self.line.room.notify_waiters();
        }
    }
}
