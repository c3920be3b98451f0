//! Load traces through the options of the scaler: `cargo run -p quorate-plan --example
//! scaling_traces -- docs/scaling.svg` prints a table and writes a drawing.
//!
//! It checks what every option set must do (`check`), and fails when one does not.

#![expect(clippy::print_stdout, reason = "a program that prints its results")]

mod course;
mod network;
mod plot;
mod table;
mod traces;
mod verdict;

use std::{error::Error, fs};

use course::{Course, Failed};
use traces::{OptionSet, TRACES, Trace, option_sets};

/// One trace under one option set.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) trace: &'static Trace,
    pub(crate) set: OptionSet,
    pub(crate) course: Course,
}

/// All traces under all option sets, by trace.
fn outcomes() -> Result<Vec<Outcome>, Failed> {
    let pairs =
        TRACES.iter().flat_map(|trace| option_sets().into_iter().map(move |set| (trace, set)));
    pairs
        .map(|(trace, set)| Ok(Outcome { trace, course: course::run(trace, &set)?, set }))
        .collect()
}

fn main() -> Result<(), Box<dyn Error>> {
    let Some(path) = std::env::args().nth(1) else {
        return Err("usage: scaling_traces DRAWING.svg".into());
    };
    let outcomes = outcomes()?;
    print!("{}", table::table(&outcomes));
    fs::write(&path, plot::plot(&outcomes, option_sets().len()))
        .map_err(|error| format!("{path}: {error}"))?;
    let wrong = verdict::violations(&outcomes);
    if wrong.is_empty() { Ok(()) } else { Err(wrong.join("\n").into()) }
}
