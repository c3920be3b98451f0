//! A line every few seconds, on standard error, on how a run goes.
//!
//! Owns the task that writes it, and hands the history to the disk in the same beat. Must not know
//! what comes of the run.

use std::{
    io::{self, Write},
    time::Duration,
};

use tokio::{task::JoinHandle, time::interval};

use crate::{
    check::progress::Counts,
    history::{FaultId, Line, What, record::Recorder},
};

/// How often a line is written.
const EVERY: Duration = Duration::from_secs(2);

/// The task; it ends with this.
pub(crate) struct Progress {
    task: JoinHandle<()>,
}

impl Progress {
    /// Begins to write.
    pub(crate) fn start(recorder: Recorder) -> Self {
        let task = tokio::spawn(async move {
            let mut state = State::default();
            let mut ticks = interval(EVERY);
            ticks.tick().await;
            loop {
                ticks.tick().await;
                recorder.with_lines(|lines| state.read(lines));
                // Nobody may be listening; the run goes on.
                let written = writeln!(io::stderr().lock(), "{}", state.render());
                drop(written);
                if let Err(error) = recorder.flush() {
                    let written = writeln!(io::stderr().lock(), "{error:#}");
                    drop(written);
                }
            }
        });
        Self { task }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[derive(Default)]
struct State {
    read: usize,
    counts: Counts,
    seconds: f64,
    /// The faults at work.
    faults: Vec<(FaultId, String)>,
}

impl State {
    fn read(&mut self, lines: &[Line]) {
        for line in lines.iter().skip(self.read) {
            self.counts.add(line);
            self.seconds = line.time.seconds();
            match &line.what {
                What::Fault(event) => {
                    self.faults.push((event.id, format!("{} {}", event.fault, event.detail)));
                }
                What::Over(over) => self.faults.retain(|(id, _)| *id != over.id),
                What::Heal | What::Healed => self.faults.clear(),
                _ => {}
            }
        }
        self.read = lines.len();
    }

    fn render(&self) -> String {
        let counts = &self.counts;
        let (leader, term) = match counts.leader {
            Some((term, leader)) => (leader.to_string(), term.to_string()),
            None => ("-".to_owned(), "-".to_owned()),
        };
        let faults: Vec<&str> = self.faults.iter().map(|(_, fault)| fault.as_str()).collect();
        format!(
            "t={:.0}s ops ok={} fail={} info={} faults={} leader={leader} term={term} fault={}",
            self.seconds,
            counts.ok,
            counts.fail,
            counts.info,
            counts.faults,
            if faults.is_empty() { "none".to_owned() } else { faults.join("; ") },
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        check::sample::{History, absent, ok_read},
        history::{Call, FaultEvent, OverEvent},
        nemesis::fault::{FaultKind, Target},
    };

    #[test]
    fn a_line_tells_counts_leader_and_fault() {
        let mut history = History::new();
        history.run(1, 1, Call::Read, ok_read(absent()), 0);
        history.status(3, 3, 4, 1, 1);
        let mut state = State::default();
        state.read(&history.lines);
        for (id, node) in [(1, 2), (2, 3)] {
            history.add(What::Fault(FaultEvent {
                id: FaultId(id),
                fault: FaultKind::Kill(Target::One),
                detail: format!("{{{node}}}"),
                nodes: Vec::new(),
            }));
        }
        state.read(&history.lines);
        let before = "t=0s ops ok=1 fail=0 info=0 faults=2 leader=3 term=4 fault=";
        assert_eq!(state.render(), format!("{before}kill:one {{2}}; kill:one {{3}}"));
        history.add(What::Over(OverEvent { id: FaultId(1) }));
        state.read(&history.lines);
        assert_eq!(state.render(), format!("{before}kill:one {{3}}"));
        history.add(What::Heal);
        state.read(&history.lines);
        assert_eq!(state.render(), format!("{before}none"));
    }
}
