//! Questions about placement that change nothing. Answered on a thread of their own: with many
//! partitions they take a while.

use std::sync::Arc;

use quorate_core::{
    Name, PartitionId, State,
    plan::{Explanation, Plan},
};
use quorate_plan::cluster::{BalancePolicy, ClusterError, ClusterView, explain, what_if_lost};
use quorate_proto::{ErrorDetails, Reason};
use quorate_storage::View;
use tonic::Status;

/// Why a partition is where it is; `only`: and what speaks against this worker, instead of all others.
pub(super) async fn explain_partition(
    view: Arc<View>,
    id: PartitionId,
    only: Option<Name>,
) -> Result<Explanation, Status> {
    aside(move || {
        let cluster = cluster(&view.state)?;
        let mut explained = explain(&cluster, &BalancePolicy::default(), &id)
            .ok_or_else(|| missing("partition", &format!("there is no partition {id}")))?;
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
pub(super) async fn worker_lost(view: Arc<View>, worker: Name) -> Result<Plan, Status> {
    aside(move || {
        let plan = what_if_lost(&cluster(&view.state)?, &BalancePolicy::default(), &worker);
        plan.ok_or_else(|| missing("name", &format!("there is no worker {worker}")))
    })
    .await
}

async fn aside<T: Send + 'static>(
    answer: impl FnOnce() -> Result<T, Status> + Send + 'static,
) -> Result<T, Status> {
    tokio::task::spawn_blocking(answer).await.unwrap_or_else(|error| {
        tracing::error!(%error, "a question about placement panicked");
        Err(Status::internal("a question about placement panicked"))
    })
}

fn missing(field: &str, message: &str) -> Status {
    ErrorDetails::new(Reason::NotFound, message)
        .with_field(field, "must name one that there is")
        .into()
}

fn cluster(state: &State) -> Result<ClusterView, Status> {
    ClusterView::of(state).map_err(|error: ClusterError| {
        tracing::error!(%error, "the state contradicts itself");
        Status::internal(error.to_string())
    })
}
