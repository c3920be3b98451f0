//! Arguments of `snapshot`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use quorate_client::Consistency;
use quorate_core::{ClusterId, RestoreEpoch};

use super::values;

/// What to do with backups.
#[derive(Debug, Subcommand)]
pub(crate) enum SnapshotCommand {
    /// Save everything at one revision to a file
    Save(SnapshotSave),
    /// Check a backup, without a cluster, and show what is in it
    #[command(after_help = INSPECT_EXAMPLES)]
    Inspect {
        /// The backup
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
    /// Make a new cluster from a backup: fill the empty data directories of its members
    Restore(SnapshotRestore),
}

/// Saves a backup.
#[derive(Debug, Args)]
#[command(after_help = SAVE_EXAMPLES)]
pub(crate) struct SnapshotSave {
    /// Where to
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// Replace the file if it exists
    #[arg(long)]
    pub(crate) force: bool,
    /// How fresh: linearizable, local, or at-least=REV; local needs no majority
    #[arg(long, value_name = "LEVEL", default_value = "linearizable", value_parser = values::consistency)]
    pub(crate) consistency: Consistency,
}

const SAVE_EXAMPLES: &str = "\
Taken from any coordinator while it serves; writes go on. The file appears under its name only when
it is whole, checked and on disk. Keys, values, networks, settings and who owns what are in it; the
history of changes is not.

Examples:
  quorate snapshot save backup.quorate
  quorate snapshot save backup.quorate --force --output json
  quorate snapshot save last.quorate --consistency local --endpoints 10.0.0.2:7101
                          from one coordinator that has lost its majority";

const INSPECT_EXAMPLES: &str = "\
Checks every checksum and every rule of the state. Exit code 1 when the file is damaged, cut off, no
backup, or of a format that this version does not read.

Examples:
  quorate snapshot inspect backup.quorate
  quorate snapshot inspect backup.quorate --output json | jq .revision";

/// Restores a cluster.
#[derive(Debug, Args)]
#[command(after_help = RESTORE_EXAMPLES)]
pub(crate) struct SnapshotRestore {
    /// The backup
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// The configuration of a member of the new cluster; once for each
    #[arg(long, value_name = "FILE", required = true)]
    pub(crate) config: Vec<PathBuf>,
    /// Where that member's data is; overrides node.data_dir, in the order of --config
    #[arg(long, value_name = "DIR")]
    pub(crate) data_dir: Vec<PathBuf>,
    /// The new cluster's id, for members that are restored apart from the first ones
    #[arg(long, value_name = "ID", value_parser = values::cluster_id, requires = "restore_epoch")]
    pub(crate) cluster_id: Option<ClusterId>,
    /// The new cluster's restore epoch, likewise
    #[arg(long, value_name = "N", value_parser = values::restore_epoch, requires = "cluster_id")]
    pub(crate) restore_epoch: Option<RestoreEpoch>,
}

const RESTORE_EXAMPLES: &str = "\
Needs no cluster. The data directories must be empty or absent. The new cluster has a new id and a
larger restore epoch: sessions have ended, partitions have no owners, and whoever resumes a stream
of the old cluster is refused. Start its members with `quorate serve` as always.

Examples:
  quorate snapshot restore saved --config node1.toml --config node2.toml --config node3.toml
  quorate snapshot restore saved --config node1.toml --data-dir /var/lib/quorate
                          members on other machines: repeat there with the same backup, and
                          the --cluster-id and --restore-epoch that this prints";
