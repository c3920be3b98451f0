//! `pool` and `allocation`: what there is to share, and who has it.

use std::time::Duration;

use anyhow::Result;
use quorate_client::FoundAllocation;
use quorate_core::{
    AllocationId, Epoch, Holder, Key, KeyRange, Name, Pool, PoolPolicy, Record, RequestAllocation,
};
use serde::Serialize;

use super::{Context, follow};
use crate::{
    args::{AllocationCommand, AllocationRequest, Follow, PoolCommand, PoolCreate},
    output::pools::{AllocationRow, PoolRow},
};

#[derive(Serialize)]
struct Done<'a> {
    name: &'a str,
    revision: u64,
}

/// Runs a command on pools.
pub(super) async fn run(context: &Context, command: PoolCommand) -> Result<()> {
    match command {
        PoolCommand::Create(args) => create(context, args).await,
        PoolCommand::List(Follow { watch: true }) => follow::follow(context, follow::Pools).await,
        PoolCommand::List(_) => list(context).await,
        PoolCommand::Delete { name } => delete(context, &name).await,
    }
}

/// Runs a command on allocations.
pub(super) async fn run_allocation(context: &Context, command: AllocationCommand) -> Result<()> {
    match command {
        AllocationCommand::List { pool, follow: Follow { watch: true } } => {
            follow::follow(context, follow::Allocations(pool)).await
        }
        AllocationCommand::List { pool, .. } => list_allocations(context, pool.as_ref()).await,
        AllocationCommand::Request(args) => request(context, args).await,
        AllocationCommand::Release { id, epoch } => release(context, &id, epoch).await,
    }
}

async fn create(context: &Context, args: PoolCreate) -> Result<()> {
    let PoolCreate { name, capacity, tenant, grace, starving_after, idle_timeout } = args;
    let ms = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let policy = PoolPolicy {
        grace_ms: ms(grace),
        starving_after_ms: starving_after.map_or(0, ms),
        idle_timeout_ms: idle_timeout.map_or(0, ms),
    };
    let pool = Pool { capacity, tenants: tenant.into_iter().collect(), policy };
    let call = context.client()?.put_pool(&name, pool);
    let put = call.await.map_err(|error| context.explain(&error))?;
    let row = Done { name: name.as_str(), revision: put.revision().get() };
    context.output.one(&format!("pool {name} is so as of revision {}", row.revision), &row)
}

async fn list(context: &Context) -> Result<()> {
    let call = context.client()?.list_pools();
    let found = call.await.map_err(|error| context.explain(&error))?.value;
    context.output.rows(&found.iter().map(PoolRow::new).collect::<Vec<_>>())
}

async fn delete(context: &Context, name: &Name) -> Result<()> {
    let call = context.client()?.delete_pool(name);
    let gone = call.await.map_err(|error| context.explain(&error))?;
    let row = Done { name: name.as_str(), revision: gone.revision().get() };
    context.output.one(&format!("pool {name} deleted at revision {}", row.revision), &row)
}

/// Page by page: what changes meanwhile may be in it or not.
async fn list_allocations(context: &Context, pool: Option<&Name>) -> Result<()> {
    let client = context.client()?;
    let mut found: Vec<FoundAllocation> = Vec::new();
    loop {
        let call = client.list_allocations(pool, found.last().map(|last| &last.id));
        let page = call.await.map_err(|error| context.explain(&error))?.value;
        let more = page.more && !page.allocations.is_empty();
        found.extend(page.allocations);
        if !more {
            break;
        }
    }
    // Numbers as numbers, unlike keys.
    found.sort_by(|a, b| a.id.cmp(&b.id));
    let row = |found: &FoundAllocation| AllocationRow::new(&found.id, &found.allocation.value);
    context.output.rows(&found.iter().map(row).collect::<Vec<_>>())
}

#[derive(Serialize)]
struct AllocationDone {
    id: String,
    revision: u64,
}

async fn request(context: &Context, args: AllocationRequest) -> Result<()> {
    let AllocationRequest { pool, tenant, amount, priority, session, partition } = args;
    let holder = match (session, partition) {
        (Some(session), _) => Holder::Session(session),
        (None, Some(partition)) => Holder::Partition(partition),
        (None, None) => anyhow::bail!("one of --session and --partition is needed"),
    };
    let asked = RequestAllocation { pool, tenant, amount, priority, holder, epoch: None };
    let call = context.client()?.request_allocation(asked);
    let waits = call.await.map_err(|error| context.explain(&error))?;
    let row = AllocationDone { id: waits.value.to_string(), revision: waits.revision().get() };
    let line = format!("allocation {} was asked for at revision {}", row.id, row.revision);
    context.output.one(&line, &row)
}

async fn release(context: &Context, id: &AllocationId, epoch: Option<Epoch>) -> Result<()> {
    let client = context.client()?;
    let epoch = match epoch {
        Some(epoch) => Some(epoch),
        None => {
            let call = client.range(KeyRange::Single(Key::allocation(id)));
            let page = call.await.map_err(|error| context.explain(&error))?.value;
            let found = page.records.first().map(|(_, record)| &record.value);
            match found {
                Some(Record::Allocation(allocation)) => allocation.grant().map(|it| it.epoch),
                _ => None,
            }
        }
    };
    let call = client.release_allocation(id, epoch);
    let gone = call.await.map_err(|error| context.explain(&error))?;
    let row = AllocationDone { id: id.to_string(), revision: gone.revision().get() };
    context.output.one(&format!("allocation {id} released at revision {}", row.revision), &row)
}
