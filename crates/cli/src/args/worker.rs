//! Arguments of `worker`.

use std::time::Duration;

use clap::{Args, Subcommand};
use quorate_core::{Name, Resources};

use super::{Follow, values};

/// What to do with workers.
#[derive(Debug, Subcommand)]
pub(crate) enum WorkerCommand {
    /// Be a worker until stopped: hold a session, take partitions, give them back when asked
    Register(WorkerRegister),
    /// List the workers
    #[command(after_help = LIST_EXAMPLES)]
    List(Follow),
    /// Ask a worker to give its partitions away, and grant it no more
    #[command(after_help = DRAIN_EXAMPLES)]
    Drain {
        /// The worker's name
        #[arg(value_name = "NAME", value_parser = values::name)]
        name: Name,
    },
    /// Let a worker take partitions again
    #[command(after_help = UNDRAIN_EXAMPLES)]
    Undrain {
        /// The worker's name
        #[arg(value_name = "NAME", value_parser = values::name)]
        name: Name,
    },
    /// Show where a worker's partitions would go if it were lost now, and change nothing
    #[command(after_help = LOST_EXAMPLES)]
    WhatIfLost {
        /// The worker's name
        #[arg(value_name = "NAME", value_parser = values::name)]
        name: Name,
    },
    /// Remove a worker that is down
    #[command(after_help = LEAVE_EXAMPLES)]
    Leave {
        /// The worker's name
        #[arg(value_name = "NAME", value_parser = values::name)]
        name: Name,
    },
}

/// Registers a worker and holds it.
#[derive(Debug, Args)]
#[command(after_help = REGISTER_EXAMPLES)]
pub(crate) struct WorkerRegister {
    /// The worker's name; refused while another one of that name lives
    #[arg(long, value_name = "NAME", value_parser = values::name)]
    pub(crate) name: Name,
    /// Where other workers reach it
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:7400",
        value_parser = values::endpoint)]
    pub(crate) address: String,
    /// What it can give: cpu in cores, memory in bytes or with a unit, others as whole numbers
    #[arg(long, value_name = "RESOURCE=AMOUNT,...", default_value = "", hide_default_value = true,
        value_parser = values::resources)]
    pub(crate) capacity: Resources,
    /// What placement may ask for
    #[arg(long, value_name = "NAME=VALUE,...", value_delimiter = ',', value_parser = values::label)]
    pub(crate) labels: Vec<(String, String)>,
    /// How long its partitions stay with it after it was heard last
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = values::duration)]
    pub(crate) ttl: Duration,
}

const REGISTER_EXAMPLES: &str = "\
Does not run anything yet: shows what it is assigned, and gives back at once what it is asked to release. Ctrl-C leaves:
its partitions go to others. Killed, they go to others when the TTL is over. It ends with an
error when its session is lost. JSON output has a line per change, with the time on the machine's
boot clock, and lines that say until when it may act.

Examples:
  quorate worker register --name w1
  quorate worker register --name w2 --address 10.0.0.7:7400 --capacity cpu=4,memory=8GiB
  quorate worker register --name w3 --labels zone=a --ttl 3s --output json";

const LIST_EXAMPLES: &str = "\
Examples:
  quorate worker list
  quorate worker list --output json
  quorate worker list --watch";

const DRAIN_EXAMPLES: &str = "\
Returns when the worker is asked, not when it has given everything back: see `partition list`.

Examples:
  quorate worker drain w1";

const UNDRAIN_EXAMPLES: &str = "\
Examples:
  quorate worker undrain w1";

const LOST_EXAMPLES: &str = "\
Looks at what partitions declare to need and at what they exchange.

Examples:
  quorate worker what-if-lost w1
  quorate worker what-if-lost w1 --output json";

const LEAVE_EXAMPLES: &str = "\
One that lives leaves by itself when it is stopped.

Examples:
  quorate worker leave w1";
