//! An election: one candidate leads at a time, and everybody can see who.

use std::{future::Future, sync::Arc};

use bytes::Bytes;
use quorate_core::{Epoch, Filter, Key, Revision};
use quorate_proto::{
    Reason,
    convert::{Start, WatchEvent},
};

use super::{
    Gone, KIND, NotTaken,
    queue::{Holding, Listed, Place, list, value},
};
use crate::{
    client::Client,
    error::Error,
    session::Session,
    watch::{Watch, WatchOptions},
};

/// A leadership that is held. Given up when it is dropped, as a [`Lock`](super::Lock).
#[derive(Debug)]
pub struct Leadership(Holding);

/// Who leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leader {
    /// Grows with every leader: a fencing token.
    pub epoch: Epoch,
    /// The leader's entry, which exists as long as it leads.
    pub key: Key,
    /// What the leader says of itself.
    pub value: Bytes,
}

impl Session {
    /// Becomes a candidate, and waits until it leads. The election is the prefix of its keys, such
    /// as `elections/scheduler`.
    ///
    /// ```no_run
    /// # async fn example(client: quorate_client::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// use quorate_client::SessionOptions;
    ///
    /// let session = client.open_session(SessionOptions::default()).await?;
    /// let leadership = session.campaign("elections/scheduler", "10.0.0.7:9000").await?;
    /// println!("leading in epoch {}", leadership.epoch());
    /// println!("not any more: {:?}", leadership.lost().await);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// When the session is lost meanwhile, or a call fails.
    pub async fn campaign(
        &self,
        election: &str,
        value: impl Into<Bytes>,
    ) -> Result<Leadership, NotTaken> {
        let place = Place::take(self, election, value.into()).await?;
        let revision = place.turn().await?;
        Ok(Leadership(place.hold(revision)))
    }
}

impl Leadership {
    /// Grows with every leader: a fencing token.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        self.0.epoch()
    }

    /// Its entry, which exists as long as it leads.
    #[must_use]
    pub fn key(&self) -> &Key {
        self.0.key()
    }

    /// Whether it may still act as the leader. Once false, always false.
    #[must_use]
    pub fn is_held(&self) -> bool {
        self.0.is_held()
    }

    /// Waits until it is lost: before anybody else can lead, unless its entry is deleted.
    pub fn lost(&self) -> impl Future<Output = Gone> + Send + '_ {
        self.0.lost()
    }

    /// Says something else of itself.
    ///
    /// # Errors
    /// When it does not lead any more (`PRECONDITION_FAILED`), or the call fails.
    pub async fn proclaim(&self, value: impl Into<Bytes>) -> Result<(), Error> {
        let (session, key) = (self.0.session(), self.0.key());
        let transaction = session.client().transaction().when_exists(key);
        let done = transaction.put_bound(key, value, session).commit().await?;
        if done.value.succeeded { Ok(()) } else { Err(Error::not_held()) }
    }

    /// Gives it up: the next candidate leads.
    ///
    /// # Errors
    /// When the cluster does not answer. It ends with its session at the latest.
    pub async fn resign(self) -> Result<(), Error> {
        self.0.release().await
    }
}

impl Client {
    /// Who leads an election; None: nobody.
    ///
    /// # Errors
    /// When the cluster does not answer.
    pub async fn leader(&self, election: &str) -> Result<Option<Leader>, Error> {
        Ok(look(self, election).await?.1)
    }

    /// Follows who leads an election.
    #[must_use]
    pub fn watch_leader(&self, election: &str) -> LeaderWatch {
        LeaderWatch { client: self.clone(), election: election.into(), told: None, watch: None }
    }
}

/// Who leads, as of when.
async fn look(client: &Client, election: &str) -> Result<(Revision, Option<Leader>), Error> {
    let Listed { revision, restore, places } = list(client, election).await?;
    let leader = places.into_iter().next().map(|(key, record)| Leader {
        epoch: Epoch { restore, revision: record.created },
        key,
        value: value(&record.value),
    });
    Ok((revision, leader))
}

/// Follows who leads. See [`Client::watch_leader`].
#[derive(Debug)]
pub struct LeaderWatch {
    client: Client,
    election: Arc<str>,
    told: Option<Option<Leader>>,
    watch: Option<Watch>,
}

impl LeaderWatch {
    /// Who leads: at once when it is asked first, then whenever that, or what the leader says of
    /// itself, is different. What changes more often than it is asked may be left out.
    ///
    /// # Errors
    /// When the cluster does not answer; the next call tries again.
    pub async fn next(&mut self) -> Result<Option<Leader>, Error> {
        loop {
            if let Some(watch) = &mut self.watch {
                match watch.next().await {
                    Ok(WatchEvent::Changes { .. }) => {}
                    Ok(_) => continue,
                    Err(error) if error.reason() == Some(Reason::Compacted) => self.watch = None,
                    Err(error) => return Err(error),
                }
            }
            let (revision, leader) = look(&self.client, &self.election).await?;
            if self.watch.is_none() {
                let key_prefix = format!("{}/", self.election).into();
                let filter = Filter { kinds: vec![KIND], key_prefix, ..Filter::default() };
                let start = Start::From(revision.next());
                let options = WatchOptions { start, filter, ..WatchOptions::default() };
                self.watch = Some(self.client.watch(options));
            }
            if self.told.as_ref() != Some(&leader) {
                self.told = Some(leader.clone());
                return Ok(leader);
            }
        }
    }
}
