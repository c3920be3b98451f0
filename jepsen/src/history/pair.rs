//! Pairs the beginnings and ends of operations.
//!
//! Owns the shape that checkers work on. An operation without an end is one whose outcome nobody
//! knows. Must not know about files or faults.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
};

use quorate_core::MemberId;

use super::{Answer, Call, KeyId, Line, LineIndex, Nanos, OpEvent, Process, Stamp, Step, What};

/// One operation, from beginning to end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Operation {
    /// The line on which it begins: names the operation.
    pub(crate) id: LineIndex,
    /// Who.
    pub(crate) process: Process,
    /// The coordinator asked.
    pub(crate) node: MemberId,
    /// The register.
    pub(crate) key: KeyId,
    /// What was asked.
    pub(crate) call: Call,
    /// When it began.
    pub(crate) invoked: Nanos,
    /// How it ended.
    pub(crate) end: End,
}

/// How an operation ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum End {
    /// It was answered.
    Ok {
        /// When.
        at: Nanos,
        /// The answer.
        answer: Answer,
        /// Who answered, from which point of the order of changes.
        stamp: Stamp,
    },
    /// It never happened and never will.
    Fail,
    /// Nobody knows: it may have happened at any time after its beginning.
    Unknown,
}

/// A history that no run can have written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Malformed {
    /// A process began an operation while another of its was open.
    #[error("line {0}: the process has an open operation already")]
    Overlap(u64),
    /// An operation ended that had not begun.
    #[error("line {0}: the end of an operation that did not begin")]
    NoBeginning(u64),
    /// Time ran backwards.
    #[error("line {0}: earlier than the line before it")]
    Backwards(u64),
}

/// All operations of a history, in the order of their beginnings.
pub(crate) fn operations(lines: &[Line]) -> Result<Vec<Operation>, Malformed> {
    let mut found: Vec<Operation> = Vec::new();
    let mut open: HashMap<Process, usize> = HashMap::new();
    let mut last = Nanos(0);
    for line in lines {
        if line.time < last {
            return Err(Malformed::Backwards(line.index.0));
        }
        last = line.time;
        let What::Op(event) = &line.what else { continue };
        match &event.step {
            Step::Invoke => {
                if open.insert(event.process, found.len()).is_some() {
                    return Err(Malformed::Overlap(line.index.0));
                }
                found.push(begin(line, event));
            }
            step => {
                let at = open
                    .remove(&event.process)
                    .filter(|at| found[*at].key == event.key && found[*at].call == event.call);
                let Some(at) = at else { return Err(Malformed::NoBeginning(line.index.0)) };
                found[at].end = end(line.time, step);
            }
        }
    }
    Ok(found)
}

/// The operations of each register, in the order of their beginnings.
pub(crate) fn by_key(operations: &[Operation]) -> BTreeMap<KeyId, Vec<&Operation>> {
    let mut keys: BTreeMap<KeyId, Vec<&Operation>> = BTreeMap::new();
    for operation in operations {
        keys.entry(operation.key).or_default().push(operation);
    }
    keys
}

impl Operation {
    /// When it was answered.
    pub(crate) const fn answered(&self) -> Option<Nanos> {
        match self.end {
            End::Ok { at, .. } => Some(at),
            End::Fail | End::Unknown => None,
        }
    }

    /// Its answer and who gave it.
    pub(crate) const fn answer(&self) -> Option<(&Answer, &Stamp)> {
        match &self.end {
            End::Ok { answer, stamp, .. } => Some((answer, stamp)),
            End::Fail | End::Unknown => None,
        }
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{:>6}] {:>10.6}s", self.id.0, self.invoked.seconds(),)?;
        match &self.end {
            End::Ok { at, answer, stamp } => write!(
                f,
                " ..{:>10.6}s process {} at node {}: {} => {answer} (member {}, term {}, revision {}, index {})",
                at.seconds(),
                self.process.0,
                self.node,
                self.call,
                stamp.member,
                stamp.term,
                stamp.revision,
                stamp.log_index,
            ),
            End::Fail => write!(
                f,
                " ..            process {} at node {}: {} => not applied",
                self.process.0, self.node, self.call
            ),
            End::Unknown => write!(
                f,
                " ..         ?  process {} at node {}: {} => unknown",
                self.process.0, self.node, self.call
            ),
        }
    }
}

fn begin(line: &Line, event: &OpEvent) -> Operation {
    Operation {
        id: line.index,
        process: event.process,
        node: event.node,
        key: event.key,
        call: event.call,
        invoked: line.time,
        end: End::Unknown,
    }
}

fn end(at: Nanos, step: &Step) -> End {
    match step {
        Step::Ok { answer, stamp } => End::Ok { at, answer: *answer, stamp: *stamp },
        Step::Fail { .. } => End::Fail,
        Step::Invoke | Step::Info { .. } => End::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::sample::{History, absent, ok_read, written};

    #[test]
    fn an_operation_without_an_end_is_unknown() {
        let mut history = History::new();
        history.invoke(1, 0, Call::Write { value: Value(1) });
        history.run(2, 0, Call::Read, ok_read(absent()), 0);
        let operations = operations(&history.lines).unwrap();
        assert_eq!(operations.len(), 2);
        assert_eq!(operations[0].end, End::Unknown);
        assert!(operations[1].answered().is_some());
    }

    #[test]
    fn two_open_operations_of_a_process_are_refused() {
        let mut history = History::new();
        history.invoke(1, 0, Call::Read);
        history.invoke(1, 0, Call::Read);
        assert_eq!(operations(&history.lines), Err(Malformed::Overlap(1)));
    }

    #[test]
    fn an_end_of_something_else_is_refused() {
        let mut history = History::new();
        history.invoke(1, 0, Call::Read);
        history.end(1, 0, Call::Write { value: Value(3) }, written(), 1);
        assert_eq!(operations(&history.lines), Err(Malformed::NoBeginning(1)));
    }

    use super::super::Value;
}
