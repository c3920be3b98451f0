//! The checks that every coordinator has.
//!
//! | check | scope | finds |
//! | --- | --- | --- |
//! | `member_unheard` | cluster | a member that does not answer the leader |
//! | `disk_space` | member | a data directory with little space left |
//! | `worker_down` | cluster | a worker that was lost and does not come back |
//! | `worker_load` | cluster | a worker with a higher observed load than the settings allow |
//! | `worker_partitions` | cluster | a worker with more partitions than the settings allow |
//! | `partition_unowned` | cluster | a partition that nobody has owned for too long, and why |
//! | `connection_unusable` | cluster | a connection between partitions that cannot be used for too long |
//! | `pool_waiting` | cluster | a pool in which something has waited for too long |
//! | `state_differs` | cluster | a member whose state is not that of the others after the same log entry |
//!
//! Each is a pure function of what it sees, in a file by its subject. A check of another kind of
//! record is a file and a line in [`all`].

mod age;
mod connection;
mod machine;
mod partition;
mod pool;
mod replica;
#[cfg(test)]
mod tests;
mod worker;

use std::{path::Path, sync::Arc};

use async_trait::async_trait;
use parking_lot::Mutex;
use quorate_core::Name;

use self::age::Ages;
use super::check::{Findings, HealthCheck, HealthContext};

/// All of them.
pub(super) fn all(data_dir: &Path) -> Vec<Arc<dyn HealthCheck>> {
    vec![
        Arc::new(OfState::new("member_unheard", machine::unheard)),
        Arc::new(machine::DiskSpace { data_dir: data_dir.to_owned() }),
        Arc::new(OfState::new("worker_down", worker::down)),
        Arc::new(OfState::new("worker_load", worker::load)),
        Arc::new(OfState::new("worker_partitions", worker::partitions)),
        Arc::new(OfState::new("partition_unowned", partition::unowned)),
        Arc::new(OfState::new("connection_unusable", connection::unusable)),
        Arc::new(OfState::new("pool_waiting", pool::waiting)),
        Arc::new(replica::StateDiffers),
    ]
}

/// A check that is a function of the state, and of how long records have been as they are.
struct OfState {
    name: Name,
    find: fn(&HealthContext, &mut Ages) -> Findings,
    ages: Mutex<Ages>,
}

impl OfState {
    fn new(name: &str, find: fn(&HealthContext, &mut Ages) -> Findings) -> Self {
        let name = Name::new(name).expect("the names of checks are valid");
        Self { name, find, ages: Mutex::default() }
    }
}

#[async_trait]
impl HealthCheck for OfState {
    fn name(&self) -> Name {
        self.name.clone()
    }

    async fn check(&self, context: &HealthContext) -> Result<Findings, String> {
        let mut ages = self.ages.lock();
        let findings = (self.find)(context, &mut ages);
        ages.end_of_run();
        Ok(findings)
    }
}
