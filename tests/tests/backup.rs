//! Backups against real processes: taken under load through every coordinator, each equal to the
//! state at its revision, and restored into a new cluster that goes on there.
//!
//! What a state should hold is known from a change stream: a snapshot, then every change.
//! `QUORATE_BACKUP_RECORDS` says how many records there are (default 100,000).

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use quorate_core::MemberId;
use quorate_node::restore::read_backup;
use quorate_proto::{
    convert::record::record as message,
    v1::{
        ChangeOp, DeleteOperation, EventType, Key, Kind, Operation, PutOperation, Record,
        ResumeToken, Selector, TransactionRequest, WatchRequest, operation, selector,
        store_service_client::StoreServiceClient, watch_request::Start,
    },
};
use quorate_tests::{
    calls::{Coordinator, Failure, timed},
    cluster::{Cluster, HEALTHY_WITHIN, POLL},
    command::{Ran, finish, quorate},
};
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{sleep, timeout},
};
use tonic::{Code, Status};

const PUTS_PER_TRANSACTION: usize = 500;
const VALUE_BYTES: usize = 100;
const WRITERS: usize = 4;
/// How long a stream that should tell something may be silent.
const SILENCE: Duration = Duration::from_secs(30);

type Records = BTreeMap<(i32, Bytes), Record>;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_under_load_is_the_state_at_its_revision_and_is_restored() -> Result<()> {
    let records = std::env::var("QUORATE_BACKUP_RECORDS").map_or(Ok(100_000), |n| n.parse())?;
    let mut cluster = Cluster::start(3).await?;
    let (began, folder) = (Instant::now(), cluster.folder().to_path_buf());
    load(&cluster, records).await?;
    apply_network(&cluster)?;
    println!("loaded {records} records in {:?}", began.elapsed());

    let (done, finished) = watch::channel(None);
    let follower = tokio::spawn(follow(cluster.coordinators()[1].clone(), finished));
    let stop = Arc::new(AtomicBool::new(false));
    let writers = write(&cluster, &stop);
    let mut saved = Vec::new();
    for id in cluster.ids() {
        saved.push(save(&cluster, id, &folder.join(format!("{id}.backup"))).await?);
    }
    stop.store(true, Ordering::Relaxed);
    let written: usize = writers.join_all().await.into_iter().sum::<Result<_>>()?;
    let (last, _) = cluster.coordinators()[0].entries("pair/").await?;
    done.send_replace(Some(last.get()));
    let story = timeout(SILENCE, follower).await.context("the follower stands still")???;
    println!("{written} transactions were written meanwhile, up to revision {last}");

    for (file, revision) in &saved {
        let expected = story.at(*revision);
        let backup = read_backup(file)?;
        ensure!(backup.state.revision().get() == *revision, "another revision is in the file");
        let found = backup.state.records().map(|(key, record)| message(key, record));
        compare(&expected, &by_key(found), &file.display().to_string())?;
        ensure!(*revision < last.get(), "nothing was written after {revision}");
    }
    let (file, revision) = saved.pop().context("three were saved")?;
    let restored = restore(&mut cluster, &file).await?;
    ensure!(restored["revision"] == revision && restored["members"].as_array().unwrap().len() == 3);
    for coordinator in cluster.coordinators() {
        let (at, found) = snapshot(&coordinator).await?;
        ensure!(at == revision, "member {} begins at {at}, not {revision}", coordinator.id);
        compare(&story.at(revision), &found, &format!("member {}", coordinator.id))?;
    }
    goes_on(&cluster, &story, revision).await
}

#[tokio::test]
async fn what_cannot_be_restored_is_refused_and_nothing_is_written() -> Result<()> {
    let mut cluster = Cluster::start(1).await?;
    let folder = cluster.folder().to_path_buf();
    let id = MemberId(1);
    cluster.coordinator(id).put("key", b"value").await?;
    let file = folder.join("backup");
    save(&cluster, id, &file).await?;
    let again = quorate(&cluster, &["snapshot", "save", text(&file)?])?;
    ensure!(again.code == 1 && again.stderr.contains("--force"), "{again:?}");
    let forced = quorate(&cluster, &["snapshot", "save", text(&file)?, "--force"])?;
    ensure!(forced.code == 0 && !folder.join("backup.part").exists(), "{forced:?}");

    cluster.kill(id)?;
    let taken = run_restore(&cluster, &file, &[])?;
    ensure!(taken.code == 1 && taken.stderr.contains("not empty"), "{taken:?}");
    cluster.wipe(id)?;
    let good = fs::read(&file)?;
    let mut damaged = good.clone();
    damaged[good.len() / 2] ^= 1;
    let cut = &good[..good.len() - 1];
    for (bytes, why) in
        [(&damaged[..], "damaged"), (cut, "cut off"), (b"something else", "no backup of Quorate")]
    {
        fs::write(&file, bytes)?;
        let inspected = quorate(&cluster, &["snapshot", "inspect", text(&file)?])?;
        ensure!(inspected.code == 1 && inspected.stderr.contains(why), "{inspected:?}");
        let refused = run_restore(&cluster, &file, &[])?;
        ensure!(refused.code == 1 && refused.stderr.contains(why), "{refused:?}");
    }
    fs::write(&file, &good)?;
    let any = |epoch| ["--cluster-id", "0123456789abcdef", "--restore-epoch", epoch];
    for (epoch, why) in [("0", "at least 1"), ("7", "was not drawn for this backup")] {
        let refused = run_restore(&cluster, &file, &any(epoch))?;
        ensure!(refused.code == 2 && refused.stderr.contains(why), "{refused:?}");
    }
    ensure!(!folder.join("data1").exists(), "something was written");
    // As on another machine: the same again, with what the first restore printed.
    let first = run_restore(&cluster, &file, &[])?.json()?.remove(0);
    cluster.wipe(id)?;
    let (drawn, epoch) = (&first["cluster_id"], first["restore_epoch"].to_string());
    let drawn = drawn.as_str().context("an id")?;
    let chosen = ["--cluster-id", drawn, "--restore-epoch", &epoch];
    let second = run_restore(&cluster, &file, &chosen)?.json()?.remove(0);
    ensure!(first == second, "{first} and {second} differ");
    cluster.spawn(id)?;
    cluster.wait_healthy().await?;
    let (_, entries) = cluster.coordinator(id).entries("").await?;
    ensure!(entries.len() == 1, "{entries:?}");
    Ok(())
}

/// Writes so many entries, some of each under way through every coordinator.
async fn load(cluster: &Cluster, records: usize) -> Result<()> {
    let coordinators = cluster.coordinators();
    let mut tasks = JoinSet::new();
    for part in 0..WRITERS {
        let coordinator = coordinators[part % coordinators.len()].clone();
        tasks.spawn(async move {
            let all: Vec<usize> = (part..records).step_by(WRITERS).collect();
            for some in all.chunks(PUTS_PER_TRANSACTION) {
                let put = |n: &usize| put(&format!("record/{n:08}"), &[b'v'; VALUE_BYTES]);
                transact(&coordinator, some.iter().map(put).collect()).await?;
            }
            Ok::<_, Failure>(())
        });
    }
    while let Some(loaded) = tasks.join_next().await {
        loaded??;
    }
    Ok(())
}

fn apply_network(cluster: &Cluster) -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("the root is above")?;
    let file = root.join("config/networks/clickstream.toml");
    let applied = quorate(cluster, &["network", "apply", text(&file)?, "--partitions", "3"])?;
    ensure!(applied.code == 0, "{}", applied.stderr);
    Ok(())
}

/// Writers that keep two entries equal, and put and delete others, until they are stopped. Each
/// tells how often it wrote.
fn write(cluster: &Cluster, stop: &Arc<AtomicBool>) -> JoinSet<Result<usize>> {
    let coordinators = cluster.coordinators();
    let mut writers = JoinSet::new();
    for writer in 0..WRITERS {
        let coordinator = coordinators[writer % coordinators.len()].clone();
        let stop = stop.clone();
        writers.spawn(async move {
            let mut written = 0;
            while !stop.load(Ordering::Relaxed) {
                let value = written.to_string();
                let churn = format!("churn/{writer}/{}", written % 50);
                let other = if written % 100 < 50 { put(&churn, b"x") } else { delete(&churn) };
                let pair = ["left", "right"].map(|side| format!("pair/{writer}/{side}"));
                let puts = pair.iter().map(|key| put(key, value.as_bytes()));
                transact(&coordinator, puts.chain([other]).collect()).await?;
                written += 1;
            }
            Ok(written)
        });
    }
    writers
}

fn put(key: &str, value: &[u8]) -> operation::Operation {
    operation::Operation::Put(PutOperation {
        key: Some(Key { kind: Kind::Entry.into(), key: Bytes::copy_from_slice(key.as_bytes()) }),
        value: Bytes::copy_from_slice(value),
        ..PutOperation::default()
    })
}

fn delete(key: &str) -> operation::Operation {
    let target = Some(selector::Target::Key(Bytes::copy_from_slice(key.as_bytes())));
    let selector = Some(Selector { kind: Kind::Entry.into(), target });
    operation::Operation::Delete(DeleteOperation { selector, ..DeleteOperation::default() })
}

/// Runs operations that may as well be run twice, until it is known that they were.
async fn transact(
    coordinator: &Coordinator,
    all: Vec<operation::Operation>,
) -> Result<(), Failure> {
    let success = all.into_iter().map(|one| Operation { operation: Some(one) }).collect();
    let request = TransactionRequest { success, ..TransactionRequest::default() };
    let until = Instant::now() + HEALTHY_WITHIN;
    loop {
        let mut store = StoreServiceClient::new(coordinator.channel());
        match store.transaction(timed(request.clone())).await.map_err(Failure::from) {
            Ok(_) => return Ok(()),
            Err(failure) if passes(&failure) && Instant::now() < until => sleep(POLL).await,
            Err(failure) => return Err(failure),
        }
    }
}

/// Saves a backup through one coordinator. Gives the file and its revision.
async fn save(cluster: &Cluster, id: MemberId, file: &Path) -> Result<(PathBuf, u64)> {
    let mut command = std::process::Command::new(cluster.binary());
    command.args(["--endpoints", &cluster.endpoint(id).to_string(), "--output", "json"]);
    command.args(["--timeout", "20s", "snapshot", "save"]).arg(file);
    let began = Instant::now();
    let ran = tokio::task::spawn_blocking(move || finish(&mut command)).await??;
    let row = ran.json()?.remove(0);
    eprintln!("saved {row} in {:?}", began.elapsed());
    Ok((file.to_path_buf(), row["revision"].as_u64().context("a revision")?))
}

/// What a stream told: the records at a revision, and what changed after it.
#[derive(Debug, Default)]
struct Story {
    records: Records,
    from: u64,
    changes: Vec<(u64, Record, ChangeOp)>,
    token: Option<ResumeToken>,
}

impl Story {
    /// The records at a revision.
    fn at(&self, revision: u64) -> Records {
        assert!(self.from <= revision, "the story begins at {}", self.from);
        let mut records = self.records.clone();
        for (_, record, op) in self.changes.iter().take_while(|(at, ..)| *at <= revision) {
            let key = key_of(record);
            match op {
                ChangeOp::Put => _ = records.insert(key, record.clone()),
                _ => _ = records.remove(&key),
            }
        }
        records
    }
}

/// Follows everything, from a snapshot to the revision that is told at the end. Goes on where it
/// was when the coordinator has lost its majority for a moment.
async fn follow(coordinator: Coordinator, finished: watch::Receiver<Option<u64>>) -> Result<Story> {
    let mut story = Story::default();
    let until = Instant::now() + HEALTHY_WITHIN;
    loop {
        match hear(&coordinator, &mut story, &finished).await {
            Ok(()) => return Ok(story),
            Err(failure) if passes(&failure) && Instant::now() < until => sleep(POLL).await,
            Err(failure) => return Err(failure.into()),
        }
        if story.token.is_none() {
            story = Story::default();
        }
    }
}

/// Whether a moment later there may be an answer.
fn passes(failure: &Failure) -> bool {
    matches!(failure.code, Code::Unavailable | Code::DeadlineExceeded)
}

async fn hear(
    coordinator: &Coordinator,
    story: &mut Story,
    finished: &watch::Receiver<Option<u64>>,
) -> Result<(), Failure> {
    let start = Some(story.token.map_or(Start::Snapshot(true), Start::Resume));
    let request = WatchRequest { start, progress_interval_ms: 100, ..WatchRequest::default() };
    let mut stream = coordinator.watch(request).await?;
    loop {
        let told = story.token.map_or(0, |token| token.revision);
        if finished.borrow().is_some_and(|last| told >= last) {
            return Ok(());
        }
        let silent = |_| Status::deadline_exceeded("the stream is silent");
        let message = timeout(SILENCE, stream.message()).await.map_err(silent)??;
        let message = message.ok_or_else(|| Status::unavailable("the stream ended"))?;
        for event in message.events {
            match event.r#type() {
                EventType::Snapshot => story.records.extend(by_key(event.records.into_iter())),
                EventType::SnapshotEnd => story.from = event.revision,
                EventType::Changes => {
                    story.changes.extend(event.changes.into_iter().map(|change| {
                        let op = change.op();
                        (event.revision, change.record.unwrap_or_default(), op)
                    }))
                }
                EventType::Progress => {}
                other => return Err(Status::internal(format!("unexpected {other:?}")).into()),
            }
        }
        story.token = message.resume.or(story.token);
    }
}

/// All records of a coordinator, and their revision.
async fn snapshot(coordinator: &Coordinator) -> Result<(u64, Records)> {
    let (_done, now) = watch::channel(Some(1));
    let story = follow(coordinator.clone(), now).await?;
    Ok((story.from, story.records))
}

fn by_key(records: impl Iterator<Item = Record>) -> Records {
    records.map(|record| (key_of(&record), record)).collect()
}

fn key_of(record: &Record) -> (i32, Bytes) {
    let key = record.key.clone().unwrap_or_default();
    (key.kind, key.key)
}

fn compare(expected: &Records, found: &Records, of: &str) -> Result<()> {
    ensure!(expected.len() == found.len(), "{of}: {} of {}", found.len(), expected.len());
    for (key, record) in expected {
        let other = found.get(key);
        ensure!(other == Some(record), "{of}: {other:?} where {record:?} belongs");
    }
    Ok(())
}

/// Ends the cluster, and restores a backup into new data directories of all its members.
async fn restore(cluster: &mut Cluster, file: &Path) -> Result<serde_json::Value> {
    for id in cluster.ids() {
        cluster.kill(id)?;
        cluster.wipe(id)?;
    }
    let began = Instant::now();
    let restored = run_restore(cluster, file, &[])?.json()?.remove(0);
    eprintln!("restored {restored} in {:?}", began.elapsed());
    for id in cluster.ids() {
        cluster.spawn(id)?;
    }
    cluster.wait_healthy().await?;
    Ok(restored)
}

fn run_restore(cluster: &Cluster, file: &Path, more: &[&str]) -> Result<Ran> {
    let mut command = std::process::Command::new(cluster.binary());
    command.args(["--output", "json", "snapshot", "restore"]).arg(file).args(more);
    for id in cluster.ids() {
        command.arg("--config").arg(cluster.folder().join(format!("node{id}.toml")));
        command.arg("--data-dir").arg(cluster.folder().join(format!("data{id}")));
    }
    finish(&mut command)
}

/// The restored cluster takes writes, and refuses what belongs to the old one.
async fn goes_on(cluster: &Cluster, story: &Story, revision: u64) -> Result<()> {
    let coordinator = &cluster.coordinators()[0];
    let next = coordinator.put("after", b"the restore").await?;
    ensure!(next.get() == revision + 1, "the next revision is {next}, not {revision} + 1");
    let watch = |start| WatchRequest { start: Some(start), ..WatchRequest::default() };
    let resumed = coordinator.watch(watch(Start::Resume(story.token.context("a token")?))).await;
    let refused = resumed.err().context("an old token was taken")?;
    ensure!(refused.reason == "WRONG_CLUSTER", "{refused}");
    let early = coordinator.watch(watch(Start::FromRevision(revision))).await;
    let refused = early.err().context("there is no history from before")?;
    ensure!(refused.reason == "COMPACTED" && refused.oldest == next.to_string(), "{refused}");
    let mut stream = coordinator.watch(watch(Start::FromRevision(next.get()))).await?;
    let first = timeout(SILENCE, stream.message()).await??.context("a message")?;
    ensure!(first.events.iter().any(|event| event.revision == next.get()), "{first:?}");
    Ok(())
}

fn text(path: &Path) -> Result<&str> {
    path.to_str().context("a readable path")
}
