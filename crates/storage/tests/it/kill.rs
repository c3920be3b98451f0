//! kill -9 of a process that writes: everything that it told of must be there.

use std::{
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use crate::{
    model::{Event, Model, work},
    support::{Draw, Store, sled_disk},
};

const DIR: &str = "QUORATE_CHILD_DIR";
const SEED: &str = "QUORATE_CHILD_SEED";

/// The child: works on a store until it is killed, and tells of everything on its standard output.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "run by other tests in a process of its own"]
async fn child() {
    let dir = std::env::var(DIR).unwrap();
    let mut draw = Draw(std::env::var(SEED).unwrap().parse().unwrap());
    let mut store = Store::open(sled_disk(Path::new(&dir))).unwrap();
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
    pub(crate) fn start(dir: &Path, seed: u64) -> Self {
        Self::spawn(Command::new(std::env::current_exe().unwrap()), dir, seed)
    }

    /// Starts a command that ends with the path of this program.
    fn spawn(mut command: Command, dir: &Path, seed: u64) -> Self {
        let mut child = command
            .args(["--ignored", "--exact", "kill::child", "--nocapture"])
            .env(DIR, dir)
            .env(SEED, seed.to_string())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    /// Passes on what the child tells of until it told of so many acknowledgements.
    pub(crate) fn follow(&mut self, acknowledgements: u64, model: &mut Model) {
        let deadline = Instant::now() + Duration::from_secs(60);
        let mut seen = 0;
        while seen < acknowledgements {
            assert!(Instant::now() < deadline, "the child makes no progress");
            let line = self.lines.next().expect("the child ended by itself").unwrap();
            if let Ok(event) = line.parse::<Event>() {
                seen += u64::from(matches!(event, Event::Acknowledged(_)));
                model.tell(event);
            }
        }
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
    let dir = tempfile::tempdir().unwrap();
    let mut model = Model::default();
    let mut draw = Draw(1);
    let rounds = 12;
    for round in 0..rounds {
        let mut worker = Worker::start(dir.path(), round);
        worker.follow(20 + draw.below(150), &mut model);
        std::thread::sleep(Duration::from_micros(draw.below(3000)));
        worker.kill(&mut model);
        let mut store = Store::open(sled_disk(dir.path())).unwrap();
        model.check(&mut store).await;
        store.storage.close().await;
    }
    println!("{rounds} kills, {} acknowledged entries", model.entries);
    assert!(model.entries > 500, "{} entries are too few", model.entries);
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
        let mut worker = Worker::spawn(strace, dir.path(), round);
        let lines: Vec<String> = worker.lines.by_ref().map_while(Result::ok).collect();
        let status = worker.child.wait().unwrap();
        assert!(!status.success(), "{call} {error}: the child did not notice");
        assert_ne!(status.code(), Some(124), "{call} {error}: the child did not end");
        lines.iter().filter_map(|line| line.parse().ok()).for_each(|event| model.tell(event));
        let mut store = Store::open(sled_disk(dir.path())).unwrap();
        model.check(&mut store).await;
        store.storage.close().await;
    }
    println!("{} failing disks, {} acknowledged entries", faults.len(), model.entries);
    assert!(model.entries > 50, "{} entries are too few", model.entries);
}
