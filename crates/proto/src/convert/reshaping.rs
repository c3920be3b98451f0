//! What splitting and merging do.

use quorate_core::plan::{PartitionChange, Reshaping};

use super::{ConvertError, each, name, name_or_empty, optional_name, write::partition_id};
use crate::v1;

impl From<&Reshaping> for v1::Reshaping {
    fn from(it: &Reshaping) -> Self {
        Self {
            network: it.network.to_string(),
            partitions_before: it.partitions_before,
            partitions_after: it.partitions_after,
            cut_rate_before: it.cut_rate_before,
            cut_rate_after: it.cut_rate_after,
            changes: it.changes.iter().map(Into::into).collect(),
        }
    }
}

impl TryFrom<v1::Reshaping> for Reshaping {
    type Error = ConvertError;

    fn try_from(it: v1::Reshaping) -> Result<Self, ConvertError> {
        Ok(Self {
            network: name(&it.network, "network")?,
            partitions_before: it.partitions_before,
            partitions_after: it.partitions_after,
            cut_rate_before: it.cut_rate_before,
            cut_rate_after: it.cut_rate_after,
            changes: each(it.changes, "changes", TryInto::try_into)?,
        })
    }
}

impl From<&PartitionChange> for v1::PartitionChange {
    fn from(it: &PartitionChange) -> Self {
        Self {
            partition: it.id.to_string(),
            owner: name_or_empty(it.owner.as_ref()),
            starts: it.starts.iter().map(ToString::to_string).collect(),
            stops: it.stops.iter().map(ToString::to_string).collect(),
            processes: it.processes,
            load_ppm_before: it.load_ppm_before,
            load_ppm_after: it.load_ppm_after,
        }
    }
}

impl TryFrom<v1::PartitionChange> for PartitionChange {
    type Error = ConvertError;

    fn try_from(it: v1::PartitionChange) -> Result<Self, ConvertError> {
        Ok(Self {
            id: partition_id(&it.partition, "partition")?,
            owner: optional_name(&it.owner, "owner")?,
            starts: each(it.starts, "starts", |id| name(&id, "id"))?,
            stops: each(it.stops, "stops", |id| name(&id, "id"))?,
            processes: it.processes,
            load_ppm_before: it.load_ppm_before,
            load_ppm_after: it.load_ppm_after,
        })
    }
}
