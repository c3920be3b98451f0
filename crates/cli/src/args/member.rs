//! Arguments of `member`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::{Follow, values};

/// What to do with members.
#[derive(Debug, Subcommand)]
pub(crate) enum MemberCommand {
    /// List the coordinators of the cluster
    #[command(after_help = LIST_EXAMPLES)]
    List(Follow),
    /// Hand leadership to another coordinator and wait until it leads
    #[command(after_help = TRANSFER_EXAMPLES)]
    Transfer {
        /// The member that should lead; without it, the most up-to-date one
        #[arg(value_name = "ID", value_parser = member_id())]
        id: Option<u64>,
    },
    /// Note that a coordinator joins: it becomes a learner when it is started
    #[command(after_help = ADD_EXAMPLES)]
    Add {
        /// Its id, which was never used; without it, the one after the highest that ever was
        #[arg(value_name = "ID", value_parser = member_id())]
        id: Option<u64>,
        /// Where it is reached
        #[command(flatten)]
        addresses: Addresses,
    },
    /// Make a learner that has caught up a voter
    #[command(after_help = PROMOTE_EXAMPLES)]
    Promote {
        /// The learner
        #[arg(value_name = "ID", value_parser = member_id())]
        id: u64,
        /// Wait until it has caught up, at most for --timeout (10m without it)
        #[arg(long)]
        wait: bool,
    },
    /// Take a member out for good: its id is never used again
    #[command(after_help = REMOVE_EXAMPLES)]
    Remove {
        /// The member
        #[arg(value_name = "ID", value_parser = member_id())]
        id: u64,
        /// Also when the voters that answer and remain are no majority: nothing can be written then
        /// until enough of the others are back
        #[arg(long)]
        force: bool,
    },
    /// Put a coordinator on another machine in the place of a member: add, wait, promote, remove
    #[command(after_help = REPLACE_EXAMPLES)]
    Replace(Replace),
    /// Bring a machine back whose member lost its data, as a new member
    #[command(after_help = REJOIN_EXAMPLES)]
    Rejoin(Rejoin),
}

/// Where a coordinator is reached.
#[derive(Debug, Args)]
pub(crate) struct Addresses {
    /// Where its peers will reach it
    #[arg(long, value_name = "HOST:PORT", value_parser = values::endpoint)]
    pub(crate) peer: String,
    /// Where clients will reach it
    #[arg(long, value_name = "HOST:PORT", value_parser = values::endpoint)]
    pub(crate) client: String,
}

/// Replaces a member.
#[derive(Debug, Args)]
pub(crate) struct Replace {
    /// The member that goes, dead or alive
    #[arg(value_name = "OLD", value_parser = member_id())]
    pub(crate) old: u64,
    /// The id of the one that comes; without it, the one after the highest that ever was
    #[arg(value_name = "NEW", value_parser = member_id())]
    pub(crate) new: Option<u64>,
    /// Where the new one is reached
    #[command(flatten)]
    pub(crate) addresses: Addresses,
    /// Remove the old one also when the voters that answer and remain are no majority
    #[arg(long)]
    pub(crate) force: bool,
}

/// Brings a machine back.
#[derive(Debug, Args)]
pub(crate) struct Rejoin {
    /// The configuration file of the member that lost its data
    #[arg(long, value_name = "FILE", env = "QUORATE_CONFIG", hide_env_values = true)]
    pub(crate) config: PathBuf,
    /// Where its data is; overrides the file's node.data_dir
    #[arg(long, value_name = "DIR", env = "QUORATE_DATA_DIR", hide_env_values = true)]
    pub(crate) data_dir: Option<PathBuf>,
    /// Remove the lost member also when the voters that answer and remain are no majority
    #[arg(long)]
    pub(crate) force: bool,
}

fn member_id() -> clap::builder::RangedU64ValueParser {
    clap::value_parser!(u64).range(1..)
}

const LIST_EXAMPLES: &str = "\
Examples:
  quorate member list
  quorate member list --output json
  quorate member list --watch";

const TRANSFER_EXAMPLES: &str = "\
Examples:
  quorate member transfer        to the most up-to-date follower
  quorate member transfer 2      to member 2";

const ADD_EXAMPLES: &str = "\
Then start it with node.id = ID and, instead of cluster.initial_members, cluster.join = [\"HOST:PORT\"]
with peer addresses of some members. It is a learner until it is promoted.

Examples:
  quorate member add --peer 10.0.0.4:7204 --client 10.0.0.4:7104
  quorate member add 4 --peer 10.0.0.4:7204 --client 10.0.0.4:7104";

const PROMOTE_EXAMPLES: &str = "\
Refused while the learner does not answer or lags.

Examples:
  quorate member promote 4
  quorate member promote 4 --wait --timeout 2m";

const REMOVE_EXAMPLES: &str = "\
A member that leads hands leadership over first. One that is removed notices, and stops.

Examples:
  quorate member remove 4
  quorate member remove 4 --force      bring others back afterwards";

const REPLACE_EXAMPLES: &str = "\
Says how to start the new one, waits until it has caught up (at most for --timeout, 10m without it),
and only then removes the old one. Repeat the command to go on where it ended.

Examples:
  quorate member replace 3 --peer 10.0.0.4:7203 --client 10.0.0.4:7103
  quorate member replace 3 7 --peer 10.0.0.4:7203 --client 10.0.0.4:7103";

const REJOIN_EXAMPLES: &str = "\
Run it on the machine of the lost member, with the member stopped. The others remove the lost id; the
data directory is set aside under another name, never deleted; a note in the new one says as which
member it comes back, so the configuration stays as it is. Start the member as ever when told to: the
command waits until it has caught up (at most for --timeout, 10m without it) and makes it a voter.
Repeat the command to go on where it ended.

Examples:
  quorate member rejoin --config /etc/quorate/node3.toml
  quorate member rejoin --config node3.toml --data-dir /var/lib/quorate/3 --timeout 30m";
