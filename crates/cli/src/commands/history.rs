//! `history`: the changes that are kept, up to now.

use std::time::Duration;

use anyhow::Result;
use quorate_client::{Client, Error, Reason, Start, WatchEvent, WatchOptions};
use quorate_core::{Filter, Key, KeyRange, Kind, Revision};

use super::{Context, watch};
use crate::args::History;

/// How soon a stream without a change says that it is at its end.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(100);

/// Shows them.
pub(super) async fn run(context: &Context, args: History) -> Result<()> {
    let client = context.client()?;
    let end = now(&client).await.map_err(|error| context.explain(&error))?;
    let mut from = args.from.unwrap_or(Revision(1));
    loop {
        match show(context, &client, &args, from, end).await {
            Ok(()) => return Ok(()),
            Err(Stopped::Output(error)) => return Err(error),
            Err(Stopped::Stream(error)) => match error.oldest() {
                // Nobody said where to start.
                Some(oldest) if args.from.is_none() && is_compacted(&error) && oldest > from => {
                    from = oldest;
                }
                _ => return Err(context.explain(&error)),
            },
        }
    }
}

/// What stops it before the end.
enum Stopped {
    Stream(Error),
    Output(anyhow::Error),
}

pub(super) fn is_compacted(error: &Error) -> bool {
    error.reason() == Some(Reason::Compacted)
}

/// The cluster's revision now.
pub(super) async fn now(client: &Client) -> Result<Revision, Error> {
    let nothing = KeyRange::Single(Key::entry("\0"));
    Ok(client.count(nothing).await?.revision())
}

/// Shows the changes from one revision to another, both included.
async fn show(
    context: &Context,
    client: &Client,
    args: &History,
    from: Revision,
    end: Revision,
) -> Result<(), Stopped> {
    if end == Revision(0) {
        return Ok(());
    }
    let mut stream = client.watch(WatchOptions {
        start: Start::From(from),
        filter: filter(args),
        progress_interval: PROGRESS_INTERVAL,
        give_up_after: Some(context.global.timeout()),
        ..WatchOptions::default()
    });
    loop {
        let mut event = stream.next().await.map_err(Stopped::Stream)?;
        let revision = event.revision();
        if revision > end {
            return Ok(());
        }
        if let WatchEvent::Changes { changes, .. } = &mut event {
            if let Some(key) = &args.key {
                changes.retain(|change| change.key.bytes == key.as_bytes());
            }
            if !changes.is_empty() {
                write(context, &event).map_err(Stopped::Output)?;
            }
        }
        if revision == end {
            return Ok(());
        }
    }
}

fn filter(args: &History) -> Filter {
    match args.key.as_ref().or(args.prefix.as_ref()) {
        None => Filter::default(),
        Some(prefix) => Filter {
            kinds: vec![Kind::Entry],
            key_prefix: prefix.clone().into(),
            ..Filter::default()
        },
    }
}

fn write(context: &Context, event: &WatchEvent) -> Result<()> {
    let step = watch::step(event);
    if context.output.is_json() {
        return context.output.one("", &step);
    }
    context.output.text(&step.line())
}
