//! Starts the command, and clusters with it; everything that was started ends with its owner.

use std::{
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Child, ChildStdin, Command, ExitStatus, Stdio},
    sync::mpsc::{Receiver, RecvTimeoutError, channel},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// How long anything may take on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// An endpoint at which nobody listens: the port of the TCP port service multiplexer.
pub(crate) const NOWHERE: &str = "127.0.0.1:1";

/// A network file: two processes, one sending to the other.
pub(crate) const NETWORK: &str = "\
[[processes]]
id = \"a\"
component = \"test\"

[[processes]]
id = \"b\"
component = \"test\"

[[connections]]
from = \"a\"
to = \"b\"
";

/// The binary under test, without the environment's settings.
pub(crate) fn command() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_quorate"));
    // Without a label, watch shows no line for who made a change.
    command.env_remove("QUORATE_ENDPOINTS").env_remove("RUST_LOG").env("QUORATE_LABEL", "");
    command
}

/// What a run of the command came to.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: String,
}

impl Ran {
    /// Its output as text, after checking its exit code.
    #[track_caller]
    pub(crate) fn text(&self, code: i32) -> &str {
        assert_eq!(self.code, Some(code), "{self:?}");
        std::str::from_utf8(&self.stdout).expect("text on standard output")
    }

    /// Its output as JSON lines, after checking that it succeeded.
    #[track_caller]
    pub(crate) fn json(&self) -> Vec<Value> {
        let lines = self.text(0).lines();
        lines.map(|line| serde_json::from_str(line).expect("a JSON object a line")).collect()
    }

    /// Checks its exit code and that its error says all of these.
    #[track_caller]
    pub(crate) fn fails(&self, code: i32, says: &[&str]) {
        assert_eq!(self.code, Some(code), "{self:?}");
        assert!(self.stderr.starts_with("error: "), "{self:?}");
        says.iter().for_each(|text| assert!(self.stderr.contains(text), "no {text:?}: {self:?}"));
    }
}

/// Runs the command to its end.
pub(crate) fn run(endpoints: &str, args: &[&str], stdin: &[u8]) -> Ran {
    let mut child = command()
        .env("QUORATE_ENDPOINTS", endpoints)
        .args(["--timeout", "20s"])
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the command starts");
    // A command that does not read its input closes it.
    let _ = child.stdin.take().expect("piped").write_all(stdin);
    let (pid, (done, ended)) = (child.id(), channel::<()>());
    // Dropping `done` ends the wait; a command that hangs is killed, and its exit code shows it.
    thread::spawn(move || {
        if ended.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout) {
            signal(pid, Signal::KILL);
        }
    });
    let output = child.wait_with_output().expect("the command ends");
    drop(done);
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    Ran { code: output.status.code(), stdout: output.stdout, stderr }
}

/// A long-running command whose output is read line by line.
pub(crate) struct Running {
    pub(crate) child: Child,
    lines: Receiver<String>,
}

impl Running {
    pub(crate) fn start(command: &mut Command) -> Self {
        Self::start_on(command, Stdio::null())
    }

    /// With something to write to its standard input.
    pub(crate) fn with_input(command: &mut Command) -> (Self, ChildStdin) {
        let mut running = Self::start_on(command, Stdio::piped());
        let input = running.child.stdin.take().expect("piped");
        (running, input)
    }

    fn start_on(command: &mut Command, stdin: Stdio) -> Self {
        let mut child = command
            .stdin(stdin)
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .expect("the command starts");
        let stdout = BufReader::new(child.stdout.take().expect("piped"));
        let (sender, lines) = channel();
        thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        Self { child, lines }
    }

    /// The next line; None at the end of the output.
    #[track_caller]
    pub(crate) fn line(&self) -> Option<String> {
        match self.lines.recv_timeout(PATIENCE) {
            Ok(line) => Some(line),
            Err(RecvTimeoutError::Disconnected) => None,
            Err(RecvTimeoutError::Timeout) => panic!("no line within {PATIENCE:?}"),
        }
    }

    /// The next line of JSON for which this holds.
    #[track_caller]
    pub(crate) fn json_where(&self, holds: impl Fn(&Value) -> bool) -> Value {
        loop {
            let line = self.line().expect("the output goes on");
            let value: Value = serde_json::from_str(&line).expect("a JSON object a line");
            if holds(&value) {
                return value;
            }
        }
    }

    /// Asks it to stop, and waits for that.
    pub(crate) fn stop(&mut self) -> ExitStatus {
        signal(self.child.id(), Signal::TERM);
        self.ended()
    }

    /// Waits for its end.
    #[track_caller]
    pub(crate) fn ended(&mut self) -> ExitStatus {
        let child = &mut self.child;
        eventually("the command ends", || child.try_wait().expect("a child of ours"))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A cluster that `quorate dev` runs.
pub(crate) struct Cluster {
    pub(crate) running: Running,
    /// The line that says that it serves.
    pub(crate) ready: Value,
    pub(crate) endpoints: String,
    /// Where it has its temporary directory, which it cannot remove when it is killed. Dropped last.
    _temporary: tempfile::TempDir,
}

impl Cluster {
    /// In a temporary directory, on free ports.
    pub(crate) fn start() -> Self {
        Self::start_with(&["--base-port", "0"])
    }

    pub(crate) fn start_with(args: &[&str]) -> Self {
        let temporary = tempfile::tempdir().expect("a directory");
        let mut command = command();
        command.env("TMPDIR", temporary.path()).args(["--output", "json", "dev"]).args(args);
        let running = Running::start(&mut command);
        let ready = running.json_where(|line| line["event"] == "ready");
        let endpoints = ready["endpoints"].as_array().expect("a list");
        let endpoints: Vec<_> = endpoints.iter().filter_map(Value::as_str).collect();
        let endpoints = endpoints.join(",");
        Self { running, ready, endpoints, _temporary: temporary }
    }

    /// Runs the command against it.
    pub(crate) fn run(&self, args: &[&str]) -> Ran {
        run(&self.endpoints, args, b"")
    }

    pub(crate) fn run_with(&self, args: &[&str], stdin: &[u8]) -> Ran {
        run(&self.endpoints, args, stdin)
    }

    /// Runs the command against it, for JSON.
    #[track_caller]
    pub(crate) fn json(&self, args: &[&str]) -> Vec<Value> {
        self.run(&[&["--output", "json"], args].concat()).json()
    }

    /// Its directory.
    pub(crate) fn dir(&self) -> &Path {
        Path::new(self.ready["dir"].as_str().expect("text"))
    }
}

/// Waits until there is a result.
#[track_caller]
pub(crate) fn eventually<T>(what: &str, mut attempt: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(result) = attempt() {
            return result;
        }
        assert!(Instant::now() < deadline, "not within {PATIENCE:?}: {what}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// Sends a signal to a process that a test started.
pub(crate) fn signal(pid: u32, signal: Signal) {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).expect("a process id");
    kill_process(pid, signal).expect("the process is there");
}

/// Whether a process runs: it is there, and no zombie.
pub(crate) fn runs(pid: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| !stat.rsplit(')').next().is_some_and(|rest| rest.starts_with(" Z")))
}

/// The names of a JSON object's fields.
pub(crate) fn fields(value: &Value) -> Vec<&str> {
    value.as_object().expect("an object").keys().map(String::as_str).collect()
}
