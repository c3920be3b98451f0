//! Network files: what they mean, and what is said of those that are wrong.
#![expect(clippy::unwrap_used, reason = "a test that cannot set itself up fails")]

mod fuzz;
mod refused;
mod round_trip;
mod samples;
mod wfformat;

use std::path::Path;

use quorate_client::network_file::{FileError, Format, parse};
use quorate_core::NetworkSpec;

fn toml(text: &str) -> Result<NetworkSpec, FileError> {
    parse(text, Format::Toml, Path::new("net.toml"))
}

fn json(text: &str) -> Result<NetworkSpec, FileError> {
    parse(text, Format::WfFormat, Path::new("net.json"))
}
