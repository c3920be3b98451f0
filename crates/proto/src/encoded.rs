//! Change streams' messages, put together from changes that are encoded once.
//!
//! A change is the same bytes for every subscriber, so it is encoded when the first one needs it
//! and kept beside the change. [`EncodedResponse`] frames such bytes into a `WatchResponse`: its
//! bytes are exactly those of the message that [`EncodedResponse::message`] decodes.

use bytes::{BufMut, Bytes, BytesMut};
use prost::{
    Message as _,
    encoding::{WireType, encode_key, encode_varint, encoded_len_varint, key_len},
};
use quorate_core::{Change, Event, KeyedRecord, Origin, Revision};
use tonic::{
    Status,
    codec::{DecodeBuf, Decoder},
};

use crate::{
    convert::{self, Header, ResumeToken},
    v1,
};

// Field numbers of the messages that are framed by hand: watch.proto.
const RESPONSE_HEADER: u32 = 1;
const RESPONSE_EVENTS: u32 = 2;
const RESPONSE_RESUME: u32 = 3;
const EVENT_REVISION: u32 = 1;
const EVENT_TYPE: u32 = 2;
const EVENT_CHANGES: u32 = 3;
const EVENT_LABEL: u32 = 5;
const EVENT_REASON: u32 = 6;
const EVENT_TIME: u32 = 7;

/// A change's protobuf bytes, encoded by whoever asks first.
///
/// `revision` is that of the change's event.
#[must_use]
pub fn encode_change(change: &Change, revision: Revision, with_previous: bool) -> Bytes {
    let encode = || convert::watch::change(change, revision, with_previous).encode_to_vec().into();
    change.encoded[usize::from(with_previous)].get_or_init(encode).clone()
}

/// One step of a stream.
#[derive(Debug, Clone, PartialEq)]
pub enum EncodedEvent {
    /// Changes of one revision.
    Changes {
        /// The revision.
        revision: Revision,
        /// The changes, from [`encode_change`].
        changes: Vec<Bytes>,
        /// Who made them, and why.
        origin: Origin,
        /// The leader's clock at the revision, milliseconds since 1970.
        time_ms: u64,
    },
    /// Any other step.
    Other(v1::Event),
}

impl EncodedEvent {
    /// The changes of an event that match; None when none does.
    pub fn changes(
        event: &Event,
        with_previous: bool,
        matches: impl Fn(&Change) -> bool,
    ) -> Option<Self> {
        let encode = |change| encode_change(change, event.revision, with_previous);
        let matching = event.changes.iter().filter(|change| matches(change));
        let changes: Vec<_> = matching.map(encode).collect();
        let (revision, origin) = (event.revision, event.origin.clone());
        let time_ms = event.time_ms;
        (!changes.is_empty()).then_some(Self::Changes { revision, changes, origin, time_ms })
    }

    /// Some records of a snapshot.
    #[must_use]
    pub fn snapshot(revision: Revision, records: &[KeyedRecord]) -> Self {
        let records = convert::record::records(records);
        Self::other(v1::EventType::Snapshot, revision, records)
    }

    /// The end of a snapshot.
    #[must_use]
    pub fn snapshot_end(revision: Revision) -> Self {
        Self::other(v1::EventType::SnapshotEnd, revision, Vec::new())
    }

    /// A progress notice.
    #[must_use]
    pub fn progress(revision: Revision) -> Self {
        Self::other(v1::EventType::Progress, revision, Vec::new())
    }

    /// History was lost: a snapshot at this revision follows.
    #[must_use]
    pub fn resync(revision: Revision) -> Self {
        Self::other(v1::EventType::Resync, revision, Vec::new())
    }

    fn other(r#type: v1::EventType, revision: Revision, records: Vec<v1::Record>) -> Self {
        let (r#type, revision) = (r#type.into(), revision.get());
        Self::Other(v1::Event { revision, r#type, records, ..v1::Event::default() })
    }

    /// How many bytes its message has.
    #[must_use]
    pub fn encoded_len(&self) -> usize {
        match self {
            Self::Changes { revision, changes, origin, time_ms } => {
                let framed = |bytes: &Bytes| field_len(EVENT_CHANGES, bytes.len());
                changes_head_len(*revision)
                    + changes.iter().map(framed).sum::<usize>()
                    + text_len(EVENT_LABEL, &origin.label)
                    + text_len(EVENT_REASON, &origin.reason)
                    + number_len(EVENT_TIME, *time_ms)
            }
            Self::Other(event) => event.encoded_len(),
        }
    }

    fn encode(&self, buffer: &mut impl BufMut) {
        match self {
            Self::Changes { revision, changes, origin, time_ms } => {
                if revision.get() != 0 {
                    put_number(EVENT_REVISION, revision.get(), buffer);
                }
                put_number(EVENT_TYPE, CHANGES, buffer);
                for bytes in changes {
                    put_head(EVENT_CHANGES, bytes.len(), buffer);
                    buffer.put_slice(bytes);
                }
                put_text(EVENT_LABEL, &origin.label, buffer);
                put_text(EVENT_REASON, &origin.reason, buffer);
                if *time_ms != 0 {
                    put_number(EVENT_TIME, *time_ms, buffer);
                }
            }
            Self::Other(event) => event.encode_raw(buffer),
        }
    }
}

/// `EVENT_TYPE_CHANGES` as it is on the wire.
const CHANGES: u64 = 1;

fn changes_head_len(revision: Revision) -> usize {
    number_len(EVENT_REVISION, revision.get()) + key_len(EVENT_TYPE) + encoded_len_varint(CHANGES)
}

fn field_len(tag: u32, len: usize) -> usize {
    key_len(tag) + encoded_len_varint(len as u64) + len
}

/// An empty text is not written, as protobuf wants it.
fn text_len(tag: u32, text: &str) -> usize {
    if text.is_empty() { 0 } else { field_len(tag, text.len()) }
}

/// Zero is left out.
fn number_len(tag: u32, number: u64) -> usize {
    if number == 0 { 0 } else { key_len(tag) + encoded_len_varint(number) }
}

fn put_text(tag: u32, text: &str, buffer: &mut impl BufMut) {
    if !text.is_empty() {
        put_head(tag, text.len(), buffer);
        buffer.put_slice(text.as_bytes());
    }
}

fn put_number(tag: u32, number: u64, buffer: &mut impl BufMut) {
    encode_key(tag, WireType::Varint, buffer);
    encode_varint(number, buffer);
}

fn put_head(tag: u32, len: usize, buffer: &mut impl BufMut) {
    encode_key(tag, WireType::LengthDelimited, buffer);
    encode_varint(len as u64, buffer);
}

/// A `WatchResponse` whose changes are encoded already.
#[derive(Debug, Clone, PartialEq)]
pub struct EncodedResponse {
    /// Who answers, as of when.
    pub header: Header,
    /// The steps, in order.
    pub events: Vec<EncodedEvent>,
    /// Where the stream stands after them.
    pub resume: Option<ResumeToken>,
}

impl EncodedResponse {
    /// How many bytes the message has.
    #[must_use]
    pub fn encoded_len(&self) -> usize {
        let events: usize =
            self.events.iter().map(|event| field_len(RESPONSE_EVENTS, event.encoded_len())).sum();
        let resume = self.resume.map_or(0, |token| {
            field_len(RESPONSE_RESUME, v1::ResumeToken::from(token).encoded_len())
        });
        let header = v1::ResponseHeader::from(self.header).encoded_len();
        field_len(RESPONSE_HEADER, header) + events + resume
    }

    /// Writes the message; copies the bytes of the changes once.
    pub fn encode(&self, buffer: &mut impl BufMut) {
        let header = v1::ResponseHeader::from(self.header);
        put_head(RESPONSE_HEADER, header.encoded_len(), buffer);
        header.encode_raw(buffer);
        for event in &self.events {
            put_head(RESPONSE_EVENTS, event.encoded_len(), buffer);
            event.encode(buffer);
        }
        if let Some(token) = self.resume.map(v1::ResumeToken::from) {
            put_head(RESPONSE_RESUME, token.encoded_len(), buffer);
            token.encode_raw(buffer);
        }
    }

    /// The message's bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Bytes {
        let mut buffer = BytesMut::with_capacity(self.encoded_len());
        self.encode(&mut buffer);
        buffer.freeze()
    }

    /// The message, decoded.
    ///
    /// # Errors
    /// When the bytes of a change are not a change's.
    pub fn message(&self) -> Result<v1::WatchResponse, prost::DecodeError> {
        v1::WatchResponse::decode(self.to_bytes())
    }
}

/// Reads the requests of `WatchService`, for a server that frames its answers itself.
#[derive(Debug, Default, Clone, Copy)]
pub struct WatchCodec;

impl Decoder for WatchCodec {
    type Item = v1::WatchRequest;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Self::Item>, Status> {
        let decoded = v1::WatchRequest::decode(buffer);
        decoded.map(Some).map_err(|error| Status::internal(error.to_string()))
    }
}
