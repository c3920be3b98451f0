//! `network` and `partition`.

use std::path::Path;

use anyhow::Result;
use quorate_client::{
    NetworkNumbers,
    network_file::{self, FileError},
};
use quorate_core::{ApplyOutcome, Name, NetworkSpec, PartitionId};
use serde::Serialize;
use serde_json::{Value, json};

use super::{Context, follow, plan, reshape, scale};
use crate::{
    args::{Follow, NetworkCommand, NetworkFile, PartitionCommand},
    failure::{Exit, Failure},
    output::{
        Row, Table,
        cluster::NetworkRow,
        records::{PartitionRow, ProcessRow, network_value},
    },
};

/// Runs a command on networks.
pub(super) async fn run(context: &Context, command: NetworkCommand) -> Result<()> {
    match command {
        NetworkCommand::Apply(args) => apply(context, args.file).await,
        NetworkCommand::Plan(args) => plan::plan_network(context, args).await,
        NetworkCommand::Explain { name } => plan::explain_network(context, &name).await,
        NetworkCommand::Graph(args) => plan::graph(context, args).await,
        NetworkCommand::Get { name } => get(context, &name).await,
        NetworkCommand::List(Follow { watch: true }) => {
            follow::follow(context, follow::Networks).await
        }
        NetworkCommand::List(_) => list(context).await,
        NetworkCommand::Scale { name, dry_run } => scale::run(context, &name, dry_run).await,
        NetworkCommand::Delete { name } => delete(context, &name).await,
    }
}

/// Runs a command on partitions.
pub(super) async fn run_partition(context: &Context, command: PartitionCommand) -> Result<()> {
    let network = match command {
        PartitionCommand::List { network, follow: Follow { watch: true } } => {
            return follow::follow(context, follow::Partitions(network)).await;
        }
        PartitionCommand::List { network, .. } => network,
        PartitionCommand::Explain { id, not_on } => {
            return plan::explain_partition(context, &id, not_on.as_ref()).await;
        }
        PartitionCommand::Move { ids, to } => return move_partitions(context, ids, to).await,
        PartitionCommand::Split { id, into, dry_run } => {
            return reshape::split(context, &id, into, dry_run).await;
        }
        PartitionCommand::Merge { ids, dry_run } => {
            return reshape::merge(context, ids, dry_run).await;
        }
    };
    let call = context.client()?.list_partitions(network.as_ref());
    let found = call.await.map_err(|error| context.explain(&error))?.value;
    let rows = found.iter().map(|(id, record)| PartitionRow::new(id, &record.value));
    context.output.rows(&rows.collect::<Vec<_>>())
}

#[derive(Serialize)]
struct MovedRow {
    changed: u32,
    revision: u64,
}

async fn move_partitions(context: &Context, ids: Vec<PartitionId>, to: Option<Name>) -> Result<()> {
    let call = context.client()?.move_partitions(ids, to.as_ref());
    let moved = call.await.map_err(|error| context.explain(&error))?;
    let row = MovedRow { changed: moved.value, revision: moved.revision().get() };
    let to = to.map_or("another worker".to_owned(), |to| format!("worker {to}"));
    let line =
        format!("partitions to go to {to}: {}, as of revision {}", row.changed, row.revision);
    context.output.one(&line, &row)
}

/// What `apply` says: the network's row, what was done, and the revision.
#[derive(Serialize)]
struct ApplyRow {
    #[serde(flatten)]
    network: NetworkRow,
    outcome: &'static str,
    revision: u64,
}

/// The network of a file, with its name.
pub(super) fn read(args: NetworkFile) -> Result<(Name, NetworkSpec)> {
    let name = match args.name {
        Some(name) => name,
        None => name_of(&args.file)?,
    };
    let mut spec = network_file::read(&args.file).map_err(|error| refused(&error))?;
    if let Some(partitions) = args.partitions {
        spec.policy.partitions = partitions;
    }
    Ok((name, spec))
}

async fn apply(context: &Context, args: NetworkFile) -> Result<()> {
    let (name, spec) = read(args)?;
    let call = context.client()?.apply_network(&name, spec);
    let applied = call.await.map_err(|error| context.explain(&error))?;
    let outcome = match applied.value.outcome {
        ApplyOutcome::Created => "created",
        ApplyOutcome::Updated => "updated",
        ApplyOutcome::Unchanged => "unchanged",
    };
    let revision = applied.revision().get();
    let network = row(applied.value.network);
    let line = format!(
        "network {} {outcome} at revision {revision}: generation {}, {} processes in {} \
         partitions, {} connections",
        network.name,
        network.generation,
        network.processes,
        network.partitions,
        network.connections
    );
    context.output.one(&line, &ApplyRow { network, outcome, revision })
}

/// The name of the network in a file, when none is given: the file's stem.
fn name_of(file: &Path) -> Result<Name> {
    let stem = file.file_stem().map(|stem| stem.to_string_lossy()).unwrap_or_default();
    Name::new(&stem).map_err(|error| {
        Failure::usage(format!("the file's name is no network's name: {error}"))
            .hint("give one with --name")
            .into()
    })
}

fn refused(error: &FileError) -> Failure {
    let exit = match error {
        FileError::Unreadable { .. } => Exit::Usage,
        FileError::TooLarge { .. } | FileError::Syntax { .. } | FileError::Invalid { .. } => {
            Exit::Rejected
        }
    };
    Failure::new(exit, error.to_string())
}

async fn get(context: &Context, name: &Name) -> Result<()> {
    let call = context.client()?.get_network(name);
    let found = call.await.map_err(|error| context.explain(&error))?.value;
    let network = &found.network.value;
    let summary = row(found.numbers);
    if context.output.is_json() {
        let mut value = json!(summary);
        merge(&mut value, network_value(network));
        merge(
            &mut value,
            json!({
                "created": found.network.created.get(),
                "modified": found.network.modified.get(),
                "version": found.network.version,
            }),
        );
        return context.output.one("", &value);
    }
    let mut numbers = Table::new(NetworkRow::COLUMNS);
    numbers.push(summary.cells());
    let mut processes = Table::new(ProcessRow::COLUMNS);
    network.spec.processes.iter().for_each(|p| processes.push(ProcessRow::new(p).cells()));
    let edges: String = network
        .spec
        .connections
        .iter()
        .map(|edge| format!("{} -> {}  {} bytes/s\n", edge.from, edge.to, edge.rate))
        .collect();
    let source = network.spec.policy.source().map(|(pool, tenant)| {
        format!("\nIts partitions require what they need of pool {pool}, for tenant {tenant}.\n")
    });
    let source = source.unwrap_or_default();
    context.output.text(&format!("{numbers}{source}\n{processes}\n{edges}"))
}

/// Adds the fields of one JSON object to another.
pub(super) fn merge(into: &mut Value, from: Value) {
    if let (Value::Object(into), Value::Object(from)) = (into, from) {
        into.extend(from);
    }
}

async fn list(context: &Context) -> Result<()> {
    let call = context.client()?.list_networks();
    let found = call.await.map_err(|error| context.explain(&error))?.value;
    context.output.rows(&found.into_iter().map(row).collect::<Vec<_>>())
}

#[derive(Serialize)]
struct DeletedRow {
    name: String,
    partitions: u32,
    connections: u32,
    revision: u64,
}

async fn delete(context: &Context, name: &Name) -> Result<()> {
    let call = context.client()?.delete_network(name);
    let deleted = call.await.map_err(|error| context.explain(&error))?;
    let row = DeletedRow {
        name: name.to_string(),
        partitions: deleted.value.partitions,
        connections: deleted.value.connections,
        revision: deleted.revision().get(),
    };
    let line = format!(
        "network {name} deleted at revision {}, with {} partitions and {} connections",
        row.revision, row.partitions, row.connections
    );
    context.output.one(&line, &row)
}

pub(super) fn row(numbers: NetworkNumbers) -> NetworkRow {
    NetworkRow {
        name: numbers.name.to_string(),
        generation: numbers.generation.get(),
        processes: numbers.processes.into(),
        partitions: numbers.partitions.into(),
        connections: numbers.connections.into(),
        edges: numbers.edges.into(),
        cut_rate: numbers.cut_rate,
        total_rate: numbers.total_rate,
        strategy: numbers.strategy.to_string(),
    }
}
