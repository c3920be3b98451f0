//! Arguments of `pool` and `allocation`.

use std::time::Duration;

use clap::{ArgGroup, Args, Subcommand};
use quorate_core::{AllocationId, Epoch, Name, PartitionId, Resources, SessionId, Tenant};

use super::{Follow, values};

/// What to do with pools.
#[derive(Debug, Subcommand)]
pub(crate) enum PoolCommand {
    /// Create a pool of resources, or replace what it has and who shares it
    Create(PoolCreate),
    /// List the pools, with what is granted of them
    #[command(after_help = LIST_EXAMPLES)]
    List(Follow),
    /// Delete a pool of which nobody has an allocation, and which no network names
    #[command(after_help = DELETE_EXAMPLES)]
    Delete {
        /// The pool's name
        #[arg(value_name = "NAME", value_parser = values::name)]
        name: Name,
    },
}

/// Creates or replaces a pool.
#[derive(Debug, Args)]
#[command(after_help = CREATE_EXAMPLES)]
pub(crate) struct PoolCreate {
    /// The pool's name
    #[arg(value_name = "NAME", value_parser = values::name)]
    pub(crate) name: Name,
    /// What there is: cpu in cores, memory in bytes or with a unit, others as whole numbers
    #[arg(long, value_name = "RESOURCE=AMOUNT,...", value_parser = values::resources)]
    pub(crate) capacity: Resources,
    /// Who shares it; again for each: 'NAME weight=2 guarantee=cpu=4 limit=cpu=8 priority=1'
    #[arg(long, value_name = "TENANT", value_parser = tenant)]
    pub(crate) tenant: Vec<(Name, Tenant)>,
    /// How long a grant that is asked back may be kept
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = values::duration)]
    pub(crate) grace: Duration,
    /// After which wait room is held for an allocation [default: never]
    #[arg(long, value_name = "DURATION", value_parser = values::duration)]
    pub(crate) starving_after: Option<Duration>,
    /// After which time without use a grant ends [default: never]
    #[arg(long, value_name = "DURATION", value_parser = values::duration)]
    pub(crate) idle_timeout: Option<Duration>,
}

/// What to do with allocations.
#[derive(Debug, Subcommand)]
pub(crate) enum AllocationCommand {
    /// List allocations: what was asked for of pools, and granted
    #[command(after_help = ALLOCATIONS_EXAMPLES)]
    List {
        /// Only of this pool
        #[arg(long, value_name = "NAME", value_parser = values::name)]
        pool: Option<Name>,
        /// Follow changes
        #[command(flatten)]
        follow: Follow,
    },
    /// Ask for an amount of a pool, for a session or a partition
    Request(AllocationRequest),
    /// Give an allocation back, or withdraw one that waits; not what a network requires
    #[command(after_help = RELEASE_EXAMPLES)]
    Release {
        /// The allocation, such as batch/17
        #[arg(value_name = "ID", value_parser = allocation)]
        id: AllocationId,
        /// Only the grant of this epoch; without it, the one that it has
        #[arg(long, value_name = "EPOCH", value_parser = epoch)]
        epoch: Option<Epoch>,
    },
}

/// Asks for an amount of a pool.
#[derive(Debug, Args)]
#[command(after_help = REQUEST_EXAMPLES)]
#[command(group = ArgGroup::new("holder").required(true).args(["session", "partition"]))]
pub(crate) struct AllocationRequest {
    /// The pool's name
    #[arg(value_name = "POOL", value_parser = values::name)]
    pub(crate) pool: Name,
    /// The tenant for whom it counts
    #[arg(long, value_name = "NAME", value_parser = values::name)]
    pub(crate) tenant: Name,
    /// How much: cpu in cores, memory in bytes or with a unit, others as whole numbers
    #[arg(long, value_name = "RESOURCE=AMOUNT,...", value_parser = values::resources)]
    pub(crate) amount: Resources,
    /// Who goes first among the same tenant's; higher first
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    pub(crate) priority: u32,
    /// The session with which it ends
    #[arg(long, value_name = "ID", value_parser = session)]
    pub(crate) session: Option<SessionId>,
    /// The partition with which it ends, such as net/0; its owner has the grant
    #[arg(long, value_name = "ID", value_parser = values::partition)]
    pub(crate) partition: Option<PartitionId>,
}

/// Reads a tenant: its name, and what is said of it.
fn tenant(text: &str) -> Result<(Name, Tenant), String> {
    const RULE: &str = "expected 'NAME weight=N guarantee=RESOURCES limit=RESOURCES priority=N', \
                        all but the name may be left out";
    let mut words = text.split_whitespace();
    let name = values::name(words.next().ok_or(RULE)?)?;
    let mut tenant = Tenant::default();
    for word in words {
        let (field, value) = word.split_once('=').ok_or(RULE)?;
        match field {
            "weight" => {
                let weight = value.parse().ok().filter(|weight| *weight > 0);
                tenant.weight = weight.ok_or("a weight is a whole number, at least 1")?;
            }
            "guarantee" => tenant.guarantee = values::resources(value)?,
            "limit" => {
                let limit = values::resources(value)?;
                tenant.limit = limit.iter().map(|(name, most)| (name.clone(), most)).collect();
            }
            "priority" => tenant.priority = value.parse().map_err(|_| RULE)?,
            _ => return Err(RULE.to_owned()),
        }
    }
    Ok((name, tenant))
}

fn allocation(text: &str) -> Result<AllocationId, String> {
    AllocationId::parse(text).ok_or_else(|| "expected POOL/NUMBER, such as batch/17".to_owned())
}

fn session(text: &str) -> Result<SessionId, String> {
    SessionId::parse(text)
        .ok_or_else(|| "expected a session's id as `session list` shows it".to_owned())
}

fn epoch(text: &str) -> Result<Epoch, String> {
    Epoch::parse(text).ok_or_else(|| "expected an epoch as `allocation list` shows it".to_owned())
}

const CREATE_EXAMPLES: &str = "\
What is granted of the pool must still be there; who has allocations, or is named by a network, stays a
tenant.

Examples:
  quorate pool create batch --capacity cpu=16,memory=64GiB --tenant reports --tenant 'ads weight=2'
  quorate pool create gpus --capacity gpu=8 --idle-timeout 10m \\
      --tenant 'train guarantee=gpu=4' --tenant 'try limit=gpu=2'";

const LIST_EXAMPLES: &str = "\
Examples:
  quorate pool list
  quorate pool list --output json
  quorate pool list --watch";

const DELETE_EXAMPLES: &str = "\
Examples:
  quorate pool delete batch";

const ALLOCATIONS_EXAMPLES: &str = "\
Examples:
  quorate allocation list
  quorate allocation list --pool batch --output json
  quorate allocation list --watch";

const REQUEST_EXAMPLES: &str = "\
Returns when it waits, not when it is granted: see `allocation list`, or watch it. It is gone when its
session ends, or its partition is deleted.

Examples:
  quorate allocation request batch --tenant reports --amount cpu=2,memory=4GiB --session 0.17
  quorate allocation request batch --tenant ads --amount cpu=1 --partition clicks/0
  quorate watch --kind allocation";

const RELEASE_EXAMPLES: &str = "\
Examples:
  quorate allocation release batch/17
  quorate allocation release batch/17 --epoch 0.18";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenant_is_a_name_and_what_is_said_of_it() {
        let (name, plain) = tenant("reports").unwrap();
        assert_eq!((name.as_str(), plain), ("reports", Tenant::default()));
        let (_, all) = tenant("a weight=2 guarantee=cpu=1,gpu=3 limit=cpu=0.5 priority=7").unwrap();
        assert_eq!((all.weight, all.priority), (2, 7));
        assert_eq!(all.guarantee.get(&Name::new("gpu").unwrap()), 3);
        assert_eq!(all.limit[&Name::new(Resources::CPU_MILLIS).unwrap()], 500);
        for wrong in
            ["", "a/b", "a weight=0", "a weight", "a share=1", "a limit=cpu", "a priority=x"]
        {
            assert!(tenant(wrong).is_err(), "{wrong}");
        }
    }
}
