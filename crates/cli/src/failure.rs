//! How a command ends when it does not succeed: an exit code, one line, and hints.
//!
//! Owns the exit codes that scripts rely on. Must not know which command failed.

use std::{fmt, io, process::ExitCode};

/// Exit codes. Scripts rely on the numbers; success is 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Exit {
    /// The request was refused and changed nothing, or something local failed.
    Rejected = 1,
    /// The command line, or a file that it names, makes no sense.
    Usage = 2,
    /// What was asked for does not exist.
    NotFound = 3,
    /// Nobody could answer; nothing was applied.
    Unavailable = 4,
    /// Whether the write was applied is not known.
    Unknown = 5,
    /// A lock was lost while its command ran.
    LockLost = 6,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Why a command did not succeed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    /// The exit code.
    pub(crate) exit: Exit,
    /// What happened, in one line.
    pub(crate) message: String,
    /// What to know or try, a line each.
    pub(crate) hints: Vec<String>,
}

impl Failure {
    /// A failure without hints.
    pub(crate) fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into(), hints: Vec::new() }
    }

    /// The command line, or a file that it names, makes no sense.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, message)
    }

    /// What was asked for does not exist.
    pub(crate) fn not_found(message: impl Into<String>) -> Self {
        Self::new(Exit::NotFound, message)
    }

    /// The request was refused.
    pub(crate) fn rejected(message: impl Into<String>) -> Self {
        Self::new(Exit::Rejected, message)
    }

    /// Adds a hint.
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

/// Whether the reader of our output went away, as `head` does. No failure of ours.
pub(crate) fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        cause
            .downcast_ref::<io::Error>()
            .is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
    })
}

/// The lines for standard error: `error: ...`, then hints.
pub(crate) fn render(error: &anyhow::Error) -> (Exit, String) {
    let Some(failure) = error.downcast_ref::<Failure>() else {
        return (Exit::Rejected, format!("error: {}\n", one_line(&format!("{error:#}"))));
    };
    // Context that was added on the way comes first, as anyhow shows it.
    let mut text = format!("error: {}\n", one_line(&format!("{error:#}")));
    for hint in &failure.hints {
        text.push_str(&format!("  hint: {}\n", one_line(hint)));
    }
    (failure.exit, text)
}

/// Line breaks would let one error look like several.
fn one_line(text: &str) -> String {
    text.split('\n').map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use anyhow::Context;

    use super::*;

    #[test]
    fn failures_keep_their_exit_code_under_context() {
        let failure = Failure::not_found("no network \"a\"").hint("list them");
        let error = Err::<(), _>(failure).context("cannot show it").unwrap_err();
        let (exit, text) = render(&error);
        assert_eq!(exit, Exit::NotFound);
        assert_eq!(text, "error: cannot show it: no network \"a\"\n  hint: list them\n");
    }

    #[test]
    fn other_errors_are_one_line() {
        let (exit, text) = render(&anyhow::anyhow!("first\n  second\n"));
        assert_eq!(exit, Exit::Rejected);
        assert_eq!(text, "error: first; second\n");
    }

    #[test]
    fn a_broken_pipe_is_found_under_context() {
        let error = anyhow::Error::from(io::Error::from(io::ErrorKind::BrokenPipe)).context("x");
        assert!(is_broken_pipe(&error));
        assert!(!is_broken_pipe(&anyhow::anyhow!("x")));
    }
}
