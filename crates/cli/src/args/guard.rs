//! Arguments of the process that guards a command. Nobody types them: see [`crate::guard`].

use std::ffi::OsString;

use clap::Args;

/// How the command is called.
pub(crate) const GUARD: &str = "__guard";

/// Keeps a command's deadline.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
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

const EXAMPLES: &str = "\
Started by other commands, with its owner at the other end of its standard input.

Examples:
  quorate lock backup -- ./backup.sh      runs the script under a guard";
