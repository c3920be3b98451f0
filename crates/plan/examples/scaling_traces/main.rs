//! Load traces through the options of the scaler: `cargo run -p quorate-plan --example
//! scaling_traces -- docs/scaling.svg` prints a table and writes a drawing.
//!
//! It checks what every option set must do (`verdict`), and fails when one does not.

#![expect(clippy::print_stdout, reason = "a program that prints its results")]

mod course;
mod network;
mod outcome;
mod plot;
mod table;
mod traces;
mod verdict;

use std::{error::Error, fs};

use outcome::outcomes;
use traces::option_sets;

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
