//! Writes down what a change stream tells of records, from the first revision on.
//!
//! Must not know what the facts are for.

use std::{sync::Arc, time::Duration};

use quorate_client::{Start, WatchEvent, WatchOptions};
use quorate_core::{Filter, Kind, Revision};
use tokio::{sync::watch, task::JoinSet, time::sleep};
use tokio_util::sync::CancellationToken;

use super::{Patience, bench::Bench};
use crate::history::{
    What,
    fact::{Fact, FactEvent},
};

/// How often the stream says how far it is, and a condition is looked at again.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// A change stream that is written down.
pub(crate) struct Facts {
    bench: Arc<Bench>,
    following: JoinSet<()>,
    stop: CancellationToken,
    told: watch::Sender<Revision>,
}

impl Facts {
    /// Nothing is followed yet.
    pub(crate) fn new(bench: Arc<Bench>) -> Self {
        let told = watch::Sender::new(Revision(0));
        Self { bench, following: JoinSet::new(), stop: CancellationToken::new(), told }
    }

    /// Follows these kinds until [`Self::settle`].
    pub(crate) fn follow(&mut self, kinds: Vec<Kind>) {
        let (bench, stop, told) = (self.bench.clone(), self.stop.clone(), self.told.clone());
        self.following.spawn(async move {
            let Ok(client) = bench.library() else { return };
            let mut watch = client.watch(WatchOptions {
                start: Start::From(Revision(1)),
                filter: Filter { kinds, ..Filter::default() },
                progress_interval: LOOK_EVERY,
                ..WatchOptions::default()
            });
            loop {
                let event = tokio::select! {
                    () = stop.cancelled() => return,
                    event = watch.next() => event,
                };
                let Ok(event) = event else { return };
                let revision = event.revision();
                for fact in facts(event) {
                    bench.recorder.add(What::Fact(FactEvent { revision, fact }));
                }
                told.send_replace(revision);
            }
        });
    }

    /// Waits until everything up to now was told, and ends the stream.
    pub(crate) async fn settle(&mut self, patience: &Patience) {
        let now = self.bench.revision(patience).await.unwrap_or_default();
        while patience.is_left() && *self.told.borrow() < now {
            sleep(LOOK_EVERY).await;
        }
        self.stop.cancel();
        while self.following.join_next().await.is_some() {}
    }
}

fn facts(event: WatchEvent) -> Vec<Fact> {
    let mut facts = match event {
        WatchEvent::Changes { changes, .. } => {
            let fact = |change: &quorate_client::WatchedChange| {
                Fact::of(&change.key, change.current.as_ref().map(|record| &record.value))
            };
            changes.iter().filter_map(fact).collect()
        }
        _ => Vec::new(),
    };
    facts.push(Fact::Told);
    facts
}
