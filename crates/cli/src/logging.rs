//! Logs of coordinators, to standard error. Standard output is for results.
//!
//! The consensus library warns at every heartbeat that a member misses, several times a second. It
//! is held to errors unless the filter names it; the node tells itself when contact is lost.

use std::io::{self, IsTerminal};

use anyhow::Result;
use tracing_subscriber::EnvFilter;

use crate::{args::LogFormat, failure::Failure};

/// Installs the process's log writer. Once per process.
///
/// # Errors
/// A usage [`Failure`] when the filter makes no sense.
pub(crate) fn install(filter: &str, format: LogFormat) -> Result<()> {
    let parsed = EnvFilter::try_new(with_quiet_library(filter)).map_err(|error| {
        Failure::usage(format!("log filter {filter:?}: {error}")).hint(
            "levels are error, warn, info, debug, trace; for instance info,quorate_node=debug",
        )
    })?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(parsed)
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal());
    let installed = match format {
        LogFormat::Text => builder.try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
    installed.map_err(|error| anyhow::anyhow!("cannot install the log writer: {error}"))
}

/// The filter, holding the consensus library to errors unless it is named.
fn with_quiet_library(filter: &str) -> String {
    const LIBRARY: &str = "openraft";
    if filter.contains(LIBRARY) { filter.to_owned() } else { format!("{LIBRARY}=error,{filter}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_library_is_quiet_unless_named() {
        assert_eq!(with_quiet_library("info"), "openraft=error,info");
        assert_eq!(with_quiet_library("info,openraft=debug"), "info,openraft=debug");
    }
}
