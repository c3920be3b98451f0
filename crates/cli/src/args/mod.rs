//! The command line as types: every command, flag and help text.
//!
//! Owns names, defaults, parsing and examples. Must not know how anything is carried out.

mod bench;
mod cluster;
mod connection;
mod guard;
mod health;
mod history;
mod kv;
mod lock;
mod member;
mod network;
mod node;
mod pool;
mod session;
mod settings;
mod snapshot;
mod values;
mod watch;
mod worker;

use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;

pub(crate) use self::{
    bench::{BenchCommand, BenchFailover, BenchGet, BenchLoad, BenchPut, BenchWatch},
    connection::{ConnectionCommand, ConnectionList, ConnectionReport},
    guard::{GUARD, Guard},
    health::Events,
    history::History,
    kv::{KvCommand, KvDelete, KvGet, KvList, KvPut, KvTxn},
    lock::Lock,
    member::{MemberCommand, Rejoin, Replace},
    network::{NetworkCommand, NetworkFile, NetworkGraph, NetworkPlan, PartitionCommand},
    node::{ConfigCommand, Dev, LogFormat, Serve},
    pool::{AllocationCommand, AllocationRequest, PoolCommand, PoolCreate},
    session::SessionCommand,
    settings::{Balance, SettingsCommand, Switch},
    snapshot::{SnapshotCommand, SnapshotRestore, SnapshotSave},
    watch::{Follow, Watch},
    worker::{WorkerCommand, WorkerRegister},
};
use crate::output::Format;

/// Where clients find a local cluster, as `quorate dev` starts it.
const DEFAULT_ENDPOINTS: &str = "127.0.0.1:7101,127.0.0.1:7102,127.0.0.1:7103";

const ABOUT: &str = "Runs and operates a Quorate cluster.

Quorate is a consensus-backed cluster store for distributed dataflow: three or more coordinators \
agree, through a Raft log, on which processes form which partitions and which partitions are \
connected. Any coordinator answers any request.";

const EXAMPLES: &str = "\
Examples:
  quorate dev                                   three coordinators on this machine, one command
  quorate status                                who leads, and how far everybody is
  quorate kv put greeting hello                 write
  quorate kv get greeting                       read, linearizable
  quorate network apply config/networks/clickstream.toml
                                                register a network and partition it
  quorate watch                                 follow every change
  quorate worker register --name w1             be a worker: own partitions until Ctrl-C
  quorate lock backup -- ./backup.sh            one at a time in the whole cluster
  quorate status --output json | jq .role       one JSON object a line, for programs

Exit codes: 0 done, 1 rejected, 2 usage, 3 not found, 4 unavailable and not applied,
5 outcome unknown, 6 lock lost.";

/// The whole command line.
#[derive(Debug, Parser)]
#[command(
    name = "quorate",
    version,
    about = "Runs and operates a Quorate cluster",
    long_about = ABOUT,
    after_help = EXAMPLES,
    propagate_version = true,
    disable_help_subcommand = true,
    args_override_self = true
)]
pub(crate) struct Cli {
    /// What every command understands.
    #[command(flatten)]
    pub(crate) global: Global,
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What every command understands.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct Global {
    /// Coordinators to talk to, host:port, separated by commas
    #[arg(
        long,
        global = true,
        env = "QUORATE_ENDPOINTS",
        default_value = DEFAULT_ENDPOINTS,
        value_delimiter = ',',
        value_name = "A,B,C",
        hide_env_values = true,
        value_parser = values::endpoint
    )]
    pub(crate) endpoints: Vec<String>,

    /// Tables for people, or one JSON object a line for programs
    #[arg(long, global = true, value_enum, default_value_t = Format::Table, value_name = "FORMAT")]
    pub(crate) output: Format,

    /// How long to wait for an answer, for instance 500ms, 5s or 1m [default: 5s]
    #[arg(long, global = true, value_name = "DURATION", value_parser = values::duration)]
    pub(crate) timeout: Option<Duration>,

    /// Why something is changed, kept with the revision and shown by watch and history
    #[arg(long, global = true, default_value = "", hide_default_value = true, value_name = "TEXT")]
    pub(crate) reason: String,

    /// Who changes it, kept with the revision, too
    #[arg(
        long,
        global = true,
        env = "QUORATE_LABEL",
        default_value = "quorate",
        value_name = "TEXT",
        hide_env_values = true
    )]
    pub(crate) label: String,

    /// Open a session, so that a change with a lost answer is asked for again and never made twice
    ///
    /// Without it, such a change ends with exit code 5. It takes two more revisions: the session
    /// is opened before the change and closed after it.
    #[arg(long, global = true)]
    pub(crate) exactly_once: bool,
}

impl Global {
    /// How long to wait for an answer.
    pub(crate) fn timeout(&self) -> Duration {
        self.timeout.unwrap_or(Duration::from_secs(5))
    }

    /// How long a command waits that waits for coordinators to be started and to catch up.
    pub(crate) fn patience(&self) -> Duration {
        self.timeout.unwrap_or(Duration::from_secs(600))
    }
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Start three coordinators on this machine
    Dev(Dev),
    /// Run one coordinator
    Serve(Serve),
    /// Check configuration files, or print one to begin with
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Show what each coordinator knows of itself
    #[command(after_help = cluster::STATUS_EXAMPLES)]
    Status,
    /// List the coordinators, hand leadership over, add, remove and replace members
    #[command(subcommand)]
    Member(MemberCommand),
    /// Write, read and delete keys and values
    #[command(subcommand)]
    Kv(KvCommand),
    /// Follow committed changes
    Watch(Watch),
    /// Show the changes that are kept, with who made them and why
    History(History),
    /// Show what happened to workers, partitions, networks and coordinators, and why
    Events(Events),
    /// Show what is not as it should be
    #[command(after_help = health::HEALTH_EXAMPLES)]
    Health,
    /// Run a command while a lock is held
    Lock(Lock),
    /// Register, show and delete networks of processes
    #[command(subcommand)]
    Network(NetworkCommand),
    /// Show and move partitions
    #[command(subcommand)]
    Partition(PartitionCommand),
    /// Show, retry and report connections between partitions
    #[command(subcommand)]
    Connection(ConnectionCommand),
    /// Be a worker, list workers, drain and remove them
    #[command(subcommand)]
    Worker(WorkerCommand),
    /// Create, list and delete pools of resources
    #[command(subcommand)]
    Pool(PoolCommand),
    /// Ask for amounts of pools, show who has what, and give it back
    #[command(subcommand)]
    Allocation(AllocationCommand),
    /// Move partitions that should be elsewhere, or show what would be moved
    Balance(Balance),
    /// Show and change the settings of the cluster
    #[command(subcommand)]
    Settings(SettingsCommand),
    /// Keep every partition where it is, unless it must leave
    #[command(after_help = settings::MAINTENANCE_EXAMPLES)]
    Maintenance {
        /// On or off
        switch: Switch,
    },
    /// Save, check and restore backups
    #[command(subcommand)]
    Snapshot(SnapshotCommand),
    /// Show sessions
    #[command(subcommand)]
    Session(SessionCommand),
    /// Measure a cluster, checking every reply
    #[command(subcommand)]
    Bench(BenchCommand),
    /// Print a completion script for a shell
    #[command(after_help = COMPLETIONS_EXAMPLES)]
    Completions {
        /// The shell
        shell: Shell,
    },
}

const COMPLETIONS_EXAMPLES: &str = "\
Examples:
  quorate completions bash > /etc/bash_completion.d/quorate
  quorate completions zsh > ~/.zfunc/_quorate";

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, error::ErrorKind};

    use super::*;

    fn parse(line: &str) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(line.split_whitespace())
    }

    #[test]
    fn the_command_tree_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_has_examples_and_a_description() {
        fn visit(command: &clap::Command, path: &str) {
            let path = format!("{path} {}", command.get_name());
            assert!(command.get_about().is_some(), "{path} has no description");
            if !command.has_subcommands() {
                let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
                assert!(help.contains("Example"), "{path} has no examples");
            }
            for argument in command.get_arguments().filter(|a| !a.is_hide_set()) {
                assert!(argument.get_help().is_some(), "{path}: {} has no help", argument.get_id());
            }
            command.get_subcommands().for_each(|command| visit(command, &path));
        }
        visit(&Cli::command(), "");
    }

    #[test]
    fn global_flags_are_read_before_and_after_the_command() {
        for line in [
            "quorate --endpoints a:1,b:2 --output json --timeout 250ms status",
            "quorate status --endpoints a:1,b:2 --output json --timeout 250ms",
        ] {
            let cli = parse(line).unwrap();
            assert_eq!(cli.global.endpoints, ["a:1", "b:2"]);
            assert_eq!(cli.global.output, Format::Json);
            assert_eq!(cli.global.timeout(), Duration::from_millis(250));
        }
    }

    #[test]
    fn bad_flags_are_usage_errors() {
        for line in [
            "quorate",
            "quorate status --timeout soon",
            "quorate status --endpoints nowhere",
            "quorate status --output yaml",
            "quorate kv get",
            "quorate kv get a --consistency sometimes",
            "quorate kv put a",
            "quorate kv put a b --file c",
            "quorate kv delete",
            "quorate kv delete a --prefix b",
            "quorate watch --from 3 --snapshot",
            "quorate watch --kind nonsense",
            "quorate watch --partition net",
            "quorate watch --count 0",
            "quorate history a --prefix b",
            "quorate events --type nonsense",
            "quorate events --network a/b",
            "quorate lock a",
            "quorate lock a true",
            "quorate lock a --wait soon -- true",
            "quorate network apply",
            "quorate network apply f --name -x",
            "quorate network apply f --partitions 0",
            "quorate bench put --clients 0",
            "quorate bench watch --value-size 8",
            "quorate partition move",
            "quorate partition move net",
            "quorate worker register",
            "quorate worker register --name a/b",
            "quorate worker register --name a --capacity cpu",
            "quorate worker register --name a --labels zone",
            "quorate worker drain",
            "quorate pool create",
            "quorate pool create a --capacity cpu",
            "quorate allocation request p --tenant a --amount cpu=1",
            "quorate allocation release 17",
            "quorate serve",
            "quorate member add",
            "quorate member add 0 --peer a:1 --client a:2",
            "quorate member promote",
            "quorate member replace 3 --peer a:1",
            "quorate member rejoin",
            "quorate snapshot save",
            "quorate snapshot restore f",
            "quorate snapshot restore f --config a --cluster-id 0123456789abcdef",
            "quorate nonsense",
        ] {
            let error = parse(line).expect_err(line);
            assert_eq!(error.exit_code(), 2, "{line}: {error}");
        }
    }

    #[test]
    fn help_is_no_error() {
        let error = parse("quorate kv --help").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::DisplayHelp);
        assert_eq!(error.exit_code(), 0);
    }
}
