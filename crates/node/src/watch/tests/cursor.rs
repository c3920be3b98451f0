//! What a cursor sends in each of its situations.

use super::*;
use crate::watch::scan::FRAME_BYTES;

fn follow(groups: &Groups, filter: Filter, on_loss: OnLoss, next: u64) -> Cursor {
    Cursor::follow(groups.join(lens(filter)), on_loss, Revision(next))
}

fn received(cursor: &mut Cursor, log: &Log) -> Received {
    let mut received = Received::default();
    assert_eq!(drain(cursor, &log.view(), &mut received), None);
    received
}

#[test]
fn follows_from_a_revision_without_gap_or_repeat() {
    let mut log = Log::new();
    for number in 0..10 {
        log.put(&format!("k{}", number % 3), "v");
    }
    let groups = groups();
    let mut cursor = follow(&groups, Filter::default(), OnLoss::End, 4);
    let first = received(&mut cursor, &log);
    assert_eq!(first.told(), log.seen(&lens(Filter::default()), Revision(4), Revision(10)));
    assert_eq!(first.resume, Some(Revision(10)));
    assert_eq!(first.messages, 1, "what waits goes together");
    assert_eq!(cursor.step(&log.view()), Step::Idle);

    log.put("new", "v");
    let second = received(&mut cursor, &log);
    assert_eq!(second.told(), log.seen(&lens(Filter::default()), Revision(11), Revision(11)));
}

#[test]
fn what_does_not_match_moves_the_place_but_sends_nothing() {
    let mut log = Log::new();
    log.put("a", "v");
    log.put("b", "v");
    let groups = groups();
    let mut cursor = follow(&groups, prefix("a"), OnLoss::End, 2);
    assert!(!cursor.waits_beyond(Revision(2)));
    assert_eq!(received(&mut cursor, &log).messages, 0);
    assert!(cursor.waits_beyond(Revision(2)));
    let notice = decode(&cursor.progress(&log.view()).unwrap());
    assert_eq!(notice.resume.unwrap().revision, 2);
    let event: WatchEvent = notice.events[0].clone().try_into().unwrap();
    assert_eq!(event, WatchEvent::Progress { revision: Revision(2) });
}

#[test]
fn a_revision_is_never_split_and_a_message_is_bounded() {
    let mut log = Log::new();
    let value = "x".repeat(FRAME_BYTES / 4);
    for _ in 0..3 {
        let operations = (0..10).map(|number| put(&format!("k{number}"), &value)).collect();
        log.run(operations);
    }
    for number in 0..20 {
        log.put(&format!("k{number}"), &value);
    }
    let groups = groups();
    let mut cursor = follow(&groups, Filter::default(), OnLoss::End, 1);
    let all = received(&mut cursor, &log);
    assert_eq!(all.told(), log.seen(&lens(Filter::default()), Revision(1), Revision(23)));
    assert!(all.told().iter().take(3).all(|told| told.changes.len() == 10));
    // Three alone, the others by threes: a fourth would not fit.
    assert_eq!(all.messages, 3 + 20_usize.div_ceil(3));
}

#[test]
fn a_place_that_history_no_longer_holds_ends_the_stream() {
    let mut log = Log::new();
    for _ in 0..5 {
        log.put("k", "v");
    }
    let groups = groups();
    let mut cursor = follow(&groups, Filter::default(), OnLoss::End, 3);
    log.keep("history_bytes_max", 0);
    log.put("k", "v");
    assert_eq!(cursor.step(&log.view()), Step::Lost { oldest: Revision(7) });
    assert_eq!(cursor.step(&log.view()), Step::Lost { oldest: Revision(7) });
    let mut at_oldest = follow(&groups, Filter::default(), OnLoss::End, 7);
    assert_eq!(received(&mut at_oldest, &log).told().len(), 1);
}

#[test]
fn resync_is_announced_and_followed_by_a_snapshot_and_the_tail() {
    let mut log = Log::new();
    log.put("a", "v");
    log.put("b", "v");
    log.put("a", "w");
    log.keep("history_bytes_max", 0);
    let groups = groups();
    let mut cursor = follow(&groups, prefix("a"), OnLoss::Resync, 2);
    let Step::Resync(frame) = cursor.step(&log.view()) else { panic!("must resync") };
    let mut all = Received::default();
    all.take(&frame);
    log.put("a2", "v");
    assert_eq!(drain(&mut cursor, &log.view(), &mut all), None);
    let at = Revision(4);
    assert_eq!(all.events[0], WatchEvent::Resync { revision: at });
    let WatchEvent::Snapshot { revision, records } = &all.events[1] else { panic!("{all:?}") };
    assert_eq!((*revision, records.len()), (at, 1));
    assert_eq!(all.events[2], WatchEvent::SnapshotEnd { revision: at });
    assert_eq!(all.told(), log.seen(&lens(prefix("a")), Revision(5), Revision(5)));
}

#[test]
fn a_snapshot_is_of_one_revision_whatever_is_written_meanwhile() {
    let mut log = Log::new();
    let value = "x".repeat(10_000);
    for number in 0..100 {
        log.put(&format!("k{number:03}"), &value);
    }
    let groups = groups();
    let seat = groups.join(lens(Filter::default()));
    let mut cursor = Cursor::snapshot(seat, OnLoss::End, log.view());
    let mut all = Received::default();
    let mut steps = 0;
    while steps < 3 {
        let Step::Send(frame) = cursor.step(&log.view()) else { panic!("more than three chunks") };
        all.take(&frame);
        assert_eq!(all.resume, None, "no place to resume from within a snapshot");
        assert_eq!(cursor.progress(&log.view()), None);
        log.run(vec![delete("k09"), put("k000", "new")]);
        steps += 1;
    }
    assert_eq!(drain(&mut cursor, &log.view(), &mut all), None);
    let end = all.events.iter().position(|e| matches!(e, WatchEvent::SnapshotEnd { .. })).unwrap();
    let records: Vec<(Key, u64)> = all.events[..end].iter().flat_map(records).collect();
    assert_eq!(records, log.records(&lens(Filter::default()), Revision(100)));
    assert_eq!(all.told(), log.seen(&lens(Filter::default()), Revision(101), log.revision()));
}

pub(super) fn records(event: &WatchEvent) -> Vec<(Key, u64)> {
    let WatchEvent::Snapshot { records, .. } = event else { return Vec::new() };
    records.iter().map(|(key, record)| (key.clone(), record.modified.get())).collect()
}

#[test]
fn an_empty_snapshot_has_its_end_marker() {
    let groups = groups();
    let mut log = Log::new();
    log.put("b", "v");
    let seat = groups.join(lens(prefix("a")));
    let mut cursor = Cursor::snapshot(seat, OnLoss::End, log.view());
    let all = received(&mut cursor, &log);
    assert_eq!(all.events, [WatchEvent::SnapshotEnd { revision: Revision(1) }]);
    assert_eq!(all.resume, Some(Revision(1)));
}

#[test]
fn equal_subscribers_are_sent_the_same_bytes() {
    let mut log = Log::new();
    log.put("a", "v");
    let groups = groups();
    let kinds = |kinds: &[Kind]| Filter { kinds: kinds.to_vec(), ..Filter::default() };
    let mut first = follow(&groups, kinds(&[Kind::Entry, Kind::Setting]), OnLoss::End, 1);
    let mut same = follow(&groups, kinds(&[Kind::Setting, Kind::Entry]), OnLoss::Resync, 1);
    let mut other = follow(&groups, kinds(&[Kind::Entry]), OnLoss::End, 1);
    let sent = |cursor: &mut Cursor| match cursor.step(&log.view()) {
        Step::Send(frame) => frame.bytes,
        step => panic!("{step:?}"),
    };
    let (a, b, c) = (sent(&mut first), sent(&mut same), sent(&mut other));
    assert_eq!(a.as_ptr(), b.as_ptr(), "shared, not only equal");
    assert_eq!(a, c);
    assert_ne!(a.as_ptr(), c.as_ptr());
    assert_eq!(groups.counts().0, 2);
    assert!(groups.counts().1 > 0);
    drop((first, same, other));
    assert_eq!(groups.counts(), (0, 0), "nothing is kept for nobody");
}

#[test]
fn previous_values_are_told_only_when_asked_for() {
    let mut log = Log::new();
    log.put("a", "v");
    log.put("a", "w");
    log.run(vec![delete("a")]);
    let groups = groups();
    for with_previous in [false, true] {
        let lens = Lens { filter: Filter::default(), with_previous };
        let seat = groups.join(lens.clone());
        let mut cursor = Cursor::follow(seat, OnLoss::End, Revision(1));
        let all = received(&mut cursor, &log);
        assert_eq!(all.told(), log.seen(&lens, Revision(1), Revision(3)));
        let previous: Vec<_> = all.told().iter().map(|told| told.changes[0].3).collect();
        let expected = if with_previous { [None, Some(1), Some(2)] } else { [None; 3] };
        assert_eq!(previous, expected);
        let created: Vec<_> = all.told().iter().map(|told| told.changes[0].1).collect();
        assert_eq!(created, [true, false, false]);
    }
}

#[test]
fn an_installed_state_is_a_continuation_or_an_explicit_loss() {
    let mut log = Log::new();
    for _ in 0..3 {
        log.put("k", "v");
    }
    let groups = groups();
    let mut reaches = follow(&groups, Filter::default(), OnLoss::End, 4);
    let mut falls_behind = follow(&groups, Filter::default(), OnLoss::Resync, 4);
    for _ in 0..3 {
        log.put("k", "v");
    }
    // Its history begins before the cursor's place: nothing was missed.
    let installed = |log: &Log| Arc::new(View { installs: 1, ..(*log.view()).clone() });
    let mut all = Received::default();
    assert_eq!(drain(&mut reaches, &installed(&log), &mut all), None);
    assert_eq!(all.told(), log.seen(&lens(Filter::default()), Revision(4), Revision(6)));

    log.keep("history_bytes_max", 0);
    log.put("k", "v");
    assert!(matches!(falls_behind.step(&installed(&log)), Step::Resync(_)));
    let mut all = Received::default();
    assert_eq!(drain(&mut falls_behind, &installed(&log), &mut all), None);
    assert_eq!(all.events, []);
}
