//! The books of a pool while it is decided on: what is free, held and used, by resource number.
//!
//! Invariants: what is used and what is free add up to the capacity; what is held is at most what
//! is free; resources are numbered in the order of their names, tenants too.

use std::collections::{BTreeMap, BTreeSet};

use quorate_core::{Name, Resources};

use super::{
    error::AllocationError,
    input::{PoolView, RequestId, Tenant, WaitingRequest},
    outcome::{AllocationPlan, GrantBasis, NewGrant, Revocation, TenantShare, WaitReason, Waiting},
    share::Share,
};

/// The amounts of a pool.
#[derive(Debug)]
pub(super) struct Books<'a> {
    pub(super) names: Vec<&'a Name>,
    pub(super) capacity: Vec<u64>,
    pub(super) free: Vec<u64>,
    held: Vec<u64>,
    /// By resource, the first request for which some is held.
    holder: Vec<Option<RequestId>>,
    pub(super) accounts: Vec<Account<'a>>,
}

/// The amounts of a tenant.
#[derive(Debug)]
pub(super) struct Account<'a> {
    pub(super) tenant: &'a Tenant,
    pub(super) guarantee: Vec<u64>,
    limit: Vec<Option<u64>>,
    /// All its grants.
    pub(super) used: Vec<u64>,
    /// What is granted within its guarantee as soon as there is room: what waits for a revocation, or
    /// reserves.
    promised: Vec<u64>,
    /// The first request to which something is promised.
    promised_to: Option<RequestId>,
}

/// A request, with its amounts by resource number where the pool has them all.
#[derive(Debug)]
pub(super) struct Asked<'a> {
    pub(super) request: &'a WaitingRequest,
    pub(super) account: usize,
    pub(super) amount: Vec<u64>,
}

/// The requests of each tenant, in the order in which they are considered.
pub(super) type Queues<'a> = Vec<Vec<Asked<'a>>>;

impl<'a> Books<'a> {
    /// Checks the input and enters it.
    pub(super) fn open(view: &PoolView<'a>) -> Result<(Self, Queues<'a>), AllocationError> {
        let capacity = &view.pool.capacity;
        let mut books = Self {
            names: capacity.iter().map(|(name, _)| name).collect(),
            capacity: capacity.iter().map(|(_, amount)| amount).collect(),
            free: capacity.iter().map(|(_, amount)| amount).collect(),
            held: vec![0; capacity.len()],
            holder: vec![None; capacity.len()],
            accounts: Vec::new(),
        };
        books.open_accounts(view)?;
        let number: BTreeMap<&Name, usize> =
            books.accounts.iter().enumerate().map(|(at, one)| (&one.tenant.name, at)).collect();
        books.enter_grants(view, &number)?;
        let queues = books.queues(view, &number)?;
        Ok((books, queues))
    }

    fn open_accounts(&mut self, view: &PoolView<'a>) -> Result<(), AllocationError> {
        let mut tenants: Vec<&Tenant> = view.pool.tenants.iter().collect();
        tenants.sort_by(|a, b| a.name.cmp(&b.name));
        if let Some(pair) = tenants.windows(2).find(|pair| pair[0].name == pair[1].name) {
            return Err(AllocationError::DuplicateTenant { tenant: pair[0].name.clone() });
        }
        for tenant in &tenants {
            check_tenant(tenant)?;
        }
        let above = above_capacity(tenants.iter().map(|tenant| &tenant.guarantee), view);
        if let Some((resource, guaranteed, capacity)) = above {
            return Err(AllocationError::GuaranteesAboveCapacity {
                resource,
                guaranteed,
                capacity,
            });
        }
        for tenant in tenants {
            let account = Account {
                tenant,
                guarantee: self.dense(&tenant.guarantee),
                limit: self.names.iter().map(|name| tenant.limit.get(*name).copied()).collect(),
                used: vec![0; self.names.len()],
                promised: vec![0; self.names.len()],
                promised_to: None,
            };
            self.accounts.push(account);
        }
        Ok(())
    }

    fn enter_grants(
        &mut self,
        view: &PoolView<'a>,
        number: &BTreeMap<&Name, usize>,
    ) -> Result<(), AllocationError> {
        let above = above_capacity(view.grants.iter().map(|grant| &grant.amount), view);
        if let Some((resource, granted, capacity)) = above {
            return Err(AllocationError::GrantsAboveCapacity { resource, granted, capacity });
        }
        let mut ids = BTreeSet::new();
        for grant in view.grants {
            if !ids.insert(grant.id) {
                return Err(AllocationError::DuplicateGrant { grant: grant.id });
            }
            let Some(account) = number.get(&grant.tenant) else {
                return Err(AllocationError::UnknownGrantTenant {
                    grant: grant.id,
                    tenant: grant.tenant.clone(),
                });
            };
            let amount = self.dense(&grant.amount);
            self.take(*account, &amount);
        }
        Ok(())
    }

    fn queues(
        &self,
        view: &PoolView<'a>,
        number: &BTreeMap<&Name, usize>,
    ) -> Result<Queues<'a>, AllocationError> {
        let mut queues: Queues<'a> = self.accounts.iter().map(|_| Vec::new()).collect();
        let mut ids = BTreeSet::new();
        for request in view.requests {
            if !ids.insert(request.id) {
                return Err(AllocationError::DuplicateRequest { request: request.id });
            }
            let Some(account) = number.get(&request.tenant).copied() else {
                return Err(AllocationError::UnknownRequestTenant {
                    request: request.id,
                    tenant: request.tenant.clone(),
                });
            };
            let amount = self.dense(&request.amount);
            queues[account].push(Asked { request, account, amount });
        }
        for queue in &mut queues {
            queue.sort_by_key(Asked::place);
        }
        Ok(queues)
    }

    /// The amounts by resource number, without those of which the pool has nothing.
    pub(super) fn dense(&self, amount: &Resources) -> Vec<u64> {
        self.names.iter().map(|name| amount.get(name)).collect()
    }

    /// The amounts by name.
    pub(super) fn sparse(&self, amount: &[u64]) -> Resources {
        self.names.iter().zip(amount).map(|(name, amount)| ((*name).clone(), *amount)).collect()
    }

    /// How much is free and not held.
    pub(super) fn available(&self, resource: usize) -> u64 {
        self.free[resource].saturating_sub(self.held[resource])
    }

    /// A tenant's dominant share over its weight, if it used that much.
    pub(super) fn level(&self, account: usize, used: &[u64]) -> Share {
        Share::dominant(used, &self.capacity, self.accounts[account].tenant.weight)
    }

    /// Why a request cannot be granted now.
    pub(super) fn obstacle(&self, asked: &Asked<'_>) -> Option<WaitReason> {
        let full = self.over_limit(asked).or_else(|| self.shortage(asked));
        full.or_else(|| self.behind_guaranteed(asked))
    }

    /// Whether what is promised to its tenant would be beyond the guarantee if this were granted.
    fn behind_guaranteed(&self, asked: &Asked<'_>) -> Option<WaitReason> {
        let account = &self.accounts[asked.account];
        let request = account.promised_to?;
        let used_up = (0..self.names.len()).any(|at| {
            let (amount, promised) = (asked.amount[at], account.promised[at]);
            let after = u128::from(account.used[at]) + u128::from(amount) + u128::from(promised);
            amount > 0 && promised > 0 && after > u128::from(account.guarantee[at])
        });
        used_up.then_some(WaitReason::BehindGuaranteed { request })
    }

    /// Promises a request what its tenant's guarantee still has.
    pub(super) fn promise(&mut self, asked: &Asked<'_>) {
        let account = &mut self.accounts[asked.account];
        for (promised, amount) in account.promised.iter_mut().zip(&asked.amount) {
            *promised = promised.saturating_add(*amount);
        }
        account.promised_to = account.promised_to.or(Some(asked.request.id));
    }

    fn over_limit(&self, asked: &Asked<'_>) -> Option<WaitReason> {
        let account = &self.accounts[asked.account];
        for (at, amount) in asked.amount.iter().enumerate().filter(|(_, amount)| **amount > 0) {
            let after = u128::from(account.used[at]) + u128::from(*amount);
            if let Some(limit) = account.limit[at].filter(|limit| after > u128::from(*limit)) {
                return Some(WaitReason::OverLimit { resource: self.names[at].clone(), limit });
            }
        }
        None
    }

    /// Of what there is too little for a request. Where it lacks one thing because it is used and
    /// another because it is held, the former.
    pub(super) fn shortage(&self, asked: &Asked<'_>) -> Option<WaitReason> {
        let lacks = |at: &usize| asked.amount[*at] > self.free[*at];
        if let Some(at) = (0..self.names.len()).find(lacks) {
            return Some(WaitReason::PoolFull { resource: self.names[at].clone() });
        }
        let at = (0..self.names.len()).find(|at| asked.amount[*at] > self.available(*at))?;
        let resource = self.names[at].clone();
        Some(match self.holder[at] {
            Some(request) => WaitReason::Reserved { resource, request },
            None => WaitReason::PoolFull { resource },
        })
    }

    /// Enters a grant, which fits.
    pub(super) fn take(&mut self, account: usize, amount: &[u64]) {
        for (at, amount) in amount.iter().enumerate() {
            self.free[at] = self.free[at].saturating_sub(*amount);
            let used = &mut self.accounts[account].used[at];
            *used = used.saturating_add(*amount);
        }
    }

    /// Holds for a request what it can use of what is available, and says how much that is.
    pub(super) fn hold(&mut self, asked: &Asked<'_>) -> Resources {
        let mut holds = vec![0; self.names.len()];
        for (at, held) in holds.iter_mut().enumerate() {
            *held = asked.amount[at].min(self.available(at));
            self.held[at] = self.held[at].saturating_add(*held);
            if *held > 0 && self.holder[at].is_none() {
                self.holder[at] = Some(asked.request.id);
            }
        }
        self.sparse(&holds)
    }
}

impl Asked<'_> {
    /// Its place in its tenant's queue.
    pub(super) fn place(&self) -> impl Ord + use<> {
        let request = self.request;
        (std::cmp::Reverse(request.priority), request.arrival, request.id)
    }
}

fn check_tenant(tenant: &Tenant) -> Result<(), AllocationError> {
    let name = || tenant.name.clone();
    if tenant.weight == 0 {
        return Err(AllocationError::ZeroWeight { tenant: name() });
    }
    for (resource, limit) in &tenant.limit {
        let (guarantee, limit) = (tenant.guarantee.get(resource), *limit);
        if guarantee > limit {
            let resource = resource.clone();
            return Err(AllocationError::GuaranteeAboveLimit {
                tenant: name(),
                resource,
                guarantee,
                limit,
            });
        }
    }
    Ok(())
}

/// The first resource of which these amounts are together above the capacity.
fn above_capacity<'a>(
    amounts: impl Iterator<Item = &'a Resources>,
    view: &PoolView<'_>,
) -> Option<(Name, u128, u64)> {
    let mut sums: BTreeMap<&Name, u128> = BTreeMap::new();
    for (name, amount) in amounts.flat_map(Resources::iter) {
        *sums.entry(name).or_default() += u128::from(amount);
    }
    let capacity = |name: &Name| view.pool.capacity.get(name);
    let above = sums.into_iter().find(|(name, sum)| *sum > u128::from(capacity(name)));
    above.map(|(name, sum)| (name.clone(), sum, capacity(name)))
}

/// What has been decided so far.
#[derive(Debug, Default)]
pub(super) struct Decisions {
    grants: Vec<NewGrant>,
    pub(super) revocations: Vec<Revocation>,
    waiting: Vec<Waiting>,
}

impl Decisions {
    /// Grants a request, which fits.
    pub(super) fn grant(&mut self, books: &mut Books<'_>, asked: &Asked<'_>, basis: GrantBasis) {
        books.take(asked.account, &asked.amount);
        self.grants.push(NewGrant {
            request: asked.request.id,
            tenant: asked.request.tenant.clone(),
            amount: asked.request.amount.clone(),
            basis,
        });
    }

    /// Lets a request wait.
    pub(super) fn wait(&mut self, asked: &Asked<'_>, reason: WaitReason, holds: Resources) {
        let (request, tenant) = (asked.request.id, asked.request.tenant.clone());
        self.waiting.push(Waiting { request, tenant, reason, holds });
    }

    /// The plan.
    pub(super) fn finish(mut self, books: &Books<'_>, before: &[Vec<u64>]) -> AllocationPlan {
        self.waiting.sort_by_key(|waiting| waiting.request);
        let capacity = books.sparse(&books.capacity);
        let shares = books.accounts.iter().zip(before).map(|(account, before)| {
            let (before, after) = (books.sparse(before), books.sparse(&account.used));
            TenantShare {
                tenant: account.tenant.name.clone(),
                before_ppm: before.dominant_share_ppm(&capacity),
                after_ppm: after.dominant_share_ppm(&capacity),
                before,
                after,
            }
        });
        AllocationPlan {
            shares: shares.collect(),
            free: books.sparse(&books.free),
            grants: self.grants,
            revocations: self.revocations,
            waiting: self.waiting,
        }
    }
}
