//! How a coordinator joins a cluster that exists.
//!
//! ```text
//! this coordinator                     the leader, asked through any member
//! ----------------                     ------------------------------------
//! empty disk: asks to be let in   -->  was added, and is no member yet: tells the cluster
//! records the cluster, durably
//! asks again, with the record     -->  makes it a learner
//! waits to be contacted
//! ```
//!
//! Invariant: only a coordinator that has recorded the cluster becomes a member, and one without
//! a record that is a member already is refused: its disk was lost, and with it perhaps a vote or
//! entries that it acknowledged. So an id is one disk, from its first contact on.

use std::{sync::Arc, time::Duration};

use quorate_core::{ClusterId, MemberId, RestoreEpoch};
use quorate_proto::v1::{self, JoinRefusalReason, join_response::Result as Answer};
use quorate_storage::NodeIdentity;

use super::{ASK_AGAIN, BootstrapError, Introduction, SAY_AGAIN};
use crate::transport::{Lane, Peer, Transport};

/// A peer of which only the address is known.
const ANYBODY: MemberId = MemberId(0);

/// The members that a coordinator asks to be let in.
pub(crate) struct Entrance {
    introduction: Arc<Introduction>,
    doors: Vec<(String, Arc<dyn Peer>)>,
    patience: Duration,
}

impl Entrance {
    /// `patience`: how long one of them has for its answer.
    pub(crate) fn new(
        introduction: Arc<Introduction>,
        transport: &Arc<dyn Transport>,
        patience: Duration,
    ) -> Self {
        let door = |address: String| {
            let peer = transport.peer(ANYBODY, &address, Lane::Control);
            (address, peer)
        };
        let doors = introduction.entrances().into_iter().map(door).collect();
        Self { introduction, doors, patience }
    }

    /// Waits until this coordinator was added, and records the cluster.
    pub(super) async fn record(&self) -> Result<NodeIdentity, BootstrapError> {
        let admission = self.ask_until(ClusterId(0), |_| true).await?;
        let cluster = ClusterId(admission.cluster_id);
        let restore_epoch = RestoreEpoch(admission.restore_epoch);
        tracing::info!(%cluster, "joining a cluster");
        Ok(self.introduction.record(cluster, restore_epoch)?)
    }

    /// Waits until this coordinator, which has recorded the cluster, is a member.
    pub(crate) async fn enter(&self, cluster: ClusterId) -> Result<(), BootstrapError> {
        self.ask_until(cluster, |admission| admission.is_member).await.map(drop)
    }

    async fn ask_until(
        &self,
        cluster: ClusterId,
        enough: impl Fn(&v1::Admission) -> bool,
    ) -> Result<v1::Admission, BootstrapError> {
        let me = self.introduction.me();
        let mut said = tokio::time::Instant::now();
        loop {
            let mut why = "nobody answers".to_owned();
            for (address, door) in &self.doors {
                match self.ask(door.as_ref(), cluster).await {
                    Ok(Answer::Admission(admission)) if enough(&admission) => return Ok(admission),
                    Ok(Answer::Admission(_)) => {}
                    Ok(Answer::Refusal(refusal)) => {
                        refused(me, address, &refusal)?;
                        why = format!("{address}: {}", refusal.message);
                    }
                    Err(error) => tracing::debug!(address, error, "no answer"),
                }
            }
            if said.elapsed() >= SAY_AGAIN {
                said = tokio::time::Instant::now();
                tracing::info!(member = %me, why, "waiting to be let into the cluster");
            }
            tokio::time::sleep(ASK_AGAIN).await;
        }
    }

    async fn ask(&self, door: &dyn Peer, cluster: ClusterId) -> Result<Answer, String> {
        let request = v1::JoinRequest {
            member_id: self.introduction.me().get(),
            cluster_id: cluster.get(),
            cluster_name: self.introduction.cluster_name().to_owned(),
            passed_on: false,
        };
        match tokio::time::timeout(self.patience, door.join(request)).await {
            Ok(Ok(answer)) => answer.result.ok_or_else(|| "an empty answer".to_owned()),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err("no answer in time".to_owned()),
        }
    }
}

/// Fails when asking again is of no use.
fn refused(me: MemberId, at: &str, refusal: &v1::JoinRefusal) -> Result<(), BootstrapError> {
    let message = refusal.message.clone();
    match refusal.reason() {
        JoinRefusalReason::Unspecified
        | JoinRefusalReason::Unavailable
        | JoinRefusalReason::NotAdded => Ok(()),
        JoinRefusalReason::Removed => Err(BootstrapError::Removed { me, message }),
        JoinRefusalReason::Lost => Err(BootstrapError::Lost { me, message }),
        JoinRefusalReason::OtherCluster => {
            Err(BootstrapError::OtherCluster { me, at: at.to_owned(), message })
        }
    }
}
