//! `worker`: being one, and what can be asked of others.

mod hold;

use anyhow::Result;
use quorate_core::Name;
use serde::Serialize;

use super::{Context, follow, plan};
use crate::{
    args::{Follow, WorkerCommand},
    output::workers::WorkerRow,
};

/// Runs a command on workers.
pub(super) async fn run(context: &Context, command: WorkerCommand) -> Result<()> {
    match command {
        WorkerCommand::Register(args) => hold::run(context, args).await,
        WorkerCommand::List(Follow { watch: true }) => {
            follow::follow(context, follow::Workers::default()).await
        }
        WorkerCommand::List(_) => list(context).await,
        WorkerCommand::Drain { name } => drain(context, &name, true).await,
        WorkerCommand::Undrain { name } => drain(context, &name, false).await,
        WorkerCommand::WhatIfLost { name } => plan::what_if_lost(context, &name).await,
        WorkerCommand::Leave { name } => leave(context, &name).await,
    }
}

async fn list(context: &Context) -> Result<()> {
    let call = context.client()?.list_workers();
    let found = call.await.map_err(|error| context.explain(&error))?.value;
    context.output.rows(&found.iter().map(WorkerRow::new).collect::<Vec<_>>())
}

#[derive(Serialize)]
struct DrainRow<'a> {
    name: &'a str,
    releasing: u32,
    revision: u64,
}

async fn drain(context: &Context, name: &Name, drain: bool) -> Result<()> {
    let client = context.client()?;
    let call = if drain { client.drain_worker(name) } else { client.undrain_worker(name) };
    let done = call.await.map_err(|error| context.explain(&error))?;
    let (releasing, revision) = (done.value, done.revision().get());
    let line = if drain {
        format!(
            "worker {name} drains as of revision {revision}, partitions to release: {releasing}"
        )
    } else {
        format!("worker {name} takes partitions again as of revision {revision}")
    };
    context.output.one(&line, &DrainRow { name: name.as_str(), releasing, revision })
}

#[derive(Serialize)]
struct LeaveRow<'a> {
    name: &'a str,
    revision: u64,
}

async fn leave(context: &Context, name: &Name) -> Result<()> {
    let call = context.client()?.leave_worker(name, None);
    let left = call.await.map_err(|error| context.explain(&error))?;
    let row = LeaveRow { name: name.as_str(), revision: left.revision().get() };
    context.output.one(&format!("worker {name} removed at revision {}", row.revision), &row)
}
