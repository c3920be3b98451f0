//! Asks every coordinator again and again how it is.
//!
//! Owns a task per coordinator and the newest opinion on who leads. Every status goes into the
//! history: replicas that differ are found while the run lasts, not only at its end. Must not know
//! faults.

use std::time::Duration;

use quorate_core::{LogIndex, MemberId, Revision, Term};
use quorate_proto::v1::{
    MemberRole, StatusRequest, StatusResponse, cluster_service_client::ClusterServiceClient,
};
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{MissedTickBehavior, interval, timeout},
};
use tokio_util::sync::CancellationToken;
use tonic::transport::{Channel, Endpoint};

use crate::{
    cluster::metrics,
    history::{InstallsEvent, StatusEvent, What, record::Recorder},
    net::{Port, endpoint},
};

/// How often each coordinator is asked.
const ASK_EVERY: Duration = Duration::from_millis(200);

/// How long an answer may take.
const ANSWER_WITHIN: Duration = Duration::from_millis(500);

/// How often each coordinator's metrics are read.
const COUNT_EVERY: Duration = Duration::from_millis(500);

/// The metric that counts checkpoints installed from a leader.
const INSTALLS: &str = "quorate_storage_installs_total";

/// Who leads, as far as known.
type Leader = Option<(Term, MemberId)>;

/// The handle. The tasks end with it.
pub(crate) struct Monitor {
    leader: watch::Receiver<Leader>,
    stop: CancellationToken,
    _tasks: JoinSet<()>,
}

impl Monitor {
    /// Begins to ask.
    pub(crate) fn start(nodes: &[MemberId], recorder: &Recorder) -> anyhow::Result<Self> {
        let (sender, leader) = watch::channel(None);
        let (stop, mut tasks) = (CancellationToken::new(), JoinSet::new());
        for node in nodes {
            let channel =
                Endpoint::from_shared(format!("http://{}", endpoint(*node, Port::Client)))?
                    .connect_timeout(ANSWER_WITHIN)
                    .connect_lazy();
            let follow = follow(*node, channel, sender.clone(), recorder.clone());
            let count = count_installs(*node, recorder.clone());
            let stop = stop.clone();
            tasks.spawn(async move {
                tokio::select! {
                    () = stop.cancelled() => {}
                    () = follow => {}
                    () = count => {}
                }
            });
        }
        Ok(Self { leader, stop, _tasks: tasks })
    }

    /// Asks no more: what comes now is the end of the coordinators, not what they agree on.
    pub(crate) fn stop(&self) {
        self.stop.cancel();
    }

    /// Who leads, as far as known.
    pub(crate) fn leader(&self) -> Option<MemberId> {
        self.leader.borrow().map(|(_, leader)| leader)
    }
}

async fn follow(
    node: MemberId,
    channel: Channel,
    leader: watch::Sender<Leader>,
    recorder: Recorder,
) {
    let mut client = ClusterServiceClient::new(channel);
    let mut ticks = interval(ASK_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let Ok(Ok(response)) = timeout(ANSWER_WITHIN, client.status(StatusRequest {})).await else {
            continue;
        };
        let Some(status) = event(node, response.get_ref()) else { continue };
        recorder.add(What::Status(status));
        leader.send_if_modified(|known| update(known, &status));
    }
}

async fn count_installs(node: MemberId, recorder: Recorder) {
    let mut ticks = interval(COUNT_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut before = 0;
    loop {
        ticks.tick().await;
        let read = timeout(ANSWER_WITHIN, metrics::value(node, INSTALLS)).await;
        let Some(now) = read.ok().flatten() else { continue };
        // The counter begins anew with every process.
        let more = now.checked_sub(before).unwrap_or(now);
        before = now;
        if more > 0 {
            recorder.add(What::Installs(InstallsEvent { node, more }));
        }
    }
}

/// A leader is believed until a later term's shows up or it says itself that it leads no more.
fn update(known: &mut Leader, status: &StatusEvent) -> bool {
    let before = *known;
    if status.leads && known.is_none_or(|(term, _)| term <= status.term) {
        *known = Some((status.term, status.node));
    } else if !status.leads && known.is_some_and(|(_, leader)| leader == status.node) {
        *known = None;
    }
    *known != before
}

fn event(node: MemberId, response: &StatusResponse) -> Option<StatusEvent> {
    let header = response.header.as_ref()?;
    Some(StatusEvent {
        node,
        leads: response.role() == MemberRole::Leader,
        term: Term(header.term),
        leader: (response.leader_id != 0).then_some(MemberId(response.leader_id)),
        revision: Revision(header.revision),
        log_index: LogIndex(header.log_index),
        state_hash: response.state_hash,
        checkpoint: LogIndex(response.checkpoint_index),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(node: u64, leads: bool, term: u64) -> StatusEvent {
        StatusEvent {
            node: MemberId(node),
            leads,
            term: Term(term),
            leader: None,
            revision: Revision(0),
            log_index: LogIndex(0),
            state_hash: 0,
            checkpoint: LogIndex(0),
        }
    }

    #[test]
    fn an_old_leader_is_not_believed() {
        let mut known = None;
        assert!(update(&mut known, &status(1, true, 1)));
        assert!(update(&mut known, &status(2, true, 2)));
        assert!(!update(&mut known, &status(1, true, 1)));
        assert!(!update(&mut known, &status(1, false, 2)));
        assert_eq!(known, Some((Term(2), MemberId(2))));
        assert!(update(&mut known, &status(2, false, 3)));
        assert_eq!(known, None);
    }
}
