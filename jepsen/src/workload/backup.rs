//! Backups during writes, and what is made from them.
//!
//! Owns the way of a backup: it is saved through the client library, inspected and restored by the
//! program under test, and a cluster of one member that was made from it is started and read, all
//! while writes and faults go on. Must not know what it should hold.

use std::{
    io::Write,
    path::{Path, PathBuf},
    process::Stdio,
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, bail};
use quorate_client::{Client as Library, ClientConfig};
use quorate_core::{RestoreEpoch, Revision};
use tokio::{
    process::Command,
    task::JoinSet,
    time::{Instant, sleep},
};
use tokio_util::sync::CancellationToken;

use super::{
    Load, Patience, Settling,
    bench::{Actor, Bench, stamp_of},
    kv,
    stream::{self, Streams, everything},
};
use crate::history::{
    Stage, Stamp, Step, What,
    backup::{Restoration, Restored, SaveAnswer, SaveCall},
    stream::Held,
};

const ALL: &str = "backup/";
const KEYS: u32 = 40;

/// How long to wait between backups.
const PAUSE: Duration = Duration::from_secs(2);

/// How long a cluster made from a backup may take to serve.
const UP_WITHIN: Duration = Duration::from_secs(30);

/// The ports of the cluster that is made from a backup, on the harness's own loopback.
const PORTS: [u16; 3] = [7901, 7902, 7903];

/// See the module.
pub(crate) struct Backups {
    bench: Arc<Bench>,
    streams: Arc<Streams>,
    tasks: JoinSet<()>,
}

impl Backups {
    /// None made yet.
    pub(crate) fn new(bench: Arc<Bench>) -> Self {
        let streams = Streams::new(bench.clone());
        Self { bench, streams, tasks: JoinSet::new() }
    }
}

impl Load for Backups {
    fn start(&mut self, clients: &mut JoinSet<()>, stop: &CancellationToken) {
        self.streams.spawn_library(&mut self.tasks, everything(ALL));
        for habit in &self.bench.habits {
            clients.spawn(kv::writer(self.bench.clone(), *habit, &[ALL], KEYS, stop.clone()));
        }
        clients.spawn(keep_saving(self.bench.clone(), stop.clone()));
    }

    fn settle(&mut self, patience: Patience) -> Settling<'_> {
        Box::pin(async move {
            self.streams.settle(&patience).await;
            while self.tasks.join_next().await.is_some() {}
        })
    }
}

async fn keep_saving(bench: Arc<Bench>, stop: CancellationToken) {
    let Some(habit) = bench.habits.first() else { return };
    let (mut actor, client) = (Actor::new(&bench, habit, None), bench.library());
    let Ok(client) = client else { return };
    let mut backup = 0;
    while !stop.is_cancelled() {
        backup += 1;
        let dir = bench.dir.join(format!("backup{backup}"));
        let call = SaveCall::Save { backup };
        let step = bench.record(&actor, call, What::Save, save(&client, &dir)).await;
        if matches!(step, Step::Ok { .. }) {
            let (found, error) = match restore(&bench.binary, &dir).await {
                Ok(found) => (Some(found), None),
                Err(error) => (None, Some(format!("{error:#}"))),
            };
            let whole = found.is_some();
            bench.recorder.add(What::Restored(Restored { backup, found, error }));
            if whole {
                // What cannot be removed stays for whoever looks.
                let _ = std::fs::remove_dir_all(&dir);
            }
        }
        tokio::select! {
            () = sleep(PAUSE) => {}
            () = stop.cancelled() => {}
        }
        actor.rest(&bench, Stage::Ok, &stop).await;
    }
}

/// A backup that does not come whole changes nothing.
async fn save(client: &Library, dir: &Path) -> Step<SaveAnswer> {
    match receive(client, dir).await {
        Ok((bytes, stamp)) => Step::Ok { answer: SaveAnswer::Saved { bytes }, stamp },
        Err(error) => Step::Fail { error: format!("{error:#}") },
    }
}

async fn receive(client: &Library, dir: &Path) -> anyhow::Result<(u64, Stamp)> {
    std::fs::create_dir_all(dir)?;
    let mut file = std::fs::File::create(file(dir))?;
    let opened = client.save_snapshot().await?;
    let stamp = stamp_of(&opened.header);
    let (mut download, mut bytes) = (opened.value, 0);
    while let Some(part) = download.next().await? {
        file.write_all(&part.bytes)?;
        bytes += part.bytes.len() as u64;
    }
    file.sync_all()?;
    Ok((bytes, stamp))
}

fn file(dir: &Path) -> PathBuf {
    dir.join("backup")
}

/// Inspects a backup, makes a cluster from it and reads that.
async fn restore(binary: &Path, dir: &Path) -> anyhow::Result<Restoration> {
    let (backup, config, data) = (file(dir), dir.join("config.toml"), dir.join("data"));
    let mut command = quorate(binary);
    let command = command.args(["snapshot", "inspect"]).arg(&backup);
    let inspected = json(command.output().await.context("inspect")?).context("inspect")?;
    std::fs::write(&config, configuration(&data))?;
    std::fs::create_dir_all(&data)?;
    let mut command = quorate(binary);
    let command = command.args(["snapshot", "restore"]).arg(&backup).arg("--config").arg(&config);
    let restored = json(command.output().await.context("restore")?).context("restore")?;
    let number = |of: &serde_json::Value, name: &str| {
        of[name].as_u64().with_context(|| format!("no {name} in {of}"))
    };
    let log = std::fs::File::create(dir.join("log"))?;
    let mut serving = quorate(binary)
        .args(["serve", "--config"])
        .arg(&config)
        .stdout(Stdio::from(log.try_clone()?))
        .stderr(Stdio::from(log))
        .spawn()
        .context("serve")?;
    let read = read_all().await;
    serving.kill().await.context("end the restored cluster")?;
    let (revision, records) = read?;
    Ok(Restoration {
        inspected: Revision(number(&inspected, "revision")?),
        revision,
        epoch_before: RestoreEpoch(number(&inspected, "restore_epoch")?),
        restore_epoch: RestoreEpoch(number(&restored, "restore_epoch")?),
        records,
    })
}

/// Everything that the restored cluster holds, as soon as it serves.
async fn read_all() -> anyhow::Result<(Revision, Vec<Held>)> {
    let client = Library::new(ClientConfig::new([format!("127.0.0.1:{}", PORTS[0])]))?;
    let until = Instant::now() + UP_WITHIN;
    loop {
        match client.range(quorate_client::entries(ALL)).await {
            Ok(page) => {
                let records = page.value.records.iter().map(|(key, record)| Held {
                    key: String::from_utf8_lossy(&key.bytes).into_owned(),
                    seen: stream::seen(record),
                });
                return Ok((page.header.revision, records.collect()));
            }
            Err(error) if Instant::now() > until => bail!("it does not serve: {error}"),
            Err(_) => sleep(Duration::from_millis(100)).await,
        }
    }
}

fn quorate(binary: &Path) -> Command {
    let mut command = Command::new(binary);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("QUORATE_") {
            command.env_remove(name);
        }
    }
    command.args(["--output", "json"]).stdin(Stdio::null()).kill_on_drop(true);
    command
}

fn json(output: std::process::Output) -> anyhow::Result<serde_json::Value> {
    if !output.status.success() {
        bail!("{}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim());
    }
    serde_json::from_slice(&output.stdout).context("a line of JSON")
}

fn configuration(data: &Path) -> String {
    let [client, peer, metrics] = PORTS.map(|port| format!("127.0.0.1:{port}"));
    format!(
        "[node]\nid = 1\ndata_dir = {:?}\n\n\
         [listen]\nclient = \"{client}\"\npeer = \"{peer}\"\nmetrics = \"{metrics}\"\n\n\
         [cluster]\nname = \"restored\"\n\
         initial_members = [{{ id = 1, peer = \"{peer}\", client = \"{client}\" }}]\n",
        data.display().to_string()
    )
}
