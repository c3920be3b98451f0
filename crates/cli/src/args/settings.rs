//! Arguments of `settings`, `maintenance` and `balance`.

use clap::{Args, Subcommand, ValueEnum};
use quorate_core::Name;

use super::{Follow, values};

/// What to do with settings.
#[derive(Debug, Subcommand)]
pub(crate) enum SettingsCommand {
    /// List all settings: their values, defaults and bounds
    #[command(after_help = LIST_EXAMPLES)]
    List(Follow),
    /// Show one setting
    #[command(after_help = GET_EXAMPLES)]
    Get {
        /// The setting; `settings list` shows all
        #[arg(value_name = "NAME", value_parser = values::name)]
        name: Name,
    },
    /// Change a setting, in the whole cluster and at once
    #[command(after_help = SET_EXAMPLES)]
    Set {
        /// The setting; `settings list` shows all
        #[arg(value_name = "NAME", value_parser = values::name)]
        name: Name,
        /// A whole number
        #[arg(value_name = "VALUE")]
        value: String,
    },
    /// Go back to a setting's default
    #[command(after_help = RESET_EXAMPLES)]
    Reset {
        /// The setting; `settings list` shows all
        #[arg(value_name = "NAME", value_parser = values::name)]
        name: Name,
    },
}

/// Whether something is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Switch {
    /// From now on
    On,
    /// No longer
    Off,
}

/// Moves what should be elsewhere.
#[derive(Debug, Args)]
#[command(after_help = BALANCE_EXAMPLES)]
pub(crate) struct Balance {
    /// Show what would be moved, and change nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
}

const LIST_EXAMPLES: &str = "\
Settings are kept in the log: every coordinator has the same ones.

Examples:
  quorate settings list
  quorate settings list --output json
  quorate settings list --watch";

const GET_EXAMPLES: &str = "\
Examples:
  quorate settings get balance_cooldown_ms";

const SET_EXAMPLES: &str = "\
Examples:
  quorate settings set balance_cooldown_ms 60000 --reason 'loads change quickly here'
  quorate settings set balance_enabled 0";

const RESET_EXAMPLES: &str = "\
Examples:
  quorate settings reset balance_cooldown_ms";

pub(crate) const MAINTENANCE_EXAMPLES: &str = "\
While it is on, the leader asks no worker for a partition: neither for balance nor because the worker has too
little. Partitions of workers that are lost, drained or leave go to others all the same.

Examples:
  quorate maintenance on --reason 'new switches in rack 4'
  quorate maintenance off";

const BALANCE_EXAMPLES: &str = "\
The leader looks for partitions that should be elsewhere by itself, every balance_interval_ms. This command asks
for it now: also in maintenance, and also for partitions that were granted lately. Owners give partitions up by
themselves, so they are asked here and have moved a little later.

Examples:
  quorate balance --dry-run
  quorate balance --dry-run --output json
  quorate balance --reason 'two workers were added'";
