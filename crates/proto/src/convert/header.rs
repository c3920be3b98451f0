//! Response headers and how fresh a read must be.

use quorate_core::{ClusterId, LogIndex, MemberId, RestoreEpoch, Revision, Term};

use super::{ConvertError, required};
use crate::v1;

/// Who answered, and from which point of the one order of changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// The cluster that answered.
    pub cluster_id: ClusterId,
    /// The coordinator that answered.
    pub member_id: MemberId,
    /// The revision at which the answer was read, or that the write made.
    pub revision: Revision,
    /// The Raft term known to the coordinator that answered.
    pub term: Term,
    /// The last log entry applied in the state that the answer was read from.
    pub log_index: LogIndex,
    /// The cluster's restore epoch.
    pub restore_epoch: RestoreEpoch,
}

impl From<Header> for v1::ResponseHeader {
    fn from(header: Header) -> Self {
        Self {
            cluster_id: header.cluster_id.get(),
            member_id: header.member_id.get(),
            revision: header.revision.get(),
            term: header.term.get(),
            log_index: header.log_index.get(),
            restore_epoch: header.restore_epoch.get(),
        }
    }
}

impl From<v1::ResponseHeader> for Header {
    fn from(header: v1::ResponseHeader) -> Self {
        Self {
            cluster_id: ClusterId(header.cluster_id),
            member_id: MemberId(header.member_id),
            revision: Revision(header.revision),
            term: Term(header.term),
            log_index: LogIndex(header.log_index),
            restore_epoch: RestoreEpoch(header.restore_epoch),
        }
    }
}

impl Header {
    /// The header of a response, which always has one.
    ///
    /// # Errors
    /// [`ConvertError`] when it is absent.
    pub fn of(header: Option<v1::ResponseHeader>) -> Result<Self, ConvertError> {
        required(header, "header").map(Self::from)
    }
}

/// How fresh an answer must be.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Consistency {
    /// Everything acknowledged before the request began is seen.
    #[default]
    Linearizable,
    /// Never from before this revision; the coordinator waits until it has it.
    AtLeast(Revision),
    /// What the coordinator has now.
    Local,
}

impl From<Consistency> for v1::ReadOptions {
    fn from(consistency: Consistency) -> Self {
        let (consistency, revision) = match consistency {
            Consistency::Linearizable => (v1::Consistency::Linearizable, 0),
            Consistency::AtLeast(revision) => (v1::Consistency::AtLeast, revision.get()),
            Consistency::Local => (v1::Consistency::Local, 0),
        };
        Self { consistency: consistency.into(), min_revision: revision }
    }
}

impl TryFrom<v1::ReadOptions> for Consistency {
    type Error = ConvertError;

    fn try_from(read: v1::ReadOptions) -> Result<Self, ConvertError> {
        let consistency = v1::Consistency::try_from(read.consistency).map_err(|_| {
            ConvertError::new("consistency", format!("unknown value {}", read.consistency))
        })?;
        match consistency {
            v1::Consistency::AtLeast => Ok(Self::AtLeast(Revision(read.min_revision))),
            _ if read.min_revision != 0 => {
                Err(ConvertError::new("min_revision", "only with CONSISTENCY_AT_LEAST"))
            }
            v1::Consistency::Linearizable => Ok(Self::Linearizable),
            v1::Consistency::Local => Ok(Self::Local),
        }
    }
}

/// A request's `read` field; absent: linearizable.
impl TryFrom<Option<v1::ReadOptions>> for Consistency {
    type Error = ConvertError;

    fn try_from(read: Option<v1::ReadOptions>) -> Result<Self, ConvertError> {
        read.map_or(Ok(Self::Linearizable), Self::try_from).map_err(|error| error.within("read"))
    }
}
