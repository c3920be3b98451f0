//! The tour of README.md, typed word for word: each command shows what the README shows.
//!
//! ```text
//!   README.md -> steps -> terminals -> lines, with the rules of what may differ
//! ```
//!
//! It differs from the README in what a test must: the cluster takes free ports, which are shown as
//! the usual ones, commands wait longer for answers, and the binary is the one that was built beside
//! this test.

mod readme;
mod rules;
mod terminal;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use quorate_tests::cluster::{POLL, binary};

use readme::{Step, Typed};
use rules::Names;
use terminal::Terminal;

/// How long anything may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long a command waits for an answer, there.
const ANSWER_TIMEOUT: &str = "30s";
/// What the README starts the cluster with, and what is run instead.
const START: (&str, &str) =
    ("cargo run --release --bin quorate -- dev", "quorate dev --base-port 0");
/// Who leads there in the beginning: the member that forms the cluster, nearly always.
const LEADS: &str = "1";
/// Is shown only if somebody looks at the right moment.
const FLEETING: &str = "no member leads";
/// Commands that change nothing. They are typed again until they show what is told: a person is slower.
const LOOKS: [&str; 7] = [
    "quorate status",
    "quorate kv get",
    "quorate history",
    "quorate partition list",
    "quorate connection list",
    "quorate worker list",
    "quorate session list",
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the root is above").to_path_buf()
}

#[test]
fn the_tour_of_the_readme_shows_what_it_tells() -> Result<()> {
    let readme = fs::read_to_string(root().join("README.md"))?;
    let steps = readme::steps(&readme);
    ensure!(steps.len() > 20, "README.md has no tour");
    let mut tour = Tour::default();
    for step in &steps {
        tour.take(step).with_context(|| {
            let typed = step.typed.as_ref();
            format!("README.md:{}, {}: {typed:?}, {:#?}", step.line, step.terminal, tour.names)
        })?;
    }
    Ok(())
}

/// A run of the tour. The cluster is the first terminal, and goes last.
#[derive(Debug, Default)]
struct Tour {
    terminals: BTreeMap<String, Terminal>,
    /// The terminal of the cluster.
    cluster: Option<(String, Terminal)>,
    /// What is shown of this run, and what it is in the README.
    shown_as: Vec<(String, String)>,
    environment: Vec<(&'static str, String)>,
    names: Names,
}

impl Tour {
    fn take(&mut self, step: &Step) -> Result<()> {
        match &step.typed {
            Some(Typed::Command(command)) if command.starts_with(START.0) => {
                self.start(step, &command.replace(START.0, START.1))
            }
            // The environment is set below.
            Some(Typed::Command(command)) if command.starts_with("export ") => Ok(()),
            Some(Typed::Command(command)) => self.run(step, command),
            Some(Typed::Interrupt) => {
                self.terminal(step)?.interrupt();
                self.follow(step)?;
                let until = Instant::now() + PATIENCE;
                let terminal = match &mut self.cluster {
                    Some((name, terminal)) if *name == step.terminal => terminal,
                    _ => self.terminals.get_mut(&step.terminal).context("it is there")?,
                };
                terminal.ended(until).map(|_| ())
            }
            None => self.follow(step),
        }
    }

    fn terminal(&self, step: &Step) -> Result<&Terminal> {
        match &self.cluster {
            Some((name, terminal)) if *name == step.terminal => Ok(terminal),
            _ => self.terminals.get(&step.terminal).context("nothing was typed there"),
        }
    }

    /// Starts the cluster, again if another member leads than in the README.
    fn start(&mut self, step: &Step, command: &str) -> Result<()> {
        let folder = binary()?.parent().context("it is in a folder")?.to_path_buf();
        let path = std::env::var("PATH").unwrap_or_default();
        self.environment = vec![("PATH", format!("{}:{path}", folder.display()))];
        for _ in 0..5 {
            let terminal = Terminal::run(command, &self.environment)?;
            let until = Instant::now() + PATIENCE;
            let mut shown = Vec::new();
            while shown.last().is_none_or(|line: &String| !line.starts_with("Ctrl-C stops it.")) {
                shown.push(terminal.line(until)?.context("it goes on")?);
            }
            if !leads(&shown) {
                continue;
            }
            self.learn(&shown);
            let shown = shown.iter().map(|line| self.as_told(line)).filter(|line| is_told(line));
            let told = step.shown.iter().filter(|line| is_told(line)).cloned();
            self.compare(&told.collect::<Vec<_>>(), &shown.collect::<Vec<_>>())?;
            self.cluster = Some((step.terminal.clone(), terminal));
            return Ok(());
        }
        bail!("member {LEADS} never leads first")
    }

    /// Which addresses and which folder the cluster has.
    fn learn(&mut self, shown: &[String]) {
        let words = shown.iter().map(|line| line.split_whitespace().collect::<Vec<_>>());
        let mut endpoints = Vec::new();
        for words in words {
            if let ["member", id, endpoint, metrics, ..] = words[..] {
                self.shown_as.push((endpoint.to_owned(), format!("127.0.0.1:710{id}")));
                let usual = format!("http://127.0.0.1:730{id}/metrics");
                self.shown_as.push((metrics.to_owned(), usual));
                endpoints.push(endpoint.to_owned());
            }
            if let ["Data:", folder, ..] = words[..] {
                self.shown_as.push((folder.to_owned(), "DIR".to_owned()));
            }
        }
        self.environment.push(("QUORATE_ENDPOINTS", endpoints.join(",")));
    }

    fn as_told(&self, line: &str) -> String {
        self.shown_as.iter().fold(line.to_owned(), |line, (shown, told)| line.replace(shown, told))
    }

    fn run(&mut self, step: &Step, told: &str) -> Result<()> {
        let command = match self.names.command(told).strip_prefix("quorate ") {
            Some(rest) => format!("quorate --timeout {ANSWER_TIMEOUT} {rest}"),
            None => self.names.command(told),
        };
        if let Some(mut before) = self.terminals.remove(&step.terminal) {
            before.ended(Instant::now() + PATIENCE).context("the command before")?;
        }
        let until = Instant::now() + PATIENCE;
        while LOOKS.iter().any(|look| told.starts_with(look)) {
            let shown = Terminal::run(&command, &self.environment)?.rest(until)?;
            let shown: Vec<_> = shown.iter().map(|line| self.as_told(line)).collect();
            if self.names.same(&step.shown, &shown) {
                return Ok(());
            }
            if Instant::now() > until {
                return self.compare(&step.shown, &shown);
            }
            std::thread::sleep(POLL);
        }
        let terminal = Terminal::run(&command, &self.environment)?;
        self.terminals.insert(step.terminal.clone(), terminal);
        self.follow(step)
    }

    /// Waits for what the terminal is to show.
    fn follow(&mut self, step: &Step) -> Result<()> {
        let until = Instant::now() + PATIENCE;
        let of_cluster = self.cluster.as_ref().is_some_and(|(name, _)| *name == step.terminal);
        if of_cluster {
            return self.follow_cluster(step, until);
        }
        let terminal = self.terminal(step)?;
        let mut shown = Vec::new();
        while shown.len() < step.shown.len() {
            match terminal.line(until).with_context(|| format!("after {shown:#?}"))? {
                Some(line) => shown.push(self.as_told(&line)),
                None => break,
            }
        }
        if step.last {
            let rest = terminal.rest(until).context("a command that ends")?;
            shown.extend(rest.iter().map(|line| self.as_told(line)));
        }
        let told = step.shown.clone();
        self.compare(&told, &shown)
    }

    /// Something else may happen to the cluster, too: those lines are passed over.
    fn follow_cluster(&mut self, step: &Step, until: Instant) -> Result<()> {
        for told in step.shown.iter().filter(|line| *line != FLEETING) {
            loop {
                let line = self.terminal(step)?.line(until);
                let line = line.with_context(|| format!("waiting for {told:?}"))?;
                let line = self.as_told(&line.context("the cluster ended")?);
                if self.names.same(std::slice::from_ref(told), &[line]) {
                    break;
                }
            }
        }
        Ok(())
    }

    fn compare(&mut self, told: &[String], shown: &[String]) -> Result<()> {
        let same = self.names.same(told, shown);
        ensure!(same, "told:\n  {}\nshown:\n  {}\n", told.join("\n  "), shown.join("\n  "));
        Ok(())
    }
}

fn leads(shown: &[String]) -> bool {
    shown.iter().any(|line| {
        line.trim_start().starts_with(&format!("member {LEADS} ")) && line.ends_with(" leads")
    })
}

/// Not where a shell finds the binary and the endpoints, nor lines with the pids and paths of this
/// run in what is only suggested.
fn is_told(line: &str) -> bool {
    !["export ", "kill ", "quorate serve ", "Data: "]
        .iter()
        .any(|left_out| line.trim_start().starts_with(left_out))
}
