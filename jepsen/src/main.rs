//! `quorate-jepsen`: fault tests of Quorate that anyone can run.
//!
//! Real `quorate serve` processes on hosts of their own (network namespaces), clients that write
//! down what they saw, faults from a seeded schedule, and checks of the history. Nothing outside
//! its own namespaces is changed, and all of it is gone when the program ends.
//!
//! ```text
//!  outer program --unshare--> inner program --ip netns--> coordinators
//!    signals         |          clients, faults              |
//!                    '-- life line (stdin)                   '-- one bridge, one nft set
//!
//!  run -> history -> check -> report
//! ```
//!
//! Layers, none of which knows the ones above it: `history` and `check` are pure; `net`, `cluster`
//! and `workload` touch the world; `nemesis` breaks it; `run` puts a run together.

mod args;
mod check;
mod cluster;
mod history;
mod nemesis;
mod net;
mod progress;
mod report;
mod run;
mod workload;

use std::{
    io::{self, Write},
    process::ExitCode,
};

use anyhow::Context;
use clap::Parser;

use args::{Arguments, CheckArgs, Command, RunArgs};
use check::Verdict;
use nemesis::fault::FaultClass;
use net::isolate::{self, CannotRun};
use workload::Workload;

/// This machine cannot run it.
const EXIT_CANNOT_RUN: u8 = 3;
/// Wrong usage. Not clap's 2, which means unknown here.
const EXIT_USAGE: u8 = 64;

fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(told) => {
            let printed = told.print();
            drop(printed);
            return if told.use_stderr() { ExitCode::from(EXIT_USAGE) } else { ExitCode::SUCCESS };
        }
    };
    let done = match &arguments.command {
        Command::Run(run) => run_command(run),
        Command::List => list().map(|()| ExitCode::SUCCESS),
        Command::Check(check) => check_command(check),
    };
    done.unwrap_or_else(|error| {
        eprintln!("quorate-jepsen: {error:#}");
        if !matches!(arguments.command, Command::List) {
            // Nobody is left to tell if standard output is gone.
            drop(report::tell_nothing());
        }
        ExitCode::from(exit_code(Verdict::Unknown))
    })
}

fn run_command(args: &RunArgs) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("start the runtime")?;
    if isolate::is_inside() {
        let stop = isolate::life_line();
        let verdict = runtime.block_on(run::run(args, stop))?;
        return Ok(ExitCode::from(exit_code(verdict)));
    }
    if let Err(error) = args.binary() {
        eprintln!("quorate-jepsen: {error:#}");
        return Ok(ExitCode::from(EXIT_USAGE));
    }
    runtime.block_on(outside())
}

/// Runs this program again inside namespaces of its own.
async fn outside() -> anyhow::Result<ExitCode> {
    let way = match isolate::find_way().await {
        Ok(way) => way,
        Err(reason) => return cannot_run(&reason),
    };
    let ended = isolate::run_inside(way).await?;
    match ended.code().and_then(|code| u8::try_from(code).ok()) {
        Some(code) if code <= exit_code(Verdict::Unknown) => Ok(ExitCode::from(code)),
        _ => anyhow::bail!("the harness inside ended early: {ended}"),
    }
}

fn cannot_run(reason: &CannotRun) -> anyhow::Result<ExitCode> {
    eprintln!("quorate-jepsen: cannot run: {reason}");
    report::tell_nothing().context("write to standard output")?;
    Ok(ExitCode::from(EXIT_CANNOT_RUN))
}

fn check_command(args: &CheckArgs) -> anyhow::Result<ExitCode> {
    let lines = history::record::read(&args.history)?;
    if let Some(path) = &args.edn {
        report::save_edn(path, &lines)?;
    }
    let judgement = check::judge(&lines);
    report::tell(&judgement, &[]).context("write to standard output")?;
    Ok(ExitCode::from(exit_code(judgement.verdict)))
}

fn list() -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "workloads")?;
    for workload in Workload::ALL {
        writeln!(out, "  {:<10} {}", workload.name(), workload.about())?;
    }
    writeln!(out, "faults (--nemesis, separated by commas)")?;
    for class in FaultClass::ALL {
        let kinds: Vec<String> = class.kinds(5).iter().map(ToString::to_string).collect();
        writeln!(out, "  {:<10} {}", class.name(), kinds.join(", "))?;
    }
    Ok(())
}

const fn exit_code(verdict: Verdict) -> u8 {
    match verdict {
        Verdict::Valid => 0,
        Verdict::Invalid => 1,
        Verdict::Unknown => 2,
    }
}
