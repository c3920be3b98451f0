//! The rules of change streams.
//!
//! Owns the reading of streams out of a history, and how they are judged: first all of them
//! together, with what was acknowledged, make one story ([`story`]); then each stream is compared
//! with the story ([`rules`]). So two streams that tell different stories are found, and so is what
//! one stream leaves out and another tells.
//!
//! Must not know which workload made the changes.

pub(crate) mod rules;
pub(crate) mod story;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};

use quorate_core::{MemberId, Revision};

use super::{Check, Finding, healed_at, order::Place, trace::Pins};
use crate::history::{
    Line, LineIndex, Nanos, What,
    stream::{Asked, StreamEvent, StreamId, StreamStart, StreamStep, Told},
};
use rules::Rules;
use story::{Attempt, Fate, Story};

/// How many findings are told; more add nothing.
const FINDINGS_MAX: usize = 20;

/// One stream.
#[derive(Debug)]
pub(crate) struct Stream<'a> {
    /// Its number.
    pub(crate) id: StreamId,
    /// What was asked for.
    pub(crate) asked: &'a Asked,
    /// When it was asked for.
    pub(crate) asked_at: Nanos,
    /// When the coordinator had accepted it.
    pub(crate) opened_at: Option<Nanos>,
    /// What came, in order.
    pub(crate) told: Vec<(LineIndex, Nanos, &'a Told)>,
}

/// What the streams of a history tell.
#[derive(Debug)]
pub(crate) struct Telling {
    /// All changes.
    pub(crate) story: Story,
    /// What is wrong.
    pub(crate) findings: Vec<Finding>,
    /// The revisions of attempts of unknown outcome that took effect.
    pub(crate) pins: Pins,
    /// What was done.
    pub(crate) counts: Counts,
}

/// What streams did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Revisions delivered, each time they were.
    pub(crate) delivered: u64,
    /// Streams that went on after the token of another one, and told something.
    pub(crate) resumed: u64,
    /// Snapshots that came whole.
    pub(crate) snapshots: u64,
    /// Notices of progress.
    pub(crate) bookmarks: u64,
    /// Streams that were told that history is lost.
    pub(crate) lost: u64,
    /// Starts that were refused because they are in the future.
    pub(crate) future: u64,
    /// Changes compared with the record before them.
    pub(crate) compared: u64,
}

/// Judges all streams. `prefix`: that of all keys that are followed; `written`: that of those which
/// change by attempts alone. `others`: operations whose answers say how far the cluster was.
pub(crate) fn check(
    lines: &[Line],
    prefix: &str,
    written: &str,
    attempts: &[Attempt<'_>],
    others: &[Place<'_>],
) -> Telling {
    let streams = streams(lines);
    let mut telling = story::tell(prefix, written, &streams, attempts);
    let rules = Rules {
        prefix,
        story: &telling.story,
        attempts,
        floors: Floors::of(attempts, others),
        newest: newest(lines),
        limited_since: limited_since(lines),
    };
    let mut counts = Counts::default();
    let mut findings = Vec::new();
    for stream in &streams {
        findings.extend(rules.follow(stream, &mut counts));
    }
    findings.extend(reached(lines, &streams, attempts));
    telling.findings.extend(findings);
    telling.findings.truncate(FINDINGS_MAX);
    telling.counts = counts;
    telling
}

/// The streams of a history, in the order in which they were asked for.
fn streams(lines: &[Line]) -> Vec<Stream<'_>> {
    let mut found: Vec<Stream<'_>> = Vec::new();
    let mut by_id: HashMap<StreamId, usize> = HashMap::new();
    for line in lines {
        let What::Stream(StreamEvent { stream, told }) = &line.what else { continue };
        if let Told::Asked(asked) = told {
            by_id.insert(*stream, found.len());
            let (id, asked_at) = (*stream, line.time);
            found.push(Stream { id, asked, asked_at, opened_at: None, told: Vec::new() });
        } else if let Some(at) = by_id.get(stream) {
            let stream = &mut found[*at];
            if *told == Told::Opened {
                stream.opened_at = Some(line.time);
            }
            stream.told.push((line.index, line.time, told));
        }
    }
    found
}

/// How far the cluster had answered at a time.
#[derive(Debug, Default)]
pub(crate) struct Floors {
    /// Sorted by time; revisions grow.
    answers: Vec<(Nanos, Revision)>,
}

impl Floors {
    fn of(attempts: &[Attempt<'_>], others: &[Place<'_>]) -> Self {
        let acked = attempts.iter().filter_map(|attempt| match attempt.fate {
            Fate::Acknowledged { at, revision } => Some((at, revision)),
            Fate::Refused | Fate::Unknown => None,
        });
        let others = others.iter().filter_map(|place| place.answered);
        let others = others.map(|(at, stamp)| (at, stamp.revision));
        let mut answers: Vec<(Nanos, Revision)> = acked.chain(others).collect();
        answers.sort_unstable();
        let mut highest = Revision(0);
        for (_, revision) in &mut answers {
            highest = highest.max(*revision);
            *revision = highest;
        }
        Self { answers }
    }

    /// The highest revision that had been answered before a time.
    pub(crate) fn at(&self, time: Nanos) -> Revision {
        let upto = self.answers.partition_point(|(at, _)| *at < time);
        upto.checked_sub(1).map_or(Revision(0), |last| self.answers[last].1)
    }
}

/// The highest revision that anybody ever told.
fn newest(lines: &[Line]) -> Revision {
    let of_line = |line: &Line| match &line.what {
        What::Status(status) => status.revision,
        What::Stream(StreamEvent { told: Told::Message { steps, .. }, .. }) => {
            let changes = steps.iter().filter_map(|step| match step {
                StreamStep::Changes { revision, .. } => Some(*revision),
                _ => None,
            });
            changes.max().unwrap_or_default()
        }
        _ => Revision(0),
    };
    lines.iter().map(of_line).max().unwrap_or_default()
}

/// When a setting was first asked for that makes the cluster forget history.
fn limited_since(lines: &[Line]) -> Option<Nanos> {
    lines.iter().find_map(|line| match &line.what {
        What::Kv(event) if event.call.limits_history() => Some(line.time),
        _ => None,
    })
}

/// Through every coordinator that was followed, a stream came to the last acknowledged change.
fn reached(lines: &[Line], streams: &[Stream<'_>], attempts: &[Attempt<'_>]) -> Vec<Finding> {
    let Some(healed) = healed_at(lines) else { return Vec::new() };
    let acked = attempts.iter().filter_map(|attempt| match attempt.fate {
        Fate::Acknowledged { revision, .. } => Some(revision),
        Fate::Refused | Fate::Unknown => None,
    });
    let last = acked.max().unwrap_or_default();
    let mut furthest: BTreeMap<Option<MemberId>, Revision> = BTreeMap::new();
    for stream in streams {
        let furthest = furthest.entry(stream.asked.node).or_default();
        for (_, at, told) in &stream.told {
            if *at >= healed {
                *furthest = (*furthest).max(position(told));
            }
        }
    }
    let behind = furthest.into_iter().filter(|(_, furthest)| *furthest < last);
    behind
        .map(|(node, furthest)| {
            let through = node.map_or("the client library".to_owned(), |it| format!("node {it}"));
            let message = format!(
                "after healing no stream through {through} came to revision {last}: {furthest}"
            );
            Finding::invalid(Check::Watch, message)
        })
        .collect()
}

/// How far a message says that its stream is.
fn position(told: &Told) -> Revision {
    let Told::Message { steps, resume } = told else { return Revision(0) };
    let steps = steps.iter().map(|step| match step {
        StreamStep::Changes { revision, .. }
        | StreamStep::SnapshotEnd { revision }
        | StreamStep::Progress { revision } => *revision,
        StreamStep::Snapshot { .. } | StreamStep::Resync { .. } => Revision(0),
    });
    steps.chain(*resume).max().unwrap_or_default()
}

/// What a stream covers without a gap, as it says itself: pairs of the revision before the first
/// one and the last one.
fn coverage(stream: &Stream<'_>) -> Vec<(Revision, Revision)> {
    let before = |first: Revision| Revision(first.0.saturating_sub(1));
    let mut at = stream.asked.start.first().map(before);
    let mut covered: Vec<(Revision, Revision)> = Vec::new();
    let mut open = at;
    let mut whole = stream.asked.start != StreamStart::Snapshot;
    for (_, _, told) in &stream.told {
        let Told::Message { steps, resume } = told else { continue };
        for step in steps {
            match step {
                StreamStep::Resync { .. } => {
                    covered.extend(open.zip(at));
                    (open, at, whole) = (None, None, false);
                }
                StreamStep::Snapshot { .. } => {}
                StreamStep::SnapshotEnd { revision } => {
                    (open, at, whole) = (Some(*revision), Some(*revision), true);
                }
                StreamStep::Changes { revision, .. } => {
                    open = open.or(Some(before(*revision)));
                    at = at.max(Some(*revision));
                }
                StreamStep::Progress { revision } if whole => {
                    open = open.or(Some(*revision));
                    at = at.max(Some(*revision));
                }
                StreamStep::Progress { .. } => {}
            }
        }
        if let (true, Some(resume)) = (whole, resume) {
            open = open.or(Some(*resume));
            at = at.max(Some(*resume));
        }
    }
    covered.extend(open.zip(at));
    covered
}
