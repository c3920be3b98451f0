//! Balancing: what should be elsewhere, and asking for it.

use quorate_core::plan::Plan;
use quorate_proto::{ConvertError, v1};

use crate::{
    call::{Call, Carried, Operation, Read, Write, rpc},
    client::Client,
    plan::part,
};

impl Client {
    /// What [`Client::balance`] would do now.
    pub fn plan_balance(&self) -> Call<PlanBalance> {
        Call::new(self, PlanBalance)
    }

    /// Asks the owners of partitions that should be elsewhere to release them, as the leader does by itself:
    /// also while it is told not to, and of partitions that were granted lately. Gives what was planned,
    /// and how many owners were asked. An error with reason `STALE_PLAN` when the cluster changed meanwhile.
    pub fn balance(&self) -> Call<Balance> {
        Call::new(self, Balance)
    }
}

/// Asks what should be elsewhere.
#[derive(Debug, Clone)]
pub struct PlanBalance;

impl Read for PlanBalance {}

impl Operation for PlanBalance {
    type Output = Plan;
    rpc!(
        Read,
        partition_service_client::PartitionServiceClient.plan_balance(PlanBalanceRequest)
            -> PlanBalanceResponse
    );

    fn request(&self, carried: Carried) -> v1::PlanBalanceRequest {
        v1::PlanBalanceRequest { read: Some(carried.read.into()) }
    }

    fn read(&self, answer: v1::PlanBalanceResponse) -> Result<Plan, ConvertError> {
        part(answer.plan, "plan")
    }
}

/// Moves partitions that should be elsewhere.
#[derive(Debug, Clone)]
pub struct Balance;

/// What balancing did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Balanced {
    /// What was planned. The owners of its first wave were asked.
    pub plan: Plan,
    /// How many partitions were changed by it.
    pub changed: u32,
}

impl Write for Balance {}

impl Operation for Balance {
    type Output = Balanced;
    rpc!(
        Write,
        partition_service_client::PartitionServiceClient.balance(BalanceRequest)
            -> BalanceResponse
    );

    fn request(&self, carried: Carried) -> v1::BalanceRequest {
        v1::BalanceRequest { context: carried.context }
    }

    fn read(&self, answer: v1::BalanceResponse) -> Result<Balanced, ConvertError> {
        Ok(Balanced { plan: part(answer.plan, "plan")?, changed: answer.changed })
    }
}
