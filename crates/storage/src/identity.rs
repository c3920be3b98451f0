//! Who this coordinator is: written once, before anything else, and read before anything else.

use quorate_core::{ClusterId, MemberId, RestoreEpoch};
use serde::{Deserialize, Serialize};

/// Who this coordinator is and to which cluster it belongs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeIdentity {
    /// This member.
    pub member_id: MemberId,
    /// Its cluster.
    pub cluster_id: ClusterId,
    /// Grows with every restore from a backup.
    pub restore_epoch: RestoreEpoch,
    /// The cluster's name.
    pub cluster_name: String,
    /// Hash of the initial members, so that two different configurations are noticed.
    pub members_hash: u64,
    /// Whether the cluster is known to have been initialised, by anybody.
    pub initialized: bool,
}

impl NodeIdentity {
    /// What of it is replicated.
    #[must_use]
    pub fn cluster(&self) -> quorate_core::Identity {
        quorate_core::Identity { cluster_id: self.cluster_id, restore_epoch: self.restore_epoch }
    }
}
