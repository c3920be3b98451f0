//! `PartitionService`: what belongs to networks, and where it is.

use quorate_core::{
    Command, Key, KeyRange, Kind, PartitionId, Reply, State, rejection::Reason::StalePlan,
};
use quorate_proto::{
    ConvertError, ErrorDetails,
    convert::{
        self,
        record::record,
        write::{partition_id, required_epoch},
    },
    v1::{self, partition_service_server::PartitionService},
};
use tonic::{Request, Response, Status, async_trait};

use super::{
    header,
    plans::Question,
    read::Reader,
    reshapes::{merge, split},
    write::{Sender, Writer, wrong_reply},
};
use crate::{controller::balancer, planner::PLANS_MAX};

/// `PartitionService`.
pub(super) struct Partitions {
    pub(super) reader: Reader,
    pub(super) writer: Writer,
}

#[async_trait]
impl PartitionService for Partitions {
    async fn list(
        &self,
        request: Request<v1::ListPartitionsRequest>,
    ) -> Result<Response<v1::ListPartitionsResponse>, Status> {
        let (request, deadline) = self.reader.open(request);
        let range = range(Kind::Partition, &request.network)?;
        let (view, header) = self.reader.view(request.read, deadline).await?;
        let partitions = sorted(&view.state, &range, PartitionId::parse);
        Ok(Response::new(v1::ListPartitionsResponse { header: Some(header.into()), partitions }))
    }

    async fn r#move(
        &self,
        request: Request<v1::MovePartitionsRequest>,
    ) -> Result<Response<v1::MovePartitionsResponse>, Status> {
        let (request, deadline) = self.writer.open(request);
        let target = match request.target.as_str() {
            "" => None,
            text => Some(convert::name(text, "target")?),
        };
        let moves = request.partitions.iter().enumerate().map(|(at, text)| {
            let id = partition_id(text, &format!("partitions[{at}]"))?;
            Ok((id, target.clone()))
        });
        let moves = moves.collect::<Result<Vec<_>, ConvertError>>()?;
        let sender = Sender::new(request.context, &moves, deadline)?;
        match self
            .writer
            .commit(Command::MovePartitions { moves, basis: Default::default() }, &sender)
            .await?
        {
            (header, Reply::Changed { changed }) => {
                let header = Some(header.into());
                Ok(Response::new(v1::MovePartitionsResponse { header, changed }))
            }
            (_, reply) => Err(wrong_reply(&reply)),
        }
    }

    async fn release(
        &self,
        request: Request<v1::ReleasePartitionRequest>,
    ) -> Result<Response<v1::ReleasePartitionResponse>, Status> {
        let (request, deadline) = self.writer.open(request);
        let id = partition_id(&request.partition, "partition")?;
        let epoch = required_epoch(request.epoch, "epoch")?;
        let sender = Sender::new(request.context, &(&id, epoch), deadline)?;
        let command = Command::ReleasePartition { id, epoch };
        let (header, _) = self.writer.commit(command, &sender).await?;
        Ok(Response::new(v1::ReleasePartitionResponse { header: Some(header.into()) }))
    }

    async fn explain(
        &self,
        request: Request<v1::ExplainPartitionRequest>,
    ) -> Result<Response<v1::ExplainPartitionResponse>, Status> {
        let (request, deadline) = self.reader.open(request);
        let id = partition_id(&request.partition, "partition")?;
        let only = match request.worker.as_str() {
            "" => None,
            text => Some(convert::name(text, "worker")?),
        };
        let (view, header) = self.reader.view(request.read, deadline).await?;
        let question = Question { reader: &self.reader, view, deadline };
        let explained = question.explain(id, only).await?;
        Ok(Response::new(v1::ExplainPartitionResponse {
            header: Some(header.into()),
            worker: explained.worker.map(String::from).unwrap_or_default(),
            leaving: explained.leaving.map(String::from).unwrap_or_default(),
            traffic: explained.traffic,
            load_ppm: explained.load_ppm,
            fair_ppm: explained.fair_ppm,
            others: explained.others.iter().map(Into::into).collect(),
        }))
    }

    async fn plan_balance(
        &self,
        request: Request<v1::PlanBalanceRequest>,
    ) -> Result<Response<v1::PlanBalanceResponse>, Status> {
        let (request, deadline) = self.reader.open(request);
        let (view, header) = self.reader.view(request.read, deadline).await?;
        let question = Question { reader: &self.reader, view, deadline };
        let plan = Some((&question.balance().await?).into());
        Ok(Response::new(v1::PlanBalanceResponse { header: Some(header.into()), plan }))
    }

    async fn balance(
        &self,
        request: Request<v1::BalanceRequest>,
    ) -> Result<Response<v1::BalanceResponse>, Status> {
        let (request, deadline) = self.writer.open(request);
        let sender = Sender::new(request.context, &"balance", deadline)?;
        let mut plans = 1;
        let (header, plan, changed) = loop {
            let (view, header) = self.reader.view(None, deadline).await?;
            let kept = sender.call.as_ref().and_then(|call| view.state.kept_reply(call)).cloned();
            let plan = Question { reader: &self.reader, view, deadline }.balance().await?;
            let moves: Vec<_> = balancer::asked(&plan).map(|(id, to, _)| (id, Some(to))).collect();
            let (header, result) = match kept {
                Some(outcome) => (header, outcome.result),
                None if moves.is_empty() => break (header, plan, 0),
                None => {
                    let basis = balancer::asked_basis(&plan);
                    let moved = Command::MovePartitions { moves, basis };
                    let committed = self.writer.propose(moved, &sender).await?;
                    let header = header::of_write(self.writer.coordinator(), &committed);
                    (header, committed.outcome.result)
                }
            };
            match result {
                Ok(Reply::Changed { changed }) => break (header, plan, changed),
                Ok(reply) => return Err(wrong_reply(&reply)),
                Err(stale) if stale.reason == StalePlan && plans < PLANS_MAX => plans += 1,
                Err(rejection) => return Err(ErrorDetails::from(rejection).into()),
            }
        };
        let (header, plan) = (Some(header.into()), Some((&plan).into()));
        Ok(Response::new(v1::BalanceResponse { header, plan, changed }))
    }

    async fn split(
        &self,
        request: Request<v1::SplitPartitionRequest>,
    ) -> Result<Response<v1::SplitPartitionResponse>, Status> {
        let (request, deadline) = self.writer.open(request);
        let reshape = split(&request.partition, request.into)?;
        let (header, reshaping) = self.reshape(reshape, request.context, deadline).await?;
        let (header, reshaping) = (Some(header.into()), Some((&reshaping).into()));
        Ok(Response::new(v1::SplitPartitionResponse { header, reshaping }))
    }

    async fn plan_split(
        &self,
        request: Request<v1::PlanSplitRequest>,
    ) -> Result<Response<v1::PlanSplitResponse>, Status> {
        let (request, deadline) = self.reader.open(request);
        let reshape = split(&request.partition, request.into)?;
        let (header, reshaping) = self.plan_reshape(reshape, request.read, deadline).await?;
        let (header, reshaping) = (Some(header.into()), Some((&reshaping).into()));
        Ok(Response::new(v1::PlanSplitResponse { header, reshaping }))
    }

    async fn merge(
        &self,
        request: Request<v1::MergePartitionsRequest>,
    ) -> Result<Response<v1::MergePartitionsResponse>, Status> {
        let (request, deadline) = self.writer.open(request);
        let reshape = merge(&request.partitions)?;
        let (header, reshaping) = self.reshape(reshape, request.context, deadline).await?;
        let (header, reshaping) = (Some(header.into()), Some((&reshaping).into()));
        Ok(Response::new(v1::MergePartitionsResponse { header, reshaping }))
    }

    async fn plan_merge(
        &self,
        request: Request<v1::PlanMergeRequest>,
    ) -> Result<Response<v1::PlanMergeResponse>, Status> {
        let (request, deadline) = self.reader.open(request);
        let reshape = merge(&request.partitions)?;
        let (header, reshaping) = self.plan_reshape(reshape, request.read, deadline).await?;
        let (header, reshaping) = (Some(header.into()), Some((&reshaping).into()));
        Ok(Response::new(v1::PlanMergeResponse { header, reshaping }))
    }
}

/// The records of a kind that belong to a network; an empty name: to any.
pub(super) fn range(kind: Kind, network: &str) -> Result<KeyRange, ConvertError> {
    if network.is_empty() {
        return Ok(KeyRange::Prefix(kind, bytes::Bytes::new()));
    }
    let network = convert::name(network, "network")?;
    Ok(KeyRange::Prefix(kind, format!("{network}/").into()))
}

/// Records in the order of their ids: numbers as numbers, unlike keys.
fn sorted<I: Ord>(
    state: &State,
    range: &KeyRange,
    parse: impl Fn(&str) -> Option<I>,
) -> Vec<v1::Record> {
    let id = |key: &Key| std::str::from_utf8(&key.bytes).ok().and_then(&parse);
    let mut found: Vec<_> = state.range(range).collect();
    found.sort_by_cached_key(|(key, _)| id(key));
    found.into_iter().map(|(key, found)| record(key, found)).collect()
}
