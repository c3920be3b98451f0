//! gRPC frames of a change stream: encoded once, shared by all who are sent the same.

use bytes::{BufMut as _, Bytes, BytesMut};
use quorate_core::{MemberId, Revision};
use quorate_proto::{
    convert::ResumeToken,
    encoded::{EncodedEvent, EncodedResponse},
};
use quorate_storage::View;

use crate::service::header;

/// A gRPC frame's prefix: no compression, and the length as four bytes.
const PREFIX_BYTES: usize = 5;

/// A message of a stream, ready to be sent. A clone shares its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Frame {
    /// Prefix and message.
    pub(super) bytes: Bytes,
    /// How many changes it carries.
    pub(super) changes: usize,
}

impl Frame {
    /// Encodes a message. `resume`: everything up to this revision was delivered with it.
    pub(super) fn new(
        member: MemberId,
        view: &View,
        events: Vec<EncodedEvent>,
        resume: Option<Revision>,
    ) -> Self {
        let changes = events.iter().map(count).sum();
        let identity = view.state.identity();
        let resume = resume.map(|revision| ResumeToken {
            cluster_id: identity.cluster_id,
            restore_epoch: identity.restore_epoch,
            revision,
        });
        let response = EncodedResponse { header: header::of_view(member, view), events, resume };
        let len = response.encoded_len();
        let mut bytes = BytesMut::with_capacity(PREFIX_BYTES + len);
        bytes.put_u8(0);
        bytes.put_u32(u32::try_from(len).expect("settings bound a revision far below 4 GiB"));
        response.encode(&mut bytes);
        Self { bytes: bytes.freeze(), changes }
    }
}

fn count(event: &EncodedEvent) -> usize {
    match event {
        EncodedEvent::Changes { changes, .. } => changes.len(),
        EncodedEvent::Other(_) => 0,
    }
}
