//! What a run leaves behind, and what it says at its end.
//!
//! Owns the files of the results directory besides the history, the summary for people and the last
//! line for programs. Must not know how the verdict came about.

use std::{
    fs,
    io::{self, Write},
    path::Path,
};

use anyhow::Context;
use serde::Serialize;

use crate::{
    check::{Finding, Judgement, Verdict, progress::Counts},
    history::{Line, Start, What, edn},
    page::{
        self, Content,
        series::{self, Numbers},
    },
};

/// How many findings the summary shows in full.
const FINDINGS_SHOWN: usize = 10;

/// The content of results.json.
#[derive(Serialize)]
struct Results<'a> {
    verdict: Verdict,
    run: Option<&'a Start>,
    counts: &'a Counts,
    registers: usize,
    findings: &'a [Finding],
    evidence: Vec<String>,
    notes: &'a [String],
    numbers: Numbers,
}

/// Writes results.json, report.html and nemesis.log.
pub(crate) fn save(
    dir: &Path,
    lines: &[Line],
    judgement: &Judgement,
    notes: &[String],
) -> anyhow::Result<()> {
    let run = lines.iter().find_map(|line| match &line.what {
        What::Start(start) => Some(start),
        _ => None,
    });
    let (series, evidence) = (series::read(lines), evidence(judgement));
    let content = Content {
        verdict: judgement.verdict.to_string(),
        title: run.map_or_else(|| "a run".to_owned(), title),
        command: run.map(command).unwrap_or_default(),
        counts: &judgement.counts,
        findings: judgement.findings.iter().map(told).collect(),
        evidence: &evidence,
        notes,
    };
    write(&dir.join("report.html"), &page::render(&content, &series))?;
    let results = Results {
        verdict: judgement.verdict,
        run,
        counts: &judgement.counts,
        registers: judgement.registers,
        findings: &judgement.findings,
        evidence,
        notes,
        numbers: series.numbers(),
    };
    let text = serde_json::to_string_pretty(&results).context("encode the results")?;
    write(&dir.join("results.json"), &text)?;
    write(&dir.join("nemesis.log"), &nemesis_log(lines))
}

fn title(run: &Start) -> String {
    let (workload, nodes) = (&run.workload, run.nodes);
    format!("{workload} under {}, {nodes} coordinators, seed {}", nemeses(run), run.seed)
}

fn command(run: &Start) -> String {
    let (workload, nodes, seed) = (&run.workload, run.nodes, run.seed);
    let nemeses = nemeses(run);
    format!(
        "quorate-jepsen run --workload {workload} --nemesis {nemeses} --nodes {nodes} --seed {seed}"
    )
}

fn nemeses(run: &Start) -> String {
    let names: Vec<&str> = run.nemeses.iter().map(|class| class.name()).collect();
    if names.is_empty() { "none".to_owned() } else { names.join(",") }
}

fn told(finding: &Finding) -> [String; 3] {
    [finding.verdict.to_string(), finding.check.to_string(), finding.message.clone()]
}

/// Writes a history as EDN.
pub(crate) fn save_edn(path: &Path, lines: &[Line]) -> anyhow::Result<()> {
    write(path, &edn::render(lines))
}

/// Tells people on standard output, and programs on its last line.
pub(crate) fn tell(judgement: &Judgement, notes: &[String]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    let counts = &judgement.counts;
    writeln!(
        out,
        "operations: {} ok, {} failed, {} unknown, on {} registers",
        counts.ok, counts.fail, counts.info, judgement.registers
    )?;
    for (name, done) in &counts.work {
        writeln!(out, "{name}: {done}")?;
    }
    let kinds: Vec<String> =
        counts.faults_by_kind.iter().map(|(kind, count)| format!("{kind} x{count}")).collect();
    writeln!(out, "faults: {}", if kinds.is_empty() { "none".into() } else { kinds.join(", ") })?;
    writeln!(out, "checkpoints: {} made, {} installed", counts.checkpoints, counts.installs)?;
    for finding in judgement.findings.iter().take(FINDINGS_SHOWN) {
        writeln!(out, "{} ({}): {}", finding.verdict, finding.check, finding.message)?;
    }
    if judgement.findings.len() > FINDINGS_SHOWN {
        writeln!(out, "and {} more findings", judgement.findings.len() - FINDINGS_SHOWN)?;
    }
    if let Some(shortest) = &judgement.evidence {
        writeln!(out, "shortest evidence, {}: no order explains these:", shortest.key)?;
        for line in evidence(judgement) {
            writeln!(out, "  {line}")?;
        }
    }
    for note in notes {
        writeln!(out, "note: {note}")?;
    }
    writeln!(out, "{}", last_line(judgement.verdict, counts))?;
    out.flush()
}

/// The last line of a run that has nothing to judge.
pub(crate) fn tell_nothing() -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{}", last_line(Verdict::Unknown, &Counts::default()))?;
    out.flush()
}

fn last_line(verdict: Verdict, counts: &Counts) -> String {
    format!(
        "verdict={verdict} ops={} faults={} leader_changes={}",
        counts.ops(),
        counts.faults,
        counts.leader_changes
    )
}

fn evidence(judgement: &Judgement) -> Vec<String> {
    let operations = judgement.evidence.iter().flat_map(|evidence| &evidence.operations);
    operations.map(ToString::to_string).collect()
}

fn nemesis_log(lines: &[Line]) -> String {
    lines
        .iter()
        .filter_map(|line| {
            let what = match &line.what {
                What::Fault(event) => {
                    format!("fault {}: {} {}", event.id.0, event.fault, event.detail)
                }
                What::Over(over) => format!("fault {} is over", over.id.0),
                What::Heal => "no fault is left".to_owned(),
                What::Healed => "healed for good".to_owned(),
                What::Interrupted => "interrupted".to_owned(),
                What::Ended(end) => format!("coordinator {}: {}", end.node, end.detail),
                What::Crash(crash) => format!("coordinator {}: {}", crash.node, crash.detail),
                _ => return None,
            };
            Some(format!("{:>10.3}s {what}\n", line.time.seconds()))
        })
        .collect()
}

fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    fs::write(path, text).with_context(|| format!("write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        check::{judge, sample::History},
        history::{Answer, Call, Value},
    };

    #[test]
    fn the_last_line_is_for_programs() {
        let counts = Counts { ok: 5, fail: 2, info: 1, faults: 3, ..Counts::default() };
        assert_eq!(
            last_line(Verdict::Invalid, &counts),
            "verdict=invalid ops=8 faults=3 leader_changes=0"
        );
    }

    #[test]
    fn results_hold_verdict_findings_and_evidence() {
        let mut history = History::started(0, 0, 0);
        history.run(1, 1, Call::Write { value: Value(1) }, Answer::Written, 1);
        history.run(1, 1, Call::Read, Answer::Read { seen: None }, 1);
        history.converge();
        let directory = tempfile::tempdir().unwrap();
        let judgement = judge(&history.lines);
        save(directory.path(), &history.lines, &judgement, &["a note".to_owned()]).unwrap();
        let text = fs::read_to_string(directory.path().join("results.json")).unwrap();
        let results: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(results["verdict"], "invalid");
        assert_eq!(results["evidence"].as_array().unwrap().len(), 2);
        assert_eq!(results["run"]["nodes"], 3);
        assert_eq!(results["notes"][0], "a note");
        assert!(results["numbers"]["latency_ms_p99"].is_number(), "{results}");
        let page = fs::read_to_string(directory.path().join("report.html")).unwrap();
        assert!(page.contains("register under none, 3 coordinators, seed 1: invalid"), "{page}");
        let log = fs::read_to_string(directory.path().join("nemesis.log")).unwrap();
        assert!(log.contains("healed for good"), "{log}");
    }
}
