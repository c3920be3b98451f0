//! Rules that hold for every pool, checked on random and on hostile ones.

use proptest::prelude::*;
use quorate_core::{Name, Resources, Revision};
use quorate_plan::allocate::{
    AllocationPolicy, GrantId, Pool, RequestId, StandingGrant, Tenant, WaitingRequest, allocate,
};

use crate::{
    checker::check,
    support::{Case, name, session},
};

const RESOURCES: [&str; 3] = ["cpu", "gpu", "mem"];

fn amount(of: &[u64]) -> Resources {
    RESOURCES.iter().zip(of).map(|(resource, amount)| (name(resource), *amount)).collect()
}

fn tenant_name(number: usize) -> Name {
    name(&format!("t{number}"))
}

type Shape = (u64, Vec<u64>, Option<u64>, u32);

fn tenants() -> impl Strategy<Value = Vec<Shape>> {
    let guarantee = prop_oneof![Just(vec![0; 3]), prop::collection::vec(0..8_u64, 3)];
    let limit = prop_oneof![3 => Just(None), 1 => (0..20_u64).prop_map(Some)];
    prop::collection::vec((1..5_u64, guarantee, limit, 0..2_u32), 1..5)
}

type Item = (usize, Vec<u64>, u32, u64);

fn items(max: usize) -> impl Strategy<Value = Vec<Item>> {
    let one = (0..5_usize, prop::collection::vec(0..6_u64, 3), 0..3_u32, 0..100_u64);
    prop::collection::vec(one, 0..max)
}

/// A pool in which nothing contradicts itself.
fn cases() -> impl Strategy<Value = Case> {
    let capacity = prop::collection::vec(0..40_u64, 3);
    let policy = (0..50_u64, prop::option::of(0..120_u64));
    (capacity, tenants(), items(14), items(20), policy).prop_map(
        |(capacity, shapes, grants, requests, (grace_ms, starving_after_ms))| {
            let mut promised = capacity.clone();
            let mut free = capacity.clone();
            let count = shapes.len();
            let tenants =
                shapes.into_iter().enumerate().map(|(at, (weight, wish, limit, priority))| {
                    let guarantee: Vec<u64> = wish
                        .iter()
                        .zip(&mut promised)
                        .map(|(wish, left)| {
                            let take = (*wish).min(*left).min(limit.unwrap_or(u64::MAX));
                            *left -= take;
                            take
                        })
                        .collect();
                    let limit = limit.map(|limit| (name("cpu"), limit)).into_iter().collect();
                    Tenant {
                        name: tenant_name(at),
                        weight,
                        guarantee: amount(&guarantee),
                        limit,
                        priority,
                    }
                });
            let pool = Pool { capacity: amount(&capacity), tenants: tenants.collect() };
            let mut case = Case {
                pool,
                policy: AllocationPolicy { grace_ms, starving_after_ms },
                now_ms: 100,
                ..Case::default()
            };
            for (id, (tenant, want, priority, time)) in grants.into_iter().enumerate() {
                if want.iter().zip(&free).any(|(want, free)| want > free) {
                    continue;
                }
                free.iter_mut().zip(&want).for_each(|(free, want)| *free -= want);
                case.grants.push(StandingGrant {
                    id: GrantId(id as u64),
                    tenant: tenant_name(tenant % count),
                    amount: amount(&want),
                    priority,
                    revision: Revision(time),
                    owner: session(0),
                    idle_since_ms: None,
                    grace_end_ms: (time > 85).then_some(time + 20),
                });
            }
            for (id, (tenant, want, priority, time)) in requests.into_iter().enumerate() {
                case.requests.push(WaitingRequest {
                    id: RequestId(id as u64),
                    tenant: tenant_name(tenant % count),
                    amount: amount(&want),
                    priority,
                    arrival: Revision(time),
                    since_ms: time,
                });
            }
            case
        },
    )
}

/// Numbers and names without any rule.
fn hostile() -> impl Strategy<Value = Case> {
    let number = || prop_oneof![Just(0), Just(1), Just(u64::MAX), Just(u64::MAX - 1), any::<u64>()];
    (cases(), prop::collection::vec(number(), 12), any::<bool>()).prop_map(
        |(mut case, n, twice)| {
            case.pool.capacity = amount(&n[0..3]);
            for (at, tenant) in case.pool.tenants.iter_mut().enumerate() {
                tenant.weight = n[3 + at];
                tenant.guarantee = if twice { amount(&n[8..9]) } else { Resources::default() };
            }
            for (at, request) in case.requests.iter_mut().enumerate() {
                request.amount = amount(&n[at % 10..at % 10 + 2]);
                request.since_ms = n[at % 12];
            }
            for (at, grant) in case.grants.iter_mut().enumerate() {
                grant.amount = if at == 0 { amount(&n[0..1]) } else { Resources::default() };
            }
            case.policy.grace_ms = n[10];
            case.now_ms = n[11];
            case
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    #[test]
    fn every_plan_keeps_to_the_rules(case in cases()) {
        check(&case, &allocate(&case.view()).unwrap());
    }

    #[test]
    fn equal_pools_give_equal_plans_in_whatever_order_they_are_told(case in cases()) {
        let mut other = case.clone();
        other.pool.tenants.reverse();
        other.grants.reverse();
        other.requests.reverse();
        prop_assert_eq!(allocate(&case.view()).unwrap(), allocate(&other.view()).unwrap());
    }

    #[test]
    fn hostile_input_gives_a_plan_within_the_capacity_or_an_error(case in hostile()) {
        if let Ok(plan) = allocate(&case.view()) {
            for (resource, capacity) in case.pool.capacity.iter() {
                let used = plan.shares.iter().map(|share| u128::from(share.after.get(resource)));
                let sum = used.sum::<u128>() + u128::from(plan.free.get(resource));
                prop_assert_eq!(sum, u128::from(capacity));
            }
        }
    }
}
