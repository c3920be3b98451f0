//! Every workload under every class of faults, one run after the other.
//!
//! Owns which runs are still to be made, the file of results (one JSON object a line, so that a
//! matrix can be made over many starts) and the table made from it. Each run is this program again:
//! it has namespaces of its own and leaves nothing behind. Must not know how a run is made.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs::{self, File, OpenOptions},
    io::Write,
    path::{Path, PathBuf},
    process::Stdio,
};

use anyhow::Context;
use rustix::process::{Signal, kill_process};
use serde::{Deserialize, Serialize};
use tokio::process::{Child, Command};

use crate::{
    args::MatrixArgs,
    nemesis::{ability, fault::FaultClass},
    net::{isolate::Signals, tool},
    workload::Workload,
};

/// One result: a line of the file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Entry {
    workload: Workload,
    nemesis: FaultClass,
    /// How long faults were made, in seconds.
    time: u64,
    nodes: u64,
    seed: u64,
    verdict: String,
    ops: u64,
    faults: u64,
    leader_changes: u64,
    /// Where history, report and logs are.
    store: PathBuf,
}

/// A place in the matrix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Cell {
    workload: Workload,
    nemesis: FaultClass,
}

/// What is known of a place.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Standing {
    /// It was run.
    Done(Entry),
    /// This machine cannot.
    Skipped(String),
    /// Not yet.
    Open,
}

/// How a matrix ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// All valid.
    Valid,
    /// Something is wrong.
    Invalid,
    /// Something is undecided, or was not run.
    Unknown,
    /// All that was run is valid, but not all can be run here.
    Skipped,
}

/// Runs what was not run yet; tells how the whole stands.
pub(crate) async fn run(args: &MatrixArgs) -> anyhow::Result<Outcome> {
    let file = args.results()?;
    let seed = args.seed.unwrap_or_else(|| u64::from(rand::random::<u32>()));
    let mut entries = read(&file)?;
    let cells = cells(&args.workloads(), &args.nemeses());
    eprintln!("{} runs, results in {}", cells.len(), file.display());
    let mut signals = Signals::new()?;
    let mut skipped: Vec<(FaultClass, String)> = Vec::new();
    for nemesis in args.nemeses() {
        if let Err(why) = ability::find(nemesis).await {
            skipped.push((nemesis, why));
        }
    }
    for (number, cell) in cells.iter().enumerate() {
        let standing = standing(*cell, args, &entries, &skipped);
        if !is_due(&standing, args.again) {
            continue;
        }
        eprintln!("run {} of {}: {}", number + 1, cells.len(), cell.name());
        let store = fresh_store(&file, *cell);
        let Some(entry) = one(args, *cell, seed + number as u64, &store, &mut signals).await?
        else {
            eprintln!(
                "interrupted; the same command goes on from here: --resume {}",
                file.display()
            );
            break;
        };
        eprintln!("run {} of {}: {}: {}", number + 1, cells.len(), cell.name(), entry.verdict);
        append(&file, &entry)?;
        entries.push(entry);
    }
    let whole: Vec<(Cell, Standing)> =
        cells.iter().map(|cell| (*cell, standing(*cell, args, &entries, &skipped))).collect();
    let table = table(args, &whole);
    let path = args.table.clone().unwrap_or_else(|| file.with_extension("md"));
    fs::write(&path, &table).with_context(|| format!("write {}", path.display()))?;
    let mut out = std::io::stdout().lock();
    writeln!(out, "{table}").context("write to standard output")?;
    Ok(outcome(&whole, args.allow_skips))
}

/// All places, by workload.
fn cells(workloads: &[Workload], nemeses: &[FaultClass]) -> Vec<Cell> {
    let of = |workload: &Workload| {
        let workload = *workload;
        nemeses.iter().map(move |nemesis| Cell { workload, nemesis: *nemesis })
    };
    workloads.iter().flat_map(of).collect()
}

/// What is known of a place; the newest result counts.
fn standing(
    cell: Cell,
    args: &MatrixArgs,
    entries: &[Entry],
    skipped: &[(FaultClass, String)],
) -> Standing {
    let fits = |entry: &&Entry| {
        (entry.workload, entry.nemesis) == (cell.workload, cell.nemesis)
            && (entry.time, entry.nodes) == (args.time, args.nodes)
    };
    if let Some(entry) = entries.iter().rev().find(fits) {
        return Standing::Done(entry.clone());
    }
    match skipped.iter().find(|(class, _)| *class == cell.nemesis) {
        Some((_, why)) => Standing::Skipped(why.clone()),
        None => Standing::Open,
    }
}

fn is_due(standing: &Standing, again: bool) -> bool {
    match standing {
        Standing::Open => true,
        Standing::Done(entry) => again && entry.verdict != "valid",
        Standing::Skipped(_) => false,
    }
}

/// Makes one run; none: it was interrupted.
async fn one(
    args: &MatrixArgs,
    cell: Cell,
    seed: u64,
    store: &Path,
    signals: &mut Signals,
) -> anyhow::Result<Option<Entry>> {
    let own = std::env::current_exe().context("find the program itself")?;
    let mut command = Command::new(own);
    command.args(["run", "--workload", cell.workload.name(), "--nemesis", cell.nemesis.name()]);
    command.args(["--time", &args.time.to_string(), "--nodes", &args.nodes.to_string()]);
    command.args(["--seed", &seed.to_string()]).arg("--store").arg(store);
    if let Some(binary) = &args.quorate {
        command.arg("--quorate").arg(binary);
    }
    // A group of its own: an interrupt from the terminal reaches it through us, once.
    let child = command.process_group(0).stdin(Stdio::null()).stdout(Stdio::piped()).spawn();
    let child = child.context("start a run")?;
    let pid = tool::pid(&child);
    let output = collect(child);
    tokio::pin!(output);
    let said = tokio::select! {
        said = &mut output => said?,
        () = signals.next() => {
            if let Some(pid) = pid {
                kill_process(pid, Signal::TERM).context("stop a run")?;
            }
            output.await?;
            return Ok(None);
        }
    };
    eprint!("{said}");
    let last = said.lines().last().unwrap_or_default();
    Ok(Some(entry(args, cell, seed, store, last)))
}

async fn collect(child: Child) -> anyhow::Result<String> {
    let output = child.wait_with_output().await.context("wait for a run")?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The result, from a run's last line. One that cannot be read is no pass.
fn entry(args: &MatrixArgs, cell: Cell, seed: u64, store: &Path, last: &str) -> Entry {
    let value = |name: &str| {
        let parts = last.split(' ').filter_map(|part| part.split_once('='));
        parts.filter(|(key, _)| *key == name).map(|(_, value)| value).next().unwrap_or_default()
    };
    let verdict = value("verdict");
    Entry {
        workload: cell.workload,
        nemesis: cell.nemesis,
        time: args.time,
        nodes: args.nodes,
        seed,
        verdict: if verdict.is_empty() { "unknown" } else { verdict }.to_owned(),
        ops: value("ops").parse().unwrap_or(0),
        faults: value("faults").parse().unwrap_or(0),
        leader_changes: value("leader_changes").parse().unwrap_or(0),
        store: store.to_owned(),
    }
}

/// A directory beside the file of results that holds no run yet.
fn fresh_store(file: &Path, cell: Cell) -> PathBuf {
    let runs = file.with_extension("runs");
    let name = cell.name().replace(' ', "-");
    let names = std::iter::once(name.clone()).chain((2..).map(|turn| format!("{name}-{turn}")));
    let mut stores = names.map(|name| runs.join(name));
    stores.find(|store| !store.exists()).unwrap_or(runs)
}

fn read(file: &Path) -> anyhow::Result<Vec<Entry>> {
    let text = match fs::read_to_string(file) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error).with_context(|| format!("read {}", file.display())),
    };
    let entry = |(number, line)| {
        serde_json::from_str(line)
            .with_context(|| format!("{}: line {}", file.display(), number + 1))
    };
    (0_usize..).zip(text.lines()).map(entry).collect()
}

fn append(file: &Path, entry: &Entry) -> anyhow::Result<()> {
    let line = serde_json::to_string(entry).context("encode a result")?;
    let open: std::io::Result<File> = OpenOptions::new().create(true).append(true).open(file);
    let written = open.and_then(|mut file| {
        file.write_all(format!("{line}\n").as_bytes())?;
        file.sync_all()
    });
    written.with_context(|| format!("write {}", file.display()))
}

/// The whole as Markdown: a file of its own, with nothing of this machine or this build in it.
fn table(args: &MatrixArgs, whole: &[(Cell, Standing)]) -> String {
    let (time, nodes, only) = (args.time, args.nodes, args.only());
    let mut text = format!(
        "# Every workload under every class of faults\n\n\
         Made by `quorate-jepsen matrix --time {time} --nodes {nodes}{only}`: {nodes} coordinators, faults for {time} s a run.\n\
         What workloads, faults and verdicts are is told in [the README](README.md).\n\n{}\n\n\
         | workload | faults of | operations | faults | leader changes | verdict |\n\
         | --- | --- | ---: | ---: | ---: | --- |\n",
        in_all(whole)
    );
    let mut skipped: BTreeMap<&str, &str> = BTreeMap::new();
    for (cell, standing) in whole {
        let rest = match standing {
            Standing::Done(Entry { ops, faults, leader_changes, verdict, .. }) => {
                format!("{ops} | {faults} | {leader_changes} | {verdict}")
            }
            Standing::Skipped(why) => {
                skipped.insert(cell.nemesis.name(), why);
                " | | | skipped".to_owned()
            }
            Standing::Open => " | | | not run yet".to_owned(),
        };
        let (workload, nemesis) = (cell.workload.name(), cell.nemesis.name());
        writeln!(text, "| {workload} | {nemesis} | {rest} |")
            .expect("writing to a String never fails");
    }
    if !skipped.is_empty() {
        text.push_str("\nSkipped, because the machine that made the table cannot:\n\n");
    }
    for (class, why) in skipped {
        writeln!(text, "- `{class}`: {why}").expect("writing to a String never fails");
    }
    text
}

/// How much was done, in a line.
fn in_all(whole: &[(Cell, Standing)]) -> String {
    let done = || {
        whole.iter().filter_map(|(_, standing)| match standing {
            Standing::Done(entry) => Some(entry),
            Standing::Skipped(_) | Standing::Open => None,
        })
    };
    let mut verdicts: BTreeMap<&str, usize> = BTreeMap::new();
    done().for_each(|entry| *verdicts.entry(&entry.verdict).or_default() += 1);
    let verdicts: Vec<String> =
        verdicts.iter().map(|(verdict, count)| format!("{count} {verdict}")).collect();
    let sum = |of: fn(&Entry) -> u64| done().map(of).sum::<u64>();
    format!(
        "In all {} runs ({}) with {} operations, {} faults and {} changes of leader; {} of {} were not made.",
        done().count(),
        verdicts.join(", "),
        sum(|entry| entry.ops),
        sum(|entry| entry.faults),
        sum(|entry| entry.leader_changes),
        whole.len() - done().count(),
        whole.len(),
    )
}

/// The worst of all places.
fn outcome(whole: &[(Cell, Standing)], allow_skips: bool) -> Outcome {
    let any = |test: fn(&Standing) -> bool| whole.iter().any(|(_, standing)| test(standing));
    let is = |verdict: &'static str| {
        whole.iter().any(|(_, s)| matches!(s, Standing::Done(entry) if entry.verdict == verdict))
    };
    if is("invalid") {
        Outcome::Invalid
    } else if any(|s| match s {
        Standing::Done(entry) => entry.verdict != "valid",
        Standing::Open => true,
        Standing::Skipped(_) => false,
    }) {
        Outcome::Unknown
    } else if !allow_skips && any(|s| matches!(s, Standing::Skipped(_))) {
        Outcome::Skipped
    } else {
        Outcome::Valid
    }
}

impl Cell {
    fn name(self) -> String {
        format!("{} {}", self.workload.name(), self.nemesis.name())
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::args::{Arguments, Command};

    const CELL: Cell = Cell { workload: Workload::Register, nemesis: FaultClass::Kill };

    fn args(extra: &[&str]) -> MatrixArgs {
        let arguments = ["quorate-jepsen", "matrix"].iter().chain(extra);
        match Arguments::try_parse_from(arguments).unwrap().command {
            Command::Matrix(matrix) => *matrix,
            other => panic!("{other:?}"),
        }
    }

    fn done(verdict: &str) -> Entry {
        let last = format!("verdict={verdict} ops=500 faults=7 leader_changes=2");
        entry(&args(&[]), CELL, 3, Path::new("runs/x"), &last)
    }

    #[test]
    fn a_result_is_a_runs_last_line() {
        let entry = done("valid");
        assert_eq!((entry.ops, entry.faults, entry.leader_changes), (500, 7, 2));
        assert_eq!(entry.verdict, "valid");
        let lost = super::entry(&args(&[]), CELL, 3, Path::new("x"), "Killed");
        assert_eq!(lost.verdict, "unknown");
    }

    #[test]
    fn what_is_in_the_file_is_not_run_again_unless_asked_for() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("matrix.jsonl");
        assert_eq!(read(&file).unwrap(), []);
        append(&file, &done("unknown")).unwrap();
        let entries = read(&file).unwrap();
        assert_eq!(entries, [done("unknown")]);
        let stands = standing(CELL, &args(&[]), &entries, &[]);
        assert!(!is_due(&stands, false) && is_due(&stands, true));
        append(&file, &done("valid")).unwrap();
        let entries = read(&file).unwrap();
        let stands = standing(CELL, &args(&[]), &entries, &[]);
        assert_eq!(stands, Standing::Done(done("valid")), "the newest result counts");
        assert!(!is_due(&stands, true));
        let longer = standing(CELL, &args(&["--time", "600"]), &entries, &[]);
        assert_eq!(longer, Standing::Open, "another length is another run");
    }

    #[test]
    fn the_worst_place_decides() {
        let skip = (CELL, Standing::Skipped("no netem".to_owned()));
        let with = |verdict: &str| (CELL, Standing::Done(done(verdict)));
        assert_eq!(outcome(&[with("valid")], false), Outcome::Valid);
        assert_eq!(outcome(&[with("valid"), skip.clone()], false), Outcome::Skipped);
        assert_eq!(outcome(&[with("valid"), skip.clone()], true), Outcome::Valid);
        assert_eq!(outcome(&[with("unknown"), skip.clone()], true), Outcome::Unknown);
        assert_eq!(outcome(&[(CELL, Standing::Open), skip], true), Outcome::Unknown);
        assert_eq!(outcome(&[with("unknown"), with("invalid")], true), Outcome::Invalid);
    }

    #[test]
    fn the_table_has_a_row_for_each_place() {
        let other = Cell { nemesis: FaultClass::Delay, ..CELL };
        let skip = (other, Standing::Skipped("no netem".to_owned()));
        let open = (CELL, Standing::Open);
        let whole = [(CELL, Standing::Done(done("valid"))), skip.clone(), skip, open];
        let text = table(&args(&[]), &whole);
        assert!(text.starts_with("# Every workload"), "{text}");
        assert!(text.contains("| register | kill | 500 | 7 | 2 | valid |\n"), "{text}");
        assert!(text.contains("| register | delay |  | | | skipped |\n"), "{text}");
        assert!(text.contains("| register | kill |  | | | not run yet |\n"), "{text}");
        assert!(text.ends_with("\n\n- `delay`: no netem\n"), "told once: {text}");
        let in_all = "In all 1 runs (1 valid) with 500 operations, 7 faults and 2 changes of leader; \
                      3 of 4 were not made.";
        assert!(text.contains(in_all), "{text}");
        assert!(!text.contains("runs/x"), "no path of this machine: {text}");
    }

    #[test]
    fn a_run_that_was_broken_off_keeps_its_directory() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("matrix.jsonl");
        let first = fresh_store(&file, CELL);
        assert!(first.ends_with("matrix.runs/register-kill"), "{}", first.display());
        fs::create_dir_all(&first).unwrap();
        assert!(fresh_store(&file, CELL).ends_with("matrix.runs/register-kill-2"));
    }

    #[test]
    fn all_is_run_against_all() {
        let all = cells(&args(&[]).workloads(), &args(&[]).nemeses());
        assert_eq!(all.len(), Workload::ALL.len() * FaultClass::ALL.len());
        let some = args(&["--nemeses", "kill,none", "--workloads", "register"]);
        assert_eq!(cells(&some.workloads(), &some.nemeses()).len(), 2);
        let text = table(&some, &[]);
        assert!(text.contains("5 --workloads register --nemeses kill,none`"), "{text}");
        assert!(table(&args(&[]), &[]).contains("--time 60 --nodes 5`"));
    }
}
