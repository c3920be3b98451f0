//! Coordinators: those that the leader does not hear, and the own disk.

use std::path::PathBuf;

use async_trait::async_trait;
use quorate_core::{Name, Severity};

use super::age::Ages;
use crate::{
    health::check::{Finding, Findings, HealthCheck, HealthContext, Scope},
    members::Standing,
};

/// Members that do not answer.
pub(super) fn unheard(context: &HealthContext, _: &mut Ages) -> Findings {
    let there = |standing| matches!(standing, Standing::Voter | Standing::Learner);
    let silent = context
        .members()
        .iter()
        .filter(|member| there(member.standing) && context.unheard().contains(&member.id));
    silent
        .map(|member| {
            let (severity, what) = match member.standing {
                Standing::Voter => (Severity::Critical, "voter"),
                _ => (Severity::Warning, "learner"),
            };
            let message = format!("{what} {} at {} is not heard", member.id, member.peer);
            (member.id.to_string(), Finding::new(severity, message))
        })
        .collect()
}

/// Space left for the data directory: each coordinator's own.
pub(super) struct DiskSpace {
    pub(super) data_dir: PathBuf,
}

#[async_trait]
impl HealthCheck for DiskSpace {
    fn name(&self) -> Name {
        Name::new("disk_space").expect("the text is a valid name")
    }

    fn scope(&self) -> Scope {
        Scope::Member
    }

    async fn check(&self, context: &HealthContext) -> Result<Findings, String> {
        let data_dir = self.data_dir.clone();
        // A disk that hangs holds up a thread for blocking work, and this check.
        let asked = tokio::task::spawn_blocking(move || rustix::fs::statvfs(&data_dir));
        let space = asked.await.map_err(|error| error.to_string())?;
        let space = space.map_err(|error| error.to_string())?;
        let free = space.f_bavail.saturating_mul(space.f_frsize);
        let found = low(free, context.state().settings().health_disk_free_bytes_min);
        Ok(found.map(|found| (context.member().to_string(), found)).into_iter().collect())
    }
}

/// What there is to say of so much free space.
pub(super) fn low(free: u64, min: u64) -> Option<Finding> {
    let severity = if free < min / 4 { Severity::Critical } else { Severity::Warning };
    let message = format!("{} MiB are free for the data directory", free >> 20);
    (free < min).then(|| Finding { value: free, ..Finding::new(severity, message) })
}
