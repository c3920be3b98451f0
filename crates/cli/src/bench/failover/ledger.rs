//! Who owns what at each revision, and whether that may be.
//!
//! Invariants: pure; told every change of workers and partitions in order, it knows what the cluster
//! knows of them. What breaks a rule is counted at the revision at which it came about.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use quorate_core::{
    Epoch, Key, Kind, Name, Partition, PartitionId, Record, Resources, Revision, SessionId, Worker,
    WorkerState,
};

/// What is known of workers and partitions.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    workers: BTreeMap<Name, Arc<Worker>>,
    partitions: BTreeMap<Key, Arc<Partition>>,
    /// What the partitions of each worker need together.
    used: BTreeMap<Name, Resources>,
    /// How many partitions have an owner.
    pub(super) owned: usize,
    /// Partitions whose owner was lost and that have none since.
    pub(super) orphans: BTreeSet<Key>,
    /// How many partitions were granted again after their owner was lost.
    pub(super) replaced: u64,
    /// How many revisions were checked.
    pub(super) revisions: u64,
    /// How many rules were broken.
    pub(super) errors: u64,
    /// The first one.
    pub(super) first_error: Option<String>,
}

/// A partition that its owner is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct AskedBack {
    /// Which.
    pub(super) partition: PartitionId,
    /// The ownership that is to end.
    pub(super) epoch: Epoch,
    /// Who has it.
    pub(super) session: SessionId,
}

impl Ledger {
    /// Takes all changes of one revision; None: the record is gone. Gives what owners are to release.
    pub(super) fn take(
        &mut self,
        revision: Revision,
        changes: impl IntoIterator<Item = (Key, Option<Record>)>,
    ) -> Vec<AskedBack> {
        self.revisions += 1;
        let (mut touched, mut asked) = (BTreeSet::new(), Vec::new());
        for (key, record) in changes {
            match (key.kind, record) {
                (Kind::Worker, record) => self.worker(&key, record, &mut touched),
                (Kind::Partition, Some(Record::Partition(partition))) => {
                    asked.extend(asked_back(&key, &partition));
                    self.partition(revision, key, Some(partition), &mut touched);
                }
                (Kind::Partition, _) => self.partition(revision, key, None, &mut touched),
                _ => {}
            }
        }
        for worker in touched {
            self.check(revision, &worker);
        }
        asked
    }

    /// How many of these workers are down or gone.
    pub(super) fn down(&self, workers: &BTreeSet<Name>) -> usize {
        let up = |name: &&Name| self.workers.get(*name).is_some_and(|it| it.session.is_some());
        workers.len() - workers.iter().filter(up).count()
    }

    /// How many partitions these workers own.
    pub(super) fn owned_by(&self, workers: &BTreeSet<Name>) -> usize {
        let owner = |it: &&Arc<Partition>| {
            it.owner.as_ref().is_some_and(|owner| workers.contains(&owner.worker))
        };
        self.partitions.values().filter(owner).count()
    }

    fn worker(&mut self, key: &Key, record: Option<Record>, touched: &mut BTreeSet<Name>) {
        let Some(name) = std::str::from_utf8(&key.bytes).ok().and_then(|it| Name::new(it).ok())
        else {
            return;
        };
        match record {
            Some(Record::Worker(worker)) => _ = self.workers.insert(name.clone(), worker),
            _ => _ = self.workers.remove(&name),
        }
        touched.insert(name);
    }

    fn partition(
        &mut self,
        revision: Revision,
        key: Key,
        now: Option<Arc<Partition>>,
        touched: &mut BTreeSet<Name>,
    ) {
        let before = match &now {
            Some(now) => self.partitions.insert(key.clone(), Arc::clone(now)),
            None => self.partitions.remove(&key),
        };
        let epochs = [&before, &now].map(|it| it.as_ref().and_then(|it| it.epoch));
        let owners = [&before, &now].map(|it| it.as_ref().and_then(|it| it.owner.clone()));
        if owners[0] != owners[1] && owners[1].is_some() && epochs[0] >= epochs[1] {
            self.broken(revision, &format!("{key:?} was granted in an epoch that is not newer"));
        }
        for (owner, partition, comes) in [(&owners[0], &before, false), (&owners[1], &now, true)] {
            let Some((owner, partition)) = owner.as_ref().zip(partition.as_ref()) else { continue };
            let used = self.used.entry(owner.worker.clone()).or_default();
            change(used, &partition.demand, comes);
            self.owned = if comes { self.owned + 1 } else { self.owned - 1 };
            touched.insert(owner.worker.clone());
        }
        match (owners, &now) {
            ([Some(before), None], Some(_)) if self.is_lost(&before.worker) => {
                self.orphans.insert(key);
            }
            ([_, Some(_)], _) => self.replaced += u64::from(self.orphans.remove(&key)),
            (_, None) => _ = self.orphans.remove(&key),
            _ => {}
        }
    }

    fn is_lost(&self, worker: &Name) -> bool {
        self.workers.get(worker).is_none_or(|worker| worker.state == WorkerState::Down)
    }

    /// What a worker owns at the end of a revision.
    fn check(&mut self, revision: Revision, worker: &Name) {
        let Some(used) = self.used.get(worker).filter(|used| !used.is_empty()) else { return };
        let Some(known) = self.workers.get(worker).filter(|known| known.session.is_some()) else {
            let message = format!("{worker} owns partitions and is down");
            return self.broken(revision, &message);
        };
        let over = known.capacity.iter().find(|(name, capacity)| used.get(name) > *capacity);
        if let Some((name, capacity)) = over {
            let message = format!("{worker} has {} of {capacity} {name} granted", used.get(name));
            self.broken(revision, &message);
        }
    }

    fn broken(&mut self, revision: Revision, what: &str) {
        self.errors += 1;
        self.first_error.get_or_insert_with(|| format!("revision {revision}: {what}"));
    }
}

fn asked_back(key: &Key, partition: &Partition) -> Option<AskedBack> {
    use quorate_core::PartitionState::{Deleted, Releasing};
    if !matches!(partition.state, Releasing | Deleted) {
        return None;
    }
    Some(AskedBack {
        partition: PartitionId::parse(std::str::from_utf8(&key.bytes).ok()?)?,
        epoch: partition.epoch?,
        session: partition.owner.as_ref()?.session,
    })
}

fn change(used: &mut Resources, by: &Resources, comes: bool) {
    for (name, amount) in by.iter() {
        let before = used.get(name);
        used.set(name.clone(), if comes { before + amount } else { before - amount });
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use quorate_core::{Owner, PartitionState, RestoreEpoch};

    use super::*;

    const CPU: &str = "cpu_millis";

    fn name(text: &str) -> Name {
        Name::new(text).unwrap()
    }

    fn amount(cpu: u64) -> Resources {
        let mut amount = Resources::default();
        amount.set(name(CPU), cpu);
        amount
    }

    fn session(revision: u64) -> SessionId {
        SessionId { restore: RestoreEpoch(0), revision: Revision(revision) }
    }

    fn worker(capacity: u64, alive: bool) -> Option<Record> {
        Some(Record::Worker(Arc::new(Worker {
            address: String::new(),
            capacity: amount(capacity),
            labels: BTreeMap::new(),
            state: if alive { WorkerState::Active } else { WorkerState::Down },
            session: alive.then(|| session(1)),
        })))
    }

    fn partition(demand: u64, owner: Option<&str>, epoch: u64) -> Option<Record> {
        let owner = owner.map(|worker| Owner { worker: name(worker), session: session(1) });
        Some(Record::Partition(Arc::new(Partition {
            processes: Vec::new(),
            demand: amount(demand),
            load_ppm: 0,
            state: match owner {
                Some(_) => PartitionState::Assigned,
                None => PartitionState::Unassigned,
            },
            owner,
            epoch: Some(Epoch { restore: RestoreEpoch(0), revision: Revision(epoch) }),
            target: None,
            requires: BTreeMap::new(),
            apart: BTreeSet::new(),
        })))
    }

    fn key(index: u32) -> Key {
        Key::partition(&PartitionId { network: name("n"), index })
    }

    fn ledger() -> Ledger {
        let mut ledger = Ledger::default();
        let workers = ["a", "b"].map(|it| (Key::worker(&name(it)), worker(10, true)));
        ledger.take(Revision(1), workers);
        ledger.take(Revision(2), [(key(0), partition(6, Some("a"), 2))]);
        assert_eq!((ledger.errors, ledger.owned), (0, 1));
        ledger
    }

    #[test]
    fn a_lost_owner_and_its_successor_are_seen() {
        let mut ledger = ledger();
        let lost = [(Key::worker(&name("a")), worker(10, false)), (key(0), partition(6, None, 2))];
        ledger.take(Revision(3), lost);
        assert_eq!((ledger.orphans.len(), ledger.replaced, ledger.owned), (1, 0, 0));
        assert_eq!(ledger.down(&BTreeSet::from([name("a"), name("b")])), 1);
        ledger.take(Revision(4), [(key(0), partition(6, Some("b"), 4))]);
        assert_eq!((ledger.orphans.len(), ledger.replaced, ledger.owned), (0, 1, 1));
        assert_eq!(ledger.owned_by(&BTreeSet::from([name("b")])), 1);
        assert_eq!((ledger.errors, ledger.revisions), (0, 4));
    }

    #[test]
    fn what_must_not_be_is_found() {
        for (what, change) in [
            ("more than there is", (key(1), partition(5, Some("a"), 3))),
            ("an owner that is not there", (key(1), partition(5, Some("c"), 3))),
            ("an old epoch", (key(0), partition(6, Some("b"), 2))),
            ("a death that frees nothing", (Key::worker(&name("a")), worker(10, false))),
        ] {
            let mut ledger = ledger();
            ledger.take(Revision(3), [change]);
            assert_eq!(ledger.errors, 1, "{what}: {:?}", ledger.first_error);
        }
    }

    #[test]
    fn what_is_asked_back_is_told() {
        let Some(Record::Partition(owned)) = partition(6, Some("a"), 2) else { unreachable!() };
        let asked = Partition { state: PartitionState::Releasing, ..(*owned).clone() };
        let asked = Some(Record::Partition(Arc::new(asked)));
        let told = ledger().take(Revision(3), [(key(0), asked)]);
        assert_eq!(told.len(), 1);
        assert_eq!((told[0].partition.index, told[0].session), (0, session(1)));
    }
}
