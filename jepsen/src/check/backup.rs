//! The rules of backups.
//!
//! Owns them, beside those of the change stream that tells what was written meanwhile:
//! - every backup that came whole can be inspected and restored, and what is made from it serves;
//! - it is the state at the revision that its answer told: no change before is missing, none after
//!   is in it;
//! - what is made from it has a higher restore epoch.
//!
//! Must not know the rules of streams.

use std::collections::HashMap;

use super::{
    Check, Finding, Found, Work, order,
    order::Place,
    seconds,
    streams::{
        self,
        story::{Attempt, Story},
    },
    watch::{attempt, incomplete, operations},
};
use crate::history::{
    Line, LineIndex, What,
    backup::{Restoration, Restored, SaveAnswer, SaveCall},
    pair::{self, Malformed, Paired},
    stream::Held,
};

/// That of all keys of the workload.
const PREFIX: &str = "backup/";

type Save = Paired<SaveCall, SaveAnswer>;

/// All rules, and the order of these operations with others.
pub(crate) fn check<'a>(lines: &'a [Line], others: Vec<Place<'a>>) -> Result<Found, Malformed> {
    let writes = operations(lines)?;
    let saves = pair::events(lines, |what| match what {
        What::Save(event) => Some(event),
        _ => None,
    })?;
    let attempts: Vec<Attempt<'_>> = writes.iter().filter_map(attempt).collect();
    let telling = streams::check(lines, PREFIX, PREFIX, &attempts, &others);
    let mut findings = telling.findings.clone();
    findings.extend(incomplete(&telling, &attempts));
    let restored = restored(lines);
    let mut good = 0;
    for save in saves.iter().filter(|save| save.answer().is_some()) {
        match compare(save, &restored, &telling.story) {
            None => good += 1,
            Some(finding) => findings.push(finding),
        }
    }
    let places = Place::of_writes(&writes, &telling.pins);
    let places = places.chain(saves.iter().map(|save| Place::of(save, false)));
    findings.extend(order::check_with(places, others));
    let written = writes.iter().filter(|write| write.answered().is_some()).count() as u64;
    let seconds = seconds(lines);
    let work = vec![
        Work { name: "writes", done: written, needed: 2 * seconds },
        Work { name: "backups restored", done: good, needed: (seconds / 20).max(1) },
    ];
    Ok(Found { findings, work })
}

fn restored(lines: &[Line]) -> HashMap<u64, (LineIndex, &Restored)> {
    let restored = lines.iter().filter_map(|line| match &line.what {
        What::Restored(restored) => Some((restored.backup, (line.index, restored))),
        _ => None,
    });
    restored.collect()
}

/// What is wrong with a backup.
fn compare(
    save: &Save,
    restored: &HashMap<u64, (LineIndex, &Restored)>,
    story: &Story,
) -> Option<Finding> {
    let (_, stamp) = save.answer()?;
    let Some((line, restored)) = restored.get(&save.call.backup()) else {
        return Some(Finding::unknown(Check::Backup, format!("{} was not restored", save.call)));
    };
    let wrong = |message: String| {
        let finding = Finding::about(Check::Backup, message, &[save]);
        Some(finding.shown_by([*line]))
    };
    let Some(found) = &restored.found else {
        let why = restored.error.as_deref().unwrap_or("no reason");
        return wrong(format!("it could not be restored: {why}"));
    };
    let Restoration { inspected, revision, epoch_before, restore_epoch, records } = found;
    if *inspected != stamp.revision || *revision != stamp.revision {
        return wrong(format!("it is of revision {inspected}, restored as of {revision}"));
    }
    if restore_epoch <= epoch_before {
        return wrong(format!("the restore epoch {epoch_before} became {restore_epoch}"));
    }
    if story.complete_until < stamp.revision {
        let message = format!("{}: no stream tells what it should hold", save.call);
        return Some(Finding::unknown(Check::Backup, message));
    }
    let records: Vec<&Held> = records.iter().collect();
    story.difference(stamp.revision, PREFIX, &records).and_then(wrong)
}

#[cfg(test)]
mod tests {
    use quorate_core::{RestoreEpoch, Revision};

    use super::*;
    use crate::{
        check::{
            Verdict,
            sample::{History, ok, seen},
        },
        history::{
            Value,
            kv::{KvAnswer, KvCall},
        },
    };

    const KEY: &str = "backup/1";

    fn write(history: &mut History, value: u64, revision: u64) {
        let call = KvCall::Write { puts: vec![(KEY.to_owned(), Value(value))], deletes: vec![] };
        history.operate(1, What::Kv, call, ok(KvAnswer::Written, revision));
    }

    fn save(history: &mut History, revision: u64) {
        let call = SaveCall::Save { backup: 1 };
        history.operate(2, What::Save, call, ok(SaveAnswer::Saved { bytes: 1 }, revision));
    }

    fn restore(history: &mut History, revision: u64, held: &[(&str, u64, u64, u64)]) {
        let records = held.iter().map(|(key, value, modified, version)| Held {
            key: (*key).to_owned(),
            seen: seen(*value, *modified, *version).unwrap(),
        });
        let found = Restoration {
            inspected: Revision(revision),
            revision: Revision(revision),
            epoch_before: RestoreEpoch(1),
            restore_epoch: RestoreEpoch(2),
            records: records.collect(),
        };
        let restored = Restored { backup: 1, found: Some(found), error: None };
        history.add(What::Restored(restored));
    }

    /// Two writes, a backup between them, and a stream that tells the writes.
    fn history(held: &[(&str, u64, u64, u64)], revision: u64) -> History {
        let mut history = History::new();
        history.follow(1, "backup/");
        write(&mut history, 1, 1);
        history.change(1, KEY, 1, 1, 1);
        save(&mut history, 1);
        write(&mut history, 2, 2);
        history.change(1, KEY, 2, 2, 2);
        history.progress(1, 5);
        restore(&mut history, revision, held);
        history
    }

    #[test]
    fn a_backup_that_is_the_state_at_its_revision_is_fine() {
        assert_eq!(history(&[(KEY, 1, 1, 1)], 1).findings(check), []);
    }

    #[test]
    fn a_change_that_is_missing_or_too_new_is_found() {
        history(&[], 1).expect(check, Verdict::Invalid, "backup/1 is absent, but was 1");
        let late = history(&[(KEY, 2, 2, 2)], 1);
        late.expect(check, Verdict::Invalid, "backup/1 is 2 (revision 2, version 2), but was 1");
        let more = history(&[(KEY, 1, 1, 1), ("backup/2", 9, 1, 1)], 1);
        more.expect(check, Verdict::Invalid, "backup/2 is 9");
        let twice = history(&[(KEY, 1, 1, 1), (KEY, 1, 1, 1)], 1);
        twice.expect(check, Verdict::Invalid, "one record came twice");
    }

    #[test]
    fn another_revision_is_found() {
        history(&[(KEY, 2, 2, 2)], 2).expect(check, Verdict::Invalid, "it is of revision 2");
    }

    #[test]
    fn a_backup_that_cannot_be_restored_is_found() {
        let mut history = History::new();
        save(&mut history, 0);
        let error = Some("damaged".to_owned());
        history.add(What::Restored(Restored { backup: 1, found: None, error }));
        history.expect(check, Verdict::Invalid, "could not be restored: damaged");
    }

    #[test]
    fn an_old_restore_epoch_is_found() {
        let mut history = history(&[(KEY, 1, 1, 1)], 1);
        for line in &mut history.lines {
            if let What::Restored(Restored { found: Some(found), .. }) = &mut line.what {
                found.restore_epoch = found.epoch_before;
            }
        }
        history.expect(check, Verdict::Invalid, "the restore epoch 1 became 1");
    }

    #[test]
    fn a_backup_that_nobody_restored_is_undecided() {
        let mut history = History::new();
        save(&mut history, 0);
        history.expect(check, Verdict::Unknown, "was not restored");
    }
}
