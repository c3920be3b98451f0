//! Which pools have to be looked at, and when which grants end. Pure.
//!
//! Follows the state change by change, so that a look costs what has changed and not what there is. All of
//! it but one thing can be had from the state again: since when a grant is idle. Who begins to follow
//! counts from then on, so that nothing is taken back because the leader changed.

use std::collections::{BTreeMap, BTreeSet};

use quorate_core::{
    Allocation, AllocationId, AllocationState, EndReason, Epoch, GrantEnd, Key, Kind, Load, LoadId,
    Name, PartitionId, Record, Revision, State,
};
use quorate_plan::allocate::{GrantId, GrantOwner, Reclaim, ReclaimReason, StandingGrant, reclaim};

use crate::controller::changes::{self, Changed};

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ledger {
    /// Everything up to this revision is in it.
    seen: Revision,
    /// The pools of which something may be granted.
    dirty: BTreeSet<Name>,
    /// What is asked back, by when it ends.
    revoking: BTreeSet<(u64, AllocationId)>,
    /// By pool: the grants that nobody uses, by since when, milliseconds.
    idle: BTreeMap<Name, Idle>,
}

/// The grants of a pool that nobody uses, by number: all were asked for, one by one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Idle {
    /// Since when, and which.
    order: BTreeSet<(u64, u64)>,
    /// Which, and since when.
    since: BTreeMap<u64, u64>,
}

impl Idle {
    fn add(&mut self, number: u64, since_ms: u64) {
        if self.since.contains_key(&number) {
            return;
        }
        self.since.insert(number, since_ms);
        self.order.insert((since_ms, number));
    }

    fn remove(&mut self, number: u64) {
        if let Some(since_ms) = self.since.remove(&number) {
            self.order.remove(&(since_ms, number));
        }
    }
}

impl Ledger {
    /// Looks at everything, and counts idle time from now on.
    pub(super) fn of(state: &State, now_ms: u64) -> Self {
        let mut ledger = Self {
            seen: state.revision(),
            dirty: BTreeSet::new(),
            revoking: BTreeSet::new(),
            idle: BTreeMap::new(),
        };
        for kind in [Kind::Pool, Kind::Allocation] {
            for (key, record) in state.records_of(kind) {
                ledger.add(state, key, None, Some(&record.value), now_ms);
            }
        }
        ledger
    }

    /// Looks at what has changed, or at everything when that is not known any more.
    pub(super) fn follow(&mut self, state: &State, now_ms: u64) {
        let Some(changes) = changes::since(state, self.seen) else {
            *self = Self::of(state, now_ms);
            return;
        };
        for Changed { key, before, after, time_ms } in changes {
            self.add(state, key, before, after, time_ms);
        }
        self.seen = state.revision();
    }

    /// The pools to look at; they are looked at when they have changed again.
    pub(super) fn take_dirty(&mut self) -> BTreeSet<Name> {
        std::mem::take(&mut self.dirty)
    }

    /// What was decided on a pool did not come about: it has to be looked at again.
    pub(super) fn look_again(&mut self, pool: &Name) {
        self.dirty.insert(pool.clone());
    }

    /// The grants that end now, at most so many.
    pub(super) fn due(&self, state: &State, now_ms: u64, most: usize) -> Vec<GrantEnd> {
        let mut ends = Vec::new();
        let over = self.revoking.iter().take_while(|(until_ms, _)| *until_ms <= now_ms);
        for (until_ms, id) in over.take(most) {
            ends.extend(ended(state, id, None, Some(*until_ms), now_ms));
        }
        for (pool, idle) in &self.idle {
            let Some(timeout_ms) = idle_timeout(state, pool) else { continue };
            let due = idle
                .order
                .iter()
                .take_while(|(since, _)| since.saturating_add(timeout_ms) <= now_ms);
            for (since_ms, number) in due.take(most.saturating_sub(ends.len())) {
                let id = AllocationId { pool: pool.clone(), number: *number, part: 0 };
                ends.extend(ended(state, &id, Some(*since_ms), None, now_ms));
            }
        }
        ends
    }

    /// When the next grant ends, as far as it is known now.
    pub(super) fn next_ms(&self, state: &State) -> Option<u64> {
        let over = self.revoking.first().map(|(until_ms, _)| *until_ms);
        let idle = self.idle.iter().filter_map(|(pool, idle)| {
            Some(idle.order.first()?.0.saturating_add(idle_timeout(state, pool)?))
        });
        idle.chain(over).min()
    }

    fn add(
        &mut self,
        state: &State,
        key: &Key,
        before: Option<&Record>,
        after: Option<&Record>,
        time_ms: u64,
    ) {
        match key.kind {
            Kind::Pool => self.dirty.extend(text(key).and_then(|text| Name::new(text).ok())),
            Kind::Allocation => self.allocation(state, key, before, after, time_ms),
            Kind::Load => self.load(state, key, after, time_ms),
            // What it holds can be granted when it has an owner.
            Kind::Partition => {
                let id = text(key).and_then(PartitionId::parse);
                let held = id.iter().flat_map(|id| state.allocations_of(id));
                self.dirty.extend(held.map(|id| id.pool.clone()));
            }
            _ => {}
        }
    }

    fn allocation(
        &mut self,
        state: &State,
        key: &Key,
        before: Option<&Record>,
        after: Option<&Record>,
        time_ms: u64,
    ) {
        let Some(id) = key.as_allocation() else { return };
        if let Some(AllocationState::Revoking { until_ms, .. }) = state_of(before) {
            self.revoking.remove(&(*until_ms, id.clone()));
        }
        match state_of(after) {
            Some(AllocationState::Granted(_)) => self.unused(state, &id, time_ms),
            Some(AllocationState::Revoking { until_ms, .. }) => {
                self.revoking.insert((*until_ms, id.clone()));
                self.unused(state, &id, time_ms);
            }
            // Something waits, or less is in use.
            Some(AllocationState::Waiting) | None => {
                self.used(&id);
                self.dirty.insert(id.pool);
            }
        }
    }

    fn load(&mut self, state: &State, key: &Key, after: Option<&Record>, time_ms: u64) {
        let Some(LoadId::Allocation(id)) = text(key).and_then(LoadId::parse) else { return };
        let allocation = state.allocation(&id);
        let can_be_idle = allocation.is_some_and(|it| it.grant().is_some() && !it.required);
        match after {
            Some(Record::Load(Load { load_ppm: 0 })) if can_be_idle => {
                self.idle.entry(id.pool).or_default().add(id.number, time_ms);
            }
            _ => self.used(&id),
        }
    }

    /// Counts a grant as idle, unless its use is reported. What is required is in use.
    fn unused(&mut self, state: &State, id: &AllocationId, time_ms: u64) {
        if state.allocation(id).is_none_or(|it| it.required) {
            return;
        }
        let load = state.get(&Key::load(&LoadId::Allocation(id.clone()))).map(|it| &it.value);
        if !matches!(load, Some(Record::Load(Load { load_ppm })) if *load_ppm > 0) {
            self.idle.entry(id.pool.clone()).or_default().add(id.number, time_ms);
        }
    }

    fn used(&mut self, id: &AllocationId) {
        if let Some(idle) = self.idle.get_mut(&id.pool) {
            idle.remove(id.number);
            if idle.since.is_empty() {
                self.idle.remove(&id.pool);
            }
        }
    }
}

/// How a grant ends that is over or idle. None: it is not, or has ended.
fn ended(
    state: &State,
    id: &AllocationId,
    idle_since_ms: Option<u64>,
    grace_end_ms: Option<u64>,
    now_ms: u64,
) -> Option<GrantEnd> {
    let allocation = state.allocation(id)?;
    let epoch = allocation.grant()?.epoch;
    let standing = StandingGrant {
        idle_since_ms,
        grace_end_ms,
        ..standing(id.number, allocation, epoch, GrantOwner::Session(allocation.grant()?.session))
    };
    let reclaimed = reclaim(&Reclaim {
        grants: &[standing],
        ended: &BTreeSet::new(),
        idle_timeout_ms: idle_timeout(state, &id.pool),
        now_ms,
    });
    let why = match reclaimed.first()?.reason {
        ReclaimReason::GraceOver => EndReason::GraceOver,
        ReclaimReason::Idle => EndReason::Idle,
        // Apply ends what has no owner.
        ReclaimReason::OwnerEnded => return None,
    };
    Some(GrantEnd { id: id.clone(), epoch, why })
}

/// A grant as the planner sees it, under a number: in use, and not asked back.
pub(super) fn standing(
    number: u64,
    allocation: &Allocation,
    epoch: Epoch,
    owner: GrantOwner,
) -> StandingGrant {
    StandingGrant {
        id: GrantId(number),
        tenant: allocation.tenant.clone(),
        amount: allocation.amount.clone(),
        priority: allocation.priority,
        revision: epoch.revision,
        owner,
        idle_since_ms: None,
        grace_end_ms: None,
    }
}

fn idle_timeout(state: &State, pool: &Name) -> Option<u64> {
    let timeout_ms = state.pool(pool)?.policy.idle_timeout_ms;
    (timeout_ms > 0).then_some(timeout_ms)
}

fn state_of(record: Option<&Record>) -> Option<&AllocationState> {
    match record {
        Some(Record::Allocation(allocation)) => Some(&allocation.state),
        _ => None,
    }
}

fn text(key: &Key) -> Option<&str> {
    std::str::from_utf8(&key.bytes).ok()
}
