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
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..))]
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
    /// Run all seeds with each fault, and tell in how many it is found.
    #[arg(long)]
    all: bool,
    /// Only these mutants, by their names.
    #[arg(long, value_name = "NAME", value_delimiter = ',', value_parser = mutation)]
    only: Vec<Mutation>,
    /// Write the table to this file, too, if every mutant was caught.
    #[arg(long, value_name = "FILE")]
    write: Option<PathBuf>,
}

const AFTER_HELP: &str = "\
Exit codes: 0 every mutant was caught, 1 one was not or something was found with nothing planted,
2 wrong usage.";

/// What some seeds found.
#[derive(Default)]
struct Found {
    /// How many seeds ran.
    run: u64,
    /// In how many something was found.
    caught: u64,
    /// By what.
    by: BTreeSet<String>,
    /// The first seed of those, and the first that was found there.
    first: Option<(u64, String)>,
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
    if let Some((seed, what)) = simulate_some(&arguments, arguments.sound).first {
        say(&format!("nothing is planted, and seed {seed}: {what}"));
        valid = false;
    }
    // What a mutant breaks may panic: it is told with the seed.
    panic::set_hook(Box::new(|_| {}));
    let mut rows = Vec::new();
    for mutation in &arguments.only {
        plant(Some(*mutation));
        let found = simulate_some(&arguments, arguments.seeds);
        plant(None);
        match &found.first {
            Some((seed, what)) => eprintln!("{mutation}: seed {seed}: {what}"),
            None => eprintln!("{mutation}: escaped"),
        }
        valid &= found.first.is_some();
        rows.push((*mutation, found));
    }
    let table = table(&rows);
    say(&table);
    if let Some(file) = arguments.write.as_ref().filter(|_| valid)
        && let Err(error) = fs::write(file, document(&arguments, &table))
    {
        eprintln!("{}: {error}", file.display());
        valid = false;
    }
    if valid { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Runs so many seeds in their order, some at a time; unless all are wanted, until something is
/// found.
fn simulate_some(arguments: &Arguments, seeds: u64) -> Found {
    let cores = || thread::available_parallelism().map_or(1, |cores| cores.get() as u64);
    let jobs = arguments.jobs.unwrap_or_else(cores).max(1);
    let end = arguments.from + seeds;
    let (mut next, mut found) = (arguments.from, Found::default());
    while next < end && (arguments.all || found.first.is_none()) {
        let some: Vec<u64> = (next..end.min(next + jobs)).collect();
        next += jobs;
        let reports: Vec<_> = thread::scope(|scope| {
            let run = |seed| (seed, scope.spawn(move || simulate(arguments, seed)));
            let running: Vec<_> = some.into_iter().map(run).collect();
            let panicked = |_| Err("it panicked".to_owned());
            let ended = running.into_iter();
            ended.map(|(seed, it)| (seed, it.join().unwrap_or_else(panicked))).collect()
        });
        for (seed, report) in reports {
            if arguments.all || found.first.is_none() {
                found.add(seed, report);
            }
        }
    }
    found
}

fn simulate(arguments: &Arguments, seed: u64) -> Result<Report, String> {
    let length = Duration::from_secs(arguments.time);
    run_apart(Simulation { seed, length, members: arguments.members })
}

impl Found {
    fn add(&mut self, seed: u64, report: Result<Report, String>) {
        self.run += 1;
        let found: Vec<(String, String)> = match report {
            Ok(report) => {
                // The rule that says most of what is wrong is named first.
                let mut violations = report.violations;
                violations.sort_by_key(|it| it.invariant);
                violations.into_iter().map(|it| (it.invariant.to_string(), it.what)).collect()
            }
            Err(error) => vec![("panic".to_owned(), error)],
        };
        let Some((by, what)) = found.first() else { return };
        self.caught += 1;
        self.first.get_or_insert_with(|| (seed, format!("{by}: {what}")));
        self.by.extend(found.into_iter().map(|(by, _)| by));
    }
}

fn table(rows: &[(Mutation, Found)]) -> String {
    let mut table = String::from(
        "| mutant | what is broken | caught by | first at seed | caught in |\n\
         | --- | --- | --- | --- | --- |\n",
    );
    for (mutation, Found { run, caught, by, first }) in rows {
        let by: Vec<_> = by.iter().map(String::as_str).collect();
        let (by, first) = match first {
            Some((seed, _)) => (by.join(", "), seed.to_string()),
            None => ("**escaped**".to_owned(), String::new()),
        };
        let broken = mutation.broken();
        // Writing to a string cannot fail.
        _ = writeln!(
            table,
            "| `{mutation}` | {broken} | {by} | {first} | {caught} of {run} seeds |"
        );
    }
    table
}

fn document(arguments: &Arguments, table: &str) -> String {
    let Arguments { seeds, sound, from, time, members, .. } = arguments;
    let all = if arguments.all { " --all" } else { "" };
    format!(
        "# Mutants\n\n\
         Faults that are planted one at a time, to show that the simulation finds them. This table \
         is made by\n\n\
         ```\n\
         cargo run --release -p quorate-testkit --features mutations --bin mutants -- \\\n  \
         --sound {sound} --seeds {seeds} --time {time}{all} --write crates/testkit/MUTATIONS.md\n\
         ```\n\n\
         Each mutant has {seeds} seeds, from {from} on, each of {time} simulated seconds under \
         faults with {members} members.\n\
         With nothing planted, nothing was found in {sound} seeds. The invariants are in \
         `src/simulation/invariant`, one a file; the\nmutants are in \
         `crates/core/src/mutation.rs`.\n\n{table}"
    )
}

/// Nobody is left to tell if standard output is gone.
fn say(text: &str) {
    drop(writeln!(std::io::stdout(), "{text}"));
}
