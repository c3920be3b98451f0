//! Where a stream starts.
//!
//! A start is measured against the cluster's revision, by a read index, unless this coordinator
//! has already applied what is asked for.

use std::sync::Arc;

use quorate_core::{Identity, Revision};
use quorate_proto::{
    ErrorDetails, Reason,
    convert::{ResumeToken, Start, WatchSpec},
};
use quorate_storage::View;
use tokio::time::Instant;
use tonic::Status;

use super::{
    cursor::{Cursor, OnLoss},
    hub::{Ended, Hub},
    scan::Lens,
    subscription::compacted,
};
use crate::{coordinator::Freshness, service::error};

/// Where a stream starts.
#[derive(Debug)]
enum Place {
    /// At this revision.
    At(Revision),
    /// With the records of this view.
    Snapshot(Arc<View>),
}

impl Hub {
    /// Places a cursor as asked.
    ///
    /// # Errors
    /// The status to answer with: no contact, a wrong token, a revision that is compacted or does
    /// not exist yet.
    pub(super) async fn place(&self, spec: WatchSpec, deadline: Instant) -> Result<Cursor, Status> {
        if !*self.coordinator.in_contact().borrow() {
            return Err(self.ending(Ended::NoContact));
        }
        let on_loss = if spec.resync { OnLoss::Resync } else { OnLoss::End };
        let place = match spec.start {
            Start::Now => Place::At(self.newest(deadline).await?.state.revision().next()),
            Start::Snapshot => Place::Snapshot(self.newest(deadline).await?),
            Start::From(from) => Place::At(self.from(from, deadline).await?),
            Start::Resume(token) => Place::At(self.resume(token, deadline).await?),
        };
        if let Place::At(from) = place
            && on_loss == OnLoss::End
        {
            let oldest = self.coordinator.view().state.history().oldest();
            if from < oldest {
                self.metrics.compacted.inc();
                return Err(compacted(oldest));
            }
        }
        let lens = Lens { filter: spec.filter, with_previous: spec.with_previous };
        let seat = self.groups.join(lens);
        Ok(match place {
            Place::At(from) => Cursor::follow(seat, on_loss, from),
            Place::Snapshot(view) => Cursor::snapshot(seat, on_loss, view),
        })
    }

    async fn newest(&self, deadline: Instant) -> Result<Arc<View>, Status> {
        let view = self.coordinator.read(Freshness::Linearizable, deadline).await;
        view.map_err(|unanswered| error::read(&unanswered))
    }

    async fn from(&self, from: Revision, deadline: Instant) -> Result<Revision, Status> {
        if from > self.coordinator.view().state.revision() {
            let newest = self.newest(deadline).await?.state.revision();
            if from > newest.next() {
                return Err(future(from, newest));
            }
        }
        Ok(from)
    }

    async fn resume(&self, token: ResumeToken, deadline: Instant) -> Result<Revision, Status> {
        check_identity(token, self.coordinator.view().state.identity())?;
        self.from(token.revision.next(), deadline).await
    }
}

fn check_identity(token: ResumeToken, own: Identity) -> Result<(), Status> {
    let theirs = Identity { cluster_id: token.cluster_id, restore_epoch: token.restore_epoch };
    if theirs == own {
        return Ok(());
    }
    let message = format!(
        "the token is of cluster {} restore epoch {}, this is cluster {} restore epoch {}",
        theirs.cluster_id, theirs.restore_epoch, own.cluster_id, own.restore_epoch
    );
    let rule = "must come from a stream of this cluster since its last restore";
    Err(ErrorDetails::new(Reason::WrongCluster, message).with_field("resume", rule).into())
}

fn future(from: Revision, newest: Revision) -> Status {
    let message = format!("revision {from} does not exist yet: the newest is {newest}");
    let rule = format!("must be at most the cluster's revision + 1 = {}", newest.next());
    ErrorDetails::new(Reason::FutureRevision, message).with_field("from_revision", rule).into()
}

#[cfg(test)]
mod tests {
    use quorate_core::{ClusterId, RestoreEpoch};

    use super::*;

    fn details(status: &Status) -> ErrorDetails {
        ErrorDetails::from_status(status).expect("has details")
    }

    #[test]
    fn tokens_of_another_cluster_or_epoch_are_refused() {
        let own = Identity { cluster_id: ClusterId(1), restore_epoch: RestoreEpoch(2) };
        let token = |cluster, epoch| ResumeToken {
            cluster_id: ClusterId(cluster),
            restore_epoch: RestoreEpoch(epoch),
            revision: Revision(3),
        };
        check_identity(token(1, 2), own).unwrap();
        for wrong in [token(2, 2), token(1, 1), token(1, 3), token(0, 0)] {
            let refused = check_identity(wrong, own).unwrap_err();
            assert_eq!(refused.code(), tonic::Code::FailedPrecondition);
            assert_eq!(details(&refused).reason, Some(Reason::WrongCluster));
        }
    }

    #[test]
    fn a_future_start_names_field_and_bound() {
        let refused = future(Revision(9), Revision(5));
        assert_eq!(refused.code(), tonic::Code::OutOfRange);
        let details = details(&refused);
        assert_eq!(details.reason, Some(Reason::FutureRevision));
        assert_eq!(details.field, "from_revision");
        assert!(details.rule.contains("= 6"), "{}", details.rule);
    }
}
