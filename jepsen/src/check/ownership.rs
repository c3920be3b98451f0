//! The rules of ownership, as far as they are this harness's own; the others are those that all
//! tests of ownership share, [`quorate_tests::ownership`].
//!
//! Owns them: what is written down can be read; the change stream told everything up to the last
//! accepted write; once everything is healed, there is a time at which every partition has an owner.
//! Must not know how workers work.

use std::collections::BTreeMap;

use quorate_core::{Epoch, PartitionId, Revision};
use quorate_tests::ownership::{Change, Claim, Write, violations};

use super::{Check, Finding, Found, Work, healed_at, order, order::Place, seconds, trace::Pins};
use crate::history::{
    Line, What,
    ownership::{Grant, GuardedAnswer, GuardedCall, OwnershipEvent, WorkerClaim},
    pair::{self, Malformed, Paired},
};

/// How many violations are told.
const VIOLATIONS_MAX: usize = 10;

type Guarded = Paired<GuardedCall, GuardedAnswer>;

/// All rules, and the order of these operations with others.
pub(crate) fn check<'a>(lines: &'a [Line], others: Vec<Place<'a>>) -> Result<Found, Malformed> {
    let guarded = pair::events(lines, |what| match what {
        What::Guarded(event) => Some(event),
        _ => None,
    })?;
    let mut findings = Vec::new();
    let told: Vec<&OwnershipEvent> = events(lines).collect();
    let changes = told.iter().filter_map(|event| match event {
        OwnershipEvent::Grant(grant) => Some(change(grant)),
        _ => None,
    });
    let claims = told.iter().filter_map(|event| match event {
        OwnershipEvent::Claim(believed) => Some(claim(believed)),
        _ => None,
    });
    let writes = guarded.iter().filter_map(write);
    let changes: Option<Vec<Change>> = changes.collect();
    let claims: Option<Vec<Claim>> = claims.collect();
    let writes: Option<Vec<Write>> = writes.collect();
    match (&changes, &writes, &claims) {
        (Some(changes), Some(writes), Some(claims)) => {
            let violations = violations(changes, writes, claims).into_iter().take(VIOLATIONS_MAX);
            findings.extend(violations.map(|it| Finding::invalid(Check::Ownership, it)));
            findings.extend(incomplete(&told, writes));
        }
        _ => {
            let message = "a partition or an epoch that cannot be read";
            findings.push(Finding::invalid(Check::History, message));
        }
    }
    findings.extend(orphans(lines));
    findings.extend(order::check_with(Place::of_writes(&guarded, &Pins::new()), others));
    let claims = claims.map_or(0, |claims| claims.len() as u64);
    Ok(Found { findings, work: work(lines, &told, &guarded, claims) })
}

fn events(lines: &[Line]) -> impl Iterator<Item = &OwnershipEvent> {
    lines.iter().filter_map(|line| match &line.what {
        What::Ownership(event) => Some(event),
        _ => None,
    })
}

fn change(grant: &Grant) -> Option<Change> {
    let Grant { revision, partition, owner } = grant;
    let owner = match owner {
        None => None,
        Some((owner, epoch)) => Some((owner.clone(), Epoch::parse(epoch)?)),
    };
    Some(Change { revision: *revision, partition: PartitionId::parse(partition)?, owner })
}

fn claim(claim: &WorkerClaim) -> Option<Claim> {
    let WorkerClaim { worker, partition, epoch, from_ms, until_ms } = claim;
    let (partition, epoch) = (PartitionId::parse(partition)?, Epoch::parse(epoch)?);
    let (worker, from_ms, until_ms) = (worker.clone(), *from_ms, *until_ms);
    Some(Claim { worker, partition, epoch, from_ms, until_ms })
}

/// An accepted write; the inner none: it cannot be read.
fn write(guarded: &Guarded) -> Option<Option<Write>> {
    let (_, stamp) = guarded.answer()?;
    let (partition, epoch, _) = guarded.call.parts();
    let write = || {
        let (partition, epoch) = (PartitionId::parse(partition)?, Epoch::parse(epoch)?);
        Some(Write { revision: stamp.revision, partition, epoch })
    };
    Some(write())
}

fn incomplete(told: &[&OwnershipEvent], writes: &[Write]) -> Option<Finding> {
    let last = writes.iter().map(|write| write.revision).max().unwrap_or_default();
    let until = told.iter().map(|event| match event {
        OwnershipEvent::Told { revision } => *revision,
        OwnershipEvent::Grant(grant) => grant.revision,
        _ => Revision(0),
    });
    let until = until.max().unwrap_or_default();
    (until < last).then(|| {
        let message = format!("the partitions are known up to revision {until} of {last}");
        Finding::unknown(Check::Ownership, message)
    })
}

/// Partitions that kept everything from being owned at once after healing.
fn orphans(lines: &[Line]) -> Option<Finding> {
    let healed = healed_at(lines)?;
    let mut owned: BTreeMap<&str, bool> = BTreeMap::new();
    let mut missing: Option<Vec<&str>> = None;
    for line in lines {
        if let What::Ownership(OwnershipEvent::Grant(grant)) = &line.what {
            owned.insert(&grant.partition, grant.owner.is_some());
        }
        if line.time >= healed {
            let orphans = owned.iter().filter(|(_, owned)| !**owned).map(|(id, _)| *id);
            let orphans: Vec<&str> = orphans.collect();
            if orphans.is_empty() {
                return None;
            }
            missing = Some(orphans);
        }
    }
    let message = format!("after healing nobody owned {}", missing?.join(", "));
    Some(Finding::invalid(Check::Ownership, message))
}

fn work(lines: &[Line], told: &[&OwnershipEvent], guarded: &[Guarded], claims: u64) -> Vec<Work> {
    let count =
        |is: fn(&OwnershipEvent) -> bool| told.iter().filter(|event| is(event)).count() as u64;
    let grants =
        count(|event| matches!(event, OwnershipEvent::Grant(Grant { owner: Some(_), .. })));
    let struck = count(|event| matches!(event, OwnershipEvent::Struck { .. }));
    let taken = count(|event| matches!(event, OwnershipEvent::NameTaken { .. }));
    let accepted = guarded.iter().filter(|write| write.answered().is_some()).count() as u64;
    let refused = guarded.iter().filter(|write| write.end == pair::End::Fail).count() as u64;
    let seconds = seconds(lines);
    vec![
        Work { name: "grants told", done: grants, needed: seconds / 3 },
        Work { name: "claims of workers", done: claims, needed: seconds / 3 },
        Work { name: "guarded writes accepted", done: accepted, needed: seconds },
        Work { name: "guarded writes refused", done: refused, needed: seconds / 10 },
        Work { name: "workers struck", done: struck, needed: seconds / 10 },
        Work { name: "registrations under a taken name", done: taken, needed: 0 },
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        check::{
            Verdict,
            sample::{History, failed, ok},
        },
        history::Value,
    };

    fn grant(history: &mut History, revision: u64, owner: Option<(&str, u64)>) {
        let owner = owner.map(|(owner, epoch)| (owner.to_owned(), format!("1.{epoch}")));
        let (revision, partition) = (Revision(revision), "net/0".to_owned());
        let grant = Grant { revision, partition, owner };
        history.add(What::Ownership(OwnershipEvent::Grant(grant)));
    }

    fn claimed(history: &mut History, worker: &str, epoch: u64, from_ms: u64, until_ms: u64) {
        let (worker, partition) = (worker.to_owned(), "net/0".to_owned());
        let epoch = format!("1.{epoch}");
        let claim = WorkerClaim { worker, partition, epoch, from_ms, until_ms };
        history.add(What::Ownership(OwnershipEvent::Claim(claim)));
    }

    fn call(epoch: u64) -> GuardedCall {
        let (partition, epoch) = ("net/0".to_owned(), format!("1.{epoch}"));
        GuardedCall::Guarded { partition, epoch, value: Value(1) }
    }

    fn write(history: &mut History, epoch: u64, revision: u64) {
        history.operate(1, What::Guarded, call(epoch), ok(GuardedAnswer::Written, revision));
    }

    /// Owned by one from 2 to 5, by another from 6 on.
    fn moved() -> History {
        let mut history = History::new();
        grant(&mut history, 1, None);
        grant(&mut history, 2, Some(("a 1.1", 2)));
        write(&mut history, 2, 3);
        grant(&mut history, 5, None);
        grant(&mut history, 6, Some(("b 1.4", 6)));
        history
    }

    #[test]
    fn a_partition_that_moves_is_fine() {
        let mut history = moved();
        history.operate(2, What::Guarded, call(2), failed());
        write(&mut history, 6, 7);
        claimed(&mut history, "a", 2, 10, 20);
        claimed(&mut history, "b", 6, 20, 30);
        history.add(What::Ownership(OwnershipEvent::Told { revision: Revision(8) }));
        history.add(What::Healed);
        // Its owner leaves when everything is over.
        grant(&mut history, 9, None);
        assert_eq!(history.findings(check), []);
    }

    #[test]
    fn a_write_after_its_ownership_is_found() {
        let mut history = moved();
        write(&mut history, 2, 7);
        history.expect(check, Verdict::Invalid, "accepted outside of its ownership");
    }

    #[test]
    fn two_that_act_at_a_time_are_found() {
        let mut history = moved();
        claimed(&mut history, "a", 2, 10, 21);
        claimed(&mut history, "b", 6, 20, 30);
        history.expect(check, Verdict::Invalid, "both act");
    }

    #[test]
    fn an_owner_beside_another_is_found() {
        let mut history = moved();
        grant(&mut history, 8, Some(("c 1.7", 8)));
        history.expect(check, Verdict::Invalid, "had not ended");
    }

    #[test]
    fn an_orphan_is_found() {
        let mut history = moved();
        grant(&mut history, 9, None);
        history.add(What::Healed);
        history.expect(check, Verdict::Invalid, "after healing nobody owned net/0");
    }

    #[test]
    fn what_nobody_told_decides_nothing() {
        let mut history = moved();
        write(&mut history, 6, 7);
        history.expect(check, Verdict::Unknown, "up to revision 6 of 7");
    }

    #[test]
    fn what_cannot_be_read_is_refused() {
        let mut history = moved();
        let owner = Some(("d".to_owned(), "nonsense".to_owned()));
        let grant = Grant { revision: Revision(9), partition: "net/0".to_owned(), owner };
        history.add(What::Ownership(OwnershipEvent::Grant(grant)));
        history.expect(check, Verdict::Invalid, "cannot be read");
    }
}
