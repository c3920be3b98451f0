//! `--watch` of lists: the list, and then each row that changes.
//!
//! ```text
//! snapshot of the records that rows are made of -> the list, at one revision
//! changes, revision by revision -> which rows they touch -> made again -> shown when they differ
//! ```
//!
//! Invariants: built on the watch that misses nothing, so what is shown adds up to the list at every
//! revision shown; when history was lost in between, the difference to a new snapshot is shown. A list
//! is followed by whoever implements [`Listed`] for it; must not know how rows look.

mod rows;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use anyhow::Result;
use quorate_client::{Start, WatchEvent, WatchOptions};
use quorate_core::{Filter, Key, Record, Versioned};
use serde::Serialize;

pub(super) use self::rows::{
    Allocations, Connections, Entries, Networks, Partitions, Pools, Sessions, Settings, Workers,
};
use super::Context;
use crate::{
    output::{
        Row,
        followed::{Mark, Shown},
    },
    signals::until_stopped,
};

/// The records that rows are made of.
pub(super) type Records = BTreeMap<Key, Arc<Versioned<Record>>>;

/// A list whose rows can be made of records.
pub(super) trait Listed {
    /// Names a row; their order is that of the list.
    type Id: Ord + Clone;
    /// A row.
    type Row: Row + PartialEq;

    /// The records that are needed.
    fn filter(&self) -> Filter;

    /// The rows that there may be without a record.
    fn always(&self) -> Vec<Self::Id> {
        Vec::new()
    }

    /// A record changes: notes what follows, and gives the rows that are touched.
    fn change(
        &mut self,
        key: &Key,
        before: Option<&Record>,
        after: Option<&Record>,
    ) -> Vec<Self::Id>;

    /// A row. None: there is none any more.
    fn row(&self, id: &Self::Id, records: &Records) -> Option<Self::Row>;
}

/// A list as far as it was shown.
struct Followed<L: Listed> {
    list: L,
    records: Records,
    shown: BTreeMap<L::Id, L::Row>,
    touched: BTreeSet<L::Id>,
}

impl<L: Listed> Followed<L> {
    fn new(list: L) -> Self {
        let touched = list.always().into_iter().collect();
        Self { list, records: BTreeMap::new(), shown: BTreeMap::new(), touched }
    }

    fn change(&mut self, key: &Key, after: Option<Arc<Versioned<Record>>>) {
        let before = match after.clone() {
            Some(after) => self.records.insert(key.clone(), after),
            None => self.records.remove(key),
        };
        let before = before.as_ref().map(|record| &record.value);
        let touched = self.list.change(key, before, after.as_ref().map(|record| &record.value));
        self.touched.extend(touched);
    }

    /// Everything is to be told again.
    fn forget(&mut self) {
        let keys: Vec<Key> = self.records.keys().cloned().collect();
        keys.iter().for_each(|key| self.change(key, None));
    }

    /// The rows that differ from what was shown.
    fn differing(&mut self) -> Vec<(Mark, L::Row)>
    where
        L::Row: Clone,
    {
        let mut differing = Vec::new();
        for id in std::mem::take(&mut self.touched) {
            let now = self.list.row(&id, &self.records);
            match (self.shown.remove(&id), now) {
                (Some(before), Some(now)) => {
                    if before != now {
                        differing.push((Mark::Changed, now.clone()));
                    }
                    self.shown.insert(id, now);
                }
                (None, Some(now)) => {
                    differing.push((Mark::New, now.clone()));
                    self.shown.insert(id, now);
                }
                (Some(before), None) => differing.push((Mark::Gone, before)),
                (None, None) => {}
            }
        }
        differing
    }
}

/// Shows a list, and follows it until it is told to stop.
///
/// # Errors
/// When no coordinator answered for as long as `--timeout` says.
pub(super) async fn follow<L: Listed>(context: &Context, list: L) -> Result<()>
where
    L::Row: Clone + Serialize,
{
    until_stopped(show(context, list)).await
}

async fn show<L: Listed>(context: &Context, list: L) -> Result<()>
where
    L::Row: Clone + Serialize,
{
    let mut watch = context.client()?.watch(WatchOptions {
        start: Start::Snapshot,
        filter: list.filter(),
        resync: true,
        give_up_after: Some(context.global.timeout()),
        ..WatchOptions::default()
    });
    let mut followed = Followed::new(list);
    let mut output: Option<Shown> = None;
    // Between the beginning of a snapshot and its end, rows are not those of any revision.
    let mut whole = false;
    loop {
        let event = watch.next().await.map_err(|error| context.explain(&error))?;
        let revision = event.revision();
        match event {
            WatchEvent::Snapshot { records, .. } => {
                records.into_iter().for_each(|(key, record)| followed.change(&key, Some(record)));
            }
            WatchEvent::Changes { changes, .. } => {
                changes.into_iter().for_each(|it| followed.change(&it.key, it.current));
            }
            WatchEvent::Resync { .. } => {
                followed.forget();
                whole = false;
            }
            WatchEvent::SnapshotEnd { .. } => whole = true,
            WatchEvent::Progress { .. } => continue,
        }
        if !whole {
            continue;
        }
        let rows = followed.differing();
        match &mut output {
            Some(output) => output.changes(context.output, revision, &rows)?,
            None => {
                let rows: Vec<L::Row> = rows.into_iter().map(|(_, row)| row).collect();
                output = Some(Shown::list(context.output, revision, &rows)?);
            }
        }
    }
}
