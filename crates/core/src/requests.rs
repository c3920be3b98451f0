//! What is kept of the requests of each session: its window, and the replies in it.
//!
//! Apart from the other records, since every request changes it: by number instead of by text, in
//! small maps of their own. Checkpoints, backups, comparisons and the state's hash see it as
//! records of the internal kinds, which come after all others in key order.
//!
//! Invariant: `count` and `sum` are those of the records as which it is seen.

use std::sync::Arc;

use imbl::{OrdMap, ordmap::DiffItem};

use crate::{
    hash,
    id::{Revision, Serial, SessionId},
    key::{Key, Kind},
    record::{KeptReply, Record, Versioned, Window},
};

/// What is kept of all requests. A clone is cheap and shares everything.
#[derive(Debug, Clone, Default)]
pub(crate) struct Requests {
    lines: OrdMap<SessionId, Line>,
    count: usize,
    sum: u64,
}

/// What is kept of one session's requests.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Line {
    window: Option<Stored<Window>>,
    replies: OrdMap<Serial, Stored<Arc<KeptReply>>>,
}

/// A value with what its record has beside it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stored<T> {
    value: T,
    /// The state's revision when it was written.
    at: Revision,
    /// The hash of its record.
    hash: u64,
}

impl Requests {
    /// How many records there are.
    pub(crate) fn count(&self) -> usize {
        self.count
    }

    /// The sum of the records' hashes.
    pub(crate) fn sum(&self) -> u64 {
        self.sum
    }

    /// A session's window.
    pub(crate) fn window(&self, session: SessionId) -> Window {
        let window = self.lines.get(&session).and_then(|line| line.window);
        window.map_or_else(Window::default, |stored| stored.value)
    }

    /// The reply that is kept for a serial.
    pub(crate) fn reply(&self, session: SessionId, serial: Serial) -> Option<&Arc<KeptReply>> {
        self.lines.get(&session)?.replies.get(&serial).map(|stored| &stored.value)
    }

    /// Keeps a reply, with the window that then is.
    pub(crate) fn keep(
        &mut self,
        session: SessionId,
        serial: Serial,
        reply: KeptReply,
        window: Window,
        at: Revision,
    ) {
        let reply = Arc::new(reply);
        let hash = hash_of(at, Key::reply(session, serial), Record::Reply(Arc::clone(&reply)));
        let stored = Stored { value: reply, at, hash };
        let before = self.line(session).replies.insert(serial, stored);
        self.count += usize::from(before.is_none());
        self.sum = self.sum.wrapping_add(hash);
        self.sum = self.sum.wrapping_sub(before.map_or(0, |stored| stored.hash));
        self.set_window(session, window, at);
    }

    /// Forgets the replies up to a serial. Gives the window that then is, with `bytes_of` of each
    /// of them less.
    pub(crate) fn acknowledge(
        &mut self,
        session: SessionId,
        upto: Serial,
        at: Revision,
        bytes_of: impl Fn(&KeptReply) -> u64,
    ) -> Window {
        let mut window = self.window(session);
        window.acknowledged = upto;
        let line = self.lines.entry(session).or_default();
        while let Some((serial, stored)) = line.replies.get_min().filter(|(next, _)| *next <= upto)
        {
            window.bytes = window.bytes.saturating_sub(bytes_of(&stored.value));
            self.sum = self.sum.wrapping_sub(stored.hash);
            self.count -= 1;
            let serial = *serial;
            line.replies.remove(&serial);
        }
        self.set_window(session, window, at);
        window
    }

    /// Forgets everything that is kept for a session.
    pub(crate) fn forget(&mut self, session: SessionId) {
        let Some(line) = self.lines.remove(&session) else { return };
        self.count -= line.count();
        self.sum = self.sum.wrapping_sub(line.sum());
    }

    fn set_window(&mut self, session: SessionId, window: Window, at: Revision) {
        let hash = hash::window(session, at, window);
        let stored = Stored { value: window, at, hash };
        let before = self.line(session).window.replace(stored);
        self.count += usize::from(before.is_none());
        self.sum = self.sum.wrapping_add(hash);
        self.sum = self.sum.wrapping_sub(before.map_or(0, |stored| stored.hash));
    }

    fn line(&mut self, session: SessionId) -> &mut Line {
        self.lines.entry(session).or_default()
    }

    /// All of it at or after a key, in key order.
    pub(crate) fn records_from(
        &self,
        start: &Key,
    ) -> impl Iterator<Item = (Key, Arc<Versioned<Record>>)> {
        let first = first_at(start);
        let (windows, replies) = match start.kind {
            Kind::Reply => (None, Some(first)),
            Kind::Window => (Some(first.0), Some(LOWEST)),
            _ => (Some(LOWEST.0), Some(LOWEST)),
        };
        let windows = windows.into_iter().flat_map(|first| self.windows_from(first));
        let replies = replies.into_iter().flat_map(|first| self.replies_from(first));
        let start = start.clone();
        windows.chain(replies).skip_while(move |(key, _)| *key < start)
    }

    fn windows_from(
        &self,
        first: SessionId,
    ) -> impl Iterator<Item = (Key, Arc<Versioned<Record>>)> {
        self.lines.range(first..).filter_map(|(session, line)| {
            let stored = line.window?;
            Some((Key::window(*session), seen(stored.at, Record::Window(stored.value))))
        })
    }

    fn replies_from(
        &self,
        (session, serial): (SessionId, Serial),
    ) -> impl Iterator<Item = (Key, Arc<Versioned<Record>>)> {
        self.lines.range(session..).flat_map(move |(id, line)| {
            let first = if *id == session { serial } else { Serial(0) };
            line.replies.range(first..).map(|(serial, stored)| {
                let record = Record::Reply(Arc::clone(&stored.value));
                (Key::reply(*id, *serial), seen(stored.at, record))
            })
        })
    }

    /// Adds what was seen as a record. It was not there before.
    ///
    /// # Errors
    /// When it cannot have been seen; says why.
    pub(crate) fn restore(&mut self, key: &Key, record: &Versioned<Record>) -> Result<(), String> {
        let Versioned { created, modified, version, value } = record;
        let canonical = key_parts(key).ok_or("no key of its kind")?;
        if created != modified || *version != 1 {
            return Err("has revisions of its own".into());
        }
        let (at, hash) = (*modified, hash::record(key, record));
        match (value, canonical) {
            (Record::Window(window), (session, None)) => {
                self.line(session).window = Some(Stored { value: *window, at, hash });
            }
            (Record::Reply(reply), (session, Some(serial))) => {
                let stored = Stored { value: Arc::clone(reply), at, hash };
                self.line(session).replies.insert(serial, stored);
            }
            _ => return Err(format!("holds a {}", value.kind())),
        }
        self.count += 1;
        self.sum = self.sum.wrapping_add(hash);
        Ok(())
    }

    /// The keys of what differs from an older one, in key order.
    pub(crate) fn changed_since(&self, older: &Self) -> Vec<Key> {
        let none = Line::default();
        let (mut windows, mut replies) = (Vec::new(), Vec::new());
        for item in older.lines.diff(&self.lines) {
            let (session, old, new) = match item {
                DiffItem::Add(session, new) => (*session, &none, new),
                DiffItem::Update { old: (session, old), new: (_, new) } => (*session, old, new),
                DiffItem::Remove(session, old) => (*session, old, &none),
            };
            if old.window != new.window {
                windows.push(Key::window(session));
            }
            replies.extend(old.replies.diff(&new.replies).map(|item| match item {
                DiffItem::Add(serial, _)
                | DiffItem::Update { new: (serial, _), .. }
                | DiffItem::Remove(serial, _) => Key::reply(session, *serial),
            }));
        }
        windows.append(&mut replies);
        windows
    }
}

impl Line {
    fn count(&self) -> usize {
        usize::from(self.window.is_some()) + self.replies.len()
    }

    fn sum(&self) -> u64 {
        let replies = self.replies.values().map(|stored| stored.hash);
        replies.chain(self.window.map(|stored| stored.hash)).fold(0, u64::wrapping_add)
    }
}

/// Before all sessions and serials.
const LOWEST: (SessionId, Serial) = (SessionId::LOWEST, Serial(0));

/// The record as which a value is seen.
fn seen(at: Revision, value: Record) -> Arc<Versioned<Record>> {
    Arc::new(Versioned { created: at, modified: at, version: 1, value })
}

fn hash_of(at: Revision, key: Key, value: Record) -> u64 {
    hash::record(&key, &Versioned { created: at, modified: at, version: 1, value })
}

/// The session of a key, and the serial if it is a reply's.
fn key_parts(key: &Key) -> Option<(SessionId, Option<Serial>)> {
    let session = SessionId::from_bytes(&key.bytes)?;
    let rest = &key.bytes[16..];
    match key.kind {
        Kind::Window => rest.is_empty().then_some((session, None)),
        Kind::Reply => {
            let serial = Serial(u64::from_be_bytes(rest.try_into().ok()?));
            Some((session, Some(serial)))
        }
        _ => None,
    }
}

/// The first session and serial whose keys may be at or after one of any length.
fn first_at(key: &Key) -> (SessionId, Serial) {
    let mut bytes = [0; 24];
    let len = key.bytes.len().min(24);
    bytes[..len].copy_from_slice(&key.bytes[..len]);
    let session = SessionId::from_bytes(&bytes).unwrap_or(SessionId::LOWEST);
    let serial = bytes[16..].try_into().map_or(0, u64::from_be_bytes);
    (session, Serial(serial))
}

#[cfg(test)]
mod tests;
