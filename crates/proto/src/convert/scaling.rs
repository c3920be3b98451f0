//! How many instances of processes there should be.

use quorate_core::plan::ProcessScaling;

use super::{ConvertError, name, name_or_empty, optional_name, write::partition_id};
use crate::v1;

impl From<&ProcessScaling> for v1::ProcessScaling {
    fn from(it: &ProcessScaling) -> Self {
        Self {
            partition: it.partition.to_string(),
            process: it.process.to_string(),
            parallelism: it.parallelism,
            wanted: it.wanted,
            why: it.why.clone(),
            lacking: name_or_empty(it.lacking.as_ref()),
        }
    }
}

impl TryFrom<v1::ProcessScaling> for ProcessScaling {
    type Error = ConvertError;

    fn try_from(it: v1::ProcessScaling) -> Result<Self, ConvertError> {
        Ok(Self {
            partition: partition_id(&it.partition, "partition")?,
            process: name(&it.process, "process")?,
            parallelism: it.parallelism,
            wanted: it.wanted,
            why: it.why,
            lacking: optional_name(&it.lacking, "lacking")?,
        })
    }
}
