//! What is answered about partitions.

use quorate_proto::v1::{self, partition_service_server as partition};
use tonic::{Request, Response, Status, async_trait};

use super::{Asked, Script};

#[async_trait]
impl partition::PartitionService for Script {
    async fn list(
        &self,
        request: Request<v1::ListPartitionsRequest>,
    ) -> Result<Response<v1::ListPartitionsResponse>, Status> {
        let header = Some(self.answer(Asked::Other, &request).await?);
        let partition = v1::Partition {
            network: "net".into(),
            index: 1,
            state: v1::PartitionState::Unassigned.into(),
            ..v1::Partition::default()
        };
        let record = v1::Record {
            key: Some(v1::Key { kind: v1::Kind::Partition.into(), key: "net/1".into() }),
            created: 3,
            modified: 4,
            version: 2,
            value: Some(v1::record::Value::Partition(partition)),
            ..v1::Record::default()
        };
        Ok(Response::new(v1::ListPartitionsResponse { header, partitions: vec![record] }))
    }

    async fn r#move(
        &self,
        request: Request<v1::MovePartitionsRequest>,
    ) -> Result<Response<v1::MovePartitionsResponse>, Status> {
        let header = Some(self.answer(Asked::Other, &request).await?);
        Ok(Response::new(v1::MovePartitionsResponse { header, changed: 1 }))
    }

    async fn release(
        &self,
        request: Request<v1::ReleasePartitionRequest>,
    ) -> Result<Response<v1::ReleasePartitionResponse>, Status> {
        let header = Some(self.answer(Asked::Other, &request).await?);
        Ok(Response::new(v1::ReleasePartitionResponse { header }))
    }

    async fn explain(
        &self,
        request: Request<v1::ExplainPartitionRequest>,
    ) -> Result<Response<v1::ExplainPartitionResponse>, Status> {
        let header = Some(self.answer(Asked::Other, &request).await?);
        Ok(Response::new(v1::ExplainPartitionResponse { header, ..Default::default() }))
    }

    async fn plan_balance(
        &self,
        request: Request<v1::PlanBalanceRequest>,
    ) -> Result<Response<v1::PlanBalanceResponse>, Status> {
        let header = Some(self.answer(Asked::Other, &request).await?);
        Ok(Response::new(v1::PlanBalanceResponse { header, plan: Some(empty_plan()) }))
    }

    async fn balance(
        &self,
        request: Request<v1::BalanceRequest>,
    ) -> Result<Response<v1::BalanceResponse>, Status> {
        let header = Some(self.answer(Asked::Other, &request).await?);
        Ok(Response::new(v1::BalanceResponse { header, plan: Some(empty_plan()), changed: 0 }))
    }

    async fn split(
        &self,
        request: Request<v1::SplitPartitionRequest>,
    ) -> Result<Response<v1::SplitPartitionResponse>, Status> {
        let header = Some(self.answer(Asked::Other, &request).await?);
        Ok(Response::new(v1::SplitPartitionResponse { header, reshaping: None }))
    }

    async fn plan_split(
        &self,
        request: Request<v1::PlanSplitRequest>,
    ) -> Result<Response<v1::PlanSplitResponse>, Status> {
        let header = Some(self.answer(Asked::Other, &request).await?);
        Ok(Response::new(v1::PlanSplitResponse { header, reshaping: None }))
    }

    async fn merge(
        &self,
        request: Request<v1::MergePartitionsRequest>,
    ) -> Result<Response<v1::MergePartitionsResponse>, Status> {
        let header = Some(self.answer(Asked::Other, &request).await?);
        Ok(Response::new(v1::MergePartitionsResponse { header, reshaping: None }))
    }

    async fn plan_merge(
        &self,
        request: Request<v1::PlanMergeRequest>,
    ) -> Result<Response<v1::PlanMergeResponse>, Status> {
        let header = Some(self.answer(Asked::Other, &request).await?);
        Ok(Response::new(v1::PlanMergeResponse { header, reshaping: None }))
    }
}

fn empty_plan() -> v1::Plan {
    let standing = || Some(v1::Standing::default());
    v1::Plan { before: standing(), after: standing(), ..v1::Plan::default() }
}
