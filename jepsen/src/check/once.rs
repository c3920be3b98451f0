//! The rules of requests that are sent more than once.
//!
//! Owns them, beside those of the change stream that tells what was applied:
//! - a request is applied once: its value is told at one revision, and versions count it once;
//! - every answer to a request is the same: the revision, and the record before it;
//! - a request that was acknowledged was applied; one that was refused was not;
//! - a request whose serial belongs to another one, or is finished, is never applied.
//!
//! Must not know the rules of streams.

use std::collections::BTreeMap;

use super::{
    Check, Finding, Found, Work, order,
    order::Place,
    seconds,
    streams::{
        self, Telling,
        story::{Attempt, Fate},
    },
    watch::incomplete,
};
use crate::history::{
    Line, Value, What,
    once::{OnceAnswer, OnceCall},
    pair::{self, Malformed, Paired},
};

/// That of all keys of the workload.
const PREFIX: &str = "once/";

type Request = Paired<OnceCall, OnceAnswer>;

/// All rules, and the order of these operations with others.
pub(crate) fn check<'a>(lines: &'a [Line], others: Vec<Place<'a>>) -> Result<Found, Malformed> {
    let requests = pair::events(lines, |what| match what {
        What::Once(event) => Some(event),
        _ => None,
    })?;
    let attempts: Vec<Attempt<'_>> = requests.iter().map(attempt).collect();
    let telling = streams::check(lines, PREFIX, PREFIX, &attempts, &others);
    let mut findings: Vec<Finding> = telling.findings.clone();
    findings.extend(incomplete(&telling, &attempts));
    let mut by_value: BTreeMap<Value, Vec<&Request>> = BTreeMap::new();
    for request in &requests {
        by_value.entry(request.call.write().1).or_default().push(request);
    }
    findings.extend(one_answer(&by_value).into_iter().take(order::FINDINGS_MAX));
    findings.extend(previous(&requests, &telling).into_iter().take(order::FINDINGS_MAX));
    findings.extend(misused(&requests).into_iter().take(order::FINDINGS_MAX));
    let places = by_value.values().filter_map(|sent| place(sent, &telling));
    findings.extend(order::check_with(places, others));
    Ok(Found { findings, work: work(lines, &requests, &by_value) })
}

fn attempt(request: &Request) -> Attempt<'_> {
    let fate = match request.call {
        // Whatever its sender was told: it must not happen.
        OnceCall::Misuse { .. } => Fate::Refused,
        OnceCall::Put { .. } | OnceCall::Again { .. } => Fate::of(request),
    };
    let puts = vec![request.call.write()];
    let (id, invoked, deletes) = (request.id, request.invoked, Vec::new());
    Attempt { id, invoked, puts, deletes, fate, shown: request }
}

fn one_answer(by_value: &BTreeMap<Value, Vec<&Request>>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for sent in by_value.values() {
        let answered: Vec<&Request> =
            sent.iter().copied().filter(|request| request.answer().is_some()).collect();
        let answer =
            |request: &Request| request.answer().map(|(answer, stamp)| (*answer, stamp.revision));
        let differs = answered.windows(2).find(|two| answer(two[0]) != answer(two[1]));
        findings.extend(differs.map(|two| {
            let message = "one request has two answers".to_owned();
            Finding::about(Check::Once, message, two)
        }));
    }
    findings
}

fn previous(requests: &[Request], telling: &Telling) -> Vec<Finding> {
    let mut findings = Vec::new();
    for request in requests {
        let Some((OnceAnswer::Written { previous }, stamp)) = request.answer() else { continue };
        if stamp.revision > telling.story.complete_until {
            continue;
        }
        let before = telling.story.before(request.call.write().0, stamp.revision);
        if before != *previous {
            let held = before.map_or("absent".to_owned(), |seen| seen.to_string());
            let message = format!("written over something else than {held}");
            findings.push(Finding::about(Check::Once, message, &[request]));
        }
    }
    findings
}

fn misused(requests: &[Request]) -> Vec<Finding> {
    let accepted = requests.iter().filter(|request| {
        matches!(request.call, OnceCall::Misuse { .. }) && request.answer().is_some()
    });
    let message = "a used serial was accepted for another request";
    accepted.map(|it| Finding::about(Check::Once, message.to_owned(), &[it])).collect()
}

/// Where a request took effect, whoever was told first. The log index of an answer is that of the
/// attempt that was answered, so it says nothing of the request.
fn place<'a>(sent: &[&'a Request], telling: &Telling) -> Option<Place<'a>> {
    let first = *sent.first()?;
    let mut known = sent.iter().filter_map(|request| {
        let answered = request.answer().map(|(_, stamp)| stamp.revision);
        answered.or(telling.pins.get(&request.id).copied())
    });
    let revision = known.next();
    Some(Place { answered: None, ..Place::of(first, true) }.pinned_at(revision))
}

fn work(
    lines: &[Line],
    requests: &[Request],
    by_value: &BTreeMap<Value, Vec<&Request>>,
) -> Vec<Work> {
    let answered = |is: fn(&OnceCall) -> bool| {
        let of_kind = requests.iter().filter(|request| is(&request.call));
        of_kind.filter(|request| request.answer().is_some()).count() as u64
    };
    let puts = answered(|call| matches!(call, OnceCall::Put { .. }));
    let repeated = by_value
        .values()
        .filter(|sent| sent.iter().filter(|request| request.answer().is_some()).count() > 1);
    let misuses = requests.iter().filter(|it| matches!(it.call, OnceCall::Misuse { .. }));
    let (repeated, misuses) = (repeated.count() as u64, misuses.count() as u64);
    let seconds = seconds(lines);
    vec![
        Work { name: "requests of the client library", done: puts, needed: seconds },
        Work { name: "requests answered more than once", done: repeated, needed: seconds / 5 },
        Work { name: "misuses of serials", done: misuses, needed: seconds / 10 },
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        check::{
            Verdict,
            sample::{History, failed, ok, seen, unknown},
        },
        history::Seen,
    };

    const KEY: &str = "once/1";

    fn put(value: u64) -> OnceCall {
        OnceCall::Put { key: KEY.to_owned(), value: Value(value) }
    }

    fn again(value: u64) -> OnceCall {
        OnceCall::Again { key: KEY.to_owned(), value: Value(value) }
    }

    fn written(previous: Option<Seen>) -> OnceAnswer {
        OnceAnswer::Written { previous }
    }

    fn run(history: &mut History, call: OnceCall, previous: Option<Seen>, revision: u64) {
        history.operate(1, What::Once, call, ok(written(previous), revision));
    }

    /// A stream from the beginning that tells these changes.
    fn story(history: &mut History, changes: &[(u64, u64)]) {
        history.follow(1, "once/");
        for (at, (value, revision)) in changes.iter().enumerate() {
            history.change(1, KEY, *value, *revision, at as u64 + 1);
        }
        history.progress(1, 100);
    }

    #[test]
    fn a_good_history_has_no_findings() {
        let mut history = History::new();
        run(&mut history, put(1), None, 1);
        run(&mut history, again(2), seen(1, 1, 1), 2);
        run(&mut history, put(3), seen(2, 2, 2), 3);
        run(&mut history, again(2), seen(1, 1, 1), 2);
        history.operate(5, What::Once, put(4), unknown());
        history.operate(6, What::Once, put(5), failed());
        let misuse = OnceCall::Misuse { key: KEY.to_owned(), value: Value(6) };
        history.operate(7, What::Once, misuse, failed());
        story(&mut history, &[(1, 1), (2, 2), (3, 3), (4, 4)]);
        assert_eq!(history.messages(check), Vec::<String>::new());
    }

    #[test]
    fn a_request_that_is_applied_twice_is_found() {
        let mut history = History::new();
        run(&mut history, put(1), None, 1);
        story(&mut history, &[(1, 1), (1, 2)]);
        history.expect(check, Verdict::Invalid, "it was written at revision 1 already");
    }

    #[test]
    fn two_answers_to_one_request_are_found() {
        let mut history = History::new();
        run(&mut history, again(1), None, 1);
        run(&mut history, again(1), None, 2);
        story(&mut history, &[(1, 1)]);
        history.expect(check, Verdict::Invalid, "one request has two answers");
        let mut history = History::new();
        run(&mut history, put(1), None, 1);
        run(&mut history, again(2), seen(1, 1, 1), 2);
        run(&mut history, again(2), None, 2);
        story(&mut history, &[(1, 1), (2, 2)]);
        history.expect(check, Verdict::Invalid, "one request has two answers");
        history.expect(check, Verdict::Invalid, "written over something else than 1");
    }

    #[test]
    fn an_acknowledged_request_that_was_not_applied_is_found() {
        let mut history = History::new();
        run(&mut history, put(1), None, 1);
        story(&mut history, &[]);
        history.expect(check, Verdict::Invalid, "was acknowledged but is not told");
    }

    #[test]
    fn a_refused_request_that_was_applied_is_found() {
        let mut history = History::new();
        history.operate(1, What::Once, put(1), failed());
        story(&mut history, &[(1, 1)]);
        history.expect(check, Verdict::Invalid, "its write was refused");
    }

    #[test]
    fn a_used_serial_that_does_something_is_found() {
        let misuse = OnceCall::Misuse { key: KEY.to_owned(), value: Value(1) };
        let mut history = History::new();
        history.operate(1, What::Once, misuse.clone(), unknown());
        story(&mut history, &[(1, 1)]);
        history.expect(check, Verdict::Invalid, "its write was refused");
        let mut history = History::new();
        run(&mut history, misuse, None, 1);
        story(&mut history, &[]);
        history.expect(check, Verdict::Invalid, "a used serial was accepted");
    }

    #[test]
    fn a_request_before_its_time_is_found() {
        let mut history = History::new();
        run(&mut history, again(1), None, 5);
        history.operate(1, What::Once, put(2), unknown());
        story(&mut history, &[(2, 4), (1, 5)]);
        let found = history.messages(check);
        assert!(!found.is_empty(), "{found:?}");
    }

    #[test]
    fn without_the_whole_story_nothing_is_decided() {
        let mut history = History::new();
        run(&mut history, put(1), None, 1);
        history.expect(check, Verdict::Unknown, "no streams tell everything");
    }
}
