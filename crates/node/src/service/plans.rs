//! Questions about placement that change nothing. With many partitions they take a while.

use std::sync::Arc;

use quorate_core::{
    Key, Name, PartitionId, PartitionState, Record, State,
    plan::{Explanation, Plan},
};
use quorate_plan::cluster::{BalancePolicy, ClusterError, ClusterView, explain, what_if_lost};
use quorate_proto::{ErrorDetails, Reason};
use quorate_storage::View;
use tokio::time::Instant;
use tonic::Status;

use super::{error, read::Reader};
use crate::controller::balancer;

/// A question is put to this view, and has an answer until the deadline or none.
pub(super) struct Question<'a> {
    pub(super) reader: &'a Reader,
    pub(super) view: Arc<View>,
    pub(super) deadline: Instant,
}

impl Question<'_> {
    /// Why a partition is where it is; `only`: and what speaks against this worker, instead of all
    /// others.
    pub(super) async fn explain(
        self,
        id: PartitionId,
        only: Option<Name>,
    ) -> Result<Explanation, Status> {
        self.ask(move |state| {
            let cluster = cluster(state)?;
            let mut explained = explain(&cluster, &BalancePolicy::of(state.settings()), &id)
                .ok_or_else(|| missing("partition", &format!("there is no partition {id}")))?;
            explained.leaving = leaving(state, &id);
            if let Some(only) = only {
                if cluster.worker(&only).is_none() {
                    return Err(missing("worker", &format!("there is no worker {only}")));
                }
                explained.others.retain(|other| other.worker == only);
            }
            Ok(explained)
        })
        .await
    }

    /// What would move if a worker were lost.
    pub(super) async fn worker_lost(self, worker: Name) -> Result<Plan, Status> {
        self.ask(move |state| {
            let plan =
                what_if_lost(&cluster(state)?, &BalancePolicy::of(state.settings()), &worker);
            plan.ok_or_else(|| missing("name", &format!("there is no worker {worker}")))
        })
        .await
    }

    /// What should be elsewhere.
    pub(super) async fn balance(self) -> Result<Plan, Status> {
        self.ask(|state| balancer::plan_now(state).map_err(|error| contradiction(&error))).await
    }

    async fn ask<T: Send + 'static>(
        self,
        answer: impl FnOnce(&State) -> Result<T, Status> + Send + 'static,
    ) -> Result<T, Status> {
        let (planner, view) = (self.reader.coordinator().planner(), self.view);
        planner.ask(self.deadline, move || answer(&view.state)).await.map_err(error::plan)?
    }
}

/// The owner of a partition that was asked to give it up.
fn leaving(state: &State, id: &PartitionId) -> Option<Name> {
    match &state.get(&Key::partition(id))?.value {
        Record::Partition(partition) if partition.state == PartitionState::Releasing => {
            partition.owner.as_ref().map(|owner| owner.worker.clone())
        }
        _ => None,
    }
}

fn missing(field: &str, message: &str) -> Status {
    ErrorDetails::new(Reason::NotFound, message)
        .with_field(field, "must name one that there is")
        .into()
}

fn cluster(state: &State) -> Result<ClusterView, Status> {
    ClusterView::of(state).map_err(|error| contradiction(&error))
}

fn contradiction(error: &ClusterError) -> Status {
    tracing::error!(%error, "the state contradicts itself");
    Status::internal(error.to_string())
}
