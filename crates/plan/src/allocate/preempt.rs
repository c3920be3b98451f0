//! Preemption: room for a request within a guarantee, from those above their fair share.
//!
//! Invariants: a grant is taken only while its tenant is above its fair share, and for nothing of which the
//! tenant would then have less than its guarantee, counting what is already being revoked as gone; with
//! any one of them left where it is, some request would not fit. What a grant has beside what it may be taken
//! for makes room for no request: it is free when the grant is gone.

use std::cmp::Reverse;

use quorate_core::Resources;

use super::{
    books::{Asked, Books, Decisions},
    fill::within_guarantee,
    input::{PoolView, StandingGrant},
    outcome::{Revocation, RevocationReason, WaitReason},
    share::Share,
};

/// A grant that may be taken.
struct Candidate<'a> {
    grant: &'a StandingGrant,
    account: usize,
    amount: Vec<u64>,
    /// If it is taken: what of it leaves its tenant the guarantee. Only that counts for requests.
    serves: Vec<u64>,
    taken: bool,
}

/// A grant that is to be taken.
struct Victim {
    candidate: usize,
    reason: RevocationReason,
}

/// What is known while room is made.
struct Preemption<'a> {
    /// In the order in which they are taken.
    candidates: Vec<Candidate<'a>>,
    /// What each tenant keeps when everything that is revoked is gone.
    kept: Vec<Vec<u64>>,
    /// The weights of all tenants that have or want something.
    weights: u128,
    /// What revocations will free, beyond what is promised to requests.
    coming: Vec<u64>,
    victims: Vec<Victim>,
    /// What was kept, and what was coming, before any victim was chosen.
    before: (Vec<Vec<u64>>, Vec<u64>),
    /// What requests lack that are served.
    lacked: Vec<u64>,
}

/// Decides on requests that are within guarantees and do not fit: holds what is free for those for
/// which room can be made, and for those that starve. Gives back those that are beyond the
/// guarantee now, because others of their tenant used it up.
pub(super) fn make_room<'a>(
    books: &mut Books<'_>,
    blocked: Vec<Asked<'a>>,
    view: &PoolView<'_>,
    decisions: &mut Decisions,
) -> Vec<Asked<'a>> {
    let mut back = Vec::new();
    if blocked.is_empty() {
        return back;
    }
    let mut preemption = Preemption::new(books, view);
    let mut promised: Vec<Vec<u64>> = books.accounts.iter().map(|one| one.used.clone()).collect();
    let mut served = Vec::new();
    for asked in blocked {
        if !within_guarantee(books, &asked, &promised[asked.account]) {
            back.push(asked);
            continue;
        }
        add(&mut promised[asked.account], &asked.amount);
        if preemption.serve(books, &asked) {
            let holds = books.hold(&asked);
            books.promise(&asked);
            served.push((asked, holds));
        } else if let Some(reason) = books.shortage(&asked) {
            let mut holds = Resources::default();
            if view.starves(asked.request) {
                holds = books.hold(&asked);
                books.promise(&asked);
            }
            decisions.wait(&asked, reason, holds);
        } else {
            back.push(asked);
        }
    }
    preemption.spare(books);
    let until_ms = preemption.until_ms(view);
    for (asked, holds) in served {
        decisions.wait(&asked, WaitReason::AwaitsRevocation { until_ms }, holds);
    }
    decisions.revocations = preemption.revocations(view);
    back
}

impl<'a> Preemption<'a> {
    fn new(books: &Books<'_>, view: &PoolView<'a>) -> Self {
        let mut kept: Vec<Vec<u64>> = books.accounts.iter().map(|one| one.used.clone()).collect();
        let mut coming = vec![0; books.names.len()];
        let mut active = vec![false; books.accounts.len()];
        let mut candidates = Vec::new();
        let account = |name| books.accounts.binary_search_by(|one| one.tenant.name.cmp(name)).ok();
        for request in view.requests {
            account(&request.tenant).into_iter().for_each(|at| active[at] = true);
        }
        for grant in view.grants {
            let Some(account) = account(&grant.tenant) else { continue };
            active[account] = true;
            let amount = books.dense(&grant.amount);
            if grant.grace_end_ms.is_some() {
                add(&mut coming, &amount);
                subtract(&mut kept[account], &amount);
            } else {
                let serves = vec![0; amount.len()];
                candidates.push(Candidate { grant, account, amount, serves, taken: false });
            }
        }
        candidates.sort_by_key(|candidate| {
            let (tenant, grant) = (books.accounts[candidate.account].tenant, candidate.grant);
            (tenant.priority, grant.priority, Reverse(grant.revision), Reverse(grant.id))
        });
        let weights = books.accounts.iter().zip(active).filter(|(_, active)| *active);
        let weights = weights.map(|(one, _)| u128::from(one.tenant.weight)).sum();
        let (before, lacked) = ((kept.clone(), coming.clone()), vec![0; coming.len()]);
        Self { candidates, kept, weights, coming, victims: Vec::new(), before, lacked }
    }

    /// Whether room can be made for a request, from what is available and what is revoked; what
    /// it takes is then no longer there for others.
    fn serve(&mut self, books: &Books<'_>, asked: &Asked<'_>) -> bool {
        let lacks: Vec<u64> = (0..asked.amount.len())
            .map(|at| asked.amount[at].saturating_sub(books.available(at)))
            .collect();
        let mut missing = lacks.clone();
        subtract(&mut missing, &self.coming);
        let (victims_before, kept_before) = (self.victims.len(), self.kept.clone());
        for at in 0..self.candidates.len() {
            if missing.iter().all(|missing| *missing == 0) {
                break;
            }
            self.consider(books, asked, at, &mut missing);
        }
        if missing.iter().any(|missing| *missing > 0) {
            for victim in self.victims.drain(victims_before..) {
                self.candidates[victim.candidate].taken = false;
            }
            self.kept = kept_before;
            return false;
        }
        for victim in &self.victims[victims_before..] {
            add(&mut self.coming, &self.candidates[victim.candidate].serves);
        }
        subtract(&mut self.coming, &lacks);
        add(&mut self.lacked, &lacks);
        true
    }

    /// Takes a candidate if it has something that is missing, and its tenant more of all that than its
    /// guarantee, even without the candidate.
    fn consider(&mut self, books: &Books<'_>, asked: &Asked<'_>, at: usize, missing: &mut [u64]) {
        let Candidate { account, amount, taken, .. } = &self.candidates[at];
        let (account, kept) = (*account, &self.kept[*account]);
        if *taken || account == asked.account {
            return;
        }
        let needed = (0..amount.len()).filter(|at| amount[*at] > 0 && missing[*at] > 0);
        let needed: Vec<usize> = needed.collect();
        let Some(first) = needed.first().copied() else { return };
        let guarantee = &books.accounts[account].guarantee;
        let mut left = kept.clone();
        subtract(&mut left, amount);
        let spares = |at: usize| left[at] >= guarantee[at];
        let fair = Share::new(1, self.weights);
        if !needed.into_iter().all(spares) || books.level(account, kept) <= fair {
            return;
        }
        let serves = serves(amount, &left, guarantee);
        subtract(missing, &serves);
        self.kept[account] = left;
        self.candidates[at].taken = true;
        self.candidates[at].serves = serves;
        let (request, tenant) = (asked.request.id, asked.request.tenant.clone());
        let resource = books.names[first].clone();
        let reason = RevocationReason::Preempted { request, tenant, resource };
        self.victims.push(Victim { candidate: at, reason });
    }

    /// Leaves those victims alone without which every request fits as well, beginning with those
    /// that are taken last; again while there are any, because those that are taken may serve more then.
    fn spare(&mut self, books: &Books<'_>) {
        let mut order: Vec<usize> = self.victims.iter().map(|victim| victim.candidate).collect();
        order.sort_unstable_by_key(|candidate| Reverse(*candidate));
        loop {
            let mut surplus = self.count(books);
            let before = order.len();
            for candidate in &order {
                let candidate = &mut self.candidates[*candidate];
                if candidate.serves.iter().zip(&surplus).all(|(serves, spare)| serves <= spare) {
                    subtract(&mut surplus, &candidate.serves);
                    candidate.taken = false;
                }
            }
            let candidates = &self.candidates;
            self.victims.retain(|victim| candidates[victim.candidate].taken);
            order.retain(|candidate| candidates[*candidate].taken);
            if order.len() == before {
                return;
            }
        }
    }

    /// What the victims serve, one after the other, and what of that no request needs.
    fn count(&mut self, books: &Books<'_>) -> Vec<u64> {
        let (mut kept, mut coming) = self.before.clone();
        for victim in &self.victims {
            let Candidate { account, amount, serves: counts, .. } =
                &mut self.candidates[victim.candidate];
            subtract(&mut kept[*account], amount);
            *counts = serves(amount, &kept[*account], &books.accounts[*account].guarantee);
            add(&mut coming, counts);
        }
        subtract(&mut coming, &self.lacked);
        coming
    }

    fn until_ms(&self, view: &PoolView<'_>) -> u64 {
        let under_way = view.grants.iter().filter_map(|grant| grant.grace_end_ms).max();
        let begins = (!self.victims.is_empty()).then(|| grace_end_ms(view));
        under_way.max(begins).unwrap_or(view.now_ms)
    }

    fn revocations(self, view: &PoolView<'_>) -> Vec<Revocation> {
        let revocation = |victim: Victim| {
            let grant = self.candidates[victim.candidate].grant;
            Revocation {
                grant: grant.id,
                tenant: grant.tenant.clone(),
                grace_end_ms: grace_end_ms(view),
                reason: victim.reason,
            }
        };
        self.victims.into_iter().map(revocation).collect()
    }
}

/// What of a grant leaves its tenant the guarantee, when it has so much left.
fn serves(amount: &[u64], left: &[u64], guarantee: &[u64]) -> Vec<u64> {
    let parts = amount.iter().zip(left.iter().zip(guarantee));
    parts.map(|(amount, (left, guarantee))| if left >= guarantee { *amount } else { 0 }).collect()
}

fn grace_end_ms(view: &PoolView<'_>) -> u64 {
    view.now_ms.saturating_add(view.policy.grace_ms)
}

fn add(to: &mut [u64], amount: &[u64]) {
    to.iter_mut().zip(amount).for_each(|(to, amount)| *to = to.saturating_add(*amount));
}

fn subtract(from: &mut [u64], amount: &[u64]) {
    from.iter_mut().zip(amount).for_each(|(from, amount)| *from = from.saturating_sub(*amount));
}
