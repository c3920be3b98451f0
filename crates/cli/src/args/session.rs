//! Arguments of `session`.

use clap::Subcommand;

use super::Follow;

/// What to do with sessions.
#[derive(Debug, Subcommand)]
pub(crate) enum SessionCommand {
    /// List the sessions that are alive
    #[command(after_help = LIST_EXAMPLES)]
    List(Follow),
}

const LIST_EXAMPLES: &str = "\
A session ends when its holder has not been heard for its time to live, and with it the entries,
workers and ownerships that it holds.

Examples:
  quorate session list
  quorate session list --output json
  quorate session list --watch";
