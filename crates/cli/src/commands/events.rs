//! `events`: what happened, as people want to hear it.

use std::time::Duration;

use anyhow::Result;
use quorate_client::{Client, Error, Start, WatchEvent, WatchOptions};
use quorate_core::{Filter, Kind, Notice, Revision, notice};

use super::{Context, history};
use crate::{args::Events, output::notices::NoticeRow};

/// How soon a stream without a change says that it is at its end.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(100);
/// What notices are made of: all of these, since what happened to a partition follows from what
/// happened to its worker.
const KINDS: [Kind; 7] = [
    Kind::Session,
    Kind::Worker,
    Kind::Network,
    Kind::Partition,
    Kind::Setting,
    Kind::Member,
    Kind::Alert,
];

/// Shows them.
pub(super) async fn run(context: &Context, args: Events) -> Result<()> {
    let client = context.client()?;
    let end = match args.follow {
        true => None,
        false => Some(history::now(&client).await.map_err(|error| context.explain(&error))?),
    };
    let mut from = args.from.unwrap_or(Revision(1));
    loop {
        let mut shown = false;
        match show(context, &client, &args, (from, end), &mut shown).await {
            Ok(()) => return Ok(()),
            Err(Stopped::Output(error)) => return Err(error),
            Err(Stopped::Stream(error)) => match error.oldest() {
                // Nobody said where to start, and nothing was shown that now has a gap after it.
                Some(oldest)
                    if args.from.is_none()
                        && !shown
                        && history::is_compacted(&error)
                        && oldest > from =>
                {
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

/// Shows what happened from one revision to another, both included; without an end, for ever.
async fn show(
    context: &Context,
    client: &Client,
    args: &Events,
    (from, end): (Revision, Option<Revision>),
    shown: &mut bool,
) -> Result<(), Stopped> {
    if end == Some(Revision(0)) {
        return Ok(());
    }
    let is_after = |revision| end.is_some_and(|end| revision > end);
    let mut stream = client.watch(WatchOptions {
        start: Start::From(from),
        filter: Filter { kinds: KINDS.to_vec(), ..Filter::default() },
        with_previous: true,
        progress_interval: if end.is_some() { PROGRESS_INTERVAL } else { Duration::ZERO },
        give_up_after: Some(context.global.timeout()),
        ..WatchOptions::default()
    });
    loop {
        let event = stream.next().await.map_err(Stopped::Stream)?;
        let revision = event.revision();
        if is_after(revision) {
            return Ok(());
        }
        for notice in notices(&event).iter().filter(|notice| is_wanted(args, notice)) {
            write(context, notice).map_err(Stopped::Output)?;
        }
        *shown = true;
        if Some(revision) == end {
            return Ok(());
        }
    }
}

fn notices(event: &WatchEvent) -> Vec<Notice> {
    let WatchEvent::Changes { revision, changes, origin, time_ms } = event else {
        return Vec::new();
    };
    let seen = changes.iter().map(|change| notice::Seen {
        key: &change.key,
        previous: change.previous.as_deref().map(|record| &record.value),
        current: change.current.as_deref().map(|record| &record.value),
    });
    notice::of_changes((*revision, *time_ms), origin, seen)
}

fn is_wanted(args: &Events, notice: &Notice) -> bool {
    (args.kind.is_empty() || args.kind.contains(&notice.kind))
        && (args.network.is_none() || args.network == notice.network)
        && (args.worker.is_none() || args.worker == notice.worker)
}

fn write(context: &Context, notice: &Notice) -> Result<()> {
    let row = NoticeRow::new(notice);
    if context.output.is_json() {
        return context.output.one("", &row);
    }
    context.output.text(&row.line())
}
