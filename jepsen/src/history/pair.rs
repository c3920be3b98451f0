//! Pairs the beginnings and ends of operations.
//!
//! Owns the shape that checkers work on. An operation without an end is one whose outcome nobody
//! knows. Must not know about files or faults.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
};

use quorate_core::MemberId;

use super::{
    Answer, Call, Event, KeyId, Line, LineIndex, Nanos, OpEvent, Process, Stamp, Step, What,
};

/// One operation on a register, from beginning to end.
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

/// One operation of any workload, from beginning to end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Paired<C, A> {
    /// The line on which it begins: names the operation.
    pub(crate) id: LineIndex,
    /// Who.
    pub(crate) process: Process,
    /// The coordinator asked; none: the client library chose.
    pub(crate) node: Option<MemberId>,
    /// What was asked.
    pub(crate) call: C,
    /// When it began.
    pub(crate) invoked: Nanos,
    /// How it ended.
    pub(crate) end: End<A>,
}

/// A line about an operation: its beginning or its end.
pub(crate) struct Half<'a, C, A> {
    /// Who.
    pub(crate) process: Process,
    /// The coordinator asked.
    pub(crate) node: Option<MemberId>,
    /// What was asked.
    pub(crate) call: C,
    /// Whether it begins here, or how it ended.
    pub(crate) step: &'a Step<A>,
}

/// How an operation ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum End<A = Answer> {
    /// It was answered.
    Ok {
        /// When.
        at: Nanos,
        /// The answer.
        answer: A,
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

/// All operations on registers, in the order of their beginnings.
pub(crate) fn operations(lines: &[Line]) -> Result<Vec<Operation>, Malformed> {
    let paired = pair(lines, |what| match what {
        What::Op(OpEvent { process, node, key, call, step }) => {
            Some(Half { process: *process, node: Some(*node), call: (*key, *node, *call), step })
        }
        _ => None,
    })?;
    let operation = |one: Paired<(KeyId, MemberId, Call), Answer>| {
        let Paired { id, process, call: (key, node, call), invoked, end, .. } = one;
        Operation { id, process, node, key, call, invoked, end }
    };
    Ok(paired.into_iter().map(operation).collect())
}

/// All operations of one workload, in the order of their beginnings.
pub(crate) fn pair<'a, C, A>(
    lines: &'a [Line],
    half: impl Fn(&'a What) -> Option<Half<'a, C, A>>,
) -> Result<Vec<Paired<C, A>>, Malformed>
where
    C: PartialEq,
    A: Clone + 'a,
{
    let mut found: Vec<Paired<C, A>> = Vec::new();
    let mut open: HashMap<Process, usize> = HashMap::new();
    let mut last = Nanos(0);
    for line in lines {
        if line.time < last {
            return Err(Malformed::Backwards(line.index.0));
        }
        last = line.time;
        let Some(Half { process, node, call, step }) = half(&line.what) else { continue };
        if let Step::Invoke = step {
            if open.insert(process, found.len()).is_some() {
                return Err(Malformed::Overlap(line.index.0));
            }
            let (id, invoked) = (line.index, line.time);
            found.push(Paired { id, process, node, call, invoked, end: End::Unknown });
        } else {
            let at = open.remove(&process).filter(|at| found[*at].call == call);
            let Some(at) = at else { return Err(Malformed::NoBeginning(line.index.0)) };
            found[at].end = end(line.time, step);
        }
    }
    Ok(found)
}

/// All operations of one workload whose lines are [`Event`]s.
pub(crate) fn events<'a, C, A>(
    lines: &'a [Line],
    event: impl Fn(&'a What) -> Option<&'a Event<C, A>>,
) -> Result<Vec<Paired<C, A>>, Malformed>
where
    C: PartialEq + Clone + 'a,
    A: Clone + 'a,
{
    pair(lines, |what| {
        let Event { process, node, call, step } = event(what)?;
        Some(Half { process: *process, node: *node, call: call.clone(), step })
    })
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

impl<C, A> Paired<C, A> {
    /// When it was answered.
    pub(crate) const fn answered(&self) -> Option<Nanos> {
        match self.end {
            End::Ok { at, .. } => Some(at),
            End::Fail | End::Unknown => None,
        }
    }

    /// Its answer and who gave it.
    pub(crate) const fn answer(&self) -> Option<(&A, &Stamp)> {
        match &self.end {
            End::Ok { answer, stamp, .. } => Some((answer, stamp)),
            End::Fail | End::Unknown => None,
        }
    }
}

impl<C: fmt::Display, A: fmt::Display> fmt::Display for Paired<C, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { id, process, node, call, invoked, end } = self;
        write!(f, "[{:>6}] {:>10.6}s", id.0, invoked.seconds())?;
        if let End::Ok { at, .. } = end {
            write!(f, " ..{:>10.6}s", at.seconds())?;
        }
        write!(f, " process {}", process.0)?;
        if let Some(node) = node {
            write!(f, " at node {node}")?;
        }
        write!(f, ": {call} => ")?;
        match end {
            End::Ok { answer, stamp, .. } => write!(
                f,
                "{answer} (member {}, term {}, revision {}, index {})",
                stamp.member, stamp.term, stamp.revision, stamp.log_index
            ),
            End::Fail => f.write_str("not applied"),
            End::Unknown => f.write_str("unknown"),
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

fn end<A: Clone>(at: Nanos, step: &Step<A>) -> End<A> {
    match step {
        Step::Ok { answer, stamp } => End::Ok { at, answer: answer.clone(), stamp: *stamp },
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
