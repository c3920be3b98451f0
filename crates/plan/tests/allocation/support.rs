//! Pools for tests, from short texts.

use std::collections::BTreeMap;

use quorate_core::{Name, Resources, Revision, SessionId};
use quorate_plan::allocate::{
    AllocationPolicy, GrantId, GrantOwner, Pool, PoolView, RequestId, StandingGrant, Tenant,
    WaitingRequest,
};

/// A pool at one moment, owned.
#[derive(Debug, Clone, Default)]
pub(crate) struct Case {
    pub(crate) pool: Pool,
    pub(crate) grants: Vec<StandingGrant>,
    pub(crate) requests: Vec<WaitingRequest>,
    pub(crate) policy: AllocationPolicy,
    pub(crate) now_ms: u64,
}

impl Case {
    pub(crate) fn view(&self) -> PoolView<'_> {
        PoolView {
            pool: &self.pool,
            grants: &self.grants,
            requests: &self.requests,
            policy: self.policy,
            now_ms: self.now_ms,
        }
    }
}

pub(crate) fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

/// The session of that number.
pub(crate) fn session(number: u64) -> GrantOwner {
    GrantOwner::Session(SessionId { revision: Revision(number), ..SessionId::default() })
}

/// Reads `cpu=1,mem=4`.
pub(crate) fn amounts(text: &str) -> BTreeMap<Name, u64> {
    let pairs = text.split(',').filter(|pair| !pair.is_empty());
    let pairs = pairs.map(|pair| pair.split_once('=').unwrap());
    pairs.map(|(resource, amount)| (name(resource), amount.parse().unwrap())).collect()
}

pub(crate) fn resources(text: &str) -> Resources {
    amounts(text).into()
}

/// Reads one fact per line:
///
/// ```text
/// pool cpu=9,mem=18
/// policy grace:30 starving:100 now:500
/// tenant A weight:2 priority:1 guarantee:cpu=3 limit:cpu=5
/// grant A cpu=1 x3 priority:1 session:7 idle:20 revoked:90
/// request A cpu=1,mem=4 x20 priority:1 since:0
/// ```
///
/// Grants and requests are numbered from 1 in the order of the text.
pub(crate) fn parse(text: &str) -> Case {
    let mut case = Case::default();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let option =
            |key: &str| words.iter().find_map(|word| word.strip_prefix(key)?.strip_prefix(':'));
        let number = |key: &str| option(key).map(|text| text.parse::<u64>().unwrap());
        let times = words.iter().find_map(|word| word.strip_prefix('x')?.parse::<u64>().ok());
        let times = times.unwrap_or(1);
        let priority = u32::try_from(number("priority").unwrap_or(0)).unwrap();
        match words[0] {
            "pool" => case.pool.capacity = resources(words[1]),
            "policy" => {
                case.policy.grace_ms = number("grace").unwrap_or(0);
                case.policy.starving_after_ms = number("starving");
                case.now_ms = number("now").unwrap_or(0);
            }
            "tenant" => case.pool.tenants.push(Tenant {
                name: name(words[1]),
                weight: number("weight").unwrap_or(1),
                guarantee: resources(option("guarantee").unwrap_or("")),
                limit: amounts(option("limit").unwrap_or("")),
                priority,
            }),
            "grant" => {
                for _ in 0..times {
                    let id = case.grants.len() as u64 + 1;
                    case.grants.push(StandingGrant {
                        id: GrantId(id),
                        tenant: name(words[1]),
                        amount: resources(words[2]),
                        priority,
                        revision: Revision(id),
                        owner: session(number("session").unwrap_or(0)),
                        idle_since_ms: number("idle"),
                        grace_end_ms: number("revoked"),
                    });
                }
            }
            "request" => {
                for _ in 0..times {
                    let id = case.requests.len() as u64 + 1;
                    case.requests.push(WaitingRequest {
                        id: RequestId(id),
                        tenant: name(words[1]),
                        amount: resources(words[2]),
                        priority,
                        arrival: Revision(id),
                        since_ms: number("since").unwrap_or(case.now_ms),
                    });
                }
            }
            other => panic!("no fact: {other}"),
        }
    }
    case
}
