//! The rules of locks.
//!
//! Owns them. Three witnesses: when holders believed that they had the lock (on the machine's boot
//! clock, which all of them share), what the change stream tells of the entries that make the queue
//! of a lock, and which guarded effects were accepted, at which revisions:
//! - no two hold a lock at overlapping times, and whoever is later has a higher epoch;
//! - an effect is accepted only while its holder's entry exists and is the oldest of its lock;
//! - effects of a lock are accepted in the order of epochs;
//! - every lock can be taken again when everything is healed.
//!
//! Must not know the rules of streams.

use std::collections::{BTreeMap, BTreeSet};

use quorate_core::Revision;

use super::{
    Check, Finding, Found, Verdict, Work, healed_at, order,
    order::Place,
    seconds,
    streams::{
        self,
        story::{Attempt, Fate, Story},
    },
    trace,
    watch::incomplete,
};
use crate::history::{
    KeyId, Line, LineIndex, Value, What,
    lock::{EFFECTS, EffectAnswer, EffectCall, Holding, HoldingEnd, PREFIX, effect_key, lock_name},
    pair::{self, Malformed, Paired},
};

type Effect = Paired<EffectCall, EffectAnswer>;

/// All rules, and the order of these operations with others.
pub(crate) fn check<'a>(lines: &'a [Line], others: Vec<Place<'a>>) -> Result<Found, Malformed> {
    let effects = pair::events(lines, |what| match what {
        What::Effect(event) => Some(event),
        _ => None,
    })?;
    let keys: Vec<String> = effects.iter().map(|it| effect_key(it.call.parts().0)).collect();
    let attempts = effects.iter().zip(&keys).map(|(effect, key)| Attempt {
        id: effect.id,
        invoked: effect.invoked,
        puts: vec![(key.as_str(), effect.call.parts().3)],
        deletes: Vec::new(),
        fate: Fate::of(effect),
        shown: effect,
    });
    let attempts: Vec<Attempt<'_>> = attempts.collect();
    let telling = streams::check(lines, PREFIX, EFFECTS, &attempts, &others);
    let mut findings = telling.findings.clone();
    findings.extend(incomplete(&telling, &attempts));
    findings.extend(accepted(&effects, &telling.story).into_iter().take(order::FINDINGS_MAX));
    let holdings = holdings(lines);
    findings.extend(overlaps(&holdings).into_iter().take(order::FINDINGS_MAX));
    findings.extend(taken_again(lines, &holdings));
    findings.extend(order::check_with(Place::of_writes(&effects, &telling.pins), others));
    Ok(Found { findings, work: work(lines, &effects, &holdings) })
}

fn work(lines: &[Line], effects: &[Effect], holdings: &[(LineIndex, &Holding)]) -> Vec<Work> {
    let accepted = effects.iter().filter(|effect| effect.answered().is_some()).count() as u64;
    let refused = effects.iter().filter(|effect| Fate::of(effect) == Fate::Refused).count() as u64;
    let lost = holdings.iter().filter(|(_, it)| it.end != HoldingEnd::Released).count() as u64;
    let seconds = seconds(lines);
    vec![
        Work { name: "locks taken", done: holdings.len() as u64, needed: seconds / 3 },
        Work { name: "locks lost or left by a kill", done: lost, needed: seconds / 15 },
        Work { name: "effects accepted", done: accepted, needed: seconds },
        Work { name: "effects refused", done: refused, needed: 0 },
    ]
}

fn holdings(lines: &[Line]) -> Vec<(LineIndex, &Holding)> {
    let holdings = lines.iter().filter_map(|line| match &line.what {
        What::Holding(holding) => Some((line.index, holding)),
        _ => None,
    });
    holdings.collect()
}

/// Every accepted effect is one of whoever had the turn.
fn accepted(effects: &[Effect], story: &Story) -> Vec<Finding> {
    let by_value: BTreeMap<Value, &Effect> =
        effects.iter().map(|effect| (effect.call.parts().3, effect)).collect();
    let locks: BTreeSet<KeyId> = effects.iter().map(|effect| effect.call.parts().0).collect();
    let mut findings = Vec::new();
    for lock in locks {
        let mut highest = Revision(0);
        for (at, fact) in story.of_key(&effect_key(lock)) {
            let value = fact.current.map(|seen| seen.value).unwrap_or(Value::UNREADABLE);
            let Some(effect) = by_value.get(&value).copied() else { continue };
            let (_, entry, epoch, _) = effect.call.parts();
            let mut wrong = |message: String| {
                let message = format!("lock {}, revision {at}: {message}", lock.0);
                let finding = Finding::about(Check::Lock, message, &[effect]);
                findings.push(finding.shown_by([fact.line]));
            };
            if epoch < highest {
                wrong(format!("an effect of epoch {epoch} after one of {highest}"));
            }
            highest = highest.max(epoch);
            if at > story.complete_until {
                continue;
            }
            match created(story, entry, at) {
                None => wrong("an effect of who did not hold the lock".to_owned()),
                Some(created) if created != epoch => {
                    wrong(format!("the epoch {epoch} is not that of its entry: {created}"));
                }
                Some(_) => {
                    if let Some(other) = older(story, lock, epoch, at) {
                        wrong(format!("an effect although {other} had the turn"));
                    }
                }
            }
        }
    }
    findings
}

/// Since when an entry exists, before a revision; none: it does not.
fn created(story: &Story, entry: &str, at: Revision) -> Option<Revision> {
    let mut since = None;
    for (revision, fact) in story.of_key(entry).take_while(|(revision, _)| *revision < at) {
        since = fact.current.and(since.or(Some(revision)));
    }
    since
}

/// An entry of the lock that exists before a revision and is older than an epoch.
fn older(story: &Story, lock: KeyId, epoch: Revision, at: Revision) -> Option<&str> {
    let prefix = format!("{}/", lock_name(lock));
    let mut entries = story.keys().filter(|key| key.starts_with(&prefix));
    entries.find(|key| created(story, key, at).is_some_and(|created| created < epoch))
}

/// Whoever holds a later epoch begins after every holder of an earlier one has stopped.
fn overlaps(holdings: &[(LineIndex, &Holding)]) -> Vec<Finding> {
    let mut by_lock: BTreeMap<KeyId, Vec<&(LineIndex, &Holding)>> = BTreeMap::new();
    for holding in holdings {
        by_lock.entry(holding.1.lock).or_default().push(holding);
    }
    let mut findings = Vec::new();
    for (lock, mut of_lock) in by_lock {
        of_lock.sort_by_key(|(_, holding)| holding.epoch);
        let mut last: Option<&(LineIndex, &Holding)> = None;
        for later in of_lock {
            if let Some(earlier) = last {
                let (one, two) = (earlier.1, later.1);
                let what = if one.epoch == two.epoch {
                    Some(format!("two hold it in epoch {}", one.epoch))
                } else if one.until_ns > two.from_ns {
                    let by = one.until_ns - two.from_ns;
                    let (one, two) = (one.epoch, two.epoch);
                    Some(format!("epochs {one} and {two} both hold it, for {by} ns"))
                } else {
                    None
                };
                findings.extend(what.map(|what| {
                    let message = format!("lock {}: {what}\n    {one:?}\n    {two:?}", lock.0);
                    Finding::invalid(Check::Lock, message).shown_by([earlier.0, later.0])
                }));
            }
            // The one that lasts longest is the one that the next may meet.
            last = last.filter(|one| one.1.until_ns >= later.1.until_ns).or(Some(later));
        }
    }
    findings
}

fn taken_again(lines: &[Line], holdings: &[(LineIndex, &Holding)]) -> Vec<Finding> {
    let Some(healed) = healed_at(lines) else { return Vec::new() };
    let late: BTreeSet<KeyId> = lines
        .iter()
        .filter(|line| line.time >= healed)
        .filter_map(|line| match &line.what {
            What::Holding(holding) if holding.end == HoldingEnd::Released => Some(holding.lock),
            _ => None,
        })
        .collect();
    let used: BTreeSet<KeyId> = holdings.iter().map(|(_, holding)| holding.lock).collect();
    trace::unheard(&used, &late, |lock| {
        let message = format!("lock {} was not taken again after healing", lock.0);
        (Check::Lock, Verdict::Invalid, message)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        check::sample::{History, failed, ok, unknown},
        history::Process,
    };

    const LOCK: KeyId = KeyId(1);
    const NOBODY: u64 = Value::UNREADABLE.0;

    fn entry(number: u64) -> String {
        format!("lock/queue/1/1.{number}/0")
    }

    fn effect(number: u64, epoch: u64, value: u64) -> EffectCall {
        let (entry, epoch) = (entry(number), Revision(epoch));
        EffectCall::Effect { lock: LOCK, entry, epoch, value: Value(value) }
    }

    fn holding(epoch: u64, from_ns: u64, until_ns: u64) -> What {
        let (holder, epoch, end) = (Process(epoch), Revision(epoch), HoldingEnd::Released);
        What::Holding(Holding { holder, lock: LOCK, epoch, from_ns, until_ns, end })
    }

    /// The first has the turn from 1 to 4, the second from 4 on; an effect of each.
    fn queue() -> History {
        let mut history = History::new();
        history.follow(1, "lock/");
        history.change(1, &entry(1), NOBODY, 1, 1);
        history.change(1, &entry(2), NOBODY, 2, 1);
        history
    }

    fn go_on(history: &mut History) {
        history.change(1, "lock/effect/1", 10, 3, 1);
        history.delete(1, &entry(1), 4);
        history.change(1, "lock/effect/1", 20, 5, 2);
        history.progress(1, 9);
    }

    fn accept(history: &mut History, call: EffectCall, revision: u64) {
        history.operate(1, What::Effect, call, ok(EffectAnswer::Written, revision));
    }

    #[test]
    fn a_lock_that_goes_from_one_to_the_next_is_fine() {
        let mut history = queue();
        accept(&mut history, effect(1, 1, 10), 3);
        history.operate(2, What::Effect, effect(2, 2, 20), unknown());
        history.operate(3, What::Effect, effect(1, 1, 30), failed());
        go_on(&mut history);
        history.add(What::Healed);
        history.add(holding(1, 100, 200));
        history.add(holding(2, 200, 300));
        history.progress(1, 9);
        assert_eq!(history.messages(check), Vec::<String>::new());
    }

    #[test]
    fn two_holders_at_a_time_are_found() {
        let mut history = History::new();
        history.add(holding(1, 100, 500));
        history.add(holding(2, 200, 300));
        history.add(holding(3, 400, 600));
        history.expect(check, Verdict::Invalid, "epochs 1 and 2 both hold it, for 300 ns");
        history.expect(check, Verdict::Invalid, "epochs 1 and 3 both hold it, for 100 ns");
        let mut history = History::new();
        history.add(holding(1, 100, 200));
        history.add(holding(1, 300, 400));
        history.expect(check, Verdict::Invalid, "two hold it in epoch 1");
    }

    #[test]
    fn an_effect_of_who_does_not_hold_the_lock_is_found() {
        let mut history = queue();
        accept(&mut history, effect(1, 1, 10), 3);
        // Its entry went at 4.
        accept(&mut history, effect(1, 1, 20), 5);
        go_on(&mut history);
        history.expect(
            check,
            Verdict::Invalid,
            "revision 5: an effect of who did not hold the lock",
        );
    }

    #[test]
    fn an_effect_of_who_waits_is_found() {
        let mut history = queue();
        accept(&mut history, effect(2, 2, 10), 3);
        accept(&mut history, effect(2, 2, 20), 5);
        go_on(&mut history);
        history.expect(
            check,
            Verdict::Invalid,
            "an effect although lock/queue/1/1.1/0 had the turn",
        );
    }

    #[test]
    fn effects_out_of_order_are_found() {
        let mut history = queue();
        accept(&mut history, effect(2, 2, 10), 3);
        accept(&mut history, effect(1, 1, 20), 5);
        go_on(&mut history);
        history.expect(check, Verdict::Invalid, "an effect of epoch 1 after one of 2");
    }

    #[test]
    fn an_epoch_that_is_not_the_entry_s_is_found() {
        let mut history = queue();
        accept(&mut history, effect(1, 2, 10), 3);
        go_on(&mut history);
        history.expect(check, Verdict::Invalid, "the epoch 2 is not that of its entry: 1");
    }

    #[test]
    fn an_acknowledged_effect_that_did_not_happen_is_found() {
        let mut history = queue();
        accept(&mut history, effect(1, 1, 99), 3);
        go_on(&mut history);
        history.expect(check, Verdict::Invalid, "was acknowledged but is not told");
    }

    #[test]
    fn a_lock_that_stays_taken_is_found() {
        let mut history = History::new();
        history.add(holding(1, 100, 500));
        history.add(What::Healed);
        history.expect(check, Verdict::Invalid, "lock 1 was not taken again after healing");
    }
}
