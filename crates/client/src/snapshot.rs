//! Backups: the whole state at one revision, as the bytes of a file.
//!
//! Opening a backup moves on to other coordinators as every call does. One that breaks off later is
//! lost: another coordinator would give another revision.

use std::time::Duration;

use bytes::Bytes;
use quorate_proto::{
    ConvertError,
    v1::{self, snapshot_service_client::SnapshotServiceClient},
};
use tokio::time::timeout;
use tonic::{Status, Streaming};

use crate::{
    call::{Call, Carried, Operation, Read, Safety},
    client::Client,
    error::{Effect, Error},
    sent::MarkingChannel,
};

/// How long the next part of a backup may take.
const SILENCE_MAX: Duration = Duration::from_secs(30);

impl Client {
    /// Begins a backup of everything. The answer's header says at which revision; awaiting it gives
    /// no bytes yet.
    ///
    /// ```no_run
    /// # async fn example(client: quorate_client::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// use std::io::Write;
    ///
    /// let mut file = std::fs::File::create("backup.quorate")?;
    /// let mut backup = client.save_snapshot().await?.into_value();
    /// while let Some(part) = backup.next().await? {
    ///     file.write_all(&part.bytes)?;
    /// }
    /// file.sync_all()?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn save_snapshot(&self) -> Call<SaveSnapshot> {
        Call::new(self, SaveSnapshot)
    }
}

/// Makes a backup.
#[derive(Debug, Clone)]
pub struct SaveSnapshot;

/// A backup that is being received.
#[derive(Debug)]
pub struct SnapshotDownload {
    records: u64,
    messages: Streaming<v1::SaveSnapshotResponse>,
    complete: bool,
}

/// The next part of a backup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotPart {
    /// The next bytes of the file.
    pub bytes: Bytes,
    /// How many records came so far.
    pub records: u64,
}

impl SnapshotDownload {
    /// How many records the whole backup has.
    #[must_use]
    pub fn records(&self) -> u64 {
        self.records
    }

    /// The next part; None: that was all, and it is complete.
    ///
    /// # Errors
    /// When the stream breaks off or stands still: what came so far is worth nothing.
    pub async fn next(&mut self) -> Result<Option<SnapshotPart>, Error> {
        if self.complete {
            return Ok(None);
        }
        let message = match timeout(SILENCE_MAX, self.messages.message()).await {
            Err(_) => return Err(Error::timed_out(Effect::None, SILENCE_MAX)),
            Ok(Err(status)) => return Err(Error::from_status(&status, Effect::None)),
            Ok(Ok(None)) => return Err(Error::no_time("the backup broke off before its end")),
            Ok(Ok(Some(message))) => message,
        };
        self.complete = message.last;
        Ok(Some(SnapshotPart { bytes: message.chunk, records: message.records_sent }))
    }
}

/// A stream with its first message.
#[derive(Debug)]
pub struct OpenedSnapshot {
    first: v1::SaveSnapshotResponse,
    rest: Streaming<v1::SaveSnapshotResponse>,
}

impl Read for SaveSnapshot {}

impl Operation for SaveSnapshot {
    const SAFETY: Safety = Safety::Read;
    type Request = v1::SaveSnapshotRequest;
    type Answer = OpenedSnapshot;
    type Output = SnapshotDownload;

    fn request(&self, carried: Carried) -> v1::SaveSnapshotRequest {
        v1::SaveSnapshotRequest { read: Some(carried.read.into()) }
    }

    async fn send(
        channel: MarkingChannel,
        message_bytes_max: usize,
        mut request: tonic::Request<v1::SaveSnapshotRequest>,
    ) -> Result<tonic::Response<OpenedSnapshot>, Status> {
        // The deadline is that of the first message, not of the whole stream.
        request.metadata_mut().remove("grpc-timeout");
        let mut client =
            SnapshotServiceClient::new(channel).max_decoding_message_size(message_bytes_max);
        let mut rest = client.save(request).await?.into_inner();
        let first = rest.message().await?;
        let first = first.ok_or_else(|| Status::unavailable("the backup has no beginning"))?;
        Ok(tonic::Response::new(OpenedSnapshot { first, rest }))
    }

    fn header(answer: &OpenedSnapshot) -> Option<v1::ResponseHeader> {
        answer.first.header
    }

    fn read(&self, answer: OpenedSnapshot) -> Result<SnapshotDownload, ConvertError> {
        let OpenedSnapshot { first, rest } = answer;
        Ok(SnapshotDownload { records: first.records_total, messages: rest, complete: first.last })
    }
}
