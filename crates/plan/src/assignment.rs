//! Which process goes into which partition.
//!
//! Owns the rules of a well-formed assignment and their check, which is applied to every
//! strategy's answer and shares no code with any strategy. Must not know how one is found.

use std::collections::BTreeSet;

/// A partition's number for each process, by process number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assignment {
    partitions: u32,
    of_process: Vec<u32>,
}

/// An assignment breaks a rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MalformedAssignment {
    /// Not one partition per process.
    #[error("{actual} processes were assigned, the network has {expected}")]
    Length {
        /// How many were assigned.
        actual: usize,
        /// How many there are.
        expected: u32,
    },
    /// A process is in a partition that does not exist.
    #[error("process {process} is in partition {partition}, there are {partitions}")]
    NoSuchPartition {
        /// The process's number.
        process: usize,
        /// Where it was put.
        partition: u32,
        /// How many partitions there are.
        partitions: u32,
    },
    /// A partition has no process.
    #[error("partition {partition} is empty")]
    EmptyPartition {
        /// The first one that is empty.
        partition: u32,
    },
}

impl Assignment {
    /// Checks an assignment: every process is in exactly one of `partitions`, none of them empty.
    ///
    /// # Errors
    /// The first rule that is broken.
    pub fn new(
        partitions: u32,
        processes: u32,
        of_process: Vec<u32>,
    ) -> Result<Self, MalformedAssignment> {
        if u32::try_from(of_process.len()) != Ok(processes) {
            let actual = of_process.len();
            return Err(MalformedAssignment::Length { actual, expected: processes });
        }
        let beyond = of_process.iter().position(|partition| *partition >= partitions);
        if let Some(process) = beyond {
            let partition = of_process[process];
            return Err(MalformedAssignment::NoSuchPartition { process, partition, partitions });
        }
        let used: BTreeSet<u32> = of_process.iter().copied().collect();
        if let Some(partition) = (0..partitions).find(|partition| !used.contains(partition)) {
            return Err(MalformedAssignment::EmptyPartition { partition });
        }
        Ok(Self { partitions, of_process })
    }

    /// How many partitions there are, all of them in use.
    #[must_use]
    pub fn partitions(&self) -> u32 {
        self.partitions
    }

    /// The partition of each process, by process number.
    #[must_use]
    pub fn of_process(&self) -> &[u32] {
        &self.of_process
    }

    /// The partition of each process, by process number.
    #[must_use]
    pub fn into_of_process(self) -> Vec<u32> {
        self.of_process
    }
}
