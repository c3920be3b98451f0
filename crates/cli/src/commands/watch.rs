//! `watch`: follows committed changes until it is told to stop.

use std::num::NonZeroU64;

use anyhow::Result;
use quorate_client::{Error, Reason, Start, WatchEvent, WatchOptions};
use quorate_core::Filter;

use super::Context;
use crate::{
    args::Watch,
    output::events::{Shown, Step},
};

/// Follows.
pub(super) async fn run(context: &Context, args: Watch) -> Result<()> {
    let count = args.count.and_then(NonZeroU64::new);
    let mut watch = context.client()?.watch(options(context, args));
    let mut seen = 0;
    loop {
        let event = match watch.next().await {
            Ok(event) => event,
            Err(error) => return end(context, &error),
        };
        show(context, &step(&event))?;
        seen += u64::from(matches!(event, WatchEvent::Changes { .. }));
        if count.is_some_and(|count| seen >= count.get()) {
            return Ok(());
        }
    }
}

fn options(context: &Context, args: Watch) -> WatchOptions {
    let start = match (args.from, args.snapshot) {
        (Some(revision), _) => Start::From(revision),
        (None, true) => Start::Snapshot,
        (None, false) => Start::Now,
    };
    WatchOptions {
        start,
        filter: Filter {
            kinds: args.kind,
            key_prefix: args.prefix.into(),
            network: args.network,
            partition: args.partition,
            worker: args.worker,
        },
        with_previous: args.previous,
        resync: args.resync,
        give_up_after: Some(context.global.timeout()),
        ..WatchOptions::default()
    }
}

/// An event as it is shown.
pub(super) fn step(event: &WatchEvent) -> Step<'_> {
    match event {
        WatchEvent::Changes { revision, changes, origin, .. } => {
            let shown = changes.iter().map(|change| Shown {
                key: &change.key,
                current: change.current.as_deref(),
                previous: change.previous.as_deref(),
                created: change.created,
            });
            Step::Changes(*revision, shown.collect(), origin)
        }
        WatchEvent::Snapshot { revision, records } => {
            let shown = records.iter().map(|(key, record)| Shown::record(key, record));
            Step::Snapshot(*revision, shown.collect())
        }
        WatchEvent::SnapshotEnd { revision } => Step::SnapshotEnd(*revision),
        WatchEvent::Progress { revision } => Step::Progress(*revision),
        WatchEvent::Resync { revision } => Step::Resync(*revision),
    }
}

fn show(context: &Context, step: &Step<'_>) -> Result<()> {
    if context.output.is_json() {
        return context.output.one("", step);
    }
    match step.lines() {
        lines if lines.is_empty() => Ok(()),
        lines => context.output.text(&lines),
    }
}

/// The stream has ended: programs get a last line when history was lost.
fn end(context: &Context, error: &Error) -> Result<()> {
    if let (Some(Reason::Compacted), Some(oldest)) = (error.reason(), error.oldest()) {
        show(context, &Step::Compacted(oldest))?;
    }
    Err(context.explain(error))
}
