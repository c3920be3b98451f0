//! Which partitions wait for an owner, and who could be it. Pure.
//!
//! Follows the state change by change, so that a look costs what has changed and not what there
//! is. All of it but one hint can be had from the state again: from whom a partition was asked
//! back, for anybody else.

use std::collections::BTreeMap;

use quorate_core::{
    Grant, Key, KeyRange, Kind, Name, Owner, Partition, PartitionId, PartitionState, Record,
    Revision, SessionId, State, WorkerState,
};
use quorate_plan::cluster::{Candidate, Wish, place};

use super::changes::{self, Changed};

/// See the module.
#[derive(Debug)]
pub(super) struct Ledger {
    /// Everything up to this revision is in it.
    seen: Revision,
    /// The partitions without an owner.
    waiting: BTreeMap<PartitionId, Wish>,
    /// The workers that take partitions.
    active: BTreeMap<Name, SessionId>,
    /// How many partitions each worker owns; those that are to be released too.
    owned: BTreeMap<Name, u64>,
    /// What was looked for in vain. None: what is waiting, or who is there, has changed since.
    tried: Option<Tried>,
}

/// A look in vain.
#[derive(Debug)]
struct Tried {
    /// Who could have been granted more.
    candidates: BTreeMap<Name, Candidate>,
    /// The bytes that all that waits would take at most: nobody needs room for more.
    bytes: u64,
}

impl Ledger {
    /// Looks at everything.
    pub(super) fn of(state: &State) -> Self {
        let mut ledger = Self {
            seen: state.revision(),
            waiting: BTreeMap::new(),
            active: BTreeMap::new(),
            owned: BTreeMap::new(),
            tried: None,
        };
        for kind in [Kind::Worker, Kind::Partition] {
            for (key, record) in state.range(&KeyRange::Prefix(kind, bytes::Bytes::new())) {
                ledger.add(key, None, Some(&record.value));
            }
        }
        ledger
    }

    /// Looks at what has changed, or at everything when that is not known any more.
    pub(super) fn follow(&mut self, state: &State) {
        let Some(changes) = changes::since(state, self.seen) else {
            *self = Self::of(state);
            return;
        };
        for Changed { key, before, after, .. } in changes {
            self.add(key, before, after);
        }
        self.seen = state.revision();
    }

    /// Whether anything waits, and anybody takes partitions.
    pub(super) fn has_work(&self) -> bool {
        !self.waiting.is_empty() && !self.active.is_empty()
    }

    /// What should be granted next. Costs what there is when something waits, and a glance when that was
    /// in vain and nothing has changed.
    pub(super) fn grants(&mut self, state: &State) -> Vec<Grant> {
        if !self.has_work() {
            return Vec::new();
        }
        let mut candidates = self.candidates(state);
        if let Some(tried) = &self.tried {
            limit(&mut candidates, tried.bytes);
            if tried.candidates == candidates {
                return Vec::new();
            }
        }
        let grants = place(state, &self.waiting, &candidates).unwrap_or_else(|error| {
            tracing::error!(%error, "the state contradicts itself");
            Vec::new()
        });
        if grants.is_empty() {
            let bytes = self.bytes_wanted(state);
            limit(&mut candidates, bytes);
            self.tried = Some(Tried { candidates, bytes });
        }
        grants
    }

    /// What the records of all that waits would take, whoever gets them.
    fn bytes_wanted(&self, state: &State) -> u64 {
        let Some((worker, session)) = self.active.iter().max_by_key(|it| it.0.as_str().len())
        else {
            return 0;
        };
        let owner = Owner { worker: worker.clone(), session: *session };
        let bytes = self
            .waiting
            .keys()
            .map(|id| state.bytes_of_grant(&Grant { partition: id.clone(), owner: owner.clone() }));
        bytes.fold(0, u64::saturating_add)
    }

    fn candidates(&self, state: &State) -> BTreeMap<Name, Candidate> {
        let settings = state.settings();
        let candidates = self.active.iter().map(|(name, session)| {
            let owned = self.owned.get(name).copied().unwrap_or(0);
            // A session ends at one revision, so what it may hold, of all kinds, is bounded.
            let held = state.bound_to(*session).map_or(0, |held| held.len() as u64);
            let room = settings.worker_partitions_max.saturating_sub(owned);
            let room = room.min(settings.session_records_max.saturating_sub(held));
            let bytes_max = settings.session_record_bytes_max;
            let bytes_left = bytes_max.saturating_sub(state.bytes_bound_to(*session));
            (name.clone(), Candidate { session: *session, owned, room, bytes_left })
        });
        candidates.collect()
    }

    fn add(&mut self, key: &Key, before: Option<&Record>, after: Option<&Record>) {
        if matches!(key.kind, Kind::Worker | Kind::Partition) {
            self.tried = None;
        }
        match key.kind {
            Kind::Worker => self.worker(key, after),
            Kind::Partition => self.partition(key, before, after),
            _ => {}
        }
    }

    fn worker(&mut self, key: &Key, after: Option<&Record>) {
        let Some(name) = text(key).and_then(|text| Name::new(text).ok()) else { return };
        match after {
            Some(Record::Worker(worker)) if worker.state == WorkerState::Active => {
                match worker.session {
                    Some(session) => self.active.insert(name, session),
                    None => self.active.remove(&name),
                }
            }
            _ => self.active.remove(&name),
        };
    }

    fn partition(&mut self, key: &Key, before: Option<&Record>, after: Option<&Record>) {
        let Some(id) = text(key).and_then(PartitionId::parse) else { return };
        let (before, after) = (before.and_then(partition), after.and_then(partition));
        let owner = |partition: Option<&Partition>| {
            partition.and_then(|it| it.owner.as_ref()).map(|owner| owner.worker.clone())
        };
        if let Some(owner) = owner(before)
            && let Some(owned) = self.owned.get_mut(&owner)
        {
            *owned -= 1;
            if *owned == 0 {
                self.owned.remove(&owner);
            }
        }
        if let Some(owner) = owner(after) {
            *self.owned.entry(owner).or_default() += 1;
        }
        match after.filter(|partition| partition.state == PartitionState::Unassigned) {
            None => _ = self.waiting.remove(&id),
            Some(partition) => {
                let known = self.waiting.remove(&id).and_then(|wish| wish.avoid);
                let asked = before.filter(|it| it.state == PartitionState::Releasing);
                let avoid = owner(asked).or(known);
                self.waiting.insert(id, Wish { target: partition.target.clone(), avoid });
            }
        }
    }
}

/// What was tried follows from nothing.
#[cfg(test)]
impl PartialEq for Ledger {
    fn eq(&self, other: &Self) -> bool {
        let parts = |it: &Self| (it.seen, it.waiting.clone(), it.active.clone(), it.owned.clone());
        parts(self) == parts(other)
    }
}

/// Leaves nobody more room in bytes than this.
fn limit(candidates: &mut BTreeMap<Name, Candidate>, bytes: u64) {
    candidates.values_mut().for_each(|it| it.bytes_left = it.bytes_left.min(bytes));
}

fn partition(record: &Record) -> Option<&Partition> {
    match record {
        Record::Partition(partition) => Some(partition),
        _ => None,
    }
}

fn text(key: &Key) -> Option<&str> {
    std::str::from_utf8(&key.bytes).ok()
}

#[cfg(test)]
impl Ledger {
    /// Forgets what cannot be had from the state again.
    pub(super) fn forget_hints(&mut self) {
        self.waiting.values_mut().for_each(|wish| wish.avoid = None);
    }

    /// Whether any worker takes partitions.
    pub(super) fn has_takers(&self) -> bool {
        !self.active.is_empty()
    }
}
