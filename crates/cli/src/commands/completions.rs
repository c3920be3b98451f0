//! `completions`.

use anyhow::Result;
use clap::CommandFactory;
use clap_complete::Shell;

use super::Context;
use crate::args::Cli;

/// Prints a completion script.
pub(super) fn run(context: &Context, shell: Shell) -> Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "quorate", &mut script);
    context.output.bytes(&script)
}
