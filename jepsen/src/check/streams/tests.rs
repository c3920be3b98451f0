//! Streams made by hand: good ones, and one for each way to be wrong.

use super::*;
use crate::{
    check::{
        Verdict,
        sample::{History, failed, ok, seen, unknown},
        watch,
    },
    history::{
        Seen, Value,
        kv::{HISTORY_BYTES_MAX, KvAnswer, KvCall},
        stream::{Change, Held},
    },
};

const A: &str = "watch/a/1";
const B: &str = "watch/b/1";
const ALL: &str = "watch/";

fn put(key: &str, value: u64) -> KvCall {
    KvCall::Write { puts: vec![(key.to_owned(), Value(value))], deletes: Vec::new() }
}

fn write(history: &mut History, call: KvCall, revision: u64) {
    history.operate(1, What::Kv, call, ok(KvAnswer::Written, revision));
}

fn both(one: u64, other: u64) -> KvCall {
    let puts = vec![(A.to_owned(), Value(one)), (B.to_owned(), Value(other))];
    KvCall::Write { puts, deletes: Vec::new() }
}

fn change(key: &str, current: Option<Seen>, version: u64) -> Change {
    Change { key: key.to_owned(), current, created: version == 1, previous: None }
}

/// Writes at 1 (A), 2 (A and B), 3 (A, unknown), 4 (A deleted, B), and a stream that tells them.
fn told() -> History {
    let mut history = History::new();
    history.follow(1, ALL);
    write(&mut history, put(A, 1), 1);
    write(&mut history, both(2, 3), 2);
    history.operate(2, What::Kv, put(A, 4), unknown());
    let puts = vec![(B.to_owned(), Value(5))];
    write(&mut history, KvCall::Write { puts, deletes: vec![A.to_owned()] }, 4);
    history.operate(3, What::Kv, put(A, 6), failed());
    tell_all(&mut history, 1);
    history
}

fn tell_all(history: &mut History, stream: u64) {
    history.change(stream, A, 1, 1, 1);
    let changes = vec![change(A, seen(2, 2, 2), 2), change(B, seen(3, 2, 1), 1)];
    history.changes(stream, 2, changes);
    tell_rest(history, stream);
}

fn tell_rest(history: &mut History, stream: u64) {
    history.change(stream, A, 4, 3, 3);
    history.changes(stream, 4, vec![change(B, seen(5, 4, 2), 2), change(A, None, 0)]);
    history.progress(stream, 5);
}

fn limit(history: &mut History) {
    let setting = HISTORY_BYTES_MAX.0.to_owned();
    write(history, KvCall::Set { setting, value: 1 }, 6);
}

fn ended(history: &mut History, stream: u64, reason: &str, oldest: Option<u64>) {
    let (reason, error) = (Some(reason.to_owned()), String::new());
    history.told(stream, Told::Ended { reason, oldest: oldest.map(Revision), error });
}

fn held(key: &str, value: u64, modified: u64, version: u64) -> Held {
    Held { key: key.to_owned(), seen: seen(value, modified, version).unwrap() }
}

fn snapshot(history: &mut History, stream: u64, revision: u64, records: Vec<Held>) {
    let revision = Revision(revision);
    history.step(stream, StreamStep::Snapshot { revision, records });
    history.step(stream, StreamStep::SnapshotEnd { revision });
}

fn findings(history: &History) -> Vec<Finding> {
    watch::check(&history.lines, Vec::new()).unwrap().findings
}

#[track_caller]
fn assert_good(history: &History) {
    assert_eq!(findings(history), []);
}

#[track_caller]
fn expect(history: &History, part: &str) {
    let found = findings(history);
    let hit = found.iter().any(|it| it.verdict == Verdict::Invalid && it.message.contains(part));
    assert!(hit, "{part:?} in {found:#?}");
}

#[test]
fn streams_that_tell_everything_are_good() {
    let mut history = told();
    history.follow(2, ALL);
    tell_all(&mut history, 2);
    history.ask(3, StreamStart::After(Revision(2)), "watch/b/");
    history.changes(3, 4, vec![change(B, seen(5, 4, 2), 2)]);
    history.told(3, Told::Message { steps: Vec::new(), resume: Some(Revision(5)) });
    history.ask(4, StreamStart::Snapshot, ALL);
    snapshot(&mut history, 4, 4, vec![held(B, 5, 4, 2)]);
    history.ask(5, StreamStart::From(Revision(900)), ALL);
    ended(&mut history, 5, "FUTURE_REVISION", None);
    history.ask(6, StreamStart::Now, ALL);
    history.progress(6, 5);
    assert_good(&history);
    let telling = check(&history.lines, ALL, ALL, &[], &[]);
    let Counts { delivered, resumed, snapshots, future, .. } = telling.counts;
    assert_eq!((delivered, resumed, snapshots, future), (9, 1, 1, 1));
    assert_eq!(telling.story.complete_until, Revision(5));
}

#[test]
fn a_gap_is_found_whoever_leaves_it() {
    // Left out by a stream, told by another one.
    let mut history = told();
    history.follow(2, ALL);
    history.change(2, A, 1, 1, 1);
    tell_rest(&mut history, 2);
    expect(&history, "revision 3 came without watch/a/1 of 2, after 1");
    // Left out by all of them, acknowledged.
    let mut history = History::new();
    history.follow(1, ALL);
    write(&mut history, put(A, 1), 1);
    history.progress(1, 5);
    expect(&history, "watch/a/1 = 1 was acknowledged but is not told");
}

#[test]
fn a_bookmark_that_is_too_early_is_found() {
    let mut history = told();
    history.follow(2, ALL);
    history.change(2, A, 1, 1, 1);
    history.progress(2, 5);
    expect(&history, "a notice of progress came without watch/a/1 of 2");
    let mut history = told();
    history.follow(2, ALL);
    history.told(2, Told::Message { steps: Vec::new(), resume: Some(Revision(2)) });
    expect(&history, "a token came without watch/a/1 of 1");
}

#[test]
fn a_repeat_and_a_step_back_are_found() {
    let mut history = told();
    history.change(1, A, 1, 1, 1);
    expect(&history, "revision 1 came after 5");
    let mut history = told();
    history.progress(1, 3);
    expect(&history, "a notice of progress of 3 came after 5");
    // A resumed stream does not begin before its token.
    let mut history = told();
    history.ask(2, StreamStart::After(Revision(2)), ALL);
    history.changes(2, 2, vec![change(A, seen(2, 2, 2), 2), change(B, seen(3, 2, 1), 1)]);
    expect(&history, "revision 2 came after 2");
}

#[test]
fn a_revision_in_parts_is_found() {
    let mut history = told();
    history.follow(2, ALL);
    history.change(2, A, 1, 1, 1);
    history.changes(2, 2, vec![change(A, seen(2, 2, 2), 2)]);
    expect(&history, "revision 2 came without its change of watch/b/1");
    let mut history = told();
    history.follow(2, ALL);
    history.change(2, A, 1, 1, 1);
    let changes = vec![change(A, seen(2, 2, 2), 2), change(A, seen(2, 2, 2), 2)];
    history.changes(2, 2, changes);
    expect(&history, "watch/a/1 came twice at 2");
}

#[test]
fn what_does_not_match_is_found() {
    let mut history = told();
    history.follow(2, "watch/b/");
    history.change(2, A, 1, 1, 1);
    expect(&history, "watch/a/1 at 1 does not match");
    history.ask(3, StreamStart::Snapshot, "watch/b/");
    snapshot(&mut history, 3, 2, vec![held(A, 2, 2, 2), held(B, 3, 2, 1)]);
    expect(&history, "watch/a/1 in a snapshot does not match");
}

#[test]
fn two_stories_are_found() {
    let mut history = told();
    history.follow(2, ALL);
    history.change(2, A, 9, 1, 1);
    expect(&history, "two streams tell differently of watch/a/1 at 1");
}

#[test]
fn wrong_words_about_before_are_found() {
    let mut history = told();
    history.follow(2, ALL);
    let wrong = Change { created: false, ..change(A, seen(1, 1, 1), 1) };
    history.changes(2, 1, vec![wrong]);
    expect(&history, "watch/a/1 at 1 was new");
    let mut history = told();
    history.ask(2, StreamStart::After(Revision(2)), ALL);
    history.changes(2, 3, vec![Change { created: true, ..change(A, seen(4, 3, 3), 3) }]);
    expect(&history, "watch/a/1 at 3 is told as new but was there");
    let mut history = told();
    history.ask(2, StreamStart::After(Revision(2)), ALL);
    let previous = seen(2, 2, 2);
    history.changes(2, 3, vec![Change { previous, ..change(A, seen(4, 3, 3), 3) }]);
    expect(&history, "has a previous record, unasked");
    if let What::Stream(StreamEvent { told: Told::Asked(asked), .. }) =
        &mut history.lines.iter_mut().rev().nth(2).unwrap().what
    {
        asked.with_previous = true;
    }
    assert_good(&history);
    let mut history = told();
    history.ask(2, StreamStart::After(Revision(2)), ALL);
    history.changes(2, 3, vec![change(A, seen(4, 3, 2), 2)]);
    expect(&history, "two streams tell differently");
    expect(&history, "has version 2, not 3");
}

#[test]
fn a_change_that_nobody_made_is_found() {
    let mut history = told();
    history.change(1, A, 77, 7, 1);
    expect(&history, "nobody wrote it");
    let mut history = told();
    history.change(1, A, 6, 7, 1);
    expect(&history, "its write was refused");
    let mut history = told();
    history.change(1, B, 4, 7, 3);
    expect(&history, "it was written to another key");
    let mut history = told();
    history.change(1, B, 5, 7, 3);
    expect(&history, "it was written at revision 4 already");
    let mut history = History::new();
    history.follow(1, ALL);
    write(&mut history, put(A, 1), 1);
    history.operate(2, What::Kv, put(B, 2), unknown());
    history.changes(1, 1, vec![change(A, seen(1, 1, 1), 1), change(B, seen(2, 1, 1), 1)]);
    expect(&history, "watch/b/1 was not asked for but is told");
}

#[test]
fn a_wrong_snapshot_is_found() {
    let ask = |history: &mut History| history.ask(2, StreamStart::Snapshot, ALL);
    let mut history = told();
    ask(&mut history);
    snapshot(&mut history, 2, 4, Vec::new());
    expect(&history, "in a snapshot of 4 watch/b/1 is absent, but was 5");
    let mut history = told();
    ask(&mut history);
    snapshot(&mut history, 2, 2, vec![held(A, 2, 2, 2), held(B, 3, 2, 1)]);
    expect(&history, "a snapshot of 2, from before it was asked for");
    let mut history = told();
    ask(&mut history);
    let (one, two) = (Revision(4), Revision(5));
    history.step(2, StreamStep::Snapshot { revision: one, records: vec![held(B, 5, 4, 2)] });
    history.step(2, StreamStep::SnapshotEnd { revision: two });
    expect(&history, "a snapshot of 4 and of 5");
    let mut history = told();
    ask(&mut history);
    history.change(2, A, 1, 1, 1);
    expect(&history, "before the end of the snapshot");
    let mut history = told();
    snapshot(&mut history, 1, 4, vec![held(B, 5, 4, 2)]);
    expect(&history, "records of 4 among changes");
}

#[test]
fn a_start_from_now_has_its_bounds() {
    let mut history = told();
    history.ask(2, StreamStart::Now, ALL);
    history.changes(2, 4, vec![change(B, seen(5, 4, 2), 2), change(A, None, 0)]);
    expect(&history, "revision 4 is from before the stream was asked for");
    // What was asked for once the stream was accepted must come.
    let mut history = told();
    history.ask(2, StreamStart::Now, ALL);
    write(&mut history, put(A, 8), 6);
    write(&mut history, put(A, 9), 7);
    history.change(1, A, 8, 6, 1);
    history.change(1, A, 9, 7, 2);
    history.change(2, A, 9, 7, 2);
    expect(&history, "revision 7 came without watch/a/1 of 6");
}

#[test]
fn lost_history_must_be_lost() {
    let lose = |limited: bool, start: u64, oldest: u64| {
        let mut history = told();
        if limited {
            limit(&mut history);
        }
        history.ask(2, StreamStart::From(Revision(start)), ALL);
        ended(&mut history, 2, "COMPACTED", Some(oldest));
        history
    };
    assert_good(&lose(true, 1, 3));
    expect(&lose(false, 1, 3), "nobody limited it");
    expect(&lose(true, 3, 3), "3 is said to be lost, but 3 is kept");
    expect(&lose(true, 1, 900), "900 is said to be kept, but never existed");
}

#[test]
fn a_new_snapshot_must_be_needed_and_wanted() {
    let resync = |limited: bool, wanted: bool| {
        let mut history = told();
        if limited {
            limit(&mut history);
        }
        history.ask(2, StreamStart::From(Revision(1)), ALL);
        let asked_line = history.lines.len() - 2;
        if let What::Stream(StreamEvent { told: Told::Asked(asked), .. }) =
            &mut history.lines[asked_line].what
        {
            asked.resync = wanted;
        }
        history.step(2, StreamStep::Resync { revision: Revision(4) });
        snapshot(&mut history, 2, 4, vec![held(B, 5, 4, 2)]);
        history
    };
    assert_good(&resync(true, true));
    expect(&resync(true, false), "a new snapshot that was not asked for");
    expect(&resync(false, true), "nobody limited it");
    // A silent jump over lost history is a gap.
    let mut history = told();
    limit(&mut history);
    history.follow(2, ALL);
    tell_rest(&mut history, 2);
    expect(&history, "revision 3 came without watch/a/1 of 1");
}

#[test]
fn the_future_must_be_the_future() {
    let mut history = told();
    history.ask(2, StreamStart::From(Revision(5)), ALL);
    ended(&mut history, 2, "FUTURE_REVISION", None);
    expect(&history, "5 is said to be in the future, 4 was answered");
    let mut history = told();
    history.ask(2, StreamStart::From(Revision(900)), ALL);
    history.step(2, StreamStep::Progress { revision: Revision(899) });
    expect(&history, "progress to 899, which never existed");
}

#[test]
fn other_ends_are_found() {
    let mut history = told();
    ended(&mut history, 1, "NO_QUORUM", None);
    assert_good(&history);
    ended(&mut history, 1, "WRONG_CLUSTER", None);
    expect(&history, "it ended with WRONG_CLUSTER");
}

#[test]
fn a_coordinator_that_stays_behind_is_found() {
    let mut history = told();
    history.add(What::Healed);
    expect(&history, "after healing no stream through node 1 came to revision 4");
    history.progress(1, 5);
    assert_good(&history);
}

#[test]
fn streams_that_tell_a_part_decide_nothing() {
    let mut history = History::new();
    write(&mut history, put(A, 1), 1);
    write(&mut history, put(A, 2), 2);
    history.ask(1, StreamStart::After(Revision(1)), ALL);
    history.change(1, A, 2, 2, 2);
    let found = findings(&history);
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0].verdict, Verdict::Unknown);
    assert!(found[0].message.contains("up to revision 0 of 2"), "{found:?}");
}
