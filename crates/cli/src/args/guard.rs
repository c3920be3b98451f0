//! Arguments of the process that guards a command. Nobody types them: see [`crate::guard`].

use std::ffi::OsString;

use clap::Parser;

/// The first argument that makes this binary a guard. No command of [`super::Cli`], so that neither
/// help nor completions show it.
pub(crate) const GUARD: &str = "__guard";

/// Keeps a command's deadline.
#[derive(Debug, Parser)]
#[command(name = GUARD)]
pub(crate) struct Guard {
    /// Until when the command may run, in nanoseconds of the boot clock
    #[arg(long, value_name = "NS")]
    pub(crate) until_ns: u64,
    /// How long before that it is asked to end, in milliseconds
    #[arg(long, value_name = "MS")]
    pub(crate) grace_ms: u64,
    /// The command and its arguments
    #[arg(value_name = "COMMAND", last = true, required = true)]
    pub(crate) command: Vec<OsString>,
}
