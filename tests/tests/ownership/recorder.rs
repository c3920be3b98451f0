//! What the cluster says: the owners of the partitions, the ends of the workers' sessions, and which
//! guarded writes it takes.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result};
use quorate_client::{
    Client, Reason, Start, WatchEvent, WatchOptions, WatchedChange, network::partition,
};
use quorate_core::{Epoch, Filter, Key, Kind, PartitionId, Revision};
use tokio::{sync::watch, task::JoinHandle};

use quorate_tests::ownership::{Change, Claim, Write};

/// So many of a partition's newest epochs are tried after every change.
const EPOCHS_TRIED: usize = 3;

/// What the change stream and the guarded writes said.
#[derive(Default)]
pub(crate) struct Recorded {
    pub(crate) changes: Vec<Change>,
    pub(crate) writes: Vec<Write>,
    pub(crate) refused: usize,
    /// Sessions that registered a worker, and are there.
    sessions: BTreeSet<Key>,
    /// How many of them have ended.
    pub(crate) ended: usize,
}

impl Recorded {
    /// How many grants were of a partition that somebody had owned before.
    pub(crate) fn granted_again(&self) -> usize {
        let mut grants: BTreeMap<&PartitionId, BTreeSet<Epoch>> = BTreeMap::new();
        for change in &self.changes {
            let epochs = grants.entry(&change.partition).or_default();
            epochs.extend(change.owner.as_ref().map(|(_, epoch)| *epoch));
        }
        grants.values().map(|epochs| epochs.len().saturating_sub(1)).sum()
    }

    async fn hear(
        &mut self,
        client: &Client,
        revision: Revision,
        change: WatchedChange,
        epochs: &mut BTreeMap<PartitionId, BTreeSet<Epoch>>,
    ) -> Result<()> {
        match (change.key.kind, change.current.as_ref().map(|record| &record.value)) {
            (Kind::Partition, _) => {}
            (Kind::Worker, Some(worker)) => {
                self.sessions.extend(worker.session().map(Key::session));
                return Ok(());
            }
            (Kind::Session, None) => {
                self.ended += usize::from(self.sessions.remove(&change.key));
                return Ok(());
            }
            _ => return Ok(()),
        }
        let id = PartitionId::parse(std::str::from_utf8(&change.key.bytes)?).context("id")?;
        let current = change.current.as_ref().and_then(|it| partition(&change.key, it));
        let owner = current.and_then(|(_, found)| {
            let owner = found.value.owner.clone()?;
            Some((format!("{} {}", owner.worker, owner.session), found.value.epoch?))
        });
        let known = epochs.entry(id.clone()).or_default();
        known.extend(owner.as_ref().map(|(_, epoch)| *epoch));
        for epoch in known.iter().rev().take(EPOCHS_TRIED) {
            match guarded(client, &id, *epoch).await? {
                Some(write) => self.writes.push(write),
                None => self.refused += 1,
            }
        }
        self.changes.push(Change { revision, partition: id, owner });
        Ok(())
    }
}

/// Follows all partitions, workers and sessions from the first revision on, up to the one that is sent.
/// After every change it writes guarded by the newest epochs that the partition had.
pub(crate) fn start(
    client: Client,
) -> (watch::Sender<Option<Revision>>, JoinHandle<Result<Recorded>>) {
    let (end, until) = watch::channel(None);
    (end, tokio::spawn(record(client, until)))
}

async fn record(client: Client, until: watch::Receiver<Option<Revision>>) -> Result<Recorded> {
    let filter =
        Filter { kinds: vec![Kind::Partition, Kind::Worker, Kind::Session], ..Filter::default() };
    let start = Start::From(Revision(1));
    let mut watch = client.watch(WatchOptions { start, filter, ..WatchOptions::default() });
    let (mut recorded, mut epochs) = (Recorded::default(), BTreeMap::new());
    loop {
        // Progress comes on a quiet stream, so that the end is seen too.
        let event = watch.next().await?;
        let revision = event.revision();
        if let WatchEvent::Changes { changes, .. } = event {
            for change in changes {
                recorded.hear(&client, revision, change, &mut epochs).await?;
            }
        }
        let end = *until.borrow();
        if end.is_some_and(|end| revision >= end) {
            return Ok(recorded);
        }
    }
}

/// A write for a partition by whoever has this epoch. None: refused as of an old epoch.
async fn guarded(client: &Client, id: &PartitionId, epoch: Epoch) -> Result<Option<Write>> {
    let write = client.transaction().put(Key::entry(format!("effect/{id}")), epoch.to_string());
    match write.guard_partition(id.clone(), epoch).commit().await {
        Ok(response) => {
            let (revision, partition) = (response.revision(), id.clone());
            Ok(Some(Write { revision, partition, epoch }))
        }
        Err(error) if error.reason() == Some(Reason::StaleEpoch) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// What somebody would write who has just resumed and still takes itself for the owner. The writes
/// that were accepted, and how many were refused.
pub(crate) async fn late_writes(
    client: &Client,
    believed: &[Claim],
) -> Result<(Vec<Write>, usize)> {
    let (mut writes, mut refused) = (Vec::new(), 0);
    for Claim { partition, epoch, .. } in believed {
        match guarded(client, partition, *epoch).await? {
            Some(write) => writes.push(write),
            None => refused += 1,
        }
    }
    Ok((writes, refused))
}
