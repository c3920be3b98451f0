//! Arguments of `events` and `health`.

use clap::Args;
use quorate_core::{Name, NoticeKind, Revision};

use super::values;

/// Shows what happened.
#[derive(Debug, Args)]
#[command(after_help = EVENTS_EXAMPLES)]
pub(crate) struct Events {
    /// Start with this revision; without it, with the oldest that is kept
    #[arg(long, value_name = "REV", value_parser = values::revision)]
    pub(crate) from: Option<Revision>,
    /// Go on with what happens from now on, until Ctrl-C
    #[arg(long)]
    pub(crate) follow: bool,
    /// Only these types, such as worker_lost or alert_raised
    #[arg(long = "type", value_name = "TYPE", value_delimiter = ',', value_parser = notice_kind)]
    pub(crate) kind: Vec<NoticeKind>,
    /// Only this network and its partitions
    #[arg(long, value_name = "NAME", value_parser = values::name)]
    pub(crate) network: Option<Name>,
    /// Only this worker and the partitions that it gets and loses
    #[arg(long, value_name = "NAME", value_parser = values::name)]
    pub(crate) worker: Option<Name>,
}

fn notice_kind(text: &str) -> Result<NoticeKind, String> {
    NoticeKind::from_text(text).ok_or_else(|| {
        let all: Vec<_> = NoticeKind::ALL.iter().map(|kind| kind.as_str()).collect();
        format!("expected one of {}", all.join(", "))
    })
}

const EVENTS_EXAMPLES: &str = "\
What people want to hear of the changes that are kept: workers and coordinators that come and go,
partitions that change hands, networks, settings, alerts; with who caused it and why. The oldest
comes first. Every condition that is given must hold.

Examples:
  quorate events
  quorate events --type worker_lost,partition_failed,partition_recovered
  quorate events --follow --network pipeline
  quorate events --from 120 --output json";

pub(crate) const HEALTH_EXAMPLES: &str = "\
The leader checks coordinators, workers, partitions and connections, and raises an alert for what is
wrong for long enough; each coordinator checks its own disk. Exit code 0: nothing critical; 1:
an alert of severity critical is raised. `quorate events --type alert_raised,alert_cleared` shows
when what was raised.

Examples:
  quorate health
  quorate health --output json";
