//! `health`: what is not as it should be.

use std::process::ExitCode;

use anyhow::Result;
use quorate_core::Severity;

use super::Context;
use crate::output::alerts::AlertRow;

/// Shows the alerts, the worst first. Ends with 1 when one is critical.
pub(super) async fn run(context: &Context) -> Result<ExitCode> {
    let listed = context.client()?.list_alerts().await;
    let mut found = listed.map_err(|error| context.explain(&error))?.value;
    found.sort_by_key(|found| std::cmp::Reverse(found.alert.severity));
    let critical = found.iter().any(|found| found.alert.severity == Severity::Critical);
    if found.is_empty() && !context.output.is_json() {
        context.output.text("healthy\n")?;
    } else {
        let rows = found.iter().map(|found| AlertRow::new(&found.id, &found.alert));
        context.output.rows(&rows.collect::<Vec<_>>())?;
    }
    Ok(if critical { ExitCode::from(1) } else { ExitCode::SUCCESS })
}
