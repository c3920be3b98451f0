//! `snapshot`: backups.

use std::{
    fs::{self, File},
    io::{BufWriter, Write},
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

use anyhow::{Context as _, Result};
use quorate_client::SnapshotDownload;
use quorate_core::MemberId;
use quorate_node::{
    config::Config,
    restore::{self, Choice, RestoreFailure, Restored},
    storage::Backup,
};
use serde::Serialize;

use super::Context;
use crate::{
    args::{SnapshotCommand, SnapshotRestore, SnapshotSave},
    failure::Failure,
    output::snapshot::{BackupRow, count_kinds, rfc3339},
    progress::while_running,
};

/// Runs a command of the group.
pub(super) async fn run(context: &Context, command: SnapshotCommand) -> Result<()> {
    match command {
        SnapshotCommand::Save(args) => save(context, args).await,
        SnapshotCommand::Inspect { file } => inspect(context, &file),
        SnapshotCommand::Restore(args) => restore(context, args).await,
    }
}

async fn save(context: &Context, args: SnapshotSave) -> Result<()> {
    let SnapshotSave { file, force, consistency } = args;
    refuse_existing(&file, force)?;
    let call = context.client()?.save_snapshot().consistency(consistency);
    let opened = call.await.map_err(|error| context.explain(&error))?;
    let part = beside(&file);
    let saved = save_to(context, &part, opened.value).await;
    let finished = saved.and_then(|backup| {
        refuse_existing(&file, force)?;
        fs::rename(&part, &file).with_context(|| format!("cannot create {}", file.display()))?;
        sync_folder(&file)?;
        Ok(backup)
    });
    let backup = finished.inspect_err(|_| {
        // The error says what happened; that a part of the file stays behind is no other.
        let _ = fs::remove_file(&part);
    })?;
    let row = row(&file, &backup);
    let line = format!(
        "saved revision {} of cluster {} to {}: {} records, {} bytes",
        row.revision, row.cluster_id, row.file, row.records, row.bytes
    );
    context.output.one(&line, &row)
}

fn refuse_existing(file: &Path, force: bool) -> Result<()> {
    if !force && file.symlink_metadata().is_ok() {
        let failure = Failure::rejected(format!("{} exists", file.display()));
        return Err(failure.hint("--force replaces it").into());
    }
    Ok(())
}

/// Where a file is while it is not whole.
fn beside(file: &Path) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(".part");
    name.into()
}

/// Receives a backup, makes it durable and checks what was written.
async fn save_to(context: &Context, part: &Path, download: SnapshotDownload) -> Result<Backup> {
    let cannot = || format!("cannot write {}", part.display());
    let file = File::create(part).with_context(cannot)?;
    let (done, total) = (AtomicU64::new(0), download.records());
    let receiving = receive(context, file, part, download, &done);
    while_running("records saved", &done, total, receiving).await?;
    let part = part.to_owned();
    let checked = tokio::task::spawn_blocking(move || restore::read_backup(&part)).await?;
    checked
        .map_err(|error| Failure::rejected(format!("what was saved is of no use: {error}")).into())
}

async fn receive(
    context: &Context,
    file: File,
    part: &Path,
    mut download: SnapshotDownload,
    done: &AtomicU64,
) -> Result<()> {
    let cannot = || format!("cannot write {}", part.display());
    let mut writer = BufWriter::with_capacity(1 << 20, file);
    while let Some(next) = download.next().await.map_err(|error| context.explain(&error))? {
        writer.write_all(&next.bytes).with_context(cannot)?;
        done.store(next.records, Ordering::Relaxed);
    }
    let file = writer.into_inner().map_err(std::io::IntoInnerError::into_error);
    file.and_then(|file| file.sync_all()).with_context(cannot)
}

/// Makes a new name durable.
fn sync_folder(file: &Path) -> Result<()> {
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    let synced = File::open(folder).and_then(|folder| folder.sync_all());
    synced.with_context(|| format!("cannot sync {}", folder.display()))
}

fn inspect(context: &Context, file: &Path) -> Result<()> {
    let backup = restore::read_backup(file).map_err(|error| refused(&error))?;
    let row = row(file, &backup);
    if context.output.is_json() {
        return context.output.one("", &row);
    }
    context.output.text(&row.table())
}

fn row(file: &Path, backup: &Backup) -> BackupRow {
    let (state, identity) = (&backup.state, backup.state.identity());
    let kinds = count_kinds(state);
    BackupRow {
        file: file.display().to_string(),
        bytes: backup.bytes,
        cluster_name: backup.origin.cluster_name.clone(),
        cluster_id: identity.cluster_id.to_string(),
        restore_epoch: identity.restore_epoch.get(),
        revision: state.revision().get(),
        taken_at: rfc3339(backup.origin.taken_ms),
        taken_ms: backup.origin.taken_ms,
        version: backup.origin.software.clone(),
        records: kinds.values().sum(),
        kinds,
    }
}

/// What `restore` says.
#[derive(Serialize)]
struct RestoredRow {
    cluster_id: String,
    restore_epoch: u64,
    revision: u64,
    records: usize,
    members: Vec<u64>,
    missing: Vec<u64>,
}

async fn restore(context: &Context, args: SnapshotRestore) -> Result<()> {
    let configs = configs(&args)?;
    let choice = Choice { cluster_id: args.cluster_id, restore_epoch: args.restore_epoch };
    let restored = restore::restore(&args.file, &configs, choice).await;
    let restored = restored.map_err(|error| refused(&error))?;
    let Restored { identity, revision, records, members, missing } = restored;
    let ids = |members: &[MemberId]| members.iter().map(|id| id.get()).collect::<Vec<_>>();
    let row = RestoredRow {
        cluster_id: identity.cluster_id.to_string(),
        restore_epoch: identity.restore_epoch.get(),
        revision: revision.get(),
        records,
        members: ids(&members),
        missing: ids(&missing),
    };
    if !row.missing.is_empty() {
        let _ = writeln!(
            std::io::stderr(),
            "warning: {} not restored here; before it starts, restore each such member with the same \
             backup and --cluster-id {} --restore-epoch {}",
            named(&row.missing),
            row.cluster_id,
            row.restore_epoch
        );
    }
    let line = format!(
        "restored {} at revision {revision} with {records} records: cluster {}, restore \
         epoch {}",
        named(&row.members),
        row.cluster_id,
        row.restore_epoch
    );
    context.output.one(&line, &row)
}

fn named(members: &[u64]) -> String {
    let ids: Vec<_> = members.iter().map(u64::to_string).collect();
    format!("{} {}", if ids.len() == 1 { "member" } else { "members" }, ids.join(", "))
}

/// The members' configurations, with their data directories.
fn configs(args: &SnapshotRestore) -> Result<Vec<Config>> {
    if !args.data_dir.is_empty() && args.data_dir.len() != args.config.len() {
        let (dirs, configs) = (args.data_dir.len(), args.config.len());
        let message = format!("--data-dir is given {dirs} times, --config {configs} times");
        return Err(Failure::usage(message).hint("one for each, in the same order").into());
    }
    let load = |(at, path): (usize, &PathBuf)| {
        let mut config = Config::load(path)
            .map_err(|error| Failure::usage(format!("{}: {error}", path.display())))?;
        if let Some(dir) = args.data_dir.get(at) {
            config.node.data_dir.clone_from(dir);
        }
        Ok(config)
    };
    args.config.iter().enumerate().map(load).collect()
}

fn refused(error: &RestoreFailure) -> Failure {
    let failure = match error {
        RestoreFailure::Configuration(_) => Failure::usage(error.to_string()),
        _ => Failure::rejected(error.to_string()),
    };
    match error {
        RestoreFailure::Write { written, .. } => {
            let dirs: Vec<_> = written.iter().map(|dir| dir.display().to_string()).collect();
            failure.hint(format!("delete what is in {} before another try", dirs.join(" and ")))
        }
        RestoreFailure::NotEmpty(_) => failure.hint("nothing was written"),
        _ => failure,
    }
}
