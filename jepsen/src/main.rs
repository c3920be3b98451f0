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
mod matrix;
mod nemesis;
mod net;
mod page;
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
use tokio::runtime::Runtime;

use args::{Arguments, CheckArgs, Command, MatrixArgs, RunArgs};
use check::Verdict;
use matrix::Outcome;
use nemesis::{ability, fault::FaultClass};
use net::isolate;
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
        Command::Matrix(matrix) => matrix_command(matrix),
        Command::List => list().map(|()| ExitCode::SUCCESS),
        Command::Check(check) => check_command(check),
    };
    done.unwrap_or_else(|error| {
        eprintln!("quorate-jepsen: {error:#}");
        if matches!(arguments.command, Command::Run(_) | Command::Check(_)) {
            // Nobody is left to tell if standard output is gone.
            drop(report::tell_nothing());
        }
        ExitCode::from(exit_code(Verdict::Unknown))
    })
}

fn runtime() -> anyhow::Result<Runtime> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().context("start the runtime")
}

fn matrix_command(args: &MatrixArgs) -> anyhow::Result<ExitCode> {
    let outcome = runtime()?.block_on(async {
        if let Err(reason) = isolate::find_way().await {
            eprintln!("quorate-jepsen: cannot run: {reason}");
            return Ok(Outcome::Skipped);
        }
        matrix::run(args).await
    })?;
    Ok(ExitCode::from(match outcome {
        Outcome::Valid => exit_code(Verdict::Valid),
        Outcome::Invalid => exit_code(Verdict::Invalid),
        Outcome::Unknown => exit_code(Verdict::Unknown),
        Outcome::Skipped => EXIT_CANNOT_RUN,
    }))
}

fn run_command(args: &RunArgs) -> anyhow::Result<ExitCode> {
    let runtime = runtime()?;
    if isolate::is_inside() {
        let stop = isolate::life_line();
        let verdict = runtime.block_on(run::run(args, stop))?;
        return Ok(ExitCode::from(exit_code(verdict)));
    }
    if let Err(error) = args.binary() {
        eprintln!("quorate-jepsen: {error:#}");
        return Ok(ExitCode::from(EXIT_USAGE));
    }
    runtime.block_on(async {
        if let Some(reason) = missing(&args.classes()).await {
            return cannot_run(&reason);
        }
        outside().await
    })
}

/// Why one of these classes cannot be run here.
async fn missing(classes: &[FaultClass]) -> Option<String> {
    for class in classes {
        if let Err(why) = ability::find(*class).await {
            return Some(format!("faults of the class {}: {why}", class.name()));
        }
    }
    None
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

fn cannot_run(reason: &impl std::fmt::Display) -> anyhow::Result<ExitCode> {
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
    let way = runtime()?.block_on(isolate::find_way());
    let mut out = io::stdout().lock();
    writeln!(out, "workloads")?;
    for workload in Workload::ALL {
        writeln!(out, "  {:<10} {}", workload.name(), workload.about())?;
    }
    writeln!(out, "faults (--nemesis, separated by commas)")?;
    for class in FaultClass::ALL {
        let can = match &way {
            Ok(_) => runtime()?.block_on(ability::find(class)),
            Err(_) => Err("the harness cannot run here, see below".to_owned()),
        };
        let can =
            can.map_or_else(|why| format!("not here: {why}"), |()| "can be run here".to_owned());
        writeln!(out, "  {:<10} {}; {can}", class.name(), class.about())?;
        let kinds: Vec<String> = class.kinds(5).iter().map(ToString::to_string).collect();
        if !kinds.is_empty() {
            writeln!(out, "             {}", kinds.join(", "))?;
        }
    }
    if let Err(reason) = way {
        writeln!(out, "this machine cannot run the harness: {reason}")?;
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
