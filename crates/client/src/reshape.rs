//! Splitting and merging partitions.

use std::sync::Arc;

use quorate_core::{PartitionId, plan::Reshaping};
use quorate_proto::{ConvertError, v1};

use crate::{
    call::{Call, Carried, Operation, Read, Write, rpc},
    client::Client,
    plan::part,
};

impl Client {
    /// Splits a partition: its processes are divided by the network's strategy into so many parts, at least
    /// 2. One keeps the number, the others get the next free ones; all other partitions stay as they are.
    pub fn split_partition(&self, partition: &PartitionId, into: u32) -> Call<Split> {
        Call::new(self, Split { partition: partition.clone(), into })
    }

    /// What [`Client::split_partition`] would do now.
    pub fn plan_split(&self, partition: &PartitionId, into: u32) -> Call<PlanSplit> {
        Call::new(self, PlanSplit { partition: partition.clone(), into })
    }

    /// Merges partitions of one network: all their processes go to the lowest number. The last partitions
    /// take the numbers that become free.
    pub fn merge_partitions(&self, partitions: Vec<PartitionId>) -> Call<Merge> {
        Call::new(self, Merge { partitions: partitions.into() })
    }

    /// What [`Client::merge_partitions`] would do now.
    pub fn plan_merge(&self, partitions: Vec<PartitionId>) -> Call<PlanMerge> {
        Call::new(self, PlanMerge { partitions: partitions.into() })
    }
}

/// Splits a partition.
#[derive(Debug, Clone)]
pub struct Split {
    partition: PartitionId,
    into: u32,
}

impl Write for Split {}

impl Operation for Split {
    type Output = Reshaping;
    rpc!(
        Write,
        partition_service_client::PartitionServiceClient.split(SplitPartitionRequest)
            -> SplitPartitionResponse
    );

    fn request(&self, carried: Carried) -> v1::SplitPartitionRequest {
        let (partition, into) = (self.partition.to_string(), self.into);
        v1::SplitPartitionRequest { partition, into, context: carried.context }
    }

    fn read(&self, answer: v1::SplitPartitionResponse) -> Result<Reshaping, ConvertError> {
        part(answer.reshaping, "reshaping")
    }
}

/// Asks what splitting a partition would do.
#[derive(Debug, Clone)]
pub struct PlanSplit {
    partition: PartitionId,
    into: u32,
}

impl Read for PlanSplit {}

impl Operation for PlanSplit {
    type Output = Reshaping;
    rpc!(
        Read,
        partition_service_client::PartitionServiceClient.plan_split(PlanSplitRequest)
            -> PlanSplitResponse
    );

    fn request(&self, carried: Carried) -> v1::PlanSplitRequest {
        let (partition, into) = (self.partition.to_string(), self.into);
        v1::PlanSplitRequest { partition, into, read: Some(carried.read.into()) }
    }

    fn read(&self, answer: v1::PlanSplitResponse) -> Result<Reshaping, ConvertError> {
        part(answer.reshaping, "reshaping")
    }
}

/// Merges partitions.
#[derive(Debug, Clone)]
pub struct Merge {
    partitions: Arc<[PartitionId]>,
}

impl Write for Merge {}

impl Operation for Merge {
    type Output = Reshaping;
    rpc!(
        Write,
        partition_service_client::PartitionServiceClient.merge(MergePartitionsRequest)
            -> MergePartitionsResponse
    );

    fn request(&self, carried: Carried) -> v1::MergePartitionsRequest {
        v1::MergePartitionsRequest { partitions: texts(&self.partitions), context: carried.context }
    }

    fn read(&self, answer: v1::MergePartitionsResponse) -> Result<Reshaping, ConvertError> {
        part(answer.reshaping, "reshaping")
    }
}

/// Asks what merging partitions would do.
#[derive(Debug, Clone)]
pub struct PlanMerge {
    partitions: Arc<[PartitionId]>,
}

impl Read for PlanMerge {}

impl Operation for PlanMerge {
    type Output = Reshaping;
    rpc!(
        Read,
        partition_service_client::PartitionServiceClient.plan_merge(PlanMergeRequest)
            -> PlanMergeResponse
    );

    fn request(&self, carried: Carried) -> v1::PlanMergeRequest {
        let read = Some(carried.read.into());
        v1::PlanMergeRequest { partitions: texts(&self.partitions), read }
    }

    fn read(&self, answer: v1::PlanMergeResponse) -> Result<Reshaping, ConvertError> {
        part(answer.reshaping, "reshaping")
    }
}

fn texts(partitions: &[PartitionId]) -> Vec<String> {
    partitions.iter().map(ToString::to_string).collect()
}
