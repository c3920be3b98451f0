//! Plants one fault after the other, and tells which invariant of the simulation finds each, and
//! after how many seeds.
//!
//! The seeds run first with nothing planted: what is found then is no fault of a mutant. Every seed
//! runs on a thread of its own, several at a time with the same fault.

use std::{
    collections::BTreeSet, fmt::Write as _, fs, io::Write as _, panic, path::PathBuf,
    process::ExitCode, thread, time::Duration,
};

use clap::Parser;
use quorate_node::core::mutation::{Mutation, plant};
use quorate_testkit::simulation::{Report, Simulation, run_apart};

/// Plants known faults, and simulates until an invariant finds each.
#[derive(Debug, Parser)]
#[command(name = "mutants", version, after_help = AFTER_HELP)]
struct Arguments {
    /// How many seeds each fault has at most to be found in.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u64).range(1..))]
    seeds: u64,
    /// How many seeds run before, with nothing planted.
    #[arg(long, value_name = "SEEDS", default_value_t = 20)]
    sound: u64,
    /// The first seed.
    #[arg(long, default_value_t = 1)]
    from: u64,
    /// How long faults are made in each, in simulated seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 40,
        value_parser = clap::value_parser!(u64).range(10..=86_400))]
    time: u64,
    /// How many members each cluster has.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(3..=9))]
    members: u64,
    /// How many run at a time [default: one for each core].
    #[arg(long)]
    jobs: Option<u64>,
    /// Only these mutants, by their names.
    #[arg(long, value_name = "NAME", value_delimiter = ',', value_parser = mutation)]
    only: Vec<Mutation>,
    /// Write the table to this file, too.
    #[arg(long, value_name = "FILE")]
    write: Option<PathBuf>,
}

const AFTER_HELP: &str = "\
Exit codes: 0 every mutant was caught, 1 one was not or something was found with nothing planted,
2 wrong usage.";

/// The first seed in which something was found.
struct Caught {
    seed: u64,
    /// By which invariants.
    by: String,
    /// The first that was found.
    what: String,
}

fn mutation(name: &str) -> Result<Mutation, String> {
    let known = Mutation::ALL.into_iter().find(|mutation| mutation.name() == name);
    known.ok_or_else(|| format!("known are {}", Mutation::ALL.map(Mutation::name).join(", ")))
}

fn main() -> ExitCode {
    let mut arguments = Arguments::parse();
    if arguments.only.is_empty() {
        arguments.only = Mutation::ALL.to_vec();
    }
    let mut valid = true;
    eprintln!("{} seeds with nothing planted", arguments.sound);
    if let Some(caught) = catch(&arguments, arguments.sound) {
        say(&format!("nothing is planted, and seed {}: {}", caught.seed, caught.what));
        valid = false;
    }
    // What a mutant breaks may panic: it is told with the seed.
    panic::set_hook(Box::new(|_| {}));
    let mut rows = Vec::new();
    for mutation in &arguments.only {
        plant(Some(*mutation));
        let caught = catch(&arguments, arguments.seeds);
        plant(None);
        match &caught {
            Some(Caught { seed, what, .. }) => eprintln!("{mutation}: seed {seed}: {what}"),
            None => eprintln!("{mutation}: escaped"),
        }
        valid &= caught.is_some();
        rows.push((*mutation, caught));
    }
    let table = table(&arguments, &rows);
    say(&table);
    if let Some(file) = &arguments.write
        && let Err(error) = fs::write(file, document(&arguments, &table))
    {
        eprintln!("{}: {error}", file.display());
        valid = false;
    }
    if valid { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Runs seeds in their order, some at a time, until something is found.
fn catch(arguments: &Arguments, seeds: u64) -> Option<Caught> {
    let cores = || thread::available_parallelism().map_or(1, |cores| cores.get() as u64);
    let jobs = arguments.jobs.unwrap_or_else(cores).max(1);
    let end = arguments.from + seeds;
    let mut next = arguments.from;
    while next < end {
        let some: Vec<u64> = (next..end.min(next + jobs)).collect();
        next += jobs;
        let reports: Vec<_> = thread::scope(|scope| {
            let run = |seed| scope.spawn(move || simulate(arguments, seed));
            let running: Vec<_> = some.iter().map(|seed| run(*seed)).collect();
            let ended = running.into_iter().map(|it| it.join());
            ended.map(|it| it.unwrap_or_else(|_| Err("it panicked".to_owned()))).collect()
        });
        let caught = some.into_iter().zip(&reports).find_map(|(seed, it)| found(seed, it));
        if caught.is_some() {
            return caught;
        }
    }
    None
}

fn simulate(arguments: &Arguments, seed: u64) -> Result<Report, String> {
    let length = Duration::from_secs(arguments.time);
    run_apart(Simulation { seed, length, members: arguments.members })
}

/// What a seed found, if it found something.
fn found(seed: u64, report: &Result<Report, String>) -> Option<Caught> {
    let report = match report {
        Ok(report) => report,
        Err(error) => {
            return Some(Caught { seed, by: "panic".to_owned(), what: error.clone() });
        }
    };
    let what = report.violations.first()?;
    let by: BTreeSet<_> = report.violations.iter().map(|it| it.invariant).collect();
    let by: Vec<_> = by.iter().map(ToString::to_string).collect();
    Some(Caught { seed, by: by.join(", "), what: format!("{}: {}", what.invariant, what.what) })
}

fn table(arguments: &Arguments, rows: &[(Mutation, Option<Caught>)]) -> String {
    let mut table = String::from(
        "| mutant | what is broken | caught by | at seed | seeds run |\n\
         | --- | --- | --- | --- | --- |\n",
    );
    for (mutation, caught) in rows {
        let broken = mutation.broken();
        // Writing to a string cannot fail.
        _ = match caught {
            Some(Caught { seed, by, .. }) => {
                let run = seed - arguments.from + 1;
                writeln!(table, "| `{mutation}` | {broken} | {by} | {seed} | {run} |")
            }
            None => {
                let run = arguments.seeds;
                writeln!(table, "| `{mutation}` | {broken} | **escaped** | | {run} |")
            }
        };
    }
    table
}

fn document(arguments: &Arguments, table: &str) -> String {
    let Arguments { seeds, sound, from, time, members, .. } = arguments;
    format!(
        "# Mutants\n\n\
         Faults that are planted one at a time, to show that the simulation finds them. The seeds \
         are run\nin their order until an invariant does not hold. This table is made by\n\n\
         ```\n\
         cargo run --release -p quorate-testkit --features mutations --bin mutants -- \
         --seeds {seeds} --time {time} --write crates/testkit/MUTATIONS.md\n\
         ```\n\n\
         Each mutant has at most {seeds} seeds (from {from} on) of {time} simulated seconds with \
         {members} members. With nothing\nplanted the first {sound} find nothing. The invariants \
         are in `src/simulation/invariant`, the mutants in\n`crates/core/src/mutation.rs`.\n\n\
         {table}"
    )
}

/// Nobody is left to tell if standard output is gone.
fn say(text: &str) {
    drop(writeln!(std::io::stdout(), "{text}"));
}
