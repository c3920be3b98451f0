//! Response headers: who answered, and from which point of the one order of changes.

use quorate_core::MemberId;
use quorate_proto::convert::Header;
use quorate_storage::View;

use crate::coordinator::{Committed, Coordinator};

/// Of an answer that was read from a view.
pub(crate) fn of_view(member_id: MemberId, view: &View) -> Header {
    let identity = view.state.identity();
    Header {
        cluster_id: identity.cluster_id,
        member_id,
        revision: view.state.revision(),
        term: view.term,
        log_index: view.index,
        restore_epoch: identity.restore_epoch,
    }
}

/// Of the answer to a write: as of its log entry.
pub(crate) fn of_write(coordinator: &Coordinator, committed: &Committed) -> Header {
    Header {
        revision: committed.outcome.revision,
        term: committed.term,
        log_index: committed.index,
        ..of_view(coordinator.member_id(), &coordinator.view())
    }
}
