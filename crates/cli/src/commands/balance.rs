//! `balance`.

use anyhow::Result;
use serde_json::json;

use super::Context;
use crate::{
    args::Balance,
    output::plan::{plan_json, plan_text},
};

/// Runs the command.
pub(super) async fn run(context: &Context, args: Balance) -> Result<()> {
    let client = context.client()?;
    if args.dry_run {
        let plan = client.plan_balance().await.map_err(|error| context.explain(&error))?.value;
        if context.output.is_json() {
            return context.output.one("", &plan_json(&plan));
        }
        return context.output.text(&plan_text(&plan));
    }
    let done = client.balance().await.map_err(|error| context.explain(&error))?.value;
    if context.output.is_json() {
        return context
            .output
            .one("", &json!({ "changed": done.changed, "plan": plan_json(&done.plan) }));
    }
    let asked = match done.changed {
        0 => "No owner was asked for a partition.\n".to_owned(),
        changed => format!("Owners were asked for {changed} partitions.\n"),
    };
    context.output.text(&format!("{asked}\n{}", plan_text(&done.plan)))
}
