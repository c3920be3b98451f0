//! Arguments of `status` and `member`.

use clap::Subcommand;

pub(super) const STATUS_EXAMPLES: &str = "\
Asks every endpoint by itself; one that does not answer is shown as such. Needs no quorum.
Exit code 4 when none answers.

Examples:
  quorate status
  quorate status --endpoints 10.0.0.1:7101 --output json";

/// What to do with members.
#[derive(Debug, Subcommand)]
pub(crate) enum MemberCommand {
    /// List the coordinators of the cluster
    #[command(after_help = LIST_EXAMPLES)]
    List,
    /// Hand leadership to another coordinator and wait until it leads
    #[command(after_help = TRANSFER_EXAMPLES)]
    Transfer {
        /// The member that should lead; without it, the most up-to-date one
        #[arg(value_name = "ID", value_parser = clap::value_parser!(u64).range(1..))]
        id: Option<u64>,
    },
}

const LIST_EXAMPLES: &str = "\
Examples:
  quorate member list
  quorate member list --output json";

const TRANSFER_EXAMPLES: &str = "\
Examples:
  quorate member transfer        to the most up-to-date follower
  quorate member transfer 2      to member 2";
