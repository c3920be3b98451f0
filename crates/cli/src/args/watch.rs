//! Arguments of `watch`.

use clap::Args;
use quorate_core::{Kind, Name, PartitionId, Revision};

use super::values;

/// Follows changes.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Watch {
    /// Start with the changes of this revision; without it, from now on
    #[arg(long, value_name = "REV", value_parser = values::revision, conflicts_with = "snapshot")]
    pub(crate) from: Option<Revision>,
    /// Start with the records as they are now
    #[arg(long)]
    pub(crate) snapshot: bool,
    /// Only keys that begin with this
    #[arg(long, value_name = "PREFIX", default_value = "", hide_default_value = true)]
    pub(crate) prefix: String,
    /// Only these kinds: entry, session, worker, network, partition, connection,
    /// load, setting, member, alert
    #[arg(long, value_name = "KIND", value_delimiter = ',', value_parser = values::kind)]
    pub(crate) kind: Vec<Kind>,
    /// Only this network, its partitions and their connections
    #[arg(long, value_name = "NAME", value_parser = values::name)]
    pub(crate) network: Option<Name>,
    /// Only this partition, such as net/0, and the connections that touch it
    #[arg(long, value_name = "ID", value_parser = values::partition)]
    pub(crate) partition: Option<PartitionId>,
    /// Only this worker and the partitions that it owns, or owned before the change
    #[arg(long, value_name = "NAME", value_parser = values::name)]
    pub(crate) worker: Option<Name>,
    /// Show what each record was before
    #[arg(long)]
    pub(crate) previous: bool,
    /// When history was compacted, start over with a snapshot instead of ending
    #[arg(long)]
    pub(crate) resync: bool,
    /// End after so many revisions with changes
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) count: Option<u64>,
}

/// Whether a list is followed.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct Follow {
    /// Print the list, then each row that changes, until Ctrl-C: + new, ~ changed, - gone
    #[arg(long)]
    pub(crate) watch: bool,
}

const EXAMPLES: &str = "\
Follows until Ctrl-C, and moves on to another coordinator when one fails: no change is missed or
seen twice. Every condition that is given must hold. JSON output has a line per revision, and
progress lines that say up to which revision everything was delivered.

Examples:
  quorate watch
  quorate watch --snapshot --kind network,partition
  quorate watch --from 1 --prefix config/ --output json
  quorate watch --network pipeline --previous
  quorate watch --snapshot --worker w1 --kind partition";
