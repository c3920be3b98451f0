//! What workers do with the partitions that they are granted, and an operator who moves them.
//!
//! An owner releases what is asked back, and writes under the guard of its grants: mostly of one
//! that it has, at times of one that it had, as a worker does that was stopped in the middle of
//! it. None of those may be accepted once the partition is granted to another, or to nobody.
//!
//! Invariant: a write under a guard is sent once.

use std::time::Duration;

use bytes::Bytes;
use quorate_node::core::{
    ApplyNetwork, Command, Epoch, Key, KeyRange, Kind, PartitionId, PartitionState, Record,
    SessionId, State,
};
use rand::{RngExt, SeedableRng, rngs::StdRng, seq::IndexedRandom};
use tokio::time::{Instant, sleep};

use super::{
    CALLERS, HOLDERS, PARTITIONS,
    callers::{CALL_MAX, command, end},
    holders::{Holder, TTL, worker},
    members::Members,
    story::Asked,
};

/// One in so many things that the operator does is to divide the network anew.
const RESHAPED_IN: u32 = 6;

/// How many grants an owner remembers.
const REMEMBERED: usize = 8;

impl Holder {
    /// Does what an owner does: lets go of what it must, and writes.
    pub(super) async fn tend(&mut self, session: SessionId) {
        let Some(coordinator) = self.coordinator() else { return };
        let state = coordinator.view().state.clone();
        for (id, epoch, asked_back) in owned(&state, session) {
            let grant = (id.clone(), epoch);
            if !self.grants.contains(&grant) {
                self.grants.push(grant.clone());
            }
            if asked_back {
                let now = self.story.now();
                self.story.told().releases.entry(grant).or_insert(now);
                let release = Command::ReleasePartition { id, epoch };
                // Asked again when this gets lost.
                drop(coordinator.propose(release, Instant::now() + TTL / 4).await);
            }
        }
        let forgotten = self.grants.len().saturating_sub(REMEMBERED);
        self.grants.drain(..forgotten);
        if self.random.random_range(0..3) == 0 {
            self.write_guarded().await;
        }
    }

    async fn write_guarded(&mut self) {
        let Some((partition, epoch)) = self.grants.choose(&mut self.random).cloned() else {
            return;
        };
        let Some(coordinator) = self.coordinator() else { return };
        let value = Bytes::from(self.next_request().to_string());
        let key = Key::entry(format!("guarded/{partition}"));
        let asked = Asked::Guarded { partition, epoch, key, value };
        let Some(command) = command(&asked) else { return };
        let began = self.story.now();
        let end = end(coordinator.propose(command, Instant::now() + TTL / 4).await);
        self.story.call(self.number, coordinator.member_id(), began, asked, end);
    }
}

/// The partitions that a session owns with the epochs of their grants, and whether each is asked
/// back.
fn owned(state: &State, session: SessionId) -> Vec<(PartitionId, Epoch, bool)> {
    let all = KeyRange::Prefix(Kind::Partition, Bytes::new());
    let owned = state.range(&all).filter_map(|(key, record)| {
        let Record::Partition(partition) = &record.value else { return None };
        let id = std::str::from_utf8(&key.bytes).ok().and_then(PartitionId::parse)?;
        let mine = partition.owner.as_ref().is_some_and(|owner| owner.session == session);
        let asked_back =
            matches!(partition.state, PartitionState::Releasing | PartitionState::Deleted);
        mine.then_some((id, partition.epoch?, asked_back))
    });
    owned.collect()
}

/// An operator: moves partitions, to a worker or to whoever is chosen, and now and then divides the network
/// anew, until the time is up.
pub(super) async fn move_about(
    seed: u64,
    members: Members,
    partitions: Vec<PartitionId>,
    until: Instant,
) {
    let mut random = StdRng::seed_from_u64(seed);
    while Instant::now() < until {
        sleep(Duration::from_millis(random.random_range(300..3_000))).await;
        let (Some(member), Some(id)) = (members.any(&mut random), partitions.choose(&mut random))
        else {
            continue;
        };
        if random.random_range(0..RESHAPED_IN) == 0 {
            let count = random.random_range(1..=PARTITIONS);
            if let Some(command) = reshape(&member.coordinator.view().state, id, count) {
                // Rejected when somebody was faster.
                drop(member.coordinator.propose(command, Instant::now() + CALL_MAX).await);
            }
            continue;
        }
        let chosen = worker(CALLERS + random.random_range(0..HOLDERS));
        let target = chosen.filter(|_| random.random_range(0..2) == 0);
        let moves = Command::MovePartitions {
            moves: vec![(id.clone(), target)],
            basis: Default::default(),
        };
        // Rejected while the worker is down, and nobody minds.
        drop(member.coordinator.propose(moves, Instant::now() + CALL_MAX).await);
    }
}

/// The network of a partition, in so many partitions.
fn reshape(state: &State, id: &PartitionId, count: u32) -> Option<Command> {
    let record = state.get(&Key::network(&id.network))?;
    let Record::Network(network) = &record.value else { return None };
    let (mut spec, basis) = (network.spec.clone(), Some(record.modified));
    spec.policy.partitions = count;
    let assignment = (0..count).cycle().take(spec.processes.len()).collect();
    let name = id.network.clone();
    Some(Command::ApplyNetwork(ApplyNetwork { name, spec, assignment, basis }))
}
