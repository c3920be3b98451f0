//! `network scale`.

use anyhow::Result;
use quorate_core::{Name, plan::ProcessScaling};
use serde_json::json;

use super::Context;

/// Scales a network, or shows what that would do.
pub(super) async fn run(context: &Context, name: &Name, dry_run: bool) -> Result<()> {
    let client = context.client()?;
    let (decisions, changed) = if dry_run {
        let planned = client.plan_scale(name).await.map_err(|error| context.explain(&error))?;
        (planned.value, None)
    } else {
        let done = client.scale_network(name).await.map_err(|error| context.explain(&error))?;
        (done.value.decisions, Some(done.value.changed))
    };
    if context.output.is_json() {
        let decisions: Vec<_> = decisions.iter().map(decision_json).collect();
        let value = json!({ "network": name.as_str(), "changed": changed, "decisions": decisions });
        return context.output.one("", &value);
    }
    context.output.text(&text(name, &decisions, changed))
}

fn decision_json(it: &ProcessScaling) -> serde_json::Value {
    json!({
        "partition": it.partition.to_string(),
        "process": it.process.as_str(),
        "parallelism": it.parallelism,
        "wanted": it.wanted,
        "why": it.why,
        "lacking": it.lacking.as_ref().map(Name::as_str),
    })
}

fn text(name: &Name, decisions: &[ProcessScaling], changed: Option<u32>) -> String {
    if decisions.is_empty() {
        return format!("The processes of network {name} have no choice: none has bounds apart.\n");
    }
    let wanted = decisions.iter().filter(|it| it.wanted != it.parallelism).count();
    let mut out = match changed {
        Some(changed) => format!("Network {name}: {changed} processes were scaled.\n\n"),
        None => format!("Network {name}: {wanted} processes would be scaled.\n\n"),
    };
    for it in decisions {
        out.push_str(&format!("{}  {}\n", it.partition, it.why));
    }
    out
}
