//! Whether a recorded history keeps to one owner per partition. Pure.
//!
//! Three independent witnesses: what the change stream says of grants (in revisions), which guarded
//! writes were accepted (in revisions), and until when the workers believed that they may act (on
//! the machine's boot clock, which all of them share).

use std::collections::BTreeMap;

use quorate_core::{Epoch, PartitionId, Revision};

/// A partition as of a revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The revision.
    pub revision: Revision,
    /// The partition.
    pub partition: PartitionId,
    /// Worker and session, with the epoch of the grant.
    pub owner: Option<(String, Epoch)>,
}

/// A guarded write that was accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Write {
    /// The revision.
    pub revision: Revision,
    /// The partition.
    pub partition: PartitionId,
    /// The epoch of the grant.
    pub epoch: Epoch,
}

/// When a worker believed that it may act, milliseconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// Who.
    pub worker: String,
    /// The partition.
    pub partition: PartitionId,
    /// The epoch of the grant.
    pub epoch: Epoch,
    /// From when on.
    pub from_ms: u64,
    /// Until when.
    pub until_ms: u64,
}

/// From its grant to before its end.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Ownership {
    owner: String,
    epoch: Epoch,
    from: Revision,
    /// None: it lasts.
    end: Option<Revision>,
}

/// What is wrong; empty: nothing.
#[must_use]
pub fn violations(changes: &[Change], writes: &[Write], claims: &[Claim]) -> Vec<String> {
    let mut found = Vec::new();
    let mut owners: BTreeMap<&PartitionId, Vec<Ownership>> = BTreeMap::new();
    for change in changes {
        follow(owners.entry(&change.partition).or_default(), change, &mut found);
    }
    for write in writes {
        let owned = owners.get(&write.partition).into_iter().flatten();
        let held = |it: &Ownership| {
            it.epoch == write.epoch
                && it.from < write.revision
                && it.end.is_none_or(|end| write.revision < end)
        };
        if !owned.into_iter().any(held) {
            found.push(format!("accepted outside of its ownership: {write:?}"));
        }
    }
    claimed(claims, &mut found);
    found
}

/// One change after the other: a grant needs a partition that nobody owns, and a new epoch. An owner gets
/// another one only when the network changes, which it does not while this is recorded.
fn follow(past: &mut Vec<Ownership>, change: &Change, found: &mut Vec<String>) {
    let last = past.last_mut();
    let open = last.filter(|last| last.end.is_none());
    match (open, &change.owner) {
        (Some(open), Some((owner, epoch))) if (owner, epoch) == (&open.owner, &open.epoch) => {}
        (Some(open), Some(new)) => {
            found.push(format!("{new:?} took {change:?} from {open:?}, which had not ended"));
            open.end = Some(change.revision);
            granted(past, change, found);
        }
        (Some(open), None) => open.end = Some(change.revision),
        (None, Some(_)) => granted(past, change, found),
        (None, None) => {}
    }
}

fn granted(past: &mut Vec<Ownership>, change: &Change, found: &mut Vec<String>) {
    let Some((owner, epoch)) = change.owner.clone() else { return };
    if past.iter().any(|earlier| earlier.epoch >= epoch) {
        found.push(format!("the epoch did not grow: {change:?}"));
    }
    if epoch.revision != change.revision {
        found.push(format!("the epoch is not the grant's revision: {change:?}"));
    }
    past.push(Ownership { owner, epoch, from: change.revision, end: None });
}

/// Whoever holds a later epoch begins after every holder of an earlier one has stopped.
fn claimed(claims: &[Claim], found: &mut Vec<String>) {
    for (at, one) in claims.iter().enumerate() {
        for other in &claims[at + 1..] {
            let (earlier, later) =
                if one.epoch < other.epoch { (one, other) } else { (other, one) };
            if one.partition != other.partition {
                continue;
            }
            if one.epoch == other.epoch && one.worker != other.worker {
                found.push(format!("two hold the same epoch: {one:?}, {other:?}"));
            }
            if earlier.epoch < later.epoch && earlier.until_ms > later.from_ms {
                found.push(format!("both act: {earlier:?}, {later:?}"));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use quorate_core::RestoreEpoch;

    use super::*;

    fn partition() -> PartitionId {
        PartitionId::parse("net/0").unwrap()
    }

    fn epoch(revision: u64) -> Epoch {
        Epoch { restore: RestoreEpoch(1), revision: Revision(revision) }
    }

    fn change(revision: u64, owner: Option<(&str, u64)>) -> Change {
        let owner = owner.map(|(owner, granted)| (owner.to_owned(), epoch(granted)));
        Change { revision: Revision(revision), partition: partition(), owner }
    }

    fn write(revision: u64, granted: u64) -> Write {
        Write { revision: Revision(revision), partition: partition(), epoch: epoch(granted) }
    }

    fn claim(worker: &str, granted: u64, from_ms: u64, until_ms: u64) -> Claim {
        let (worker, epoch) = (worker.to_owned(), epoch(granted));
        Claim { worker, partition: partition(), epoch, from_ms, until_ms }
    }

    /// Granted at 3, asked back at 5, released at 7, granted to another at 8.
    fn moved() -> Vec<Change> {
        vec![
            change(1, None),
            change(3, Some(("a", 3))),
            change(5, Some(("a", 3))),
            change(7, None),
            change(8, Some(("b", 8))),
        ]
    }

    #[track_caller]
    fn assert_one(violations: &[String], says: &str) {
        assert!(violations.len() == 1 && violations[0].contains(says), "{violations:?}");
    }

    #[test]
    fn a_move_with_guarded_writes_is_fine() {
        let writes = [write(4, 3), write(6, 3), write(9, 8)];
        let claims = [claim("a", 3, 100, 200), claim("a", 3, 150, 300), claim("b", 8, 300, 400)];
        assert_eq!(violations(&moved(), &writes, &claims), Vec::<String>::new());
    }

    #[test]
    fn an_owner_without_the_end_of_the_one_before_is_found() {
        let changes = [change(3, Some(("a", 3))), change(8, Some(("b", 8)))];
        assert_one(&violations(&changes, &[], &[]), "had not ended");
        // Nor may the same owner get a new epoch without an end of the old one.
        let changes = [change(3, Some(("a", 3))), change(8, Some(("a", 8)))];
        assert_one(&violations(&changes, &[], &[]), "had not ended");
        let changes = [change(3, Some(("a", 3))), change(8, Some(("b", 3)))];
        assert!(!violations(&changes, &[], &[]).is_empty());
    }

    #[test]
    fn an_epoch_that_is_used_again_is_found() {
        let changes = [change(3, Some(("a", 3))), change(4, None), change(5, Some(("b", 3)))];
        assert!(violations(&changes, &[], &[]).iter().any(|it| it.contains("did not grow")));
        let changes = [change(3, Some(("a", 2)))];
        assert_one(&violations(&changes, &[], &[]), "not the grant's revision");
    }

    #[test]
    fn a_write_of_an_epoch_that_has_ended_is_found() {
        for late in [write(8, 3), write(9, 3), write(7, 3), write(3, 3), write(9, 4)] {
            assert_one(&violations(&moved(), &[late], &[]), "outside of its ownership");
        }
    }

    #[test]
    fn two_that_act_at_the_same_time_are_found() {
        let overlapping = [claim("b", 8, 299, 400), claim("a", 3, 100, 300)];
        assert_one(&violations(&moved(), &[], &overlapping), "both act");
        let same = [claim("a", 3, 100, 200), claim("b", 3, 300, 400)];
        assert_one(&violations(&moved(), &[], &same), "the same epoch");
    }
}
