//! `bench`: measures, shows the report, fails when a check failed.

use anyhow::Result;

use super::Context;
use crate::{args::BenchCommand, bench, failure::Failure};

/// Runs a measurement.
pub(super) async fn run(context: &Context, command: BenchCommand) -> Result<()> {
    let finished = match &command {
        BenchCommand::Failover(args) => {
            let (report, first_error) = bench::failover(context, args).await?;
            context.output.one(report.lines().trim_end(), &report)?;
            return verdict(report.errors, first_error);
        }
        BenchCommand::Put(args) => bench::put(context, args).await?,
        BenchCommand::Get(args) => bench::get(context, args).await?,
        BenchCommand::Watch(args) => bench::watch(context, args).await?,
    };
    let report = &finished.report;
    context.output.one(report.lines().trim_end(), report)?;
    verdict(report.errors, finished.first_error)
}

fn verdict(errors: u64, first_error: Option<String>) -> Result<()> {
    match (errors, first_error) {
        (0, None) => Ok(()),
        (errors, first) => {
            let first = first.unwrap_or_default();
            Err(Failure::rejected(format!("{errors} errors; the first: {first}")).into())
        }
    }
}
