//! The rules of allocations, at every revision:
//!
//! - What is granted of a pool is together at most its capacity, and of each tenant at most its limit.
//! - An allocation is of a pool that exists, and ends with its holder's session, in the same revision.
//! - The epoch of a grant is the revision at which it was made; it stays as long as the grant does.
//! - What was acknowledged is so: who was told that an allocation exists finds it at that revision, and who was told
//!   that it was given back does not find it again.
//! - When everything is healed, there is a time at which nothing waits that would fit.
//!
//! Owns the sums, which are made anew. Must not know how the facts came about.

use std::collections::{BTreeMap, BTreeSet};

use quorate_core::{Epoch, Revision};

use super::{Check, Finding, Found, Work, healed_at, order, order::Place, seconds};
use crate::history::{
    Line, What,
    fact::{self, AllocationFact, Amounts, Fact, FactEvent, PoolFact},
    pair::Malformed,
};

/// How many violations are told.
const VIOLATIONS_MAX: usize = 10;

/// All rules, and the order of the other operations.
pub(crate) fn check<'a>(lines: &'a [Line], others: Vec<Place<'a>>) -> Result<Found, Malformed> {
    let told = |line: &'a Line| match &line.what {
        What::Fact(event) => Some(event),
        _ => None,
    };
    let facts: Vec<&FactEvent> = lines.iter().filter_map(told).collect();
    let mut books = Books::default();
    let mut findings = Vec::new();
    for (revision, facts) in fact::revisions(facts.iter().copied()) {
        findings.extend(books.take(revision, &facts));
    }
    findings.truncate(VIOLATIONS_MAX);
    findings.extend(books.incomplete());
    findings.extend(waits(lines));
    findings.extend(order::check(&others));
    Ok(Found { findings, work: work(lines, &books) })
}

/// Everything that is so, and how much was looked at.
#[derive(Default)]
struct Books<'a> {
    sessions: BTreeSet<&'a str>,
    pools: BTreeMap<&'a str, &'a PoolFact>,
    allocations: BTreeMap<&'a str, &'a AllocationFact>,
    /// What was acknowledged to have ended.
    released: BTreeMap<&'a str, Revision>,
    told: Revision,
    acknowledged: Revision,
    revisions: u64,
    grants: u64,
    ends: u64,
    contended: u64,
    struck: u64,
}

impl<'a> Books<'a> {
    fn take(&mut self, revision: Revision, facts: &[&'a Fact]) -> Vec<Finding> {
        let mut wrong = Vec::new();
        let mut requested = Vec::new();
        for fact in facts {
            match fact {
                Fact::Session { id, alive: true } => _ = self.sessions.insert(id),
                Fact::Session { id, alive: false } => _ = self.sessions.remove(id.as_str()),
                Fact::Pool { id, now: Some(now) } => _ = self.pools.insert(id, now),
                Fact::Pool { id, now: None } => _ = self.pools.remove(id.as_str()),
                Fact::Allocation { id, now } => {
                    wrong.extend(self.allocation(revision, id, now.as_ref()));
                }
                Fact::Requested { id } => requested.push(id),
                Fact::Released { id } => _ = self.released.insert(id, revision),
                Fact::Struck { .. } => self.struck += 1,
                Fact::Told => self.told = self.told.max(revision),
                _ => {}
            }
        }
        self.revisions += 1;
        for id in requested {
            self.acknowledged = self.acknowledged.max(revision);
            if !self.allocations.contains_key(id.as_str()) {
                wrong.push(format!("{id} was acknowledged and is not there"));
            }
        }
        wrong.extend(self.sums());
        let say =
            |what| Finding::invalid(Check::Allocation, format!("revision {revision}: {what}"));
        wrong.into_iter().map(say).collect()
    }

    /// An allocation is now so.
    fn allocation(
        &mut self,
        revision: Revision,
        id: &'a str,
        now: Option<&'a AllocationFact>,
    ) -> Option<String> {
        let before = self.allocations.get(id).and_then(|before| before.granted.as_ref());
        let after = now.and_then(|now| now.granted.as_ref());
        self.ends += u64::from(before.is_some() && before != after);
        let wrong = match after {
            Some(epoch) if before != after => {
                self.grants += 1;
                let made = Epoch::parse(epoch).map(|epoch| epoch.revision);
                (made != Some(revision)).then(|| format!("{id} was granted in epoch {epoch}"))
            }
            _ => None,
        };
        match now {
            Some(now) => _ = self.allocations.insert(id, now),
            None => _ = self.allocations.remove(id),
        }
        wrong
    }

    /// What is wrong with all that is there now.
    fn sums(&mut self) -> Vec<String> {
        let mut wrong = Vec::new();
        let mut pools: BTreeMap<&str, Amounts> = BTreeMap::new();
        let mut tenants: BTreeMap<(&str, &str), Amounts> = BTreeMap::new();
        let mut waits = false;
        for (id, allocation) in &self.allocations {
            let pool = pool_of(id);
            if !self.pools.contains_key(pool) {
                wrong.push(format!("{id} is of no pool"));
            }
            let session = allocation.session.as_deref();
            if session.is_some_and(|session| !self.sessions.contains(session)) {
                wrong.push(format!("{id} is held by {session:?}, which has ended"));
            }
            if self.released.contains_key(id) {
                wrong.push(format!("{id} was given back and is there"));
            }
            waits |= allocation.granted.is_none();
            if allocation.granted.is_some() {
                add(pools.entry(pool).or_default(), &allocation.amount);
                let tenant = tenants.entry((pool, allocation.tenant.as_str())).or_default();
                add(tenant, &allocation.amount);
            }
        }
        self.contended += u64::from(waits);
        for (pool, granted) in &pools {
            let Some(known) = self.pools.get(pool) else { continue };
            if let Some(resource) =
                beyond(granted, |it| known.capacity.get(it).copied().or(Some(0)))
            {
                let capacity = &known.capacity;
                wrong.push(format!("{pool}: {granted:?} of {capacity:?} granted, see {resource}"));
            }
        }
        for ((pool, tenant), granted) in &tenants {
            let limits = self.pools.get(pool).and_then(|known| known.limits.get(*tenant));
            let limit = |it: &str| limits.and_then(|limits| limits.get(it).copied());
            if let Some(resource) = beyond(granted, limit) {
                wrong
                    .push(format!("{pool}: {tenant} has {granted:?}, see its limit of {resource}"));
            }
        }
        wrong
    }

    /// What nobody told decides nothing.
    fn incomplete(&self) -> Option<Finding> {
        (self.told < self.acknowledged).then(|| {
            let (told, last) = (self.told, self.acknowledged);
            let message = format!("allocations are known up to revision {told} of {last}");
            Finding::unknown(Check::Allocation, message)
        })
    }

    /// Something that waits though there is room for it, and its tenant's limit allows it.
    fn fits(&self) -> Option<&'a str> {
        let waiting = self.allocations.iter().filter(|(_, it)| it.granted.is_none());
        waiting.map(|(id, allocation)| (*id, *allocation)).find_map(|(id, allocation)| {
            let pool = pool_of(id);
            let known = self.pools.get(pool)?;
            let mut all = allocation.amount.clone();
            let mut own = allocation.amount.clone();
            for (_, other) in self
                .allocations
                .iter()
                .filter(|(other, it)| pool_of(other) == pool && it.granted.is_some())
            {
                add(&mut all, &other.amount);
                if other.tenant == allocation.tenant {
                    add(&mut own, &other.amount);
                }
            }
            let limits = known.limits.get(&allocation.tenant);
            let limit = |it: &str| limits.and_then(|limits| limits.get(it).copied());
            let room = beyond(&all, |it| known.capacity.get(it).copied().or(Some(0))).is_none();
            (room && beyond(&own, limit).is_none()).then_some(id)
        })
    }
}

/// What waited all the time after healing though there was room.
fn waits(lines: &[Line]) -> Option<Finding> {
    let healed = healed_at(lines)?;
    let mut books = Books::default();
    let mut waiting = None;
    let mut pending: Vec<&Fact> = Vec::new();
    for line in lines {
        let What::Fact(FactEvent { revision, fact }) = &line.what else { continue };
        pending.push(fact);
        if *fact == Fact::Told {
            books.take(*revision, &std::mem::take(&mut pending));
            if line.time >= healed {
                waiting = Some(books.fits()?);
            }
        }
    }
    let message = format!("after healing there was always room for {}, which waited", waiting?);
    Some(Finding::invalid(Check::Allocation, message))
}

fn pool_of(id: &str) -> &str {
    id.split_once('/').map_or(id, |(pool, _)| pool)
}

fn add(sum: &mut Amounts, amount: &Amounts) {
    for (resource, amount) in amount {
        *sum.entry(resource.clone()).or_default() += amount;
    }
}

/// A resource of which there is more than the most allowed.
fn beyond(sum: &Amounts, most: impl Fn(&str) -> Option<u64>) -> Option<&String> {
    sum.iter()
        .find(|(resource, amount)| most(resource).is_some_and(|most| **amount > most))
        .map(|(resource, _)| resource)
}

fn work(lines: &[Line], books: &Books<'_>) -> Vec<Work> {
    let seconds = seconds(lines);
    vec![
        Work { name: "revisions checked", done: books.revisions, needed: seconds },
        Work { name: "grants told", done: books.grants, needed: seconds },
        Work { name: "ends of grants told", done: books.ends, needed: seconds / 2 },
        Work { name: "revisions with something waiting", done: books.contended, needed: seconds },
        Work { name: "tenants struck", done: books.struck, needed: seconds / 10 },
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::{Verdict, sample::History};

    fn tell(history: &mut History, revision: u64, fact: Fact) {
        history.add(What::Fact(FactEvent { revision: Revision(revision), fact }));
    }

    fn amounts(cpu: u64) -> Amounts {
        Amounts::from([("cpu".to_owned(), cpu)])
    }

    fn allocation(history: &mut History, revision: u64, number: u64, cpu: u64, epoch: Option<u64>) {
        let now = Some(AllocationFact {
            tenant: "a".to_owned(),
            amount: amounts(cpu),
            session: Some("0.1".to_owned()),
            granted: epoch.map(|epoch| format!("0.{epoch}")),
        });
        tell(history, revision, Fact::Allocation { id: format!("pool/{number}"), now });
    }

    /// A session, a pool of 10 of which the tenant may have 8, and a grant of 6 at revision 4.
    fn granted() -> History {
        let mut history = History::new();
        tell(&mut history, 1, Fact::Session { id: "0.1".to_owned(), alive: true });
        let limits = BTreeMap::from([("a".to_owned(), amounts(8))]);
        let now = Some(PoolFact { capacity: amounts(10), limits });
        tell(&mut history, 2, Fact::Pool { id: "pool".to_owned(), now });
        allocation(&mut history, 3, 3, 6, None);
        tell(&mut history, 3, Fact::Requested { id: "pool/3".to_owned() });
        allocation(&mut history, 4, 3, 6, Some(4));
        tell(&mut history, 4, Fact::Told);
        history
    }

    #[test]
    fn a_grant_that_is_given_back_is_fine() {
        let mut history = granted();
        allocation(&mut history, 5, 5, 3, None);
        tell(&mut history, 6, Fact::Allocation { id: "pool/3".to_owned(), now: None });
        tell(&mut history, 6, Fact::Released { id: "pool/3".to_owned() });
        allocation(&mut history, 7, 5, 3, Some(7));
        tell(&mut history, 7, Fact::Told);
        history.add(What::Healed);
        tell(&mut history, 8, Fact::Told);
        assert_eq!(history.findings(check), []);
    }

    #[test]
    fn more_than_there_is_or_than_a_tenant_may_have_is_found() {
        let mut history = granted();
        allocation(&mut history, 5, 5, 3, Some(5));
        history.expect(check, Verdict::Invalid, "see its limit of cpu");
        allocation(&mut history, 6, 5, 5, Some(5));
        history.expect(check, Verdict::Invalid, "of {\"cpu\": 10} granted");
    }

    #[test]
    fn what_outlives_its_session_or_its_pool_is_found() {
        let mut history = granted();
        tell(&mut history, 5, Fact::Session { id: "0.1".to_owned(), alive: false });
        history.expect(check, Verdict::Invalid, "which has ended");
        let mut history = granted();
        tell(&mut history, 5, Fact::Pool { id: "pool".to_owned(), now: None });
        history.expect(check, Verdict::Invalid, "is of no pool");
    }

    #[test]
    fn an_epoch_of_another_revision_is_found() {
        let mut history = granted();
        allocation(&mut history, 5, 3, 6, Some(3));
        history.expect(check, Verdict::Invalid, "was granted in epoch 0.3");
    }

    #[test]
    fn what_was_acknowledged_and_is_not_so_is_found() {
        let mut history = granted();
        tell(&mut history, 5, Fact::Requested { id: "pool/5".to_owned() });
        history.expect(check, Verdict::Invalid, "pool/5 was acknowledged and is not there");
        let mut history = granted();
        tell(&mut history, 5, Fact::Released { id: "pool/3".to_owned() });
        history.expect(check, Verdict::Invalid, "was given back and is there");
    }

    #[test]
    fn what_waits_for_ever_is_found() {
        let mut history = granted();
        history.add(What::Healed);
        allocation(&mut history, 5, 5, 2, None);
        tell(&mut history, 5, Fact::Told);
        history.expect(check, Verdict::Invalid, "room for pool/5, which waited");
        allocation(&mut history, 6, 5, 2, Some(6));
        tell(&mut history, 6, Fact::Told);
        assert_eq!(history.findings(check), []);
    }
}
