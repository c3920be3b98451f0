//! A story that a document tells, typed word for word: each command shows what the document shows.
//!
//! ```text
//!   document -> steps of a section -> terminals -> lines, with the rules of what may differ
//! ```
//!
//! It differs from the document in what a test must: coordinators have addresses of this test's own, which
//! are shown as the usual ones, and folders of its own; commands wait longer for answers, and the
//! binary is the one that was built beside the test.

mod rules;
mod steps;
mod terminal;

use std::{
    collections::BTreeMap,
    fs,
    net::{IpAddr, Ipv4Addr},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use tempfile::TempDir;

use self::{
    rules::Names,
    steps::{Step, Typed},
    terminal::Terminal,
};
use crate::cluster::{POLL, binary};

/// How long anything may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long a command waits for an answer, there.
const ANSWER_TIMEOUT: &str = "30s";
/// What documents start a whole cluster with.
const DEV: [&str; 2] = ["cargo run --release --bin quorate -- dev", "quorate dev"];
/// What is run instead.
const DEV_RUN: &str = "quorate dev --base-port 0";
/// What documents start a coordinator with.
const SERVE: &str = "quorate serve ";
/// Who leads in the beginning: the member that forms the cluster, nearly always.
const LEADS: &str = "1";
/// What lines begin with that are shown only at the right moment.
const FLEETING: [&str; 2] = ["no member leads", "waiting: "];
/// Where documents keep configuration, data, and everything else.
const FOLDERS: [&str; 3] = ["config/", "/var/lib/quorate", "/tmp/"];
/// The address of coordinators in documents.
const LOOPBACK: &str = "127.0.0.1";
/// Commands that change nothing. They are typed again until they show what is told: a person is slower.
const LOOKS: [&str; 11] = [
    "quorate status",
    "quorate kv get",
    "quorate history",
    "quorate partition list",
    "quorate connection list",
    "quorate worker list",
    "quorate session list",
    "quorate member list",
    "quorate allocation list",
    "quorate pool list",
    "quorate health",
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the root is above").to_path_buf()
}

/// The headings of a document's sections that tell a story.
///
/// # Errors
/// When there is no such document.
pub fn headings(document: &str) -> Result<Vec<String>> {
    let text = fs::read_to_string(root().join(document))?;
    Ok(steps::headings(&text).into_iter().map(str::to_owned).collect())
}

/// Types everything that a section tells.
///
/// # Errors
/// When something else is shown; it names the line of the document.
pub fn follow(document: &str, heading: &str) -> Result<()> {
    let text = fs::read_to_string(root().join(document))?;
    let steps = steps::steps(&text, heading);
    ensure!(!steps.is_empty(), "{document} tells nothing under {heading:?}");
    let mut story = Story::new()?;
    for step in &steps {
        story.take(step).with_context(|| {
            let typed = step.typed.as_ref();
            format!("{document}:{}, {}: {typed:?}, {:#?}", step.line, step.terminal, story.names)
        })?;
    }
    Ok(())
}

/// A run of a story. What serves goes last.
#[derive(Debug)]
struct Story {
    terminals: BTreeMap<String, Terminal>,
    /// Terminals with coordinators: these show other things, too.
    servers: BTreeMap<String, Terminal>,
    /// What is typed in this run for what the document types.
    typed_as: Vec<(String, String)>,
    /// What is shown of this run, and what it is in the document.
    shown_as: Vec<(String, String)>,
    environment: Vec<(&'static str, String)>,
    names: Names,
    folder: TempDir,
}

impl Story {
    fn new() -> Result<Self> {
        let folder = binary()?.parent().context("it is in a folder")?.to_path_buf();
        let path = std::env::var("PATH").unwrap_or_default();
        let environment = vec![("PATH", format!("{}:{path}", folder.display()))];
        Ok(Self {
            terminals: BTreeMap::new(),
            servers: BTreeMap::new(),
            typed_as: Vec::new(),
            shown_as: Vec::new(),
            environment,
            names: Names::default(),
            folder: tempfile::tempdir()?,
        })
    }

    fn take(&mut self, step: &Step) -> Result<()> {
        match &step.typed {
            Some(Typed::Command(command)) => {
                match DEV.iter().find(|it| command.starts_with(**it)) {
                    Some(dev) => self.start(step, &command.replace(dev, DEV_RUN)),
                    // The environment is set here.
                    None if command.starts_with("export ") => Ok(()),
                    None if command.starts_with(SERVE) => self.serve(step, command),
                    None => self.run(step, command),
                }
            }
            Some(Typed::Interrupt) => {
                self.terminal(step)?.interrupt();
                self.follow(step)?;
                let until = Instant::now() + PATIENCE;
                let terminals = [&mut self.servers, &mut self.terminals];
                let mut found = terminals.into_iter().filter_map(|all| all.get_mut(&step.terminal));
                found.next().context("it is there")?.ended(until).map(|_| ())
            }
            None => self.follow(step),
        }
    }

    fn terminal(&self, step: &Step) -> Result<&Terminal> {
        let terminals = [&self.servers, &self.terminals];
        let mut found = terminals.into_iter().filter_map(|all| all.get(&step.terminal));
        found.next().context("nothing was typed there")
    }

    /// Starts a cluster, again if another member leads than in the document.
    fn start(&mut self, step: &Step, command: &str) -> Result<()> {
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
            self.learn(&step.shown, &shown);
            // A document that tells it once leaves it out the next time.
            if !step.shown.is_empty() {
                let shown = shown.iter().map(|line| self.as_told(line));
                let told = step.shown.iter().filter(|line| is_told(line)).cloned();
                let shown = shown.filter(|line| is_told(line));
                self.compare(&told.collect::<Vec<_>>(), &shown.collect::<Vec<_>>())?;
            }
            self.servers.insert(step.terminal.clone(), terminal);
            return Ok(());
        }
        bail!("member {LEADS} never leads first")
    }

    /// Which addresses and which folder the cluster has.
    fn learn(&mut self, told: &[String], shown: &[String]) {
        let words = shown.iter().map(|line| line.split_whitespace().collect::<Vec<_>>());
        let mut endpoints = Vec::new();
        for words in words {
            if let ["member", id, endpoint, metrics, ..] = words[..] {
                self.shown_as.push((endpoint.to_owned(), format!("{LOOPBACK}:710{id}")));
                let usual = format!("http://{LOOPBACK}:730{id}/metrics");
                self.shown_as.push((metrics.to_owned(), usual.clone()));
                self.typed_as.push((usual, metrics.to_owned()));
                self.typed_as.push((format!("{LOOPBACK}:710{id}"), endpoint.to_owned()));
                endpoints.push(endpoint.to_owned());
            }
            if let (["Data:", folder, ..], Some(told)) = (&words[..], told_folder(told)) {
                self.shown_as.push(((*folder).to_owned(), told.clone()));
                self.typed_as.push((told, (*folder).to_owned()));
            }
        }
        self.environment.push(("QUORATE_ENDPOINTS", endpoints.join(",")));
    }

    /// Starts a coordinator.
    fn serve(&mut self, step: &Step, told: &str) -> Result<()> {
        if self.typed_as.is_empty() {
            self.settle_in()?;
        }
        if let Some(mut before) = self.servers.remove(&step.terminal) {
            before.ended(Instant::now() + PATIENCE).context("what served there before")?;
        }
        let terminal = Terminal::run(&self.typed(told), &self.environment)?;
        self.servers.insert(step.terminal.clone(), terminal);
        self.follow(step)
    }

    /// Takes a loopback address of this process's own, and copies of the files in `config`.
    fn settle_in(&mut self) -> Result<()> {
        let [_, a, b, c] = std::process::id().to_be_bytes();
        let address = IpAddr::V4(Ipv4Addr::new(127, 2 + a % 250, b, c)).to_string();
        let folder = self.folder.path().join("config");
        copy(&root().join("config"), &folder, &|text| text.replace(LOOPBACK, &address))?;
        for told in FOLDERS {
            let last = told.trim_matches('/').rsplit('/').next().context("a folder")?;
            let mut ours = self.folder.path().join(last).display().to_string();
            if told.ends_with('/') {
                ours.push('/');
            }
            fs::create_dir_all(&ours)?;
            self.typed_as.push((told.to_owned(), ours.clone()));
            self.shown_as.push((ours, told.to_owned()));
        }
        let members = [1, 2, 3].map(|id| format!("{address}:710{id}"));
        self.environment.push(("QUORATE_ENDPOINTS", members.join(",")));
        self.typed_as.push((LOOPBACK.to_owned(), address.clone()));
        self.shown_as.push((address, LOOPBACK.to_owned()));
        Ok(())
    }

    /// What is typed in this run for a command of the document.
    fn typed(&self, told: &str) -> String {
        replace_all(&self.names.command(told), &self.typed_as)
    }

    fn as_told(&self, line: &str) -> String {
        replace_all(line, &self.shown_as)
    }

    fn run(&mut self, step: &Step, told: &str) -> Result<()> {
        let typed = self.typed(told);
        let command = match typed.strip_prefix("quorate ") {
            Some(rest) => format!("quorate --timeout {ANSWER_TIMEOUT} {rest}"),
            None => typed,
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
        if self.servers.contains_key(&step.terminal) {
            return self.follow_server(step, until);
        }
        let terminal = self.terminal(step)?;
        let told: Vec<_> = step.shown.iter().filter(|line| !is_fleeting(line)).cloned().collect();
        let mut shown = Vec::new();
        while shown.len() < told.len() {
            match terminal.line(until).with_context(|| format!("after {shown:#?}"))? {
                Some(line) if is_fleeting(&line) => {}
                Some(line) => shown.push(self.as_told(&line)),
                None => break,
            }
        }
        if step.last {
            let rest = terminal.rest(until).context("a command that ends")?;
            let rest = rest.iter().filter(|line| !is_fleeting(line));
            shown.extend(rest.map(|line| self.as_told(line)));
        }
        self.compare(&told, &shown)
    }

    /// Something else may happen to a cluster, too: those lines are passed over.
    fn follow_server(&mut self, step: &Step, until: Instant) -> Result<()> {
        for told in step.shown.iter().filter(|line| !is_fleeting(line)) {
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

fn is_fleeting(line: &str) -> bool {
    FLEETING.iter().any(|beginning| line.starts_with(beginning))
}

/// The folder of a cluster, as it is told.
fn told_folder(told: &[String]) -> Option<String> {
    let line = told.iter().find_map(|line| line.strip_prefix("Data: "))?;
    line.split_whitespace().next().map(str::to_owned)
}

/// Not where a shell finds the binary and the endpoints, nor lines with the pids and paths of this
/// run in what is only suggested.
fn is_told(line: &str) -> bool {
    !["export ", "kill ", "quorate serve ", "Data: "]
        .iter()
        .any(|left_out| line.trim_start().starts_with(left_out))
}

/// Replaces each that is found, the longest first; not in what replaced another.
fn replace_all(text: &str, pairs: &[(String, String)]) -> String {
    let (mut replaced, mut rest) = (String::new(), text);
    while let Some(next) = rest.chars().next() {
        let found = pairs.iter().filter(|(from, _)| rest.starts_with(from.as_str()));
        let (length, to) = match found.max_by_key(|(from, _)| from.len()) {
            Some((from, to)) => (from.len(), to.as_str()),
            None => (next.len_utf8(), &rest[..next.len_utf8()]),
        };
        replaced.push_str(to);
        rest = &rest[length..];
    }
    replaced
}

/// Copies the files of a folder and of those in it.
fn copy(from: &Path, to: &Path, change: &dyn Fn(String) -> String) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (path, to) = (entry.path(), to.join(entry.file_name()));
        if path.is_dir() {
            copy(&path, &to, change)?;
        } else {
            fs::write(to, change(fs::read_to_string(&path)?))?;
        }
    }
    Ok(())
}

#[test]
fn what_was_replaced_is_left_alone() {
    let pairs = [("/tmp/", "/tmp/x/"), ("/tmp/data", "/d"), ("1", "2"), ("2", "1")];
    let pairs = pairs.map(|(from, to)| (from.to_owned(), to.to_owned()));
    assert_eq!(replace_all("/tmp/a /tmp/data/12", &pairs), "/tmp/x/a /d/21");
}
