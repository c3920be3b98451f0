//! Sends and receives checkpoints in blocks.
//!
//! The sender reads a frozen checkpoint, one block at a time; the receiver writes each block to
//! disk as it comes. Neither holds a whole checkpoint in memory. Blocks check themselves.

use std::{
    future::Future,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use futures::{StreamExt, stream, stream::BoxStream};
use quorate_proto::v1::{self, install_chunk::Chunk};
use quorate_storage::{Checkpoint, CheckpointError, Checkpoints, Snapshot, Vote};

use super::wire;
use crate::transport::{Peer, PeerError, PeerErrorKind};

/// How much longer than for a block the sender waits for the end of the installation.
const INSTALLS_WITHIN: u32 = 6;

/// Sends a checkpoint and waits until it is installed. Given up when the next block is not taken for
/// `idle_max`, or the checkpoint is not installed for some times as long: who sends then begins anew.
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
    let progress = Arc::new(Progress::default());
    let noted = progress.clone();
    let chunks = stream::iter([Chunk::Header(description)])
        .chain(blocks(snapshot.snapshot, failed.clone()))
        .inspect(move |chunk| noted.taken(chunk))
        .map(|chunk| v1::InstallChunk { chunk: Some(chunk) });
    let answer = in_time(peer.install(chunks.boxed()), &progress, idle_max).await;
    if let Some(error) = failed.lock().unwrap_or_else(PoisonError::into_inner).take() {
        tracing::error!(%error, "a checkpoint that was to be sent cannot be read");
        return Err(PeerError::new(PeerErrorKind::Invalid, format!("sending: {error}")));
    }
    answer
}

/// How far a transfer has come.
#[derive(Debug, Default)]
struct Progress {
    chunks: AtomicU64,
    ended: AtomicBool,
}

impl Progress {
    fn taken(&self, chunk: &Chunk) {
        self.chunks.fetch_add(1, Ordering::Relaxed);
        self.ended.fetch_or(matches!(chunk, Chunk::End(_)), Ordering::Relaxed);
    }
}

/// Waits for the answer to a transfer as long as it goes on.
async fn in_time<T>(
    answer: impl Future<Output = Result<T, PeerError>>,
    progress: &Progress,
    idle_max: Duration,
) -> Result<T, PeerError> {
    let mut answer = std::pin::pin!(answer);
    loop {
        let chunks = progress.chunks.load(Ordering::Relaxed);
        let ended = progress.ended.load(Ordering::Relaxed);
        let limit = if ended { idle_max * INSTALLS_WITHIN } else { idle_max };
        if let Ok(answer) = tokio::time::timeout(limit, &mut answer).await {
            return answer;
        }
        if progress.chunks.load(Ordering::Relaxed) == chunks {
            let what = if ended { "installed" } else { "taken" };
            let message = format!("the checkpoint was not {what} within {limit:?}");
            return Err(PeerError::new(PeerErrorKind::Timeout, message));
        }
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
    match tokio::time::timeout(idle_max, chunks.next()).await {
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
    use std::future::pending;

    use super::*;

    const IDLE_MAX: Duration = Duration::from_secs(10);

    fn block() -> Chunk {
        Chunk::Block(Vec::new().into())
    }

    fn end() -> Chunk {
        Chunk::End(v1::InstallEnd { blocks: 1 })
    }

    /// How long a transfer is waited for in which these chunks are taken, each so much later than
    /// the one before, and that has no answer.
    async fn waits(chunks: Vec<(Duration, Chunk)>) -> (Duration, String) {
        let progress = Arc::new(Progress::default());
        let noted = progress.clone();
        let began = tokio::time::Instant::now();
        let answer = async move {
            for (after, chunk) in chunks {
                tokio::time::sleep(after).await;
                noted.taken(&chunk);
            }
            pending::<Result<(), PeerError>>().await
        };
        let error = in_time(answer, &progress, IDLE_MAX).await.unwrap_err();
        assert_eq!(error.kind, PeerErrorKind::Timeout);
        (began.elapsed(), error.message)
    }

    #[tokio::test(start_paused = true)]
    async fn a_transfer_that_stands_still_is_given_up() {
        let (waited, message) = waits(Vec::new()).await;
        assert_eq!(waited, IDLE_MAX);
        assert!(message.contains("not taken"), "{message}");
        // It goes on slowly, and then no more.
        let slow = Duration::from_secs(9);
        let (waited, _) = waits((0..5).map(|_| (slow, block())).collect()).await;
        assert!(waited > 5 * slow && waited <= 5 * slow + 2 * IDLE_MAX, "{waited:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn the_installation_has_longer_but_not_for_ever() {
        let now = Duration::ZERO;
        let (waited, message) = waits(vec![(now, block()), (now, end())]).await;
        assert!(waited >= IDLE_MAX * INSTALLS_WITHIN, "{waited:?}");
        assert!(waited <= IDLE_MAX * (INSTALLS_WITHIN + 1), "{waited:?}");
        assert!(message.contains("not installed"), "{message}");
    }

    #[tokio::test(start_paused = true)]
    async fn the_answer_is_passed_on() {
        let answer = async {
            tokio::time::sleep(IDLE_MAX / 2).await;
            Ok(7)
        };
        assert_eq!(in_time(answer, &Progress::default(), IDLE_MAX).await.unwrap(), 7);
    }
}
