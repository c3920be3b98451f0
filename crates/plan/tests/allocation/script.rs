//! Small pools, shared and printed: the whole answer can be read and judged by eye.

use std::{collections::BTreeSet, fmt::Write as _};

use quorate_core::Resources;
use quorate_plan::allocate::{Reclaim, RevocationReason, WaitReason, allocate, reclaim};

use crate::{
    checker::check,
    support::{Case, parse, session},
};

fn show(amount: &Resources) -> String {
    let words: Vec<_> = amount.iter().map(|(name, amount)| format!("{name}={amount}")).collect();
    if words.is_empty() { "nothing".to_owned() } else { words.join(",") }
}

fn why(reason: &WaitReason) -> String {
    match reason {
        WaitReason::NotInPool { resource } => format!("no {resource} in the pool"),
        WaitReason::LargerThanPool { resource, capacity } => {
            format!("the pool has {resource}={capacity}")
        }
        WaitReason::OverLimit { resource, limit } => format!("limit {resource}={limit}"),
        WaitReason::PoolFull { resource } => format!("full of {resource}"),
        WaitReason::Reserved { resource, request } => {
            format!("{resource} is held for {}", request.0)
        }
        WaitReason::BehindGuaranteed { request } => format!("behind {}", request.0),
        WaitReason::AwaitsRevocation { until_ms } => format!("revocation until {until_ms}"),
    }
}

/// What is decided: who gets which requests, who loses which grants, what waits, what is free.
fn run(text: &str) -> String {
    let case: Case = parse(text);
    let plan = match allocate(&case.view()) {
        Ok(plan) => plan,
        Err(error) => return format!("error: {error}\n"),
    };
    check(&case, &plan);
    let mut out = String::new();
    let grants: Vec<_> =
        plan.grants.iter().map(|grant| format!("{}{}", grant.tenant, grant.request.0)).collect();
    writeln!(out, "grant: {}", grants.join(" ")).unwrap();
    for revocation in &plan.revocations {
        let RevocationReason::Preempted { request, tenant, resource } = &revocation.reason;
        let (of, id, end) = (&revocation.tenant, revocation.grant.0, revocation.grace_end_ms);
        writeln!(out, "revoke: {of}{id} at {end} for {tenant}{} ({resource})", request.0).unwrap();
    }
    for waiting in &plan.waiting {
        write!(out, "wait: {}{} {}", waiting.tenant, waiting.request.0, why(&waiting.reason))
            .unwrap();
        let holds = show(&waiting.holds);
        writeln!(
            out,
            "{}",
            if holds == "nothing" { String::new() } else { format!(", holds {holds}") }
        )
        .unwrap();
    }
    let shares: Vec<_> =
        plan.shares.iter().map(|one| format!("{}={}", one.tenant, one.after_ppm)).collect();
    writeln!(out, "shares: {}; free: {}", shares.join(" "), show(&plan.free)).unwrap();
    out
}

#[test]
fn the_example_of_the_paper_gives_three_and_two() {
    let text = "pool cpu=9,mem=18
        tenant A
        tenant B
        request A cpu=1,mem=4 x3
        request B cpu=3,mem=1 x2";
    assert_eq!(run(text), "grant: A1 B4 A2 B5 A3\nshares: A=666666 B=666666; free: mem=4\n");
    let more = "pool cpu=9,mem=18
        tenant A
        tenant B
        request A cpu=1,mem=4 x4
        request B cpu=3,mem=1 x3";
    assert_eq!(
        run(more),
        "grant: A1 B5 A2 B6 A3\nwait: A4 full of cpu\nwait: B7 full of cpu\n\
         shares: A=666666 B=666666; free: mem=4\n"
    );
}

#[test]
fn a_weight_of_two_gives_twice_as_much() {
    let text = "pool cpu=6
        tenant A weight:2
        tenant B
        request A cpu=1 x6
        request B cpu=1 x6";
    let answer = run(text);
    assert!(answer.starts_with("grant: A1 B7 A2 A3 B8 A4\n"), "{answer}");
    assert!(answer.ends_with("shares: A=666666 B=333333; free: nothing\n"), "{answer}");
}

#[test]
fn a_guarantee_is_served_first_and_takes_the_newest_and_lowest_with_grace() {
    let text = "pool cpu=10
        policy grace:30 now:500
        tenant A guarantee:cpu=4
        tenant B
        grant B cpu=2 x2 priority:1
        grant B cpu=2 x2
        grant B cpu=2 priority:1
        request A cpu=3
        request A cpu=3";
    assert_eq!(
        run(text),
        "grant: \nrevoke: B4 at 530 for A1 (cpu)\nrevoke: B3 at 530 for A1 (cpu)\n\
         wait: A1 revocation until 530\nwait: A2 full of cpu\n\
         shares: A=0 B=1000000; free: nothing\n"
    );
    // Announced once, not again; what became free early is kept for it.
    let text = "pool cpu=10
        policy grace:30 now:510
        tenant A guarantee:cpu=4
        tenant B
        grant B cpu=2 x3
        grant B cpu=2 revoked:530
        request A cpu=3
        request B cpu=1";
    assert_eq!(
        run(text),
        "grant: \nwait: A1 revocation until 530, holds cpu=2\nwait: B2 cpu is held for 1\n\
         shares: A=0 B=800000; free: cpu=2\n"
    );
}

#[test]
fn nothing_is_taken_from_a_fair_share_or_a_guarantee_or_in_vain() {
    let fair = "pool cpu=10
        tenant A guarantee:cpu=6
        tenant B
        grant A cpu=5
        grant B cpu=5
        request A cpu=1";
    assert_eq!(
        run(fair),
        "grant: \nwait: A1 full of cpu\nshares: A=500000 B=500000; free: nothing\n"
    );
    let guaranteed = "pool cpu=10
        tenant A guarantee:cpu=3
        tenant B guarantee:cpu=7
        grant A cpu=1
        grant B cpu=7
        grant C cpu=2
        tenant C
        request A cpu=2";
    assert_eq!(
        run(guaranteed),
        "grant: \nwait: A1 full of cpu\nshares: A=100000 B=700000 C=200000; free: nothing\n"
    );
    let in_vain = "pool cpu=10,gpu=1
        tenant A guarantee:cpu=2,gpu=1
        tenant B
        tenant C
        grant B cpu=10
        grant C gpu=1 revoked:9
        request A cpu=2,gpu=1";
    let answer = run(in_vain);
    assert!(answer.contains("revoke: B1 at 0 for A1 (cpu)"), "{answer}");
}

#[test]
fn a_grant_is_taken_only_for_what_its_tenant_has_beyond_its_guarantee() {
    // B's is newer and beyond the guarantee of cpu; but A lacks a gpu, and B has no more than its own.
    let gpu = "pool cpu=10,gpu=2
        tenant A guarantee:gpu=1
        tenant B guarantee:gpu=1
        tenant C
        grant C gpu=1
        grant B cpu=8,gpu=1
        request A gpu=1";
    assert_eq!(
        run(gpu),
        "grant: \nrevoke: C1 at 0 for A1 (gpu)\nwait: A1 revocation until 0\n\
         shares: A=0 B=800000 C=500000; free: cpu=2\n"
    );
    // For cpu it may be taken, though its gpu goes with it.
    let cpu = "pool cpu=10,gpu=1
        tenant A guarantee:cpu=4
        tenant B guarantee:gpu=1
        grant B cpu=8,gpu=1
        request A cpu=4";
    assert_eq!(
        run(cpu),
        "grant: \nrevoke: B1 at 0 for A1 (cpu)\nwait: A1 revocation until 0, holds cpu=2\n\
         shares: A=0 B=1000000; free: cpu=2\n"
    );
}

#[test]
fn a_grant_that_is_partly_within_the_guarantee_stays() {
    let text = "pool cpu=10
        tenant A guarantee:cpu=5
        tenant B guarantee:cpu=5
        grant B cpu=7
        grant B cpu=3
        request A cpu=3";
    assert_eq!(
        run(text),
        "grant: \nrevoke: B2 at 0 for A1 (cpu)\nwait: A1 revocation until 0\n\
         shares: A=0 B=1000000; free: nothing\n"
    );
    let more = text.replace("request A cpu=3", "request A cpu=5");
    assert_eq!(run(&more), "grant: \nwait: A1 full of cpu\nshares: A=0 B=1000000; free: nothing\n");
}

#[test]
fn what_waits_for_a_revocation_keeps_its_guarantee() {
    // A's gpu is on its way. More cpu now would use up the guarantee on which that waits.
    let text = "pool cpu=10,gpu=1
        tenant A guarantee:cpu=2,gpu=1
        tenant B
        grant B gpu=1
        request A cpu=2,gpu=1
        request A cpu=3";
    assert_eq!(
        run(text),
        "grant: \nrevoke: B1 at 0 for A1 (gpu)\nwait: A1 revocation until 0, holds cpu=2\n\
         wait: A2 behind 1\nshares: A=0 B=1000000; free: cpu=10\n"
    );
}

#[test]
fn a_higher_priority_goes_first_after_the_guarantees() {
    let text = "pool cpu=4
        tenant A priority:1
        tenant B guarantee:cpu=1
        request A cpu=1 x2
        request A cpu=1 x2 priority:5
        request B cpu=1 x2";
    assert_eq!(
        run(text),
        "grant: B5 A3 A4 A1\nwait: A2 full of cpu\nwait: B6 full of cpu\n\
         shares: A=750000 B=250000; free: nothing\n"
    );
}

#[test]
fn a_starving_head_reserves_what_becomes_free() {
    let pool = "pool cpu=10
        tenant A
        tenant B
        grant B cpu=6
        request A cpu=8 since:0
        request B cpu=1 since:90\n";
    assert_eq!(
        run(&format!("policy starving:100 now:99\n{pool}")),
        "grant: B2\nwait: A1 full of cpu\nshares: A=0 B=700000; free: cpu=3\n"
    );
    assert_eq!(
        run(&format!("policy starving:100 now:100\n{pool}")),
        "grant: \nwait: A1 full of cpu, holds cpu=4\nwait: B2 cpu is held for 1\n\
         shares: A=0 B=600000; free: cpu=4\n"
    );
}

#[test]
fn limits_and_what_the_pool_never_has_are_told() {
    let text = "pool cpu=10
        tenant A limit:cpu=3
        tenant B limit:mem=0
        request A cpu=2 x2
        request A cpu=1
        request B cpu=11
        request B gpu=1";
    assert_eq!(
        run(text),
        "grant: A1 A3\nwait: A2 limit cpu=3\nwait: B4 the pool has cpu=10\n\
         wait: B5 no gpu in the pool\nshares: A=300000 B=0; free: cpu=7\n"
    );
}

#[test]
fn what_a_session_held_is_free_when_it_ends_and_idle_grants_are_reclaimed() {
    let mut case = parse(
        "pool cpu=10
        tenant A
        grant A cpu=2 x3 session:7
        grant A cpu=1 session:8 idle:100
        grant A cpu=1 session:8 idle:101
        grant A cpu=1 session:8 revoked:150
        grant A cpu=1 session:8 revoked:151",
    );
    let ended = BTreeSet::from([session(7)]);
    let view =
        Reclaim { grants: &case.grants, ended: &ended, idle_timeout_ms: Some(50), now_ms: 150 };
    let fallen = reclaim(&view);
    let shown: Vec<_> =
        fallen.iter().map(|one| format!("{}{:?}", one.grant.0, one.reason)).collect();
    assert_eq!(shown, ["1OwnerEnded", "2OwnerEnded", "3OwnerEnded", "4Idle", "6GraceOver"]);
    let never = Reclaim { idle_timeout_ms: None, ended: &BTreeSet::new(), ..view };
    assert_eq!(reclaim(&never).len(), 1);
    case.grants.retain(|grant| grant.owner != session(7));
    assert_eq!(allocate(&case.view()).unwrap().free, crate::support::resources("cpu=6"));
}

#[test]
fn input_that_contradicts_itself_is_told_by_field_and_rule() {
    let told = |text: &str, error: &str| assert_eq!(run(text), format!("error: {error}\n"));
    told("tenant A weight:0", "pool.tenants.A.weight: is 0; it is at least 1");
    told("tenant A\ntenant A", "pool.tenants: A is there twice; a name is unique");
    told(
        "pool cpu=9\ntenant A guarantee:cpu=3 limit:cpu=2",
        "pool.tenants.A.guarantee.cpu: 3 is above the limit of 2",
    );
    told(
        "pool cpu=9\ntenant A guarantee:cpu=5\ntenant B guarantee:cpu=5",
        "pool.tenants: the guarantees of cpu add up to 10, above the capacity of 9",
    );
    told("pool cpu=9\ntenant A\nrequest B cpu=1", "requests.1.tenant: B is no tenant of the pool");
    told("pool cpu=9\ntenant A\ngrant B cpu=1", "grants.1.tenant: B is no tenant of the pool");
    told(
        "pool cpu=9\ntenant A\ngrant A cpu=5 x2",
        "grants: cpu adds up to 10, above the capacity of 9",
    );
}
