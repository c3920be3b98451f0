//! `SnapshotService`: backups, streamed as they are made.
//!
//! A backup is made from a state that nobody changes any more, a piece whenever there is room for
//! one, so it neither holds up writes nor grows in memory. Holding that state costs what changes
//! meanwhile, hence it is let go when the caller stands still for too long, and few are made at a
//! time.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use futures::{StreamExt as _, stream, stream::BoxStream};
use quorate_proto::{
    ErrorDetails, Reason,
    convert::Header,
    v1::{self, snapshot_service_server::SnapshotService},
};
use quorate_storage::{BackupPiece, BackupPieces, View, backup::Origin};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
    time::timeout,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::{Code, Request, Response, Status, async_trait};

use super::{Context, read::Reader};
use crate::{
    clock::{Clock as _, SystemClock},
    config::Limits,
};

/// Bytes of a message at most, a record larger than that included.
const CHUNK_BYTES_MAX: usize = 512 << 10;
/// Messages that are made ahead of the caller.
const AHEAD: usize = 2;

type Message = v1::SaveSnapshotResponse;

/// `SnapshotService`.
pub(super) struct Snapshots {
    reader: Reader,
    cluster_name: String,
    limits: Limits,
    places: Arc<Semaphore>,
    tasks: TaskTracker,
    shutdown: CancellationToken,
}

impl Snapshots {
    pub(super) fn new(context: &Context, reader: Reader) -> Self {
        let limits = context.config.limits.clone();
        Self {
            reader,
            cluster_name: context.config.cluster.name.as_str().to_owned(),
            places: Arc::new(Semaphore::new(limits.snapshots_max)),
            limits,
            tasks: context.tasks.clone(),
            shutdown: context.shutdown.clone(),
        }
    }

    fn admit(&self) -> Result<OwnedSemaphorePermit, Status> {
        self.places.clone().try_acquire_owned().map_err(|_| {
            let max = self.limits.snapshots_max;
            let message = format!("this coordinator makes {max} backups, the most it allows");
            ErrorDetails::new(Reason::LimitExceeded, message)
                .with_code(Code::ResourceExhausted)
                .with_field("", format!("limits.snapshots_max = {max}"))
                .into()
        })
    }

    /// Starts a backup of a view. Its task ends with the stream.
    fn start(&self, view: &View, header: Header, permit: OwnedSemaphorePermit) -> Messages {
        let origin = Origin {
            cluster_name: self.cluster_name.clone(),
            taken_ms: SystemClock.unix_ms(),
            software: env!("CARGO_PKG_VERSION").to_owned(),
        };
        let pieces = BackupPieces::new(view.state.clone(), origin);
        let first = Message {
            header: Some(header.into()),
            records_total: pieces.records(),
            ..Message::default()
        };
        let (messages, receiver) = mpsc::channel(AHEAD);
        let idle = Duration::from_millis(self.limits.snapshot_idle_ms_max);
        let shutdown = self.shutdown.clone();
        let made = self.tasks.spawn(async move {
            let _permit = permit;
            tokio::select! {
                biased;
                made = make(pieces, messages, idle) => made,
                () = shutdown.cancelled() => Err(stopping()),
            }
        });
        let rest = stream::unfold((receiver, Some(made)), |(mut receiver, mut made)| async {
            if let Some(message) = receiver.recv().await {
                return Some((Ok(message), (receiver, made)));
            }
            // Why there is no more; nothing when the last one was sent.
            let ended = made.take()?.await;
            let why = ended.unwrap_or_else(|_| Err(Status::internal("making the backup failed")));
            why.err().map(|status| (Err(status), (receiver, None)))
        });
        stream::iter([Ok(first)]).chain(rest).boxed()
    }
}

type Messages = BoxStream<'static, Result<Message, Status>>;

#[async_trait]
impl SnapshotService for Snapshots {
    type SaveStream = Messages;

    async fn save(
        &self,
        request: Request<v1::SaveSnapshotRequest>,
    ) -> Result<Response<Messages>, Status> {
        let (request, deadline) = self.reader.open(request);
        let permit = self.admit()?;
        let (view, header) = self.reader.view(request.read, deadline).await?;
        Ok(Response::new(self.start(&view, header, permit)))
    }
}

/// Makes one message after the other, when there is room for it.
async fn make(
    pieces: BackupPieces,
    messages: mpsc::Sender<Message>,
    idle: Duration,
) -> Result<(), Status> {
    for message in pieces.flat_map(cut) {
        match timeout(idle, messages.send(message)).await {
            Ok(Ok(())) => {}
            // The caller went away.
            Ok(Err(_)) => return Ok(()),
            Err(_) => return Err(stands_still(idle)),
        }
    }
    Ok(())
}

/// The messages of a piece: one, unless a record is large.
fn cut(piece: BackupPiece) -> impl Iterator<Item = Message> {
    let BackupPiece { bytes, records, last } = piece;
    let chunks = bytes.len().div_ceil(CHUNK_BYTES_MAX);
    (1..=chunks).map(move |number| {
        let end = bytes.len().min(number * CHUNK_BYTES_MAX);
        let chunk: Bytes = bytes.slice((number - 1) * CHUNK_BYTES_MAX..end);
        let last = last && number == chunks;
        Message { chunk, records_sent: records, last, ..Message::default() }
    })
}

fn stands_still(idle: Duration) -> Status {
    let rule = format!("limits.snapshot_idle_ms_max = {}", idle.as_millis());
    let message = format!("the backup was given up: nothing of it was taken for {idle:?}");
    ErrorDetails::new(Reason::LimitExceeded, message)
        .with_code(Code::DeadlineExceeded)
        .with_field("", rule)
        .into()
}

fn stopping() -> Status {
    ErrorDetails::new(Reason::NoQuorum, "this coordinator is shutting down").into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_piece_is_cut_into_messages() {
        let bytes = Bytes::from(vec![7; 2 * CHUNK_BYTES_MAX + 1]);
        let cut: Vec<_> =
            cut(BackupPiece { bytes: bytes.clone(), records: 3, last: true }).collect();
        assert_eq!(
            cut.iter().map(|message| message.last).collect::<Vec<_>>(),
            [false, false, true]
        );
        let joined: Vec<u8> = cut.iter().flat_map(|message| message.chunk.to_vec()).collect();
        assert_eq!(joined, bytes);
    }
}
