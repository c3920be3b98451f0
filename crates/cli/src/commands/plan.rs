//! What would be done, and why things are as they are: nothing is changed.

use anyhow::Result;
use quorate_client::{Consistency, FoundPartition};
use quorate_core::{ApplyOutcome, Name, PartitionId, PartitionState};
use serde_json::{Value, json};

use super::{Context, network};
use crate::{
    args::{NetworkGraph, NetworkPlan},
    output::{
        graph::{Places, dot, svg},
        plan::{
            explanation_json, explanation_text, network_explained_text, network_json, network_text,
            plan_json, plan_text,
        },
    },
    worker_file,
};

/// `network plan`.
pub(super) async fn plan_network(context: &Context, args: NetworkPlan) -> Result<()> {
    let (name, spec) = network::read(args.apply)?;
    let workers = args.workers.map(|file| worker_file::read(&file)).transpose()?;
    let call = context.client()?.plan_network(&name, spec, workers.unwrap_or_default());
    let planned = call.await.map_err(|error| context.explain(&error))?.value;
    let outcome = match planned.plan.outcome {
        ApplyOutcome::Created => "created",
        ApplyOutcome::Updated => "updated",
        ApplyOutcome::Unchanged => "unchanged",
    };
    let row = network::row(planned.numbers);
    if context.output.is_json() {
        let mut value = json!(row);
        network::merge(&mut value, json!({ "outcome": outcome }));
        network::merge(&mut value, network_json(&planned.plan));
        return context.output.one("", &value);
    }
    let would = match planned.plan.outcome {
        ApplyOutcome::Unchanged => "stay as it is".to_owned(),
        _ => format!("be {outcome}"),
    };
    let head = format!(
        "Network {} would {would}: {} processes in {} partitions, {} connections between them, \
         {} of {} bytes/s across.\n",
        row.name, row.processes, row.partitions, row.connections, row.cut_rate, row.total_rate
    );
    context.output.text(&format!("{head}\n{}", network_text(&planned.plan)))
}

/// `network explain`.
pub(super) async fn explain_network(context: &Context, name: &Name) -> Result<()> {
    let client = context.client()?;
    let found = client.get_network(name).await.map_err(|error| context.explain(&error))?;
    let at = Consistency::AtLeast(found.revision());
    let (row, network) = (network::row(found.value.numbers), found.value.network.value);
    let call = client.list_partitions(Some(name)).consistency(at);
    let partitions = call.await.map_err(|error| context.explain(&error))?.value;
    let (places, loads) = (places(&partitions), loads(&partitions));
    if context.output.is_json() {
        let mut value = json!(row);
        let explained = crate::output::plan::network_explained_json(&network.spec, &places, &loads);
        network::merge(&mut value, explained);
        return context.output.one("", &value);
    }
    context.output.text(&network_explained_text(&row, &network.spec, &places, &loads))
}

/// `network graph`.
pub(super) async fn graph(context: &Context, args: NetworkGraph) -> Result<()> {
    let NetworkGraph { name, svg: as_picture, .. } = args;
    let client = context.client()?;
    let found = client.get_network(&name).await.map_err(|error| context.explain(&error))?;
    let at = Consistency::AtLeast(found.revision());
    let call = client.list_partitions(Some(&name)).consistency(at);
    let partitions = call.await.map_err(|error| context.explain(&error))?.value;
    let (spec, places) = (&found.value.network.value.spec, places(&partitions));
    let drawing = if as_picture { svg(&name, spec, &places) } else { dot(&name, spec, &places) };
    context.output.text(&drawing)
}

/// The partitions that their network has.
fn alive(partitions: &[FoundPartition]) -> impl Iterator<Item = &FoundPartition> {
    partitions.iter().filter(|(_, found)| found.value.state != PartitionState::Deleted)
}

fn places(partitions: &[FoundPartition]) -> Places {
    let places = alive(partitions).flat_map(|(id, found)| {
        found.value.processes.iter().map(|process| (process.id.clone(), id.index))
    });
    places.collect()
}

/// The load of each partition, by number.
fn loads(partitions: &[FoundPartition]) -> Vec<(PartitionId, u64)> {
    alive(partitions).map(|(id, found)| (id.clone(), found.value.load_ppm)).collect()
}

/// `partition explain`.
pub(super) async fn explain_partition(
    context: &Context,
    id: &PartitionId,
    only: Option<&Name>,
) -> Result<()> {
    let call = context.client()?.explain_partition(id, only);
    let explained = call.await.map_err(|error| context.explain(&error))?.value;
    let value: Value = explanation_json(&explained);
    if context.output.is_json() {
        return context.output.one("", &value);
    }
    if let Some(only) = only.filter(|only| explained.worker.as_ref() == Some(only)) {
        return context.output.text(&format!("Partition {id} is on {only}.\n"));
    }
    context.output.text(&explanation_text(&explained))
}

/// `worker what-if-lost`.
pub(super) async fn what_if_lost(context: &Context, name: &Name) -> Result<()> {
    let call = context.client()?.what_if_lost(name);
    let plan = call.await.map_err(|error| context.explain(&error))?.value;
    if context.output.is_json() {
        return context.output.one("", &plan_json(&plan));
    }
    context.output.text(&plan_text(&plan))
}
