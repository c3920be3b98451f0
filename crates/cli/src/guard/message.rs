//! What a guard and its owner tell each other: one short text a message.
//!
//! Pure. Both ends are the same binary, so there is no version.

use std::{fmt, process::ExitCode, time::Duration};

use rustix::process::{Pid, Signal};

/// From the owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    /// The command may run until this time on the boot clock.
    Until(Duration),
    /// Send this to the command's process group.
    Signal(Signal),
}

/// From the guard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum News {
    /// The command runs, in a process group of this id.
    Started(Pid),
    /// It was stopped by this signal, and has not ended.
    Stopped(Signal),
    /// It was not started: its time was over before.
    Late,
    /// It could not be started.
    Failed(String),
    /// It has ended, and all of its process group with it.
    Ended(Ended),
}

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ended {
    /// By its own exit, or by a signal.
    pub(crate) how: How,
    /// Whether it was asked to end, or killed, because its time was over.
    pub(crate) ran_out: bool,
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum How {
    /// With this exit code.
    Exit(i32),
    /// By this signal.
    Signal(i32),
}

impl How {
    /// The exit code, as shells tell it.
    pub(crate) fn exit_code(self) -> ExitCode {
        let code = match self {
            Self::Exit(code) => code,
            Self::Signal(signal) => 128 + signal,
        };
        u8::try_from(code).map_or(ExitCode::FAILURE, ExitCode::from)
    }
}

impl fmt::Display for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Until(until) => write!(f, "until {}", until.as_nanos()),
            Self::Signal(signal) => write!(f, "signal {}", signal.as_raw()),
        }
    }
}

impl Order {
    /// Reads one; None: it is none.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (word, number) = text.split_once(' ')?;
        match word {
            "until" => Some(Self::Until(Duration::from_nanos(number.parse().ok()?))),
            "signal" => Some(Self::Signal(signal(number)?)),
            _ => None,
        }
    }
}

impl fmt::Display for News {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Started(group) => write!(f, "started {}", group.as_raw_nonzero()),
            Self::Stopped(signal) => write!(f, "stopped {}", signal.as_raw()),
            Self::Late => f.write_str("late"),
            Self::Failed(why) => write!(f, "failed {why}"),
            Self::Ended(Ended { how, ran_out }) => {
                let (word, number) = match how {
                    How::Exit(code) => ("exit", code),
                    How::Signal(signal) => ("signal", signal),
                };
                let why = if *ran_out { "ran-out" } else { "itself" };
                write!(f, "ended {why} {word} {number}")
            }
        }
    }
}

impl News {
    /// Reads one; None: it is none.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (word, rest) = text.split_once(' ').unwrap_or((text, ""));
        match word {
            "started" => Some(Self::Started(Pid::from_raw(rest.parse().ok()?)?)),
            "stopped" => Some(Self::Stopped(signal(rest)?)),
            "late" => Some(Self::Late),
            "failed" => Some(Self::Failed(rest.to_owned())),
            "ended" => {
                let (why, how) = rest.split_once(' ')?;
                let (word, number) = how.split_once(' ')?;
                let number = number.parse().ok()?;
                let how = match word {
                    "exit" => How::Exit(number),
                    "signal" => How::Signal(number),
                    _ => return None,
                };
                Some(Self::Ended(Ended { how, ran_out: why == "ran-out" }))
            }
            _ => None,
        }
    }
}

fn signal(number: &str) -> Option<Signal> {
    Signal::from_named_raw(number.parse().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_are_read_as_they_were_written() {
        for order in [
            Order::Until(Duration::new(12_345, 678_901_234)),
            Order::Signal(Signal::INT),
            Order::Signal(Signal::KILL),
        ] {
            assert_eq!(Order::parse(&order.to_string()), Some(order));
        }
        for text in ["", "until", "until soon", "signal 0", "signal 1000", "begone 1"] {
            assert_eq!(Order::parse(text), None, "{text}");
        }
    }

    #[test]
    fn news_are_read_as_they_were_written() {
        for news in [
            News::Started(Pid::INIT),
            News::Stopped(Signal::TSTP),
            News::Late,
            News::Failed("no such file (os error 2)".to_owned()),
            News::Ended(Ended { how: How::Exit(7), ran_out: false }),
            News::Ended(Ended { how: How::Signal(9), ran_out: true }),
        ] {
            assert_eq!(News::parse(&news.to_string()), Some(news));
        }
        for text in ["", "started", "started 0", "ended", "ended itself exit", "ended itself x 1"] {
            assert_eq!(News::parse(text), None, "{text}");
        }
    }
}
