//! Simulates clusters under faults, one for each seed, and tells which invariants did not hold.
//!
//! Every seed runs on a thread of its own; a part of them runs twice, and must take the same course.

use std::{
    io::Write,
    process::ExitCode,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use clap::Parser;
use quorate_testkit::{
    repeats,
    simulation::{Report, Simulation, run_apart},
};

/// Simulates clusters under faults in simulated time, and checks what clients saw.
#[derive(Debug, Parser)]
#[command(name = "simulate", version, after_help = AFTER_HELP)]
struct Arguments {
    /// How many seeds.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u64).range(1..))]
    seeds: u64,
    /// The first seed.
    #[arg(long, default_value_t = 1)]
    from: u64,
    /// How long faults are made in each, in simulated seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 120,
        value_parser = clap::value_parser!(u64).range(10..=86_400))]
    time: u64,
    /// How many members each cluster has.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(3..=9))]
    members: u64,
    /// How many run at a time [default: one for each core].
    #[arg(long)]
    jobs: Option<usize>,
    /// One in so many seeds runs twice, and must take the same course. 0: none.
    #[arg(long, default_value_t = 20)]
    repeat_every: u64,
    /// A line for every seed.
    #[arg(long)]
    verbose: bool,
}

const AFTER_HELP: &str = "\
Exit codes: 0 every invariant held, 1 one did not, 2 wrong usage. The last line is
verdict=valid|invalid seeds=N failed=N repeated=N diverged=N answered=N faults=N leaders=N told=N

Examples:
  simulate --seeds 200 --time 120
  RUST_LOG=debug simulate --seeds 1 --from 4711      one seed, with its logs";

/// What all seeds did.
#[derive(Default)]
struct Total {
    failed: u64,
    repeated: u64,
    diverged: u64,
    answered: u64,
    faults: u64,
    leaders: u64,
    told: u64,
    done: u64,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let filter = tracing_subscriber::EnvFilter::builder()
        .with_default_directive(tracing_subscriber::filter::LevelFilter::OFF.into())
        .from_env_lossy();
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    if !repeats() {
        eprintln!("built without --cfg tokio_unstable: seeds do not repeat their courses");
    }
    let jobs =
        arguments.jobs.unwrap_or_else(|| thread::available_parallelism().map_or(1, Into::into));
    let (next, total) = (AtomicU64::new(arguments.from), Mutex::new(Total::default()));
    let began = Instant::now();
    thread::scope(|scope| {
        for _ in 0..jobs {
            scope.spawn(|| work(&arguments, &next, &total, began));
        }
    });
    let total = total.into_inner().unwrap_or_else(PoisonError::into_inner);
    let valid = total.failed == 0 && total.diverged == 0 && total.done == arguments.seeds;
    say(&format!(
        "verdict={} seeds={} failed={} repeated={} diverged={} answered={} faults={} leaders={} told={}",
        if valid { "valid" } else { "invalid" },
        total.done,
        total.failed,
        total.repeated,
        total.diverged,
        total.answered,
        total.faults,
        total.leaders,
        total.told,
    ));
    if valid { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn work(arguments: &Arguments, next: &AtomicU64, total: &Mutex<Total>, began: Instant) {
    loop {
        let seed = next.fetch_add(1, Ordering::Relaxed);
        if seed - arguments.from >= arguments.seeds {
            return;
        }
        let report = simulate(arguments, seed);
        let twice =
            arguments.repeat_every > 0 && seed.is_multiple_of(arguments.repeat_every) && repeats();
        let again = twice.then(|| simulate(arguments, seed));
        let mut total = total.lock().unwrap_or_else(PoisonError::into_inner);
        total.add(arguments, seed, report, again);
        if total.done.is_multiple_of(50) && !arguments.verbose {
            let seconds = began.elapsed().as_secs();
            eprintln!("{} of {} seeds after {seconds} s", total.done, arguments.seeds);
        }
    }
}

fn simulate(arguments: &Arguments, seed: u64) -> Result<Report, String> {
    let length = Duration::from_secs(arguments.time);
    run_apart(Simulation { seed, length, members: arguments.members })
}

impl Total {
    fn add(
        &mut self,
        arguments: &Arguments,
        seed: u64,
        report: Result<Report, String>,
        again: Option<Result<Report, String>>,
    ) {
        self.done += 1;
        if let Some(again) = again {
            self.repeated += 1;
            if again != report {
                self.diverged += 1;
                say(&format!("seed {seed} took another course the second time:"));
                for report in [&report, &again] {
                    say(&format!("  {}", shown(report)));
                }
            }
        }
        if arguments.verbose {
            say(&shown(&report));
        }
        let violations = match &report {
            Ok(report) => {
                self.answered += report.answered;
                self.faults += report.faults;
                self.leaders += report.leaders;
                self.told += report.told;
                report
                    .violations
                    .iter()
                    .map(|it| format!("{}: {}", it.invariant, it.what))
                    .collect()
            }
            Err(error) => vec![error.clone()],
        };
        if violations.is_empty() {
            return;
        }
        self.failed += 1;
        say(&format!("seed {seed} failed:"));
        for violation in violations.iter().take(5) {
            say(&format!("  {violation}"));
        }
        say(&format!(
            "  again: cargo run --release -p quorate-testkit --bin simulate -- --seeds 1 --from \
             {seed} --time {} --members {}",
            arguments.time, arguments.members
        ));
    }
}

fn shown(report: &Result<Report, String>) -> String {
    report.as_ref().map_or_else(Clone::clone, ToString::to_string)
}

/// Nobody is left to tell if standard output is gone.
fn say(line: &str) {
    drop(writeln!(std::io::stdout(), "{line}"));
}
