//! Arguments of `history`.

use clap::Args;
use quorate_core::Revision;

use super::values;

/// Shows changes.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct History {
    /// Only changes of this key; without it, of everything
    #[arg(value_name = "KEY", conflicts_with = "prefix")]
    pub(crate) key: Option<String>,
    /// Only changes of keys that begin with this
    #[arg(long, value_name = "PREFIX")]
    pub(crate) prefix: Option<String>,
    /// Start with this revision; without it, with the oldest that is kept
    #[arg(long, value_name = "REV", value_parser = values::revision)]
    pub(crate) from: Option<Revision>,
}

const EXAMPLES: &str = "\
A line per revision, from the oldest that is kept (setting history_revisions_max and others) up to
now: the first change, how many more, who made them and why. JSON output has all changes, as watch.

Examples:
  quorate history greeting
  quorate history --prefix config/ --from 120
  quorate history --output json | jq 'select(.reason)'";
