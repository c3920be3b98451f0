//! Arguments of `network` and `partition`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use quorate_core::{Name, PartitionId};

use super::{Follow, values};

/// What to do with networks.
#[derive(Debug, Subcommand)]
pub(crate) enum NetworkCommand {
    /// Register a network from a file, or update it
    Apply(NetworkApply),
    /// Show one network: its processes, connections and policy
    #[command(after_help = GET_EXAMPLES)]
    Get {
        /// The network's name
        #[arg(value_name = "NAME", value_parser = values::name)]
        name: Name,
    },
    /// Show what applying a file would do, and change nothing
    Plan(NetworkPlan),
    /// Say how a network is partitioned, and what speaks for it
    #[command(after_help = EXPLAIN_EXAMPLES)]
    Explain {
        /// The network's name
        #[arg(value_name = "NAME", value_parser = values::name)]
        name: Name,
    },
    /// Draw a network, colored by partition
    Graph(NetworkGraph),
    /// List the networks
    #[command(after_help = LIST_EXAMPLES)]
    List(Follow),
    /// Give processes more or fewer instances, by observed load
    #[command(after_help = SCALE_EXAMPLES)]
    Scale {
        /// The network's name
        #[arg(value_name = "NAME", value_parser = values::name)]
        name: Name,
        /// Show what would change and why, and change nothing
        #[arg(long)]
        dry_run: bool,
    },
    /// Delete a network, its partitions and their connections
    #[command(after_help = DELETE_EXAMPLES)]
    Delete {
        /// The network's name
        #[arg(value_name = "NAME", value_parser = values::name)]
        name: Name,
    },
}

/// Registers or updates a network.
#[derive(Debug, Args)]
#[command(after_help = APPLY_EXAMPLES)]
pub(crate) struct NetworkApply {
    /// What is applied.
    #[command(flatten)]
    pub(crate) file: NetworkFile,
}

/// A file that describes a network, and what it does not say.
#[derive(Debug, Args)]
pub(crate) struct NetworkFile {
    /// A network file (.toml), or a workflow in WfFormat (.json)
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// The network's name; without it, the file's name without its ending
    #[arg(long, value_name = "NAME", value_parser = values::name)]
    pub(crate) name: Option<Name>,
    /// How many partitions; without it, what the file says, else the coordinator's default
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) partitions: Option<u32>,
}

/// Shows what applying would do.
#[derive(Debug, Args)]
#[command(after_help = PLAN_EXAMPLES)]
pub(crate) struct NetworkPlan {
    /// What would be applied.
    #[command(flatten)]
    pub(crate) apply: NetworkFile,
    /// Workers that there are supposed to be, with nothing but this network; without it, those of the
    /// cluster
    #[arg(long, value_name = "FILE")]
    pub(crate) workers: Option<PathBuf>,
}

/// Draws a network.
#[derive(Debug, Args)]
#[command(after_help = GRAPH_EXAMPLES)]
pub(crate) struct NetworkGraph {
    /// The network's name
    #[arg(value_name = "NAME", value_parser = values::name)]
    pub(crate) name: Name,
    /// In the language of Graphviz (without a format, this one)
    #[arg(long)]
    pub(crate) dot: bool,
    /// As a picture
    #[arg(long, conflicts_with = "dot")]
    pub(crate) svg: bool,
}

const PLAN_EXAMPLES: &str = "\
Shows the partitions before and after with their loads, which processes would move and why, and where
the partitions would go that then need a worker. The file of workers is TOML; see config/workers.toml.

Examples:
  quorate network plan config/networks/clickstream.toml --partitions 3
  quorate network plan config/networks/clickstream.toml --workers config/workers.toml
  quorate network plan config/networks/clickstream.toml --output json";

const EXPLAIN_EXAMPLES: &str = "\
Examples:
  quorate network explain pipeline
  quorate partition explain pipeline/0    # why it is on its worker";

const GRAPH_EXAMPLES: &str = "\
Examples:
  quorate network graph pipeline --svg > pipeline.svg
  quorate network graph pipeline --dot | dot -Tpdf > pipeline.pdf";

const APPLY_EXAMPLES: &str = "\
The network, its partitions and the connections between them appear at one revision. The same
file again changes nothing; a changed one makes a new generation.

Examples:
  quorate network apply config/networks/clickstream.toml
  quorate network apply config/networks/survey.json --name survey --partitions 8";

const GET_EXAMPLES: &str = "\
Examples:
  quorate network get pipeline
  quorate network get pipeline --output json";

const LIST_EXAMPLES: &str = "\
Examples:
  quorate network list
  quorate network list --output json
  quorate network list --watch";

const SCALE_EXAMPLES: &str = "\
The leader does this by itself, every scale_interval_ms. This command does it now: also in maintenance, and
without waiting until a load has been low for long enough. Only processes whose bounds leave a choice are shown.

Examples:
  quorate network scale pipeline --dry-run
  quorate network scale pipeline --reason 'the evening is over'";

const DELETE_EXAMPLES: &str = "\
Exit code 3 when there is no such network.

Examples:
  quorate network delete pipeline";

/// What to do with partitions.
#[derive(Debug, Subcommand)]
pub(crate) enum PartitionCommand {
    /// List partitions
    #[command(after_help = PARTITION_EXAMPLES)]
    List {
        /// Only of this network
        #[arg(long, value_name = "NAME", value_parser = values::name)]
        network: Option<Name>,
        /// Follow changes
        #[command(flatten)]
        follow: Follow,
    },
    /// Say why a partition is on its worker, and what speaks against the others
    #[command(after_help = EXPLAIN_PARTITION_EXAMPLES)]
    Explain {
        /// The partition, such as net/0
        #[arg(value_name = "ID", value_parser = values::partition)]
        id: PartitionId,
        /// Only why it is not on this worker
        #[arg(long, value_name = "NAME", value_parser = values::name)]
        not_on: Option<Name>,
    },
    /// Ask the owners of partitions to release them, for another worker
    #[command(after_help = MOVE_EXAMPLES)]
    Move {
        /// The partitions, such as net/0; all or none
        #[arg(value_name = "ID", required = true, value_parser = values::partition)]
        ids: Vec<PartitionId>,
        /// The worker that is to have them; without it, any other
        #[arg(long, value_name = "NAME", value_parser = values::name)]
        to: Option<Name>,
    },
    /// Divide the processes of a partition among several
    #[command(after_help = SPLIT_EXAMPLES)]
    Split {
        /// The partition, such as net/0
        #[arg(value_name = "ID", value_parser = values::partition)]
        id: PartitionId,
        /// Into how many
        #[arg(long, value_name = "N", default_value_t = 2,
            value_parser = clap::value_parser!(u32).range(2..))]
        into: u32,
        /// Show what would change, and change nothing
        #[arg(long)]
        dry_run: bool,
    },
    /// Make one partition of several
    #[command(after_help = MERGE_EXAMPLES)]
    Merge {
        /// The partitions of one network, such as net/0 net/1
        #[arg(value_name = "ID", required = true, num_args = 2.., value_parser = values::partition)]
        ids: Vec<PartitionId>,
        /// Show what would change, and change nothing
        #[arg(long)]
        dry_run: bool,
    },
}

const SPLIT_EXAMPLES: &str = "\
The network's strategy divides the processes of this partition; constraints hold. The heaviest part keeps the
number, the others get the next free ones, and need a worker. All other partitions stay exactly as they are.
Owners follow: each stops and starts the processes that it is told.

Examples:
  quorate partition split pipeline/0 --dry-run
  quorate partition split pipeline/0 --into 3 --reason 'grew too large'";

const MERGE_EXAMPLES: &str = "\
All processes go to the lowest number. Partitions are numbered without a gap, so the last ones take the numbers
that become free: --dry-run shows which. What must be apart is not merged.

Examples:
  quorate partition merge pipeline/1 pipeline/3 --dry-run
  quorate partition merge pipeline/2 pipeline/3 --output json";

const EXPLAIN_PARTITION_EXAMPLES: &str = "\
Loads are what partitions declare to need, over what workers give. Traffic counts bytes per second times
distance: 0 on the same worker, 1 on another one, 2 in another rack, 3 in another zone (the labels rack
and zone of workers).

Examples:
  quorate partition explain pipeline/0
  quorate partition explain pipeline/0 --not-on w2";

const MOVE_EXAMPLES: &str = "\
Returns when the owners are asked. Each releases when it has stopped what runs: no wait for a
session to end.

Examples:
  quorate partition move pipeline/0
  quorate partition move pipeline/0 pipeline/1 --to w2";

const PARTITION_EXAMPLES: &str = "\
Examples:
  quorate partition list
  quorate partition list --network pipeline --output json
  quorate partition list --watch";
