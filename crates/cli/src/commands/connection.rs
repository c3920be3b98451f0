//! `connection`.

use anyhow::Result;
use quorate_core::{ConnectionId, ConnectionReport, Seen};
use serde::Serialize;

use super::{Context, follow};
use crate::{
    args::{self, ConnectionCommand, ConnectionList},
    failure::{Exit, Failure},
    output::connections::ConnectionRow,
};

/// Runs a command on connections.
pub(super) async fn run(context: &Context, command: ConnectionCommand) -> Result<()> {
    match command {
        ConnectionCommand::List(args) => list(context, args).await,
        ConnectionCommand::Show { id } => show(context, &id).await,
        ConnectionCommand::Retry { id } => retry(context, &id).await,
        ConnectionCommand::Report(args) => report(context, args).await,
    }
}

async fn list(context: &Context, args: ConnectionList) -> Result<()> {
    let states: Vec<_> = args.state.into_iter().map(Into::into).collect();
    if args.follow.watch {
        let ConnectionList { network, partition, .. } = args;
        let listed = follow::Connections { network, partition, states };
        return follow::follow(context, listed).await;
    }
    let mut call = context.client()?.list_connections(args.network.as_ref()).in_states(states);
    if let Some(partition) = &args.partition {
        call = call.of_partition(partition);
    }
    let found = call.await.map_err(|error| context.explain(&error))?.value;
    context.output.rows(&found.iter().map(ConnectionRow::of).collect::<Vec<_>>())
}

async fn show(context: &Context, id: &ConnectionId) -> Result<()> {
    let call = context.client()?.get_connection(id);
    let found = call.await.map_err(|error| context.explain(&error))?.value;
    let row = ConnectionRow::of(&found);
    context.output.one(&row.text(), &row)
}

#[derive(Serialize)]
struct RetriedRow<'a> {
    id: &'a str,
    changed: bool,
    revision: u64,
}

async fn retry(context: &Context, id: &ConnectionId) -> Result<()> {
    let call = context.client()?.retry_connection(id);
    let done = call.await.map_err(|error| context.explain(&error))?;
    let (text, changed, revision) = (id.to_string(), done.value, done.revision().get());
    let line = if changed {
        format!("connection {id} connects again as of revision {revision}")
    } else {
        format!("connection {id} connects already, or is up")
    };
    context.output.one(&line, &RetriedRow { id: &text, changed, revision })
}

#[derive(Serialize)]
struct ReportedRow<'a> {
    id: &'a str,
    changed: u32,
    stale: u32,
    revision: u64,
}

async fn report(context: &Context, args: args::ConnectionReport) -> Result<()> {
    let client = context.client()?;
    let id = args.id;
    let (from_epoch, to_epoch) = match (args.from_epoch, args.to_epoch) {
        (Some(from), Some(to)) => (from, to),
        (from, to) => {
            let found = client.get_connection(&id).await;
            let found = found.map_err(|error| context.explain(&error))?.value;
            let Some(status) = found.status else {
                let message = format!("connection {id} is pending: an end has no owner");
                return Err(Failure::new(Exit::Rejected, message).into());
            };
            (from.unwrap_or(status.from.epoch), to.unwrap_or(status.to.epoch))
        }
    };
    let seen = args.broken.map_or(Seen::Up, Seen::Broken);
    let reports = vec![ConnectionReport { id: id.clone(), from_epoch, to_epoch, seen }];
    let call = client.report_connections(args.session, reports);
    let done = call.await.map_err(|error| context.explain(&error))?;
    let (reported, revision) = (done.value, done.revision().get());
    let line = match (reported.changed, reported.stale) {
        (0, 0) => format!("connection {id}: no news"),
        (0, _) => format!("connection {id} has other epochs now: the report was left out"),
        _ => format!("connection {id} reported as of revision {revision}"),
    };
    let (changed, stale) = (reported.changed, reported.stale);
    context.output.one(&line, &ReportedRow { id: &id.to_string(), changed, stale, revision })
}
