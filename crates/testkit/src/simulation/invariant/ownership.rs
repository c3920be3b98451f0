//! A partition is granted to somebody only when nobody else may act for it any more: the owner
//! before has begun to release it, or its session is over by its own count. Epochs only grow, also
//! those under which a process runs, whatever partition and worker it goes to. What is written under
//! the guard of a grant is written while that grant lasts.

use std::collections::BTreeMap;

use quorate_node::core::{Epoch, Key, Kind, PartitionId, PartitionState, Record, SessionId};

use crate::simulation::story::{Asked, At, Told};

/// One grant, and when the first coordinator had applied it.
struct Grant {
    session: SessionId,
    epoch: Epoch,
    at: At,
}

pub(super) fn check(told: &Told) -> Vec<String> {
    let mut found = Vec::new();
    for (key, grants) in grants(told) {
        let Some(id) = std::str::from_utf8(&key.bytes).ok().and_then(PartitionId::parse) else {
            continue;
        };
        for (before, after) in grants.iter().zip(grants.iter().skip(1)) {
            if after.epoch <= before.epoch {
                found.push(format!("{id}: epoch {} after {}", after.epoch, before.epoch));
            }
            let released = told.releases.get(&(id.clone(), before.epoch)).copied();
            let holder = told.holders.get(&before.session);
            let valid_until = holder.map(|holder| holder.valid_until).unwrap_or_default();
            let acted_until = released.map_or(valid_until, |at| at.min(valid_until));
            if before.session != after.session && after.at < acted_until {
                found.push(format!(
                    "{id} was granted to session {} at {:?}, while session {} could act for it \
                     until {acted_until:?}",
                    after.session, after.at, before.session
                ));
            }
        }
    }
    found.extend(fenced(told));
    found.extend(guarded(told));
    found
}

/// The processes that went to another partition or owner and not into a higher epoch.
fn fenced(told: &Told) -> Vec<String> {
    let mut runs = BTreeMap::new();
    let mut found = Vec::new();
    for change in told.events.values().flat_map(|applied| &applied.event.changes) {
        let Some(Record::Partition(partition)) = change.current.as_ref().map(|it| &it.value) else {
            continue;
        };
        let (Some(owner), Some(epoch)) = (&partition.owner, partition.epoch) else { continue };
        if partition.state == PartitionState::Deleted {
            continue;
        }
        for process in &partition.processes {
            let now = (epoch, &change.key, owner.session);
            let before = runs.insert(&process.id, now).unwrap_or(now);
            if before != now && before.0 >= now.0 {
                found.push(format!("{}: runs in {now:?} after {before:?}", process.id));
            }
        }
    }
    found
}

/// The writes that were accepted under a grant that was none, any more or yet.
fn guarded(told: &Told) -> Vec<String> {
    let mut asked = BTreeMap::new();
    for call in &told.calls {
        if let Asked::Guarded { partition, epoch, key, value } = &call.asked {
            asked.insert((key, value), (Key::partition(partition), *epoch));
        }
    }
    let mut owned: BTreeMap<&Key, Option<Epoch>> = BTreeMap::new();
    let mut found = Vec::new();
    let changes = told.events.iter().flat_map(|(revision, applied)| {
        applied.event.changes.iter().map(move |change| (revision, change))
    });
    for (revision, change) in changes {
        match change.current.as_ref().map(|record| &record.value) {
            Some(Record::Partition(partition)) => {
                let epoch = partition.owner.as_ref().and(partition.epoch);
                owned.insert(&change.key, epoch);
            }
            Some(Record::Entry(entry)) => {
                let Some((partition, epoch)) = asked.get(&(&change.key, &entry.value)) else {
                    continue;
                };
                let now = owned.get(partition).copied().flatten();
                if now != Some(*epoch) {
                    found.push(format!(
                        "revision {revision} was accepted under epoch {epoch} of {partition:?}, \
                         which was owned in {now:?}"
                    ));
                }
            }
            _ => _ = owned.remove(&change.key),
        }
    }
    found
}

/// The grants of each partition, in their order.
fn grants(told: &Told) -> BTreeMap<&Key, Vec<Grant>> {
    let mut grants: BTreeMap<&Key, Vec<Grant>> = BTreeMap::new();
    for applied in told.events.values() {
        for change in applied.event.changes.iter().filter(|it| it.key.kind == Kind::Partition) {
            let Some(record) = &change.current else { continue };
            let Record::Partition(partition) = &record.value else { continue };
            let (Some(owner), Some(epoch)) = (&partition.owner, partition.epoch) else { continue };
            let known = grants.entry(&change.key).or_default();
            if known.last().is_none_or(|last| last.epoch != epoch) {
                known.push(Grant { session: owner.session, epoch, at: applied.at });
            }
        }
    }
    grants
}

#[cfg(test)]
mod tests {
    use super::super::samples::{done, event, granted, guarded, runs, session, told_sessions};
    use super::*;
    use crate::simulation::story::End;

    #[test]
    fn an_overlap_and_an_old_epoch_are_found() {
        let (one, other) = (session(1), session(2));
        let first = granted(3, one, 3, 1);
        let after = |revision, epoch, at| {
            told_sessions(one, 10, &[first.clone(), granted(revision, other, epoch, at)])
        };
        assert_eq!(check(&after(4, 4, 10)), [""; 0]);
        assert_eq!(check(&after(4, 4, 9)).len(), 1, "while the first may act");
        assert_eq!(check(&after(4, 2, 10)).len(), 1, "an older epoch");
        let mut released = after(4, 4, 9);
        let id = PartitionId::parse("net/0").unwrap();
        let epoch = Epoch { revision: quorate_node::core::Revision(3), ..Epoch::default() };
        released.releases.insert((id, epoch), At::from_secs(8));
        assert_eq!(check(&released), [""; 0], "released before");
    }

    #[test]
    fn a_process_that_comes_without_a_higher_epoch_is_found() {
        let one = session(1);
        let moved = |epoch| {
            let before =
                [runs(3, "net/0", &["a", "b"], one, 3, 1), runs(4, "net/1", &["c"], one, 4, 1)];
            let after =
                [runs(6, "net/0", &["a"], one, epoch, 2), runs(7, "net/1", &["b"], one, epoch, 2)];
            check(&told_sessions(one, 10, &[before, after].concat())).len()
        };
        assert_eq!(moved(6), 0);
        // The partition has an epoch that is used already, and so has what was in it.
        assert!(moved(3) > 0);
    }

    #[test]
    fn a_write_under_an_old_grant_is_found() {
        let (one, other) = (session(1), session(2));
        let grants = [granted(3, one, 3, 1), granted(5, other, 5, 10)];
        let accepted = |revision, epoch, end| {
            let mut told = told_sessions(one, 10, &grants);
            told.events.extend([event(revision, "g", "written")]);
            told.calls.push(guarded("written", epoch, end));
            check(&told).len()
        };
        assert_eq!(accepted(4, 3, done(4)), 0);
        assert_eq!(accepted(6, 5, done(6)), 0);
        assert_eq!(accepted(6, 3, done(6)), 1, "another owns it");
        assert_eq!(accepted(6, 3, End::Unknown), 1, "whatever its caller was told");
        assert_eq!(accepted(4, 5, done(4)), 1, "before it was granted");
        assert_eq!(accepted(2, 3, done(2)), 1, "nobody owns it");
    }
}
