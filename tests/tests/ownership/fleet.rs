//! Workers as processes: `quorate worker register`, and what they say.

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader},
    path::PathBuf,
    process::{Child, ChildStdout, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex, PoisonError},
    thread::{self, JoinHandle},
    time::Instant,
};

use anyhow::{Context, Result, bail};
use quorate_core::{Epoch, PartitionId};
use quorate_tests::{
    cluster::{Cluster, HEALTHY_WITHIN, POLL},
    ownership::Claim,
};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// The workers, with the time to live of their sessions: some survive an election, some do not.
pub(crate) const WORKERS: [(&str, &str); 4] =
    [("w1", "1s"), ("w2", "2s"), ("w3", "3s"), ("w4", "2s")];

/// All workers that were ever started.
pub(crate) struct Fleet {
    binary: PathBuf,
    endpoints: String,
    running: BTreeMap<String, Running>,
    claims: Arc<Mutex<Vec<Claim>>>,
    /// How many registrations were refused because the name was taken.
    pub(crate) refused: usize,
    /// How many lost their session without a fault of the test.
    pub(crate) mended: usize,
    /// How many ended well, and so closed their session.
    pub(crate) left: usize,
}

struct Running {
    child: Child,
    reader: JoinHandle<bool>,
}

impl Fleet {
    /// Has no worker yet.
    pub(crate) fn new(cluster: &Cluster) -> Self {
        Self {
            binary: cluster.binary().to_path_buf(),
            endpoints: cluster.endpoints(),
            running: BTreeMap::new(),
            claims: Arc::default(),
            refused: 0,
            mended: 0,
            left: 0,
        }
    }

    /// Starts a worker, again and again while its name is taken by a session that lives, or no
    /// coordinator answers.
    pub(crate) fn start(&mut self, name: &str) -> Result<()> {
        let (_, ttl) = WORKERS.into_iter().find(|(of, _)| *of == name).context("a worker")?;
        let until = Instant::now() + HEALTHY_WITHIN;
        while Instant::now() < until {
            let mut command = Command::new(&self.binary);
            command.args(["--endpoints", &self.endpoints, "--output", "json"]);
            command.args(["worker", "register", "--name", name, "--ttl", ttl]);
            command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
            let mut child = command.spawn().context("cannot start a worker")?;
            let mut lines = BufReader::new(child.stdout.take().context("piped")?);
            let mut first = String::new();
            lines.read_line(&mut first)?;
            if first.contains("\"registered\"") {
                let (name, claims) = (name.to_owned(), self.claims.clone());
                let worker = name.clone();
                let reader = thread::spawn(move || read(lines, &worker, &claims));
                self.running.insert(name, Running { child, reader });
                return Ok(());
            }
            let status = child.wait()?;
            match status.code() {
                Some(1) => self.refused += 1,
                // Nobody leads at the moment, or its session was lost before it was registered.
                Some(4 | 5) => {}
                _ => bail!("worker {name} ended with {status} instead of being refused"),
            }
        }
        bail!("worker {name} was refused for {HEALTHY_WITHIN:?}")
    }

    /// Starts those again that lost their session though nobody struck them: an election may take
    /// longer than their time to live.
    pub(crate) fn mend(&mut self) -> Result<()> {
        let names: Vec<_> = self.running.keys().cloned().collect();
        for name in names {
            let running = self.running.get_mut(&name).context("it runs")?;
            if running.child.try_wait()?.is_some() {
                self.ended(&name)?;
                self.mended += 1;
                self.start(&name)?;
            }
        }
        Ok(())
    }

    /// Sends a worker a signal, unless it has ended.
    pub(crate) fn signal(&mut self, name: &str, signal: Signal) -> Result<()> {
        let running = self.running.get_mut(name).context("it runs")?;
        if running.child.try_wait()?.is_some() {
            return Ok(());
        }
        let pid = i32::try_from(running.child.id()).ok().and_then(Pid::from_raw);
        kill_process(pid.context("a child has a process id")?, signal)?;
        Ok(())
    }

    /// Waits for the end of a worker. Whether it said that it left.
    pub(crate) fn ended(&mut self, name: &str) -> Result<(ExitStatus, bool)> {
        let mut running = self.running.remove(name).context("it runs")?;
        let until = Instant::now() + HEALTHY_WITHIN;
        let status = loop {
            if let Some(status) = running.child.try_wait()? {
                break status;
            }
            if Instant::now() > until {
                running.child.kill()?;
                bail!("worker {name} does not end");
            }
            thread::sleep(POLL);
        };
        let left = running.reader.join().map_err(|_| anyhow::anyhow!("the reader panicked"))?;
        self.left += usize::from(left);
        Ok((status, left))
    }

    /// What a worker that has ended believed last.
    pub(crate) fn believed(&self, name: &str) -> Vec<Claim> {
        let mut last: BTreeMap<PartitionId, Claim> = BTreeMap::new();
        for claim in self.claims().into_iter().filter(|claim| claim.worker == name) {
            last.insert(claim.partition.clone(), claim);
        }
        last.into_values().collect()
    }

    /// What all workers believed until now.
    pub(crate) fn claims(&self) -> Vec<Claim> {
        self.claims.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        for running in self.running.values_mut() {
            // It may have ended already.
            let _ = running.child.kill();
            let _ = running.child.wait();
        }
    }
}

/// Turns the lines of a worker into claims. Whether the last one says that it has left.
fn read(lines: BufReader<ChildStdout>, worker: &str, claims: &Mutex<Vec<Claim>>) -> bool {
    let mut acting: BTreeMap<PartitionId, Claim> = BTreeMap::new();
    let mut left = false;
    for line in lines.lines().map_while(Result::ok) {
        let line: Value = serde_json::from_str(&line).expect("a JSON object a line");
        let text = |name: &str| line[name].as_str().unwrap_or_default();
        let number = |name: &str| line[name].as_u64().expect("a number");
        let partition = PartitionId::parse(text("partition"));
        let mut stopped = Vec::new();
        match text("type") {
            "assigned" => {
                let partition = partition.expect("a partition");
                let epoch = Epoch::parse(text("epoch")).expect("an epoch");
                let from_ms = number("boot_ms");
                let worker = worker.to_owned();
                let id = partition.clone();
                let claim = Claim { worker, partition, epoch, from_ms, until_ms: from_ms };
                stopped.extend(acting.insert(id, claim));
            }
            "valid" => {
                let until = number("until_boot_ms");
                acting.values_mut().for_each(|claim| claim.until_ms = until);
            }
            "releasing" | "released" => {
                stopped.extend(partition.and_then(|partition| acting.remove(&partition)));
            }
            "leaving" => stopped.extend(std::mem::take(&mut acting).into_values()),
            "left" => left = true,
            _ => {}
        }
        // It says so before it does it: from then on it does not act, whatever it believed.
        let now = line["boot_ms"].as_u64().unwrap_or(u64::MAX);
        stopped.iter_mut().for_each(|claim| claim.until_ms = claim.until_ms.min(now));
        claims.lock().unwrap_or_else(PoisonError::into_inner).extend(stopped);
    }
    // Killed, or its session was lost: what it believed last holds.
    claims.lock().unwrap_or_else(PoisonError::into_inner).extend(acting.into_values());
    left
}
