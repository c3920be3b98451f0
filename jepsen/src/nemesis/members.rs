//! Brings the membership from what it is to what it shall be.
//!
//! Owns the roll: which member is on which host. Whoever comes is added under an id that was never
//! used, started with nothing, and promoted once it has caught up; whoever goes is removed and must
//! notice it and stop. The same way back makes the fault whole: at the end there are members on the
//! hosts where the first ones were. Must not know why.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use anyhow::bail;
use quorate_core::MemberId;
use tokio::{
    sync::Mutex,
    time::{Instant, sleep},
};

use super::world::{Span, World};
use crate::{
    cluster::admin::{Ask, ask},
    history::FaultId,
};

/// How long a step may take. Other faults may be at work and end meanwhile.
const STEP_WITHIN: Duration = Duration::from_secs(60);

/// How long one that was removed may take to notice it and stop.
const LEAVE_WITHIN: Duration = Duration::from_secs(30);

/// How long to wait before asking again.
const ASK_AGAIN: Duration = Duration::from_millis(300);

/// Who is a member, and on which host.
pub(super) struct Roll {
    /// Held while members come and go.
    state: Mutex<State>,
}

struct State {
    /// The member on each host that has one.
    on: BTreeMap<MemberId, MemberId>,
    /// An id that was never used.
    next: MemberId,
}

/// The steps from one membership to another: who comes, then who goes.
fn steps(now: &BTreeSet<MemberId>, wanted: &BTreeSet<MemberId>) -> (Vec<MemberId>, Vec<MemberId>) {
    (wanted.difference(now).copied().collect(), now.difference(wanted).copied().collect())
}

impl Roll {
    /// The cluster as it was founded.
    pub(super) fn founded(hosts: &[MemberId]) -> Self {
        let last = hosts.iter().map(|host| host.get()).max().unwrap_or(0);
        // Beyond the spare host's own number, which is not an id of a member.
        let state = State {
            on: hosts.iter().map(|host| (*host, *host)).collect(),
            next: MemberId(last + 10),
        };
        Self { state: Mutex::new(state) }
    }
}

impl World {
    /// Makes coordinators on exactly these hosts members. Given up quietly when nothing counts any
    /// more.
    pub(super) async fn reach(
        &self,
        hosts: &BTreeSet<MemberId>,
        fault: FaultId,
        span: &Span,
    ) -> anyhow::Result<()> {
        let mut state = self.roll.state.lock().await;
        let now: BTreeSet<MemberId> = state.on.keys().copied().collect();
        let (come, go) = steps(&now, hosts);
        for host in come {
            self.bring(&mut state, host, span).await?;
        }
        for host in go {
            self.remove(&mut state, host, fault, span).await?;
        }
        Ok(())
    }

    async fn bring(&self, state: &mut State, host: MemberId, span: &Span) -> anyhow::Result<()> {
        let member = state.next;
        state.next = MemberId(member.get() + 1);
        let through: Vec<MemberId> = state.on.keys().copied().collect();
        let node = self.cluster.node(host)?;
        node.become_new(member, &through)?;
        self.insist(&through, Ask::Add(member, host), span).await?;
        node.start()?;
        self.insist(&through, Ask::Promote(member), span).await?;
        state.on.insert(host, member);
        Ok(())
    }

    async fn remove(
        &self,
        state: &mut State,
        host: MemberId,
        fault: FaultId,
        span: &Span,
    ) -> anyhow::Result<()> {
        let Some(member) = state.on.remove(&host) else { return Ok(()) };
        let others: Vec<MemberId> = state.on.keys().copied().collect();
        let node = self.cluster.node(host)?;
        node.hold_down(fault);
        node.may_end(fault);
        let removed = self.insist(&others, Ask::Remove(member), span).await;
        if removed.is_ok() && !span.abandon.is_cancelled() && !node.ended_within(LEAVE_WITHIN).await
        {
            self.accuse(node, format!("was removed and went on for {LEAVE_WITHIN:?}"));
        }
        self.look();
        self.kill(&[host]).await?;
        node.retire();
        node.must_go_on(fault)?;
        node.let_up(fault)?;
        removed
    }

    /// Asks one host after the other until it is done.
    async fn insist(&self, hosts: &[MemberId], what: Ask, span: &Span) -> anyhow::Result<()> {
        let until = Instant::now() + STEP_WITHIN;
        let mut refusal = String::new();
        for host in hosts.iter().cycle() {
            if span.abandon.is_cancelled() {
                return Ok(());
            }
            if Instant::now() > until {
                break;
            }
            match ask(*host, what).await {
                Ok(()) => return Ok(()),
                Err(error) => refusal = error,
            }
            sleep(ASK_AGAIN).await;
        }
        bail!("{what:?}: not done within {STEP_WITHIN:?}: {refusal}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts(numbers: &[u64]) -> BTreeSet<MemberId> {
        numbers.iter().copied().map(MemberId).collect()
    }

    #[test]
    fn who_comes_comes_before_who_goes() {
        let (come, go) = steps(&hosts(&[1, 2, 3]), &hosts(&[1, 3, 4]));
        assert_eq!((come, go), (vec![MemberId(4)], vec![MemberId(2)]));
        assert_eq!(steps(&hosts(&[1]), &hosts(&[1])), (Vec::new(), Vec::new()));
    }

    #[tokio::test]
    async fn ids_of_members_that_come_are_new() {
        let roll = Roll::founded(&[MemberId(1), MemberId(5)]);
        let state = roll.state.lock().await;
        assert!(state.next.get() > 6, "the spare host's number is not taken for an id");
        assert_eq!(state.on[&MemberId(5)], MemberId(5));
    }
}
