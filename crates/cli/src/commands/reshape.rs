//! `partition split` and `partition merge`.

use anyhow::Result;
use quorate_core::{PartitionId, plan::Reshaping};
use serde_json::json;

use super::{Context, network};
use crate::output::reshaping::{reshaping_json, reshaping_text};

/// Splits a partition, or shows what that would do.
pub(super) async fn split(
    context: &Context,
    id: &PartitionId,
    into: u32,
    dry_run: bool,
) -> Result<()> {
    let client = context.client()?;
    if dry_run {
        let planned = client.plan_split(id, into).await.map_err(|error| context.explain(&error))?;
        return show(context, &planned.value, None);
    }
    let done = client.split_partition(id, into).await.map_err(|error| context.explain(&error))?;
    show(context, &done.value, Some(done.revision().get()))
}

/// Merges partitions, or shows what that would do.
pub(super) async fn merge(context: &Context, ids: Vec<PartitionId>, dry_run: bool) -> Result<()> {
    let client = context.client()?;
    if dry_run {
        let planned = client.plan_merge(ids).await.map_err(|error| context.explain(&error))?;
        return show(context, &planned.value, None);
    }
    let done = client.merge_partitions(ids).await.map_err(|error| context.explain(&error))?;
    show(context, &done.value, Some(done.revision().get()))
}

/// `revision`: where it was done. None: it was not.
fn show(context: &Context, reshaping: &Reshaping, revision: Option<u64>) -> Result<()> {
    if context.output.is_json() {
        let mut value = reshaping_json(reshaping);
        network::merge(&mut value, json!({ "revision": revision }));
        return context.output.one("", &value);
    }
    context.output.text(&reshaping_text(reshaping, revision))
}
