//! What a client has seen of its cluster, so that it never sees an older state again.
//!
//! Invariant: the revision only grows, and belongs to the one cluster and restore epoch that
//! answered first.

use std::sync::{
    OnceLock,
    atomic::{AtomicU64, Ordering},
};

use quorate_core::{ClusterId, RestoreEpoch, Revision};
use quorate_proto::convert::Header;

/// Which cluster, between which restores.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) cluster_id: ClusterId,
    pub(crate) restore_epoch: RestoreEpoch,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    identity: OnceLock<Identity>,
    revision: AtomicU64,
}

impl Seen {
    /// The highest revision seen.
    pub(crate) fn revision(&self) -> Revision {
        Revision(self.revision.load(Ordering::Acquire))
    }

    /// Takes note of an answer. The error says how it is of another cluster.
    pub(crate) fn observe(&self, header: &Header) -> Result<(), String> {
        let Header { cluster_id, restore_epoch, .. } = *header;
        self.check(Identity { cluster_id, restore_epoch })?;
        self.revision.fetch_max(header.revision.get(), Ordering::AcqRel);
        Ok(())
    }

    /// Checks, or learns, which cluster this is.
    pub(crate) fn check(&self, answered: Identity) -> Result<(), String> {
        let known = *self.identity.get_or_init(|| answered);
        if known == answered {
            return Ok(());
        }
        let Identity { cluster_id, restore_epoch } = answered;
        Err(format!(
            "answered for cluster {cluster_id} (restore epoch {restore_epoch}), this client talks \
             to cluster {} (restore epoch {})",
            known.cluster_id, known.restore_epoch
        ))
    }
}
