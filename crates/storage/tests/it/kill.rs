//! kill -9 of a process that writes: everything that it told of must be there.

use std::{
    fs::{self, File},
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use quorate_storage::{Executor, Options};

use crate::{
    model::{Ends, Event, Model, Op, work},
    support::{Draw, Store, sled_disk, small},
};

const DIR: &str = "QUORATE_CHILD_DIR";
const SEED: &str = "QUORATE_CHILD_SEED";
const JOURNAL: &str = "QUORATE_CHILD_JOURNAL";

/// Bytes of a journal that is full soon.
pub(crate) const SMALL_JOURNAL: usize = 64 << 10;

/// Bytes of the journal, unless told otherwise.
pub(crate) fn whole_journal() -> usize {
    Options::default().journal_bytes
}

/// The child: works on a store until it is killed, and tells of everything on its standard output.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "run by other tests in a process of its own"]
async fn child() {
    let dir = std::env::var(DIR).unwrap();
    let mut draw = Draw(std::env::var(SEED).unwrap().parse().unwrap());
    let journal_bytes = std::env::var(JOURNAL).unwrap().parse().unwrap();
    let options = Options { journal_bytes, ..small() };
    let disk = sled_disk(Path::new(&dir));
    let mut store = Store::open_with(disk, options, Executor::Threads).unwrap();
    let mut out = std::io::stdout();
    let mut tell = |event: Event| {
        out.write_all(format!("\n{event}\n").as_bytes()).unwrap();
        out.flush().unwrap();
    };
    work(&mut store, &mut draw, u64::MAX, &mut tell).await.unwrap();
}

/// A child that works on a store in this directory, and what it tells of.
pub(crate) struct Worker {
    child: Child,
    lines: std::io::Lines<BufReader<std::process::ChildStdout>>,
}

impl Worker {
    pub(crate) fn start(dir: &Path, seed: u64, journal_bytes: usize) -> Self {
        let own = Command::new(std::env::current_exe().unwrap());
        Self::spawn(own, dir, seed, journal_bytes, Stdio::null())
    }

    /// Starts a command that ends with the path of this program.
    fn spawn(
        mut command: Command,
        dir: &Path,
        seed: u64,
        journal_bytes: usize,
        stderr: Stdio,
    ) -> Self {
        let mut child = command
            .args(["--ignored", "--exact", "kill::child", "--nocapture"])
            .env(DIR, dir)
            .env(SEED, seed.to_string())
            .env(JOURNAL, journal_bytes.to_string())
            .stdout(Stdio::piped())
            .stderr(stderr)
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    /// Passes on what the child tells of until it told of so many acknowledgements.
    pub(crate) fn follow(&mut self, acknowledgements: u64, model: &mut Model) {
        let mut seen = 0;
        self.follow_until(model, |event| {
            seen += u64::from(matches!(event, Event::Acknowledged(_)));
            seen >= acknowledgements
        });
    }

    /// Passes on what the child tells of until it told of what is looked for.
    pub(crate) fn follow_until(&mut self, model: &mut Model, mut is_it: impl FnMut(Event) -> bool) {
        let deadline = Instant::now() + Duration::from_secs(100);
        loop {
            assert!(Instant::now() < deadline, "the child makes no progress");
            let line = self.lines.next().expect("the child ended by itself").unwrap();
            if let Ok(event) = line.parse::<Event>() {
                model.tell(event);
                if is_it(event) {
                    return;
                }
            }
        }
    }

    /// Follows the child to a drawn moment: soon, after a full journal, or when a checkpoint or a
    /// purge begins.
    pub(crate) fn follow_to_moment(&mut self, draw: &mut Draw, model: &mut Model) {
        self.follow(10 + draw.below(90), model);
        match draw.below(4) {
            0 => {}
            1 => {
                self.follow_until(model, |event| matches!(event, Event::Full(_)));
                self.follow(1 + draw.below(100), model);
            }
            2 => self.follow_until(model, |event| {
                matches!(event, Event::Submitted(Op::Checkpoint { .. }))
            }),
            _ => self
                .follow_until(model, |event| matches!(event, Event::Submitted(Op::Purge { .. }))),
        }
    }

    /// Passes on what it tells of until it ends by itself.
    fn end_by_itself(&mut self, model: &mut Model) -> ExitStatus {
        let rest = self.lines.by_ref().map_while(Result::ok);
        rest.filter_map(|line| line.parse().ok()).for_each(|event| model.tell(event));
        self.child.wait().unwrap()
    }

    /// Whether somebody traces it.
    fn is_traced(&self) -> bool {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        status.lines().any(|line| line.starts_with("TracerPid:") && !line.ends_with("\t0"))
    }

    /// Kills it, reaps it, and passes on what it had told of before.
    pub(crate) fn kill(mut self, model: &mut Model) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        let rest = self.lines.by_ref().map_while(Result::ok);
        rest.filter_map(|line| line.parse().ok()).for_each(|event| model.tell(event));
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // Killed already, unless a test failed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn acknowledged_entries_survive_kill_9() {
    let (mut draw, mut ends, mut entries) = (Draw(1), Ends::default(), 0);
    for (journal_bytes, rounds) in [(SMALL_JOURNAL, 16), (whole_journal(), 12)] {
        let dir = tempfile::tempdir().unwrap();
        let mut model = Model::default();
        for round in 0..rounds {
            let mut worker = Worker::start(dir.path(), round, journal_bytes);
            worker.follow_to_moment(&mut draw, &mut model);
            std::thread::sleep(Duration::from_micros(draw.below(3000)));
            worker.kill(&mut model);
            ends.count(&model);
            let mut store = Store::open(sled_disk(dir.path())).unwrap();
            model.check(&mut store).await;
            store.storage.close().await;
        }
        entries += model.entries;
    }
    println!("kills {ends}, {entries} acknowledged entries");
    assert!(entries > 2000, "{entries} entries are too few");
    let kinds = [ends.after_full, ends.after_checkpoint, ends.after_purge];
    assert!(kinds.iter().all(|&count| count > 2), "too few of one kind");
}

/// A call of the operating system fails from some time on (a disk that breaks, a disk that is
/// full): the child ends by itself, and everything that it told of is there.
#[tokio::test(flavor = "multi_thread")]
async fn acknowledged_entries_survive_a_failing_disk() {
    if let Err(why) = Command::new("strace").arg("-V").stdout(Stdio::null()).status() {
        return println!("SKIPPED, strace is not there: {why}");
    }
    let mut model = Model::default();
    let dir = tempfile::tempdir().unwrap();
    let faults = [
        ("fdatasync", "EIO", 9),
        ("fdatasync", "EIO", 64),
        ("fdatasync", "EIO", 151),
        ("pwrite64", "ENOSPC", 30),
        ("pwrite64", "ENOSPC", 100),
        ("pwrite64", "EIO", 200),
    ];
    for (round, (call, error, when)) in (0..).zip(faults) {
        let mut strace = Command::new("timeout");
        strace.args(["60", "strace", "-f", "-qq", "-o", "/dev/null", "-e"]);
        strace.args([format!("trace={call}"), "-e".into()]);
        strace.arg(format!("inject={call}:error={error}:when={when}+"));
        strace.arg(std::env::current_exe().unwrap());
        let mut worker = Worker::spawn(strace, dir.path(), round, SMALL_JOURNAL, Stdio::null());
        let status = worker.end_by_itself(&mut model);
        assert!(!status.success(), "{call} {error}: the child did not notice");
        assert_ne!(status.code(), Some(124), "{call} {error}: the child did not end");
        let mut store = Store::open(sled_disk(dir.path())).unwrap();
        model.check(&mut store).await;
        store.storage.close().await;
    }
    println!("{} failing disks, {} acknowledged entries", faults.len(), model.entries);
    assert!(model.entries > 50, "{} entries are too few", model.entries);
}

/// A disk stops to sync while all is open: sled panics when such a database is closed. The child
/// ends with the error of the disk, and nothing is printed of that panic.
#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_syncs_no_more_is_told_as_an_error() {
    let (dir, beside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let said = beside.path().join("stderr");
    let own = Command::new(std::env::current_exe().unwrap());
    let stderr = Stdio::from(File::create(&said).unwrap());
    let mut model = Model::default();
    let mut worker = Worker::spawn(own, dir.path(), 1, SMALL_JOURNAL, stderr);
    worker.follow(40, &mut model);
    let mut strace = Command::new("strace");
    strace.args(["-f", "-qq", "-o", "/dev/null", "-e", "trace=fsync,fdatasync"]);
    strace.args(["-e", "inject=fsync,fdatasync:error=EIO"]);
    strace.args(["-p", &worker.child.id().to_string()]);
    let mut strace = match strace.stderr(Stdio::null()).spawn() {
        Ok(strace) => strace,
        Err(why) => return println!("SKIPPED, strace is not there: {why}"),
    };
    while !worker.is_traced() && worker.child.try_wait().unwrap().is_none() {
        if let Some(status) = strace.try_wait().unwrap() {
            return println!("SKIPPED, no process can be traced here: {status}");
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    let status = worker.end_by_itself(&mut model);
    strace.wait().unwrap();
    assert!(!status.success(), "the child did not notice");
    let said = fs::read_to_string(said).unwrap();
    assert!(said.contains("Input/output error"), "{said}");
    let printed = |line: &&str| line.contains("panicked at") && line.contains("/sled-");
    assert_eq!(said.lines().find(printed), None, "{said}");
    let mut store = Store::open(sled_disk(dir.path())).unwrap();
    model.check(&mut store).await;
    store.storage.close().await;
    println!("{} acknowledged entries", model.entries);
    assert!(model.entries >= 40, "{} entries are too few", model.entries);
}
