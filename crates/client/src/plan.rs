//! What would be done, and why things are as they are: nothing is changed.

use std::{collections::BTreeMap, sync::Arc};

use quorate_core::{
    Name, NetworkSpec, PartitionId, Resources,
    plan::{Explanation, NetworkPlan, Plan},
};
use quorate_proto::{
    ConvertError,
    convert::{NetworkNumbers, network::apply_outcome, plan::explanation},
    v1,
};

use crate::{
    call::{Call, Carried, Operation, Read, rpc},
    client::Client,
};

impl Client {
    /// What [`Client::apply_network`] would do now, and where the partitions would go that then need a
    /// worker. `workers`: those that there are supposed to be, with nothing but this network; none: those
    /// of the cluster.
    pub fn plan_network(
        &self,
        name: &Name,
        spec: NetworkSpec,
        workers: Vec<SupposedWorker>,
    ) -> Call<PlanNetwork> {
        let name = name.clone();
        Call::new(self, PlanNetwork { name, spec: Arc::new(spec), workers: workers.into() })
    }

    /// Why a partition is where it is; `only`: and what speaks against this worker, instead of all
    /// others. An error of kind `NotFound` when one of them does not exist.
    pub fn explain_partition(
        &self,
        partition: &PartitionId,
        only: Option<&Name>,
    ) -> Call<ExplainPartition> {
        Call::new(self, ExplainPartition { partition: partition.clone(), only: only.cloned() })
    }

    /// Where a worker's partitions would go if it were lost now. An error of kind `NotFound` when it
    /// does not exist.
    pub fn what_if_lost(&self, worker: &Name) -> Call<WhatIfLost> {
        Call::new(self, WhatIfLost { worker: worker.clone() })
    }
}

/// A worker that there may be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SupposedWorker {
    /// Its name.
    pub name: Name,
    /// What it gives. A resource that is not named is not limited.
    pub capacity: Resources,
    /// What is said of it, such as zone=a.
    pub labels: BTreeMap<String, String>,
}

/// Asks what applying a network would do.
#[derive(Debug, Clone)]
pub struct PlanNetwork {
    name: Name,
    spec: Arc<NetworkSpec>,
    workers: Arc<[SupposedWorker]>,
}

/// What applying a network would do, and the network in numbers as it would be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedNetwork {
    /// What it would do.
    pub plan: NetworkPlan,
    /// The network as it would be.
    pub numbers: NetworkNumbers,
}

impl Read for PlanNetwork {}

impl Operation for PlanNetwork {
    type Output = PlannedNetwork;
    rpc!(
        Read,
        network_service_client::NetworkServiceClient.plan(PlanNetworkRequest)
            -> PlanNetworkResponse
    );

    fn request(&self, carried: Carried) -> v1::PlanNetworkRequest {
        let worker = |worker: &SupposedWorker| v1::SupposedWorker {
            name: worker.name.to_string(),
            capacity: Some((&worker.capacity).into()),
            labels: worker.labels.clone(),
        };
        v1::PlanNetworkRequest {
            name: self.name.to_string(),
            spec: Some(self.spec.as_ref().into()),
            workers: self.workers.iter().map(worker).collect(),
            read: Some(carried.read.into()),
        }
    }

    fn read(&self, answer: v1::PlanNetworkResponse) -> Result<PlannedNetwork, ConvertError> {
        let moves = answer.moves.into_iter().enumerate().map(|(at, one)| {
            let field = format!("moves[{at}]");
            one.try_into().map_err(|error: ConvertError| error.within(&field))
        });
        Ok(PlannedNetwork {
            plan: NetworkPlan {
                outcome: apply_outcome(answer.outcome)?,
                before: part(answer.before, "before")?,
                after: part(answer.after, "after")?,
                moves: moves.collect::<Result<_, _>>()?,
                placement: part(answer.placement, "placement")?,
            },
            numbers: part(answer.network, "network")?,
        })
    }
}

/// Asks why a partition is where it is.
#[derive(Debug, Clone)]
pub struct ExplainPartition {
    partition: PartitionId,
    only: Option<Name>,
}

impl Read for ExplainPartition {}

impl Operation for ExplainPartition {
    type Output = Explanation;
    rpc!(
        Read,
        partition_service_client::PartitionServiceClient.explain(ExplainPartitionRequest)
            -> ExplainPartitionResponse
    );

    fn request(&self, carried: Carried) -> v1::ExplainPartitionRequest {
        v1::ExplainPartitionRequest {
            partition: self.partition.to_string(),
            worker: self.only.clone().map(String::from).unwrap_or_default(),
            read: Some(carried.read.into()),
        }
    }

    fn read(&self, answer: v1::ExplainPartitionResponse) -> Result<Explanation, ConvertError> {
        explanation(self.partition.clone(), answer)
    }
}

/// Asks what would move if a worker were lost.
#[derive(Debug, Clone)]
pub struct WhatIfLost {
    worker: Name,
}

impl Read for WhatIfLost {}

impl Operation for WhatIfLost {
    type Output = Plan;
    rpc!(
        Read,
        worker_service_client::WorkerServiceClient.what_if_lost(WhatIfLostRequest)
            -> WhatIfLostResponse
    );

    fn request(&self, carried: Carried) -> v1::WhatIfLostRequest {
        v1::WhatIfLostRequest { name: self.worker.to_string(), read: Some(carried.read.into()) }
    }

    fn read(&self, answer: v1::WhatIfLostResponse) -> Result<Plan, ConvertError> {
        part(answer.plan, "plan")
    }
}

/// Reads a part of an answer that must be there.
pub(crate) fn part<M, T: TryFrom<M, Error = ConvertError>>(
    message: Option<M>,
    field: &str,
) -> Result<T, ConvertError> {
    let message = message.ok_or_else(|| ConvertError::new(field, "required"))?;
    T::try_from(message).map_err(|error| error.within(field))
}
