//! Makes a new cluster from a backup, offline: fills the data directories of its members.
//!
//! ```text
//! configurations: of one cluster, ids and directories of their own, empty
//!   -> backup: read whole and checked
//!   -> state: new cluster id, larger restore epoch, sessions ended
//!   -> each directory
//! ```
//!
//! Invariants: nothing is written before everything was checked; all members are given the same
//! cluster id, which was never used before, and the same state. Members that are restored apart
//! from the others must be given the same backup, cluster id and restore epoch. Must not know
//! about command lines.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use quorate_core::{ClusterId, Identity, MemberId, RestoreEpoch, Revision};
use quorate_storage::{
    Backup, BackupError, Disk, Executor, MemberAddress, NodeIdentity, Options, RestoreError,
    SledDisk, SledOptions, backup,
};

use crate::{
    bootstrap::members_hash,
    clock::{Clock as _, SystemClock},
    config::Config,
};

/// What the restored cluster is called, beyond what the configurations say.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Choice {
    /// None: drawn at random. Half of it says which backup it was drawn for.
    pub cluster_id: Option<ClusterId>,
    /// None: the larger one of the backup's + 1 and the seconds since 1970.
    pub restore_epoch: Option<RestoreEpoch>,
}

/// What was restored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restored {
    /// The new cluster.
    pub identity: Identity,
    /// The revision at which it goes on.
    pub revision: Revision,
    /// How many records it has.
    pub records: usize,
    /// The members that were restored, in the order in which they were given.
    pub members: Vec<MemberId>,
    /// Initial members that were not given: they must be restored apart.
    pub missing: Vec<MemberId>,
}

/// Why a cluster was not restored.
#[derive(Debug, thiserror::Error)]
pub enum RestoreFailure {
    /// The backup.
    #[error("{}: {source}", path.display())]
    Backup {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: BackupError,
    },
    /// The configurations, or what was chosen, make no cluster.
    #[error("{0}")]
    Configuration(String),
    /// There is something where data would be written. Nothing was.
    #[error("{} is not empty: a backup is restored into new data directories only", .0.display())]
    NotEmpty(PathBuf),
    /// A directory cannot be read. Nothing was written.
    #[error("{}: {source}", path.display())]
    Unreadable {
        /// The directory.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Writing failed half way.
    #[error("restoring member {member} into {}: {source}", dir.display())]
    Write {
        /// The member.
        member: MemberId,
        /// Its directory.
        dir: PathBuf,
        /// What happened.
        source: RestoreError,
        /// The directories that hold something now and must be deleted before another try.
        written: Vec<PathBuf>,
    },
}

/// Reads a backup and checks all of it.
///
/// # Errors
/// [`RestoreFailure::Backup`].
pub fn read_backup(path: &Path) -> Result<Backup, RestoreFailure> {
    let opened = File::open(path).map_err(BackupError::Io);
    let read = opened.and_then(|file| backup::read(io::BufReader::with_capacity(1 << 20, file)));
    read.map_err(|source| RestoreFailure::Backup { path: path.to_owned(), source })
}

/// Restores the members with these configurations, all or nothing as far as the disks allow.
/// Within a tokio runtime; blocks now and then.
///
/// # Errors
/// [`RestoreFailure`].
pub async fn restore(
    path: &Path,
    configs: &[Config],
    choice: Choice,
) -> Result<Restored, RestoreFailure> {
    check_configs(configs)?;
    configs.iter().try_for_each(|config| check_empty(&config.node.data_dir))?;
    let backup = read_backup(path)?;
    let identity = identity(&backup, choice)?;
    let (revision, state) = (backup.state.revision(), backup.state.restored(identity));
    let voters = voters(configs);
    let mut written = Vec::new();
    for config in configs {
        let dir = config.node.data_dir.clone();
        written.push(dir.clone());
        let filled = fill(config, identity, &voters, state.clone()).await;
        filled.map_err(|source| {
            let (member, written) = (config.node.id, written.clone());
            RestoreFailure::Write { member, dir, source, written }
        })?;
        tracing::info!(member = %config.node.id, cluster = %identity.cluster_id, "restored");
    }
    let members: Vec<_> = configs.iter().map(|config| config.node.id).collect();
    let missing = voters.into_keys().filter(|id| !members.contains(id)).collect();
    Ok(Restored { identity, revision, records: state.len(), members, missing })
}

/// All must be members of one cluster, each with an id and a directory of its own.
fn check_configs(configs: &[Config]) -> Result<(), RestoreFailure> {
    let wrong = |message: String| Err(RestoreFailure::Configuration(message));
    let Some(first) = configs.first() else {
        return wrong("give the configuration of at least one member".into());
    };
    for (at, config) in configs.iter().enumerate() {
        let id = config.node.id;
        if config.cluster != first.cluster {
            return wrong(format!(
                "members {} and {id} differ in [cluster]: its name and initial_members must be the \
                 same in all configurations",
                first.node.id
            ));
        }
        if !config.cluster.initial_members.iter().any(|member| member.id == id) {
            return wrong(format!("member {id} is none of cluster.initial_members"));
        }
        for other in &configs[..at] {
            if other.node.id == id {
                return wrong(format!("member {id} is given twice"));
            }
            if other.node.data_dir == config.node.data_dir {
                let dir = config.node.data_dir.display();
                let other = other.node.id;
                return wrong(format!("members {other} and {id} have the same data_dir, {dir}"));
            }
        }
    }
    Ok(())
}

/// Nothing may be there, or an empty directory.
fn check_empty(dir: &Path) -> Result<(), RestoreFailure> {
    let unreadable = |source| RestoreFailure::Unreadable { path: dir.to_owned(), source };
    match fs::read_dir(dir).map(|mut entries| entries.next().is_some()) {
        Ok(true) => Err(RestoreFailure::NotEmpty(dir.to_owned())),
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(unreadable(error)),
        Ok(false) | Err(_) => Ok(()),
    }
}

fn identity(backup: &Backup, choice: Choice) -> Result<Identity, RestoreFailure> {
    let before = backup.state.identity();
    let smallest = RestoreEpoch(before.restore_epoch.get().saturating_add(1));
    let seconds = RestoreEpoch(SystemClock.unix_ms() / 1_000);
    let restore_epoch = choice.restore_epoch.unwrap_or(smallest.max(seconds));
    if restore_epoch < smallest {
        return Err(RestoreFailure::Configuration(format!(
            "the restore epoch must be at least {smallest}: the backup's is {}",
            before.restore_epoch
        )));
    }
    let drawn_for = fingerprint(backup, restore_epoch);
    let cluster_id = match choice.cluster_id {
        None => draw(drawn_for, before.cluster_id),
        Some(id) if fingerprint_of(id) == drawn_for && id != before.cluster_id => id,
        Some(id) => {
            return Err(RestoreFailure::Configuration(format!(
                "cluster id {id} was not drawn for this backup and restore epoch {restore_epoch}: \
                 give both as the first restore of the same backup printed them"
            )));
        }
    };
    Ok(Identity { cluster_id, restore_epoch })
}

/// The half of a new cluster's id that says of what it was restored: members that are restored
/// apart from each other must begin with the same state, or they would never agree again.
fn fingerprint(backup: &Backup, restore_epoch: RestoreEpoch) -> u64 {
    // 2^64 / the golden ratio: every bit of both numbers reaches the upper half.
    let mixed = backup.state.hash().0 ^ restore_epoch.get().rotate_left(32);
    fingerprint_of(ClusterId(mixed.wrapping_mul(0x9e37_79b9_7f4a_7c15)))
}

fn fingerprint_of(id: ClusterId) -> u64 {
    id.get() >> 32
}

fn draw(fingerprint: u64, other_than: ClusterId) -> ClusterId {
    loop {
        let id = ClusterId(fingerprint << 32 | u64::from(rand::random::<u32>()));
        if id.get() != 0 && id != other_than {
            return id;
        }
    }
}

fn voters(configs: &[Config]) -> BTreeMap<MemberId, MemberAddress> {
    let members = configs.iter().flat_map(|config| &config.cluster.initial_members);
    members
        .map(|member| {
            let (peer, client) = (member.peer.clone(), member.client.clone());
            (member.id, MemberAddress { peer, client })
        })
        .collect()
}

async fn fill(
    config: &Config,
    cluster: Identity,
    voters: &BTreeMap<MemberId, MemberAddress>,
    state: quorate_core::State,
) -> Result<(), RestoreError> {
    let identity = NodeIdentity {
        member_id: config.node.id,
        cluster_id: cluster.cluster_id,
        restore_epoch: cluster.restore_epoch,
        cluster_name: config.cluster.name.as_str().to_owned(),
        members_hash: members_hash(&config.cluster.initial_members),
        initialized: true,
    };
    let options = SledOptions { cache_bytes: config.storage.cache_bytes, ..SledOptions::default() };
    let disk: Arc<dyn Disk> = Arc::new(SledDisk::new(&config.node.data_dir, options)?);
    let options = Options::default();
    quorate_storage::restore(disk, options, Executor::Threads, &identity, voters, state).await
}
