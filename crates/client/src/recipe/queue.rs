//! A queue of sessions: who has the turn, and who waits for whom.
//!
//! ```text
//!   NAME/SESSION/NUMBER   created 7   has the turn
//!   NAME/SESSION/NUMBER   created 9   waits until the one created at 7 is deleted
//!   NAME/SESSION/NUMBER   created 12  waits until the one created at 9 is deleted
//! ```
//!
//! Invariants: a place has a key of its own, so that taking it twice is taking it once; nobody has
//! the turn while an entry with a lower created revision is there.

use std::time::Duration;

use bytes::Bytes;
use futures::TryStreamExt as _;
use quorate_core::{
    Epoch, Filter, Key, KeyedRecord, OperationReply, Record, RestoreEpoch, Revision, SessionId,
};
use quorate_proto::{
    Reason,
    convert::{Start, WatchEvent},
};
use tokio::{runtime::Handle, sync::watch, task::JoinHandle};

use super::{Gone, KIND, NotTaken};
use crate::{
    client::Client,
    error::{Error, ErrorKind},
    session::Session,
    transaction::entries,
    watch::WatchOptions,
};

/// How many places are listed at a time.
const PAGE: u32 = 1_000;

/// A place in a queue. Given up when it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    session: Session,
    name: String,
    key: Key,
    epoch: Epoch,
    left: bool,
}

/// The places of a queue in the order of their turns.
pub(super) struct Listed {
    /// Everything in it is as of this revision or a later one.
    pub(super) revision: Revision,
    pub(super) restore: RestoreEpoch,
    pub(super) places: Vec<KeyedRecord>,
}

/// Lists the places of a queue.
pub(super) async fn list(client: &Client, name: &str) -> Result<Listed, Error> {
    let prefix = format!("{name}/");
    let mut pages = std::pin::pin!(client.range(entries(prefix.clone())).limit(PAGE).pages());
    let (mut first, mut places) = (None, Vec::new());
    while let Some(page) = pages.try_next().await? {
        first.get_or_insert(page.header);
        let records = page.value.records.into_iter();
        places.extend(records.filter(|(key, _)| is_place(key, &prefix)));
    }
    places.sort_by_key(|(_, record)| record.created);
    let header = first.ok_or_else(|| Error::no_time("no answer"))?;
    Ok(Listed { revision: header.revision, restore: header.restore_epoch, places })
}

/// Whether this is a place of this queue, and not of one whose name begins with this one's.
fn is_place(key: &Key, prefix: &str) -> bool {
    let rest = key.bytes.strip_prefix(prefix.as_bytes());
    let rest = rest.and_then(|rest| std::str::from_utf8(rest).ok());
    rest.and_then(|rest| rest.split_once('/')).is_some_and(|(session, number)| {
        SessionId::parse(session).is_some() && number.parse::<u64>().is_ok()
    })
}

/// An entry's bytes.
pub(super) fn value(record: &Record) -> Bytes {
    match record {
        Record::Entry(entry) => entry.value.clone(),
        _ => Bytes::new(),
    }
}

impl Place {
    /// Takes a place at the end of the queue.
    pub(super) async fn take(session: &Session, name: &str, value: Bytes) -> Result<Self, Error> {
        let key = Key::entry(format!("{name}/{}/{}", session.id(), session.next_place()));
        let epoch = Epoch { restore: RestoreEpoch(0), revision: Revision(0) };
        // Made before it is asked for: whatever becomes of the call, the place is given up.
        let (session, name) = (session.clone(), name.to_owned());
        let mut place = Self { session, name, key, epoch, left: false };
        let key = &place.key;
        let transaction = place.client().transaction().when_absent(key);
        let transaction = transaction.put_bound(key, value, &place.session).or_else().get(key);
        let taken = transaction.commit().await?;
        let created = match taken.value.results.first() {
            Some(OperationReply::Get { records, .. }) => {
                records.first().map(|(_, record)| record.created)
            }
            _ => Some(taken.revision()),
        };
        let revision = created.unwrap_or(taken.revision());
        place.epoch = Epoch { restore: taken.header.restore_epoch, revision };
        Ok(place)
    }

    fn client(&self) -> &Client {
        self.session.client()
    }

    /// Waits for the turn.
    pub(super) async fn turn(&self) -> Result<Revision, NotTaken> {
        loop {
            match self.look().await? {
                (revision, None) => return Ok(revision),
                (revision, Some(before)) => {
                    tokio::select! {
                        biased;
                        lost = self.session.lost() => return Err(lost.into()),
                        deleted = deleted(self.client(), &before, revision) => deleted?,
                    }
                }
            }
        }
    }

    /// Who is before it, as of when.
    pub(super) async fn look(&self) -> Result<(Revision, Option<Key>), NotTaken> {
        let Listed { revision, places, .. } = tokio::select! {
            biased;
            lost = self.session.lost() => return Err(lost.into()),
            listed = list(self.client(), &self.name) => listed?,
        };
        let mine = places.iter().position(|(key, _)| *key == self.key);
        let mine = mine.ok_or(NotTaken::Gone(Gone::Removed))?;
        let before = mine.checked_sub(1).map(|before| places[before].0.clone());
        Ok((revision, before))
    }

    /// Gives it up.
    pub(super) async fn leave(mut self) -> Result<(), Error> {
        self.client().delete(&self.key).await?;
        self.left = true;
        Ok(())
    }

    /// Has the turn since `revision`, or before it.
    pub(super) fn hold(self, revision: Revision) -> Holding {
        let (state, gone) = watch::channel(None);
        let (client, key) = (self.client().clone(), self.key.clone());
        let session = self.session.clone();
        let watching = tokio::spawn(async move {
            tokio::select! {
                biased;
                lost = session.lost() => state.send_replace(Some(Gone::Session(lost))),
                () = removed(&client, &key, revision) => state.send_replace(Some(Gone::Removed)),
            }
        });
        Holding { place: self, gone, watching }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // Else it goes with its session.
        if !self.left
            && self.session.is_valid()
            && let Ok(runtime) = Handle::try_current()
        {
            let delete = self.client().delete(&self.key).into_future();
            runtime.spawn(delete);
        }
    }
}

/// Waits until a key is deleted after a revision, or history is lost: look again.
async fn deleted(client: &Client, key: &Key, after: Revision) -> Result<(), Error> {
    let filter = Filter { kinds: vec![KIND], key_prefix: key.bytes.clone(), ..Filter::default() };
    let start = Start::From(after.next());
    let mut watch = client.watch(WatchOptions { start, filter, ..WatchOptions::default() });
    loop {
        match watch.next().await {
            Ok(WatchEvent::Changes { changes, .. }) => {
                if changes.iter().any(|change| change.key == *key && change.current.is_none()) {
                    return Ok(());
                }
            }
            Ok(_) => {}
            Err(error) if error.reason() == Some(Reason::Compacted) => return Ok(()),
            Err(error) => return Err(error),
        }
    }
}

/// Waits until a key is gone, however long that takes.
async fn removed(client: &Client, key: &Key, after: Revision) {
    let mut after = after;
    loop {
        let watched = deleted(client, key, after).await;
        match client.get(key).await {
            Ok(found) if found.value.is_none() => return,
            Ok(found) => after = found.revision(),
            // Another cluster, or one before a restore: what was held is not there.
            Err(error) if error.kind() == ErrorKind::Rejected => return,
            Err(error) => {
                tracing::debug!(%error, ?watched, "cannot see whether a place is still held");
                tokio::time::sleep(RETRY).await;
            }
        }
    }
}

/// How soon a place is looked for again when nobody answers.
const RETRY: Duration = Duration::from_millis(200);

/// A place that has the turn. Given up when it is dropped.
#[derive(Debug)]
pub(super) struct Holding {
    place: Place,
    gone: watch::Receiver<Option<Gone>>,
    watching: JoinHandle<Option<Gone>>,
}

impl Holding {
    pub(super) fn session(&self) -> &Session {
        &self.place.session
    }

    pub(super) fn key(&self) -> &Key {
        &self.place.key
    }

    pub(super) fn epoch(&self) -> Epoch {
        self.place.epoch
    }

    pub(super) fn is_held(&self) -> bool {
        self.gone.borrow().is_none() && self.place.session.is_valid()
    }

    pub(super) async fn lost(&self) -> Gone {
        let mut gone = self.gone.clone();
        tokio::select! {
            biased;
            Ok(gone) = gone.wait_for(Option::is_some) => gone.unwrap_or(Gone::Removed),
            lost = self.place.session.lost() => Gone::Session(lost),
        }
    }

    pub(super) async fn release(self) -> Result<(), Error> {
        self.watching.abort();
        let Self { place, .. } = self;
        place.leave().await
    }
}
