//! Placement: which worker is granted which of the partitions that nobody owns.
//!
//! Round-robin for now: the worker that owns the fewest takes the next, among equals the first by
//! name. Looks neither at needs nor at loads.
//!
//! Invariants: a worker is granted no more than it has room for, a partition at most once; a
//! partition that is meant for a worker that takes partitions goes to that one.

use std::collections::{BTreeMap, BTreeSet};

use quorate_core::{Grant, Name, Owner, PartitionId, SessionId};

/// A worker that takes partitions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Candidate {
    /// Its session.
    pub session: SessionId,
    /// How many partitions it owns.
    pub owned: u64,
    /// How many more it may be granted.
    pub room: u64,
}

/// Where a partition that nobody owns should go.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wish {
    /// The worker that is to have it, if it can take it.
    pub target: Option<Name>,
    /// The worker that is to have it only if no other can take it.
    pub avoid: Option<Name>,
}

/// Grants at most `max` of the partitions, in the order given. Those that no worker has room for
/// stay without an owner. Costs what it looks at: the workers, and as many partitions as it grants.
#[must_use]
pub fn place<'a>(
    partitions: impl IntoIterator<Item = (&'a PartitionId, &'a Wish)>,
    workers: &BTreeMap<Name, Candidate>,
    max: usize,
) -> Vec<Grant> {
    let mut places = Places::new(workers);
    let mut grants = Vec::new();
    for (partition, wish) in partitions {
        if grants.len() >= max {
            break;
        }
        let Some(owner) = places.take(wish) else { break };
        grants.push(Grant { partition: partition.clone(), owner });
    }
    grants
}

/// Who has room, by how much each owns.
struct Places<'a> {
    workers: BTreeMap<&'a Name, Candidate>,
    fewest: BTreeSet<(u64, &'a Name)>,
}

impl<'a> Places<'a> {
    fn new(workers: &'a BTreeMap<Name, Candidate>) -> Self {
        let open = workers.iter().filter(|(_, worker)| worker.room > 0);
        let workers: BTreeMap<_, _> = open.map(|(name, worker)| (name, *worker)).collect();
        let fewest = workers.iter().map(|(name, worker)| (worker.owned, *name)).collect();
        Self { workers, fewest }
    }

    /// Takes a place. None: there is no room anywhere.
    fn take(&mut self, wish: &Wish) -> Option<Owner> {
        let target = wish.target.as_ref().and_then(|name| self.workers.get_key_value(name));
        let name = match target {
            Some((name, _)) => *name,
            None => self.chosen(wish.avoid.as_ref())?,
        };
        let worker = self.workers.get_mut(name)?;
        let session = worker.session;
        self.fewest.remove(&(worker.owned, name));
        worker.owned += 1;
        worker.room -= 1;
        if worker.room > 0 {
            self.fewest.insert((worker.owned, name));
        } else {
            self.workers.remove(name);
        }
        Some(Owner { worker: name.clone(), session })
    }

    fn chosen(&self, avoid: Option<&Name>) -> Option<&'a Name> {
        let mut names = self.fewest.iter().map(|(_, name)| *name);
        let first = names.next()?;
        if Some(first) == avoid { Some(names.next().unwrap_or(first)) } else { Some(first) }
    }
}

#[cfg(test)]
mod tests {
    use quorate_core::{RestoreEpoch, Revision};

    use super::*;

    fn name(text: &str) -> Name {
        Name::new(text).unwrap()
    }

    fn session(revision: u64) -> SessionId {
        SessionId { restore: RestoreEpoch(1), revision: Revision(revision) }
    }

    /// Workers by name, with what each owns and has room for.
    fn workers(list: &[(&str, u64, u64)]) -> BTreeMap<Name, Candidate> {
        let candidate = |(at, (text, owned, room)): (u64, &(&str, u64, u64))| {
            (name(text), Candidate { session: session(at), owned: *owned, room: *room })
        };
        (1..).zip(list).map(candidate).collect()
    }

    /// Who gets `net/0`, `net/1`, and so on.
    fn placed(wishes: &[Wish], workers: &BTreeMap<Name, Candidate>, max: usize) -> Vec<String> {
        let id = |index| PartitionId { network: name("net"), index };
        let partitions: Vec<_> = (0..).map(id).zip(wishes).collect();
        let grants = place(partitions.iter().map(|(id, wish)| (id, *wish)), workers, max);
        for (grant, (id, _)) in grants.iter().zip(&partitions) {
            assert_eq!(grant.partition, *id);
            assert_eq!(grant.owner.session, workers[&grant.owner.worker].session);
        }
        grants.into_iter().map(|grant| grant.owner.worker.to_string()).collect()
    }

    fn any(count: usize) -> Vec<Wish> {
        vec![Wish::default(); count]
    }

    #[test]
    fn the_worker_with_the_fewest_takes_the_next() {
        let equal = workers(&[("a", 0, 9), ("b", 0, 9), ("c", 0, 9)]);
        assert_eq!(placed(&any(5), &equal, 9), ["a", "b", "c", "a", "b"]);
        let unequal = workers(&[("a", 2, 9), ("b", 0, 9)]);
        assert_eq!(placed(&any(5), &unequal, 9), ["b", "b", "a", "b", "a"]);
    }

    #[test]
    fn nobody_takes_more_than_it_has_room_for() {
        let full = workers(&[("a", 0, 1), ("b", 5, 1), ("c", 0, 0)]);
        assert_eq!(placed(&any(5), &full, 9), ["a", "b"]);
        assert_eq!(placed(&any(5), &workers(&[]), 9), Vec::<String>::new());
    }

    #[test]
    fn no_more_than_asked_are_granted() {
        assert_eq!(placed(&any(5), &workers(&[("a", 0, 9)]), 2), ["a", "a"]);
    }

    #[test]
    fn a_wish_is_granted_when_it_can_be() {
        let target = |text| Wish { target: Some(name(text)), avoid: None };
        let avoid = |text| Wish { target: None, avoid: Some(name(text)) };
        let two = workers(&[("a", 0, 9), ("b", 5, 1)]);
        let wishes = [target("b"), target("b"), target("nobody")];
        assert_eq!(placed(&wishes, &two, 9), ["b", "a", "a"], "b has room for one");
        assert_eq!(placed(&[avoid("a"), avoid("a")], &two, 9), ["b", "a"], "rather than nobody");
        assert_eq!(placed(&[avoid("b")], &two, 9), ["a"]);
    }
}
