//! A lock: one session has it at a time, in the order in which they asked.

use std::{future::Future, time::Duration};

use bytes::Bytes;
use quorate_core::{Epoch, Key};
use tokio::time::timeout;

use super::{
    Gone, NotTaken,
    queue::{Holding, Place},
};
use crate::{error::Error, session::Session};

/// A lock that is held. Released when it is dropped, in the background, as far as the runtime lives
/// long enough; at the latest with its session.
///
/// See [`crate::recipe`] for what a lock protects, and what it takes to protect more.
#[derive(Debug)]
pub struct Lock(Holding);

impl Session {
    /// Takes a lock, as soon as those who asked before have released it. The lock is the prefix of
    /// its keys, such as `locks/backup`. The same session may ask more than once, and waits for
    /// itself.
    ///
    /// ```no_run
    /// # async fn example(client: quorate_client::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// use quorate_client::SessionOptions;
    ///
    /// let session = client.open_session(SessionOptions::default()).await?;
    /// let lock = session.lock("locks/backup").await?;
    /// tokio::select! {
    ///     () = async { println!("working, as number {}", lock.epoch()) } => {}
    ///     gone = lock.lost() => println!("stopped: {gone:?}"),
    /// }
    /// lock.release().await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// When the session is lost meanwhile, or a call fails.
    pub async fn lock(&self, name: &str) -> Result<Lock, NotTaken> {
        let place = Place::take(self, name, Bytes::new()).await?;
        let revision = place.turn().await?;
        Ok(Lock(place.hold(revision)))
    }

    /// Takes a lock if that succeeds within a time.
    ///
    /// # Errors
    /// [`NotTaken::Timeout`] when it does not; and as [`Session::lock`].
    pub async fn lock_within(&self, name: &str, limit: Duration) -> Result<Lock, NotTaken> {
        let place = Place::take(self, name, Bytes::new()).await?;
        within(place, limit).await.map(Lock)
    }

    /// Takes a lock if nobody has it; None when somebody does.
    ///
    /// # Errors
    /// As [`Session::lock`].
    pub async fn try_lock(&self, name: &str) -> Result<Option<Lock>, NotTaken> {
        let place = Place::take(self, name, Bytes::new()).await?;
        match place.look().await? {
            (revision, None) => Ok(Some(Lock(place.hold(revision)))),
            (_, Some(_)) => {
                place.leave().await?;
                Ok(None)
            }
        }
    }
}

/// Waits for the turn, for so long.
async fn within(place: Place, limit: Duration) -> Result<Holding, NotTaken> {
    match timeout(limit, place.turn()).await {
        Ok(turn) => Ok(place.hold(turn?)),
        Err(_) => {
            place.leave().await?;
            Err(NotTaken::Timeout)
        }
    }
}

impl Lock {
    /// Grows with every holder: a fencing token.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        self.0.epoch()
    }

    /// Its entry, which exists as long as it is held. A transaction with
    /// [`when_exists`](crate::TransactionBuilder::when_exists) of it happens only while it is.
    #[must_use]
    pub fn key(&self) -> &Key {
        self.0.key()
    }

    /// Whether its holder may still act on it. Once false, always false.
    #[must_use]
    pub fn is_held(&self) -> bool {
        self.0.is_held()
    }

    /// Waits until it is lost: before anybody else can have it, unless it was broken by deleting
    /// its entry.
    pub fn lost(&self) -> impl Future<Output = Gone> + Send + '_ {
        self.0.lost()
    }

    /// The session that holds it.
    #[must_use]
    pub fn session(&self) -> &Session {
        self.0.session()
    }

    /// Releases it.
    ///
    /// # Errors
    /// When the cluster does not answer. It is released with its session at the latest.
    pub async fn release(self) -> Result<(), Error> {
        self.0.release().await
    }
}
