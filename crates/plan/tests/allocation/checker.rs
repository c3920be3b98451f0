//! What every plan must keep to, checked without the planner's code: sums by replay of the
//! decisions, turns by cross multiplication, revocations one by one. For pools with small numbers.

use std::collections::{BTreeMap, BTreeSet};

use quorate_core::{Name, Resources};
use quorate_plan::allocate::{
    AllocationPlan, GrantBasis, RequestId, RevocationReason, Tenant, WaitReason, WaitingRequest,
};

use crate::support::Case;

type Sums = BTreeMap<Name, i128>;

fn add(sums: &mut Sums, amount: &Resources, sign: i128) {
    for (name, amount) in amount.iter() {
        *sums.entry(name.clone()).or_default() += sign * i128::from(amount);
    }
}

fn of(sums: &Sums, name: &Name) -> i128 {
    sums.get(name).copied().unwrap_or(0)
}

/// Whether all of an amount is within some sums, in what it is about.
fn fits(amount: &Resources, within: &Sums) -> bool {
    amount.iter().all(|(name, amount)| i128::from(amount) <= of(within, name))
}

struct Replay<'a> {
    case: &'a Case,
    capacity: Sums,
    free: Sums,
    used: BTreeMap<Name, Sums>,
    open: BTreeMap<RequestId, &'a WaitingRequest>,
}

impl<'a> Replay<'a> {
    fn new(case: &'a Case) -> Self {
        let mut capacity = Sums::new();
        add(&mut capacity, &case.pool.capacity, 1);
        let (mut free, mut used) = (capacity.clone(), BTreeMap::<Name, Sums>::new());
        for grant in &case.grants {
            add(&mut free, &grant.amount, -1);
            add(used.entry(grant.tenant.clone()).or_default(), &grant.amount, 1);
        }
        let open = case.requests.iter().map(|request| (request.id, request)).collect();
        Self { case, capacity, free, used, open }
    }

    fn tenant(&self, name: &Name) -> &'a Tenant {
        self.case.pool.tenants.iter().find(|tenant| tenant.name == *name).unwrap()
    }

    fn used(&self, tenant: &Name, resource: &Name) -> i128 {
        self.used.get(tenant).map_or(0, |used| of(used, resource))
    }

    /// The dominant share over the weight, as a fraction.
    fn level(&self, tenant: &Name, used: &Sums) -> (i128, i128) {
        let weight = i128::from(self.tenant(tenant).weight);
        let shares = used.iter().map(|(name, used)| (*used, of(&self.capacity, name) * weight));
        shares.fold((0, 1), |a, b| if b.1 > 0 && b.0 * a.1 > a.0 * b.1 { b } else { a })
    }

    fn level_now(&self, tenant: &Name) -> (i128, i128) {
        self.level(tenant, self.used.get(tenant).unwrap_or(&Sums::new()))
    }

    fn guaranteed(&self, request: &WaitingRequest) -> bool {
        let guarantee = &self.tenant(&request.tenant).guarantee;
        request.amount.iter().all(|(name, amount)| {
            self.used(&request.tenant, name) + i128::from(amount) <= i128::from(guarantee.get(name))
        })
    }

    fn within_limit(&self, request: &WaitingRequest) -> bool {
        let limit = &self.tenant(&request.tenant).limit;
        request.amount.iter().all(|(name, amount)| {
            let after = self.used(&request.tenant, name) + i128::from(amount);
            limit.get(name).is_none_or(|limit| after <= i128::from(*limit))
        })
    }

    /// Whether `a` is before `b`, which was granted.
    fn before(&self, a: &WaitingRequest, b: &WaitingRequest) -> bool {
        if a.tenant == b.tenant {
            let key = |r: &WaitingRequest| (std::cmp::Reverse(r.priority), r.arrival, r.id);
            return key(a) < key(b);
        }
        let priority = |r: &WaitingRequest| self.tenant(&r.tenant).priority;
        let (x, y) = (self.level_now(&a.tenant), self.level_now(&b.tenant));
        let level = (x.0 * y.1).cmp(&(y.0 * x.1)).then(a.tenant.cmp(&b.tenant));
        priority(b).cmp(&priority(a)).then(level).is_lt()
    }
}

/// Panics where a plan breaks a rule.
pub(crate) fn check(case: &Case, plan: &AllocationPlan) {
    let mut replay = Replay::new(case);
    let held = held(plan);
    let decided: Vec<_> = plan.grants.iter().map(|grant| grant.request).collect();
    let decided = decided.into_iter().chain(plan.waiting.iter().map(|waiting| waiting.request));
    let decided: Vec<_> = decided.collect();
    let all: BTreeSet<_> = decided.iter().copied().collect();
    assert_eq!(decided.len(), all.len(), "a request is decided on once");
    assert!(all.into_iter().eq(replay.open.keys().copied()), "all requests are decided on");
    for grant in &plan.grants {
        let request = replay.open[&grant.request];
        assert_eq!((&grant.tenant, &grant.amount), (&request.tenant, &request.amount));
        assert!(replay.within_limit(request), "{grant:?} is beyond the limit");
        assert!(fits(&request.amount, &replay.free), "{grant:?} is above the capacity");
        let guaranteed = grant.basis == GrantBasis::Guarantee;
        assert!(!guaranteed || replay.guaranteed(request), "{grant:?} is not guaranteed");
        for other in replay.open.values().filter(|other| other.id != grant.request) {
            let may = if guaranteed {
                replay.guaranteed(other) && fits(&other.amount, &replay.free)
            } else {
                let mut room = replay.free.clone();
                add(&mut room, &held, -1);
                replay.within_limit(other) && fits(&other.amount, &room) && !behind(plan, other)
            };
            assert!(!may || !replay.before(other, request), "{other:?} is before {grant:?}");
            let first = !guaranteed && replay.guaranteed(other);
            assert!(!first || !fits(&other.amount, &replay.free), "{other:?} is guaranteed");
        }
        add(&mut replay.free, &request.amount, -1);
        add(replay.used.entry(request.tenant.clone()).or_default(), &request.amount, 1);
        replay.open.remove(&grant.request);
    }
    check_result(&replay, plan, &held);
    check_waiting(&replay, plan, &held);
    check_revocations(&replay, plan);
}

/// Whether a request waits because it would use up what another waits on; that it would is checked
/// with the reasons.
fn behind(plan: &AllocationPlan, request: &WaitingRequest) -> bool {
    let waits = |waiting: &&quorate_plan::allocate::Waiting| waiting.request == request.id;
    let waiting = plan.waiting.iter().find(waits);
    waiting.is_some_and(|it| matches!(it.reason, WaitReason::BehindGuaranteed { .. }))
}

fn held(plan: &AllocationPlan) -> Resources {
    let mut held = Resources::default();
    plan.waiting.iter().for_each(|waiting| held.add(&waiting.holds, 1));
    held
}

fn check_result(replay: &Replay<'_>, plan: &AllocationPlan, held: &Resources) {
    let mut sums = Sums::new();
    add(&mut sums, &plan.free, 1);
    assert!(fits(held, &sums), "what is held is free");
    for share in &plan.shares {
        add(&mut sums, &share.after, 1);
        let used = replay.used.get(&share.tenant).cloned().unwrap_or_default();
        assert!(share.after.iter().all(|(name, amount)| i128::from(amount) == of(&used, name)));
    }
    sums.retain(|_, sum| *sum != 0);
    assert_eq!(sums, replay.capacity, "grants and what is free are the capacity");
    assert_eq!(plan.shares.len(), replay.case.pool.tenants.len());
}

/// Every reason is true when all is decided, so that nothing waits that could be granted.
fn check_waiting(replay: &Replay<'_>, plan: &AllocationPlan, held: &Resources) {
    let mut reserving = 0;
    for waiting in &plan.waiting {
        let request = replay.open[&waiting.request];
        let want = |name: &Name| i128::from(request.amount.get(name));
        let starves = replay.case.policy.starving_after_ms;
        let starves = starves.is_some_and(|most| replay.case.now_ms - request.since_ms >= most);
        match &waiting.reason {
            WaitReason::NotInPool { resource } => {
                assert!(want(resource) > 0 && of(&replay.capacity, resource) == 0);
            }
            WaitReason::LargerThanPool { resource, capacity } => {
                assert_eq!(of(&replay.capacity, resource), i128::from(*capacity));
                assert!(want(resource) > i128::from(*capacity));
            }
            WaitReason::OverLimit { resource, limit } => {
                let after = replay.used(&request.tenant, resource) + want(resource);
                assert!(after > i128::from(*limit));
            }
            WaitReason::PoolFull { resource } => {
                assert!(want(resource) > of(&replay.free, resource))
            }
            WaitReason::Reserved { resource, request } => {
                let room = of(&replay.free, resource) - i128::from(held.get(resource));
                assert!(want(resource) > room, "{waiting:?} fits");
                let holder = plan.waiting.iter().find(|other| other.request == *request).unwrap();
                assert!(holder.holds.get(resource) > 0, "{holder:?} holds nothing");
            }
            WaitReason::BehindGuaranteed { request: first } => {
                let awaits = |it: &&quorate_plan::allocate::Waiting| {
                    let reserves =
                        !it.holds.is_empty() && replay.guaranteed(replay.open[&it.request]);
                    it.tenant == waiting.tenant
                        && (reserves || matches!(it.reason, WaitReason::AwaitsRevocation { .. }))
                };
                let mut promised = Sums::new();
                for it in plan.waiting.iter().filter(awaits) {
                    add(&mut promised, &replay.open[&it.request].amount, 1);
                }
                assert!(plan.waiting.iter().filter(awaits).any(|it| it.request == *first));
                let guarantee = &replay.tenant(&request.tenant).guarantee;
                let used_up = |name: &Name| {
                    let promised = of(&promised, name);
                    let after = replay.used(&request.tenant, name) + want(name) + promised;
                    promised > 0 && after > i128::from(guarantee.get(name))
                };
                assert!(request.amount.iter().any(|(name, _)| used_up(name)), "{waiting:?}");
            }
            WaitReason::AwaitsRevocation { .. } => assert!(replay.guaranteed(request)),
        }
        let awaits = matches!(waiting.reason, WaitReason::AwaitsRevocation { .. });
        let holds = !waiting.holds.is_empty();
        assert!(!holds || awaits || starves, "{waiting:?} reserves without starving");
        reserving += usize::from(holds && !awaits && !replay.guaranteed(request));
    }
    assert!(reserving <= 1, "one reserves");
}

fn check_revocations(replay: &Replay<'_>, plan: &AllocationPlan) {
    let case = replay.case;
    let mut kept = Replay::new(case).used;
    let (mut coming, mut lacking) = (Sums::new(), Sums::new());
    for grant in case.grants.iter().filter(|grant| grant.grace_end_ms.is_some()) {
        add(kept.get_mut(&grant.tenant).unwrap(), &grant.amount, -1);
        add(&mut coming, &grant.amount, 1);
    }
    for grant in &plan.grants {
        add(kept.entry(grant.tenant.clone()).or_default(), &grant.amount, 0);
        if grant.basis == GrantBasis::Guarantee {
            add(kept.get_mut(&grant.tenant).unwrap(), &grant.amount, 1);
        }
    }
    let awaits = |w: &&_| {
        matches!(
            (*w as &quorate_plan::allocate::Waiting).reason,
            WaitReason::AwaitsRevocation { .. }
        )
    };
    for waiting in plan.waiting.iter().filter(awaits) {
        add(&mut lacking, &replay.open[&waiting.request].amount, 1);
        add(&mut lacking, &waiting.holds, -1);
    }
    let wants = |name: &Name| {
        case.grants.iter().any(|grant| grant.tenant == *name)
            || case.requests.iter().any(|request| request.tenant == *name)
    };
    let active = case.pool.tenants.iter().filter(|tenant| wants(&tenant.name));
    let weights: i128 = active.map(|tenant| i128::from(tenant.weight)).sum();
    let grant_of = |id| case.grants.iter().find(|grant| grant.id == id).unwrap();
    let mut serving: Vec<Sums> = Vec::new();
    for revocation in &plan.revocations {
        let grant = grant_of(revocation.grant);
        assert!(grant.grace_end_ms.is_none(), "{revocation:?} is announced twice");
        assert_eq!(revocation.grace_end_ms, case.now_ms + case.policy.grace_ms);
        let used = kept.get_mut(&grant.tenant).unwrap();
        let level = replay.level(&grant.tenant, used);
        assert!(level.0 * weights > level.1, "{revocation:?} is not above its fair share");
        add(used, &grant.amount, -1);
        // Only that makes room which leaves its tenant the guarantee.
        let guarantee = &replay.tenant(&grant.tenant).guarantee;
        let spares = |name: &Name| of(used, name) >= i128::from(guarantee.get(name));
        let RevocationReason::Preempted { resource, .. } = &revocation.reason;
        assert!(grant.amount.get(resource) > 0 && spares(resource), "{revocation:?}");
        let beyond = grant.amount.iter().filter(|(name, _)| spares(name));
        let beyond: Resources = beyond.map(|(name, amount)| (name.clone(), amount)).collect();
        add(&mut coming, &beyond, 1);
        let mut serves = Sums::new();
        add(&mut serves, &beyond, 1);
        serving.push(serves);
    }
    let enough = |coming: &Sums| lacking.iter().all(|(name, lacks)| *lacks <= of(coming, name));
    assert!(enough(&coming), "what is revoked beyond guarantees makes room");
    for (revocation, serves) in plan.revocations.iter().zip(&serving) {
        let mut without = coming.clone();
        for (name, amount) in serves {
            *without.entry(name.clone()).or_default() -= amount;
        }
        assert!(!enough(&without), "{revocation:?} is of no use");
    }
}
