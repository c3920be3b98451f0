//! Histories made by hand, for the checkers' own tests.
//!
//! Owns a builder whose clock advances a microsecond a line. Must not know any checker.

use quorate_core::{ClusterId, LogIndex, MemberId, Revision, Term};

use super::{Finding, Found, Verdict, order::Place};
use crate::history::{
    Answer, Call, Event, FaultEvent, FaultId, KeyId, Line, LineIndex, Minimum, Nanos, OpEvent,
    Process, Seen, Stamp, Start, StatusEvent, Step, Value, What,
    pair::Malformed,
    stream::{Asked, Change, StreamEvent, StreamId, StreamStart, StreamStep, Told},
};

/// The rules of a workload.
pub(crate) type Rules = for<'a> fn(&'a [Line], Vec<Place<'a>>) -> Result<Found, Malformed>;

/// A history in the making.
pub(crate) struct History {
    /// Its lines.
    pub(crate) lines: Vec<Line>,
}

/// The nodes of a started history.
pub(crate) const NODES: u64 = 3;

impl History {
    /// Without a first line.
    pub(crate) fn new() -> Self {
        Self { lines: Vec::new() }
    }

    /// With a first line that asks for so much.
    pub(crate) fn started(ops: u64, faults: u64, leader_changes: u64) -> Self {
        let mut history = Self::new();
        history.add(What::Start(Start {
            workload: "register".to_owned(),
            nemeses: Vec::new(),
            nodes: NODES,
            seed: 1,
            minimum: Minimum { ops, faults, leader_changes },
        }));
        history
    }

    pub(crate) fn add(&mut self, what: What) -> LineIndex {
        let index = self.lines.len() as u64;
        self.lines.push(Line { index: LineIndex(index), time: Nanos(index * 1_000), what });
        LineIndex(index)
    }

    /// An operation begins.
    pub(crate) fn invoke(&mut self, process: u64, key: u32, call: Call) -> LineIndex {
        self.op(process, 1, key, call, Step::Invoke)
    }

    /// An operation is answered by node 1 at a revision; the log index is ten more.
    pub(crate) fn end(
        &mut self,
        process: u64,
        key: u32,
        call: Call,
        answer: Answer,
        revision: u64,
    ) {
        self.op(process, 1, key, call, Step::Ok { answer, stamp: stamp(revision) });
    }

    /// An operation begins and is answered at once.
    pub(crate) fn run(
        &mut self,
        process: u64,
        key: u32,
        call: Call,
        answer: Answer,
        revision: u64,
    ) {
        self.invoke(process, key, call);
        self.end(process, key, call, answer, revision);
    }

    /// An operation is refused.
    pub(crate) fn fail(&mut self, process: u64, key: u32, call: Call) {
        self.invoke(process, key, call);
        self.op(process, 1, key, call, Step::Fail { error: "no quorum".to_owned() });
    }

    /// An operation ends without a known outcome.
    pub(crate) fn unknown(&mut self, process: u64, key: u32, call: Call) {
        self.invoke(process, key, call);
        self.op(process, 1, key, call, Step::Info { error: "timeout".to_owned() });
    }

    /// An operation of another workload begins at node 1 and ends at once.
    pub(crate) fn operate<C: Clone, A>(
        &mut self,
        process: u64,
        line: impl Fn(Event<C, A>) -> What,
        call: C,
        step: Step<A>,
    ) {
        let event = |step| {
            let (process, node, call) = (Process(process), Some(MemberId(1)), call.clone());
            line(Event { process, node, call, step })
        };
        self.add(event(Step::Invoke));
        self.add(event(step));
    }

    /// A stream through node 1 begins with revision 1.
    pub(crate) fn follow(&mut self, stream: u64, prefix: &str) {
        self.ask(stream, StreamStart::From(Revision(1)), prefix);
    }

    /// A stream through node 1 is asked for and accepted.
    pub(crate) fn ask(&mut self, stream: u64, start: StreamStart, prefix: &str) {
        let (node, prefix) = (Some(MemberId(1)), prefix.to_owned());
        let asked = Asked { node, start, prefix, with_previous: false, resync: false };
        self.told(stream, Told::Asked(asked));
        self.told(stream, Told::Opened);
    }

    /// A stream tells of a put.
    pub(crate) fn change(&mut self, stream: u64, key: &str, value: u64, at: u64, version: u64) {
        let (key, current) = (key.to_owned(), seen(value, at, version));
        let change = Change { key, current, created: version == 1, previous: None };
        self.changes(stream, at, vec![change]);
    }

    /// A stream tells that a key was deleted.
    pub(crate) fn delete(&mut self, stream: u64, key: &str, at: u64) {
        let key = key.to_owned();
        let change = Change { key, current: None, created: false, previous: None };
        self.changes(stream, at, vec![change]);
    }

    /// A stream tells of a revision.
    pub(crate) fn changes(&mut self, stream: u64, at: u64, changes: Vec<Change>) {
        let step = StreamStep::Changes { revision: Revision(at), changes };
        self.step(stream, step);
    }

    /// A stream says how far it is.
    pub(crate) fn progress(&mut self, stream: u64, at: u64) {
        self.status(1, 1, 1, at, at);
        self.step(stream, StreamStep::Progress { revision: Revision(at) });
    }

    /// A message of one step.
    pub(crate) fn step(&mut self, stream: u64, step: StreamStep) {
        self.told(stream, Told::Message { steps: vec![step], resume: None });
    }

    /// Something happens to a stream.
    pub(crate) fn told(&mut self, stream: u64, told: Told) {
        self.add(What::Stream(StreamEvent { stream: StreamId(stream), told }));
    }

    /// A node tells its status.
    pub(crate) fn status(&mut self, node: u64, leader: u64, term: u64, index: u64, hash: u64) {
        self.add(What::Status(StatusEvent {
            node: MemberId(node),
            leads: node == leader,
            term: Term(term),
            leader: Some(MemberId(leader)),
            revision: Revision(index),
            log_index: LogIndex(index),
            state_hash: hash,
            checkpoint: LogIndex(1),
        }));
    }

    /// A fault begins and ends.
    pub(crate) fn fault(&mut self, fault: crate::nemesis::fault::FaultKind) {
        self.add(What::Fault(FaultEvent {
            id: FaultId::default(),
            fault,
            detail: String::new(),
            nodes: Vec::new(),
        }));
        self.add(What::Heal);
    }

    /// Everything is healed, every node takes a fresh write, all are the same.
    pub(crate) fn converge(&mut self) {
        self.add(What::Healed);
        for node in 1..=NODES {
            let call = Call::Write { value: Value(900 + node) };
            let process = 900 + node;
            self.op(process, node, 99, call, Step::Invoke);
            let step = Step::Ok { answer: Answer::Written, stamp: stamp(900 + node) };
            self.op(process, node, 99, call, step);
        }
        for node in 1..=NODES {
            self.status(node, 1, 1, 9_000, 77);
        }
    }

    /// What a workload's rules find.
    pub(crate) fn findings(&self, rules: Rules) -> Vec<Finding> {
        rules(&self.lines, Vec::new()).unwrap().findings
    }

    /// The same in words.
    pub(crate) fn messages(&self, rules: Rules) -> Vec<String> {
        self.findings(rules).into_iter().map(|finding| finding.message).collect()
    }

    /// A workload's rules find this, and hold it for so bad.
    #[track_caller]
    pub(crate) fn expect(&self, rules: Rules, verdict: Verdict, part: &str) {
        expect(&self.findings(rules), verdict, part);
    }

    fn op(&mut self, process: u64, node: u64, key: u32, call: Call, step: Step) -> LineIndex {
        self.add(What::Op(OpEvent {
            process: Process(process),
            node: MemberId(node),
            key: KeyId(key),
            call,
            step,
        }))
    }
}

/// Among the findings is this one, and it is so bad.
#[track_caller]
pub(crate) fn expect(found: &[Finding], verdict: Verdict, part: &str) {
    let hit = found.iter().any(|it| it.verdict == verdict && it.message.contains(part));
    assert!(hit, "{verdict} {part:?} in {found:?}");
}

/// Answered by node 1 at a revision.
pub(crate) fn ok<A>(answer: A, revision: u64) -> Step<A> {
    Step::Ok { answer, stamp: stamp(revision) }
}

/// Refused.
pub(crate) fn failed<A>() -> Step<A> {
    Step::Fail { error: "no quorum".to_owned() }
}

/// Nobody knows.
pub(crate) fn unknown<A>() -> Step<A> {
    Step::Info { error: "timeout".to_owned() }
}

/// A stamp by node 1 in term 1.
pub(crate) fn stamp(revision: u64) -> Stamp {
    Stamp {
        cluster: ClusterId(42),
        member: MemberId(1),
        term: Term(1),
        revision: Revision(revision),
        log_index: LogIndex(revision + 10),
    }
}

pub(crate) fn seen(value: u64, modified: u64, version: u64) -> Option<Seen> {
    Some(Seen { value: Value(value), modified: Revision(modified), version })
}

pub(crate) fn absent() -> Option<Seen> {
    None
}

pub(crate) fn ok_read(seen: Option<Seen>) -> Answer {
    Answer::Read { seen }
}

pub(crate) fn mismatch(seen: Option<Seen>) -> Answer {
    Answer::Mismatch { seen }
}

pub(crate) fn written() -> Answer {
    Answer::Written
}

pub(crate) fn swapped() -> Answer {
    Answer::Swapped
}
