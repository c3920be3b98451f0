//! What the change stream told: every change of the load's entries, from the first revision on.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail, ensure};
use quorate_client::{Client, FoundRecord, Start, WatchEvent, WatchOptions};
use quorate_core::{Filter, Kind, Record, Revision};
use tokio::sync::watch;

use crate::load::PREFIX;

/// An entry of the load: the number of the request that wrote it, and its version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Written {
    pub(crate) number: u64,
    pub(crate) version: u64,
}

impl Written {
    pub(crate) fn of(record: &FoundRecord) -> Result<Self> {
        let Record::Entry(entry) = &record.value else { bail!("no entry: {record:?}") };
        let number = std::str::from_utf8(&entry.value)?.parse()?;
        Ok(Self { number, version: record.version })
    }
}

/// By revision, the keys that changed; None: deleted.
pub(crate) type Story = BTreeMap<Revision, BTreeMap<String, Option<Written>>>;

/// Follows until everything up to the revision in `until` has been told.
pub(crate) async fn follow(
    client: Client,
    until: watch::Receiver<Option<Revision>>,
) -> Result<Story> {
    let filter =
        Filter { kinds: vec![Kind::Entry], key_prefix: PREFIX.into(), ..Filter::default() };
    let start = Start::From(Revision(1));
    let mut watch = client.watch(WatchOptions { start, filter, ..WatchOptions::default() });
    let mut story = Story::new();
    loop {
        // Progress comes on a quiet stream, so that the end is seen too.
        let event = watch.next().await?;
        let revision = event.revision();
        match event {
            WatchEvent::Changes { changes, .. } => {
                let mut told = BTreeMap::new();
                for change in changes {
                    let key = String::from_utf8(change.key.bytes.to_vec())?;
                    let written = change.current.as_ref().map(Written::of).transpose()?;
                    let before = told.insert(key, written);
                    ensure!(before.is_none(), "a key is told twice at {revision}");
                }
                let newest = story.last_key_value().map_or(Revision(0), |(newest, _)| *newest);
                ensure!(revision > newest, "{revision} is told after {newest}");
                story.insert(revision, told);
            }
            WatchEvent::Progress { .. } => {}
            other => bail!("the stream jumped: {other:?}"),
        }
        let end = *until.borrow();
        if end.is_some_and(|end| revision >= end) {
            return Ok(story);
        }
    }
}

/// What each key was as of every revision that changed it.
#[derive(Debug, Default)]
pub(crate) struct Histories(BTreeMap<String, BTreeMap<Revision, Option<Written>>>);

impl Histories {
    pub(crate) fn of(story: &Story) -> Self {
        let mut all = Self::default();
        for (revision, changes) in story {
            for (key, written) in changes {
                all.0.entry(key.clone()).or_default().insert(*revision, *written);
            }
        }
        all
    }

    /// As of a revision.
    pub(crate) fn at(&self, key: &str, revision: Revision) -> Option<Written> {
        let history = self.0.get(key)?;
        history.range(..=revision).next_back().and_then(|(_, written)| *written)
    }

    /// Just before a revision.
    pub(crate) fn before(&self, key: &str, revision: Revision) -> Option<Written> {
        self.at(key, Revision(revision.get() - 1))
    }

    /// Every key that is there at the end.
    pub(crate) fn last(&self) -> BTreeMap<String, Written> {
        let newest = |history: &BTreeMap<Revision, Option<Written>>| {
            history.last_key_value().and_then(|(_, written)| *written)
        };
        let last = self.0.iter().filter_map(|(key, history)| Some((key.clone(), newest(history)?)));
        last.collect()
    }
}

/// The entries of the load in a list of records of the wire.
pub(crate) fn entries(records: &[quorate_proto::v1::Record]) -> Result<BTreeMap<String, Written>> {
    let mut found = BTreeMap::new();
    for record in records {
        let key = record.key.as_ref().context("a key")?;
        let value = quorate_tests::calls::value(record);
        let number = std::str::from_utf8(&value)?.parse()?;
        let written = Written { number, version: record.version };
        found.insert(String::from_utf8(key.key.to_vec())?, written);
    }
    Ok(found)
}
