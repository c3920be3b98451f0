//! The command line.
//!
//! Owns names, defaults and the choice of the binary under test. Must not know how a run is made.

use std::{
    path::{Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, bail};
use clap::{Args, Parser, Subcommand};

use crate::{
    history::Minimum,
    nemesis::fault::FaultClass,
    net::NODES_MAX,
    workload::{Workload, client::Reads},
};

/// Runs real coordinators on hosts of their own, breaks the network and the processes, and judges
/// what clients saw.
#[derive(Debug, Parser)]
#[command(name = "quorate-jepsen", version, after_help = AFTER_HELP)]
pub(crate) struct Arguments {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

const AFTER_HELP: &str = "\
Exit codes: 0 valid, 1 invalid, 2 unknown (not a pass), 3 this machine cannot run it (all of it),
64 wrong usage. The last line of `run` and `check` is always
verdict=valid|invalid|unknown ops=N faults=N leader_changes=N

Example:
  quorate-jepsen run --workload register --nemesis partition,kill --time 60 --nodes 5 --seed 1";

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Runs a workload under faults and judges it. Needs Linux; no root.
    Run(Box<RunArgs>),
    /// Runs every workload under every class of faults, one after the other.
    Matrix(Box<MatrixArgs>),
    /// Lists workloads and faults, and which of them this machine can run.
    List,
    /// Judges a history that a run has saved.
    Check(CheckArgs),
}

/// Arguments of `run`.
#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    /// What clients do.
    #[arg(long, value_enum, default_value = "register")]
    pub(crate) workload: Workload,
    /// The classes of faults, mixed.
    #[arg(long, value_enum, value_delimiter = ',', default_value = "partition,kill")]
    pub(crate) nemesis: Vec<FaultClass>,
    /// How long faults are made, in seconds. Healing and checking come on top.
    #[arg(long, value_name = "SECONDS", default_value_t = 60,
        value_parser = clap::value_parser!(u64).range(5..=86_400))]
    pub(crate) time: u64,
    /// How many coordinators.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(3..=NODES_MAX))]
    pub(crate) nodes: u64,
    /// Seeds the choice of faults and operations [default: drawn].
    #[arg(long)]
    pub(crate) seed: Option<u64>,
    /// The binary under test [default: beside this program, else target/release, target/debug].
    #[arg(long, value_name = "PATH", env = "QUORATE_BIN", hide_env_values = true)]
    pub(crate) quorate: Option<PathBuf>,
    /// Where history, results and logs go; must not hold an earlier run [default: a new directory
    /// in target/jepsen, or in ./jepsen-store].
    #[arg(long, value_name = "DIR")]
    pub(crate) store: Option<PathBuf>,
    /// Operations a second, all clients together.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u64).range(1..=100_000))]
    pub(crate) rate: u64,
    /// How many clients, dealt to the coordinators in turn [default: two for each coordinator].
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=200))]
    pub(crate) clients: Option<u64>,
    /// How fresh reads are asked to be. A run with local reads must come out invalid: it shows that
    /// the checks bite.
    #[arg(long, value_enum, default_value = "linearizable")]
    pub(crate) reads: Reads,
    /// How long a client waits for an answer, in milliseconds.
    #[arg(long, default_value_t = 3_000, value_parser = clap::value_parser!(u64).range(50..=60_000))]
    pub(crate) op_timeout_ms: u64,
    /// Save the history as Jepsen's EDN too.
    #[arg(long)]
    pub(crate) edn: bool,
    /// Keep the coordinators' data of a valid run too.
    #[arg(long)]
    pub(crate) keep_data: bool,
    /// Answered operations without which the run means nothing [default: five a second
    /// (lock, ownership, connection and allocation: one), or a twentieth of the rate if that is less].
    #[arg(long)]
    pub(crate) min_ops: Option<u64>,
    /// Faults without which the run means nothing [default: one in 12 s, or in 30 s for classes that
    /// take long, and one of each class].
    #[arg(long)]
    pub(crate) min_faults: Option<u64>,
    /// Changes of leader without which the run means nothing [default: one in 30 s, at least one;
    /// membership: one; none for classes that leave the leader in place].
    #[arg(long)]
    pub(crate) min_leader_changes: Option<u64>,
}

/// Arguments of `matrix`.
#[derive(Debug, Args)]
pub(crate) struct MatrixArgs {
    /// The file of results, a JSON object a line. What is in it is not run again [default: a new
    /// one where `run` puts its results].
    #[arg(long, value_name = "FILE")]
    pub(crate) resume: Option<PathBuf>,
    /// How long faults are made in each run, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 60,
        value_parser = clap::value_parser!(u64).range(5..=86_400))]
    pub(crate) time: u64,
    /// How many coordinators.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(3..=NODES_MAX))]
    pub(crate) nodes: u64,
    /// The workloads [default: all].
    #[arg(long, value_enum, value_delimiter = ',')]
    workloads: Vec<Workload>,
    /// The classes of faults [default: all].
    #[arg(long, value_enum, value_delimiter = ',')]
    nemeses: Vec<FaultClass>,
    /// Seeds the first run; each further one has the next number [default: drawn].
    #[arg(long)]
    pub(crate) seed: Option<u64>,
    /// Be content with what this machine can run.
    #[arg(long)]
    pub(crate) allow_skips: bool,
    /// Run once more what is in the file and not valid.
    #[arg(long)]
    pub(crate) again: bool,
    /// Where the table goes [default: beside the file of results].
    #[arg(long, value_name = "FILE")]
    pub(crate) table: Option<PathBuf>,
    /// The binary under test, as for `run`.
    #[arg(long, value_name = "PATH")]
    pub(crate) quorate: Option<PathBuf>,
}

/// Arguments of `check`.
#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    /// The history: history.jsonl of a run.
    pub(crate) history: PathBuf,
    /// Also write it as Jepsen's EDN to this file.
    #[arg(long, value_name = "FILE")]
    pub(crate) edn: Option<PathBuf>,
}

impl MatrixArgs {
    /// The workloads, all unless some are named.
    pub(crate) fn workloads(&self) -> Vec<Workload> {
        if self.workloads.is_empty() { Workload::ALL.to_vec() } else { self.workloads.clone() }
    }

    /// The classes of faults, all unless some are named.
    pub(crate) fn nemeses(&self) -> Vec<FaultClass> {
        if self.nemeses.is_empty() { FaultClass::ALL.to_vec() } else { self.nemeses.clone() }
    }

    /// The arguments that name some workloads and classes, as they follow others.
    pub(crate) fn only(&self) -> String {
        let workloads: Vec<&str> = self.workloads.iter().map(|one| one.name()).collect();
        let nemeses: Vec<&str> = self.nemeses.iter().map(|one| one.name()).collect();
        let some = [("workloads", workloads), ("nemeses", nemeses)];
        let named = some.iter().filter(|(_, names)| !names.is_empty());
        named.map(|(what, names)| format!(" --{what} {}", names.join(","))).collect()
    }

    /// The file of results; the directory that it is in exists afterwards.
    pub(crate) fn results(&self) -> anyhow::Result<PathBuf> {
        let file = self.resume.clone().unwrap_or_else(|| {
            let began = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            default_stores().join(format!("matrix-{}.jsonl", began.as_secs()))
        });
        let dir = file.parent().filter(|dir| !dir.as_os_str().is_empty());
        let dir = dir.unwrap_or_else(|| Path::new("."));
        std::fs::create_dir_all(dir).with_context(|| format!("create {}", dir.display()))?;
        let name = file.file_name().with_context(|| file.display().to_string())?;
        Ok(visible_inside(dir)?.join(name))
    }
}

impl RunArgs {
    /// How long faults are made.
    pub(crate) const fn length(&self) -> Duration {
        Duration::from_secs(self.time)
    }

    /// How many clients.
    pub(crate) fn clients(&self) -> u64 {
        self.clients.unwrap_or(2 * self.nodes)
    }

    /// The classes of faults, each once; a mixed run has no others.
    pub(crate) fn classes(&self) -> Vec<FaultClass> {
        if self.nemesis.contains(&FaultClass::Mixed) {
            return vec![FaultClass::Mixed];
        }
        let mut classes = self.nemesis.clone();
        classes.retain(|class| *class != FaultClass::None);
        classes.sort_unstable();
        classes.dedup();
        classes
    }

    /// What the run must reach to mean something.
    pub(crate) fn minimum(&self) -> Minimum {
        let classes = self.classes();
        let seconds = if classes.iter().any(|class| class.takes_long()) { 30 } else { 12 };
        // A run too short for a turn of every class must still meet a fault.
        let faults = match self.time {
            _ if classes.is_empty() => 0,
            0..15 => 1,
            time => (time / seconds).max(classes.len() as u64),
        };
        let changes = classes.iter().map(|class| class.leader_changes(self.time)).max();
        let leader_changes = if self.time < 15 { 0 } else { changes.unwrap_or(0) };
        Minimum {
            ops: self
                .min_ops
                .unwrap_or(self.time * self.rate.min(self.workload.rate_expected()) / 20),
            faults: self.min_faults.unwrap_or(faults),
            leader_changes: self.min_leader_changes.unwrap_or(leader_changes),
        }
    }

    /// The binary under test.
    pub(crate) fn binary(&self) -> anyhow::Result<PathBuf> {
        let own = std::env::current_exe().context("find the program itself")?;
        let beside = own.parent().map(|dir| dir.join("quorate"));
        let candidates: Vec<PathBuf> = match &self.quorate {
            Some(path) => vec![path.clone()],
            None => beside
                .into_iter()
                .chain(["target/release/quorate", "target/debug/quorate"].map(PathBuf::from))
                .collect(),
        };
        let found = candidates.iter().find(|path| path.is_file());
        match found {
            Some(path) => visible_inside(path),
            None => {
                let tried: Vec<String> =
                    candidates.iter().map(|path| path.display().to_string()).collect();
                bail!(
                    "no quorate binary at {}; build it (cargo build --bin quorate) or name it \
                     (--quorate PATH)",
                    tried.join(", ")
                )
            }
        }
    }

    /// The directory for results, created.
    pub(crate) fn store_dir(&self, run: &str) -> anyhow::Result<PathBuf> {
        let dir = match &self.store {
            Some(dir) => dir.clone(),
            None => default_stores().join(run),
        };
        std::fs::create_dir_all(&dir).with_context(|| format!("create {}", dir.display()))?;
        if dir.join("history.jsonl").exists() {
            bail!("{} holds an earlier run", dir.display());
        }
        visible_inside(&dir)
    }
}

/// `target/jepsen` when run from a build, else `./jepsen-store`.
fn default_stores() -> PathBuf {
    let own = std::env::current_exe().unwrap_or_default();
    let build = own.parent().filter(|dir| dir.ends_with("debug") || dir.ends_with("release"));
    match build.and_then(Path::parent) {
        Some(target) => target.join("jepsen"),
        None => PathBuf::from("jepsen-store"),
    }
}

/// What the harness mounts over.
const HIDDEN: [&str; 2] = ["/run", "/dev/shm"];

/// The absolute path, unless the harness's own directories would hide it.
fn visible_inside(path: &Path) -> anyhow::Result<PathBuf> {
    let path = path.canonicalize().with_context(|| path.display().to_string())?;
    if HIDDEN.iter().any(|hidden| path.starts_with(hidden)) {
        bail!(
            "{}: nothing below {} is visible inside the harness's namespaces",
            path.display(),
            HIDDEN.join(" or ")
        );
    }
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(extra: &[&str]) -> RunArgs {
        let arguments = ["quorate-jepsen", "run"].iter().chain(extra);
        match Arguments::try_parse_from(arguments).unwrap().command {
            Command::Run(run) => *run,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn classes_are_separated_by_commas() {
        let run = run(&["--nemesis", "pause,partition,pause", "--nodes", "3"]);
        assert_eq!(run.classes(), [FaultClass::Partition, FaultClass::Pause]);
        assert_eq!(run.clients(), 6);
    }

    #[test]
    fn mixed_is_all_and_none_is_nothing() {
        assert_eq!(run(&["--nemesis", "kill,mixed"]).classes(), [FaultClass::Mixed]);
        assert_eq!(run(&["--nemesis", "none"]).classes(), []);
    }

    #[test]
    fn minimums_follow_the_length() {
        let minimum = run(&["--time", "60"]).minimum();
        assert_eq!((minimum.ops, minimum.faults, minimum.leader_changes), (300, 5, 2));
        assert_eq!(run(&["--time", "60", "--workload", "lock"]).minimum().ops, 60);
        let minimum = run(&["--nemesis", "disk,clock"]).minimum();
        assert_eq!((minimum.faults, minimum.leader_changes), (2, 2));
        let minimum = run(&["--nemesis", "loss"]).minimum();
        assert_eq!((minimum.faults, minimum.leader_changes), (5, 0));
        let minimum = run(&["--nemesis", "membership"]).minimum();
        assert_eq!((minimum.faults, minimum.leader_changes), (2, 1));
        let minimum = run(&["--nemesis", "none"]).minimum();
        assert_eq!((minimum.ops, minimum.faults, minimum.leader_changes), (300, 0, 0));
        let minimum = run(&["--time", "20", "--min-ops", "7"]).minimum();
        assert_eq!((minimum.ops, minimum.faults, minimum.leader_changes), (7, 2, 1));
    }

    #[test]
    fn a_store_is_not_used_twice() {
        let directory = tempfile::tempdir().unwrap();
        let run = run(&["--store", directory.path().to_str().unwrap()]);
        assert!(run.store_dir("x").is_ok());
        std::fs::write(directory.path().join("history.jsonl"), "").unwrap();
        let error = run.store_dir("x").unwrap_err().to_string();
        assert!(error.contains("earlier run"), "{error}");
    }

    #[test]
    fn a_missing_binary_is_told() {
        let error = run(&["--quorate", "/nonexistent/quorate"]).binary().unwrap_err().to_string();
        assert!(error.contains("/nonexistent/quorate") && error.contains("cargo build"), "{error}");
    }
}
