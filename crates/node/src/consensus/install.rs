//! Sends and receives checkpoints in blocks.
//!
//! The sender reads a frozen checkpoint, one block at a time; the receiver writes each block to
//! disk as it comes. Neither holds a whole checkpoint in memory. Blocks check themselves. Both give
//! up a transfer that stands still: openraft sends nothing else to a follower meanwhile.

use std::{
    future::Future,
    pin::pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures::{StreamExt, stream, stream::BoxStream};
use quorate_proto::v1::{self, install_chunk::Chunk};
use quorate_storage::{Checkpoint, CheckpointError, Checkpoints, Snapshot, Vote};
use tokio::time::{Instant, timeout};

use super::wire;
use crate::transport::{Peer, PeerError, PeerErrorKind};

/// Sends a checkpoint and waits until it is installed, or until it stands still for `idle_max` and
/// as long again as it has taken so far: the receiver puts it together at its end.
pub(super) async fn send(
    peer: &dyn Peer,
    header: v1::PeerHeader,
    vote: Vote,
    snapshot: Snapshot,
    idle_max: Duration,
) -> Result<v1::InstallResponse, PeerError> {
    let meta = &snapshot.meta;
    let description = v1::InstallHeader {
        header: Some(header),
        vote: Some(wire::to_vote(&vote)),
        last: meta.last_log_id.map(wire::to_log_id),
        membership_log_id: meta.last_membership.log_id().map(wire::to_log_id),
        membership: Some(wire::to_membership(meta.last_membership.membership())),
        id: snapshot.snapshot.id(),
    };
    let bytes = snapshot.snapshot.bytes();
    tracing::info!(to = header.to, id = %description.id, bytes, "sending a checkpoint");

    // A block that cannot be read ends the stream early; the reason is kept here.
    let failed = Arc::new(Mutex::new(None));
    let taken = Arc::new(AtomicU64::new(0));
    let count = taken.clone();
    let chunks = stream::iter([Chunk::Header(description)])
        .chain(blocks(snapshot.snapshot, failed.clone()))
        .map(move |chunk| {
            count.fetch_add(1, Ordering::Relaxed);
            v1::InstallChunk { chunk: Some(chunk) }
        });
    let answer = while_it_moves(peer.install(chunks.boxed()), &taken, idle_max).await;
    if let Some(error) = failed.lock().unwrap_or_else(PoisonError::into_inner).take() {
        tracing::error!(%error, "a checkpoint that was to be sent cannot be read");
        return Err(PeerError::new(PeerErrorKind::Invalid, format!("sending: {error}")));
    }
    answer
}

/// The answer to a transfer of which `taken` chunks have gone, unless it stands still.
async fn while_it_moves<T>(
    answer: impl Future<Output = Result<T, PeerError>>,
    taken: &AtomicU64,
    idle_max: Duration,
) -> Result<T, PeerError> {
    let mut answer = pin!(answer);
    let began = Instant::now();
    let mut motion = Motion { idle_max, taken: 0, moved: Duration::ZERO };
    loop {
        if let Ok(answer) = timeout(idle_max / 2, &mut answer).await {
            return answer;
        }
        let so_far = taken.load(Ordering::Relaxed);
        if motion.stands_still(began.elapsed(), so_far) {
            tracing::warn!(chunks = so_far, "a checkpoint that is sent stands still: giving up");
            let message = format!("the transfer stands still after {so_far} chunks");
            return Err(PeerError::new(PeerErrorKind::Timeout, message));
        }
    }
}

/// When a transfer was last seen to move, since it began.
struct Motion {
    idle_max: Duration,
    taken: u64,
    moved: Duration,
}

impl Motion {
    /// Looks again: so much later than the beginning, so many chunks have gone.
    fn stands_still(&mut self, now: Duration, taken: u64) -> bool {
        if taken != self.taken {
            (self.taken, self.moved) = (taken, now);
            return false;
        }
        now.saturating_sub(self.moved) >= self.idle_max + self.moved
    }
}

type Failure = Arc<Mutex<Option<CheckpointError>>>;

fn blocks(checkpoint: Checkpoint, failed: Failure) -> BoxStream<'static, Chunk> {
    let count = checkpoint.blocks();
    let next = move |number: usize| {
        let (checkpoint, failed) = (checkpoint.clone(), failed.clone());
        async move {
            if number == count {
                let end = v1::InstallEnd { blocks: u64::try_from(count).unwrap_or(u64::MAX) };
                return Some((Chunk::End(end), number + 1));
            }
            if number > count {
                return None;
            }
            match checkpoint.block(number).await {
                Ok(block) => Some((Chunk::Block(block), number + 1)),
                Err(error) => {
                    *failed.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                    None
                }
            }
        }
    };
    stream::unfold(0, next).boxed()
}

/// A checkpoint that was received whole, and the vote it came with.
pub(super) struct Received {
    /// The sender's vote.
    pub(super) vote: Vote,
    /// What was received.
    pub(super) snapshot: Snapshot,
}

/// Reads the description at the head of a transfer.
pub(super) async fn receive_header(
    chunks: &mut BoxStream<'static, v1::InstallChunk>,
    idle_max: Duration,
) -> Result<v1::InstallHeader, PeerError> {
    match next(chunks, idle_max).await? {
        Chunk::Header(header) => Ok(header),
        Chunk::Block(_) | Chunk::End(_) => Err(invalid("a transfer begins with its header")),
    }
}

/// Receives the blocks that follow the header.
pub(super) async fn receive_blocks(
    header: v1::InstallHeader,
    mut chunks: BoxStream<'static, v1::InstallChunk>,
    checkpoints: &Checkpoints,
    idle_max: Duration,
) -> Result<Received, PeerError> {
    let vote = wire::vote(header.vote)?;
    let membership = wire::stored_membership(header.membership_log_id, header.membership)?;
    let mut writer = checkpoints.receive();
    let mut received = 0u64;
    loop {
        match next(&mut chunks, idle_max).await? {
            Chunk::Header(_) => return Err(invalid("a transfer has one header")),
            Chunk::Block(block) => {
                writer.push(block).await.map_err(|error| invalid(&error.to_string()))?;
                received += 1;
            }
            Chunk::End(end) if end.blocks == received => break,
            Chunk::End(end) => {
                let message = format!("{received} blocks came of {} that were sent", end.blocks);
                return Err(invalid(&message));
            }
        }
    }
    let snapshot = writer.finish().await.map_err(|error| invalid(&error.to_string()))?;
    if snapshot.meta.last_log_id != header.last.map(wire::log_id)
        || snapshot.meta.last_membership != membership
    {
        return Err(invalid("the checkpoint is not the one that its header describes"));
    }
    tracing::info!(from = header.header.map_or(0, |h| h.from), id = %header.id, blocks = received, "received a checkpoint");
    Ok(Received { vote, snapshot })
}

async fn next(
    chunks: &mut BoxStream<'static, v1::InstallChunk>,
    idle_max: Duration,
) -> Result<Chunk, PeerError> {
    match timeout(idle_max, chunks.next()).await {
        Ok(Some(v1::InstallChunk { chunk: Some(chunk) })) => Ok(chunk),
        Ok(Some(_)) => Err(invalid("an empty chunk")),
        Ok(None) => Err(invalid("the transfer broke off")),
        Err(_) => Err(PeerError::new(PeerErrorKind::Timeout, "the transfer stands still")),
    }
}

fn invalid(message: &str) -> PeerError {
    PeerError::new(PeerErrorKind::Invalid, message)
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use super::*;

    const fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_transfer_may_stand_still_for_as_long_as_it_has_taken_and_some_more() {
        let mut motion = Motion { idle_max: seconds(10), taken: 0, moved: Duration::ZERO };
        assert!(!motion.stands_still(seconds(9), 0));
        assert!(motion.stands_still(seconds(10), 0));
        for minute in 1..=5 {
            assert!(!motion.stands_still(seconds(60 * minute), minute));
        }
        assert!(!motion.stands_still(seconds(609), 5), "the receiver puts it together");
        assert!(motion.stands_still(seconds(610), 5));
    }

    #[tokio::test]
    async fn a_transfer_that_is_never_answered_is_given_up() {
        let (taken, idle_max) = (AtomicU64::new(3), Duration::from_millis(20));
        let error = while_it_moves(pending::<Result<(), _>>(), &taken, idle_max).await.unwrap_err();
        assert_eq!(error.kind, PeerErrorKind::Timeout, "{}", error.message);
        assert!(error.message.contains("after 3 chunks"), "{}", error.message);
        let refused = PeerError::new(PeerErrorKind::Invalid, "no");
        let told = while_it_moves(ready(Err::<(), _>(refused)), &taken, idle_max).await;
        assert_eq!(told.unwrap_err().kind, PeerErrorKind::Invalid);
    }
}
