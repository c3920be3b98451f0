//! Arguments of `network`, `partition` and `connection`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use quorate_core::{Name, PartitionId};

use super::values;

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
    /// List the networks
    #[command(after_help = LIST_EXAMPLES)]
    List,
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
  quorate network list --output json";

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
}

const MOVE_EXAMPLES: &str = "\
Returns when the owners are asked. Each releases when it has stopped what runs: no wait for a
session to end.

Examples:
  quorate partition move pipeline/0
  quorate partition move pipeline/0 pipeline/1 --to w2";

const PARTITION_EXAMPLES: &str = "\
Examples:
  quorate partition list
  quorate partition list --network pipeline --output json";

/// What to do with connections.
#[derive(Debug, Subcommand)]
pub(crate) enum ConnectionCommand {
    /// List connections between partitions
    #[command(after_help = CONNECTION_EXAMPLES)]
    List {
        /// Only of this network
        #[arg(long, value_name = "NAME", value_parser = values::name)]
        network: Option<Name>,
    },
}

const CONNECTION_EXAMPLES: &str = "\
Examples:
  quorate connection list
  quorate connection list --network pipeline --output json";
