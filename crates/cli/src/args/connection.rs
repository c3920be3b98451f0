//! Arguments of `connection`.

use clap::{Args, Subcommand, ValueEnum};
use quorate_core::{ConnectionId, ConnectionState, Epoch, Name, PartitionId, SessionId};

use super::{Follow, values};

/// What to do with connections.
#[derive(Debug, Subcommand)]
pub(crate) enum ConnectionCommand {
    /// List connections between partitions
    List(ConnectionList),
    /// Show one connection: its edges, its rules and how it is doing
    #[command(after_help = SHOW_EXAMPLES)]
    Show {
        /// The connection, such as net/0->net/1
        #[arg(value_name = "ID", value_parser = values::connection)]
        id: ConnectionId,
    },
    /// Let a connection that is broken or has failed connect again, as if for the first time
    #[command(after_help = RETRY_EXAMPLES)]
    Retry {
        /// The connection, such as net/0->net/1
        #[arg(value_name = "ID", value_parser = values::connection)]
        id: ConnectionId,
    },
    /// Report what the owner of one end sees of a connection
    Report(ConnectionReport),
}

/// Lists connections.
#[derive(Debug, Args)]
#[command(after_help = LIST_EXAMPLES)]
pub(crate) struct ConnectionList {
    /// Only of this network
    #[arg(long, value_name = "NAME", value_parser = values::name)]
    pub(crate) network: Option<Name>,
    /// Only those that begin or end at this partition, such as net/0
    #[arg(long, value_name = "ID", value_parser = values::partition)]
    pub(crate) partition: Option<PartitionId>,
    /// Only those in these states
    #[arg(long, value_name = "STATE", value_delimiter = ',')]
    pub(crate) state: Vec<State>,
    /// Follow changes
    #[command(flatten)]
    pub(crate) follow: Follow,
}

/// What a connection is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum State {
    /// An end has no owner
    Pending,
    /// Its ends are to connect
    Connecting,
    /// It carries messages
    Up,
    /// It does not, and is retried
    Broken,
    /// It was retried as often as its rules allow
    Failed,
}

impl From<State> for Option<ConnectionState> {
    fn from(state: State) -> Self {
        match state {
            State::Pending => None,
            State::Connecting => Some(ConnectionState::Connecting),
            State::Up => Some(ConnectionState::Up),
            State::Broken => Some(ConnectionState::Broken),
            State::Failed => Some(ConnectionState::Failed),
        }
    }
}

/// Reports a connection.
#[derive(Debug, Args)]
#[command(after_help = REPORT_EXAMPLES)]
pub(crate) struct ConnectionReport {
    /// The connection, such as net/0->net/1
    #[arg(value_name = "ID", value_parser = values::connection)]
    pub(crate) id: ConnectionId,
    /// It carries messages
    #[arg(long, required_unless_present = "broken")]
    pub(crate) up: bool,
    /// It does not, for this reason: at most 128 bytes
    #[arg(long, value_name = "TEXT", conflicts_with = "up")]
    pub(crate) broken: Option<String>,
    /// The session of the worker that owns an end
    #[arg(long, value_name = "ID", value_parser = values::session)]
    pub(crate) session: SessionId,
    /// The epoch of the partition that sends; without it, the one that it has now
    #[arg(long, value_name = "EPOCH", value_parser = values::epoch)]
    pub(crate) from_epoch: Option<Epoch>,
    /// The epoch of the partition that receives; without it, the one that it has now
    #[arg(long, value_name = "EPOCH", value_parser = values::epoch)]
    pub(crate) to_epoch: Option<Epoch>,
}

const LIST_EXAMPLES: &str = "\
A connection is pending while one of its partitions has no owner, connecting until the owner of an
end reports it, then up. Broken, it is retried by the rules of its network; then it has failed.

Examples:
  quorate connection list
  quorate connection list --network pipeline --output json
  quorate connection list --partition pipeline/0 --state broken,failed
  quorate connection list --watch";

const SHOW_EXAMPLES: &str = "\
Examples:
  quorate connection show 'pipeline/0->pipeline/1'
  quorate connection show 'pipeline/0->pipeline/1' --output json";

const RETRY_EXAMPLES: &str = "\
One that has failed stays so until a partition at its end has another owner, or somebody asks for
another try. One that connects or is up goes on.

Examples:
  quorate connection retry 'pipeline/0->pipeline/1'";

const REPORT_EXAMPLES: &str = "\
For scripts that stand in for the owner of a partition. What is of other epochs than the
connection's now is left out, and counted.

Examples:
  quorate connection report 'pipeline/0->pipeline/1' --up --session 0.7
  quorate connection report 'pipeline/0->pipeline/1' --broken 'reset by peer' --session 0.7";
