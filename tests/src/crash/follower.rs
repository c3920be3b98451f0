//! One follower of the change stream: from revision 1 to the end, resumed by token wherever the
//! stream broke, on the same or the next coordinator.

use std::time::Duration;

use bytes::Bytes;
use quorate_core::{MemberId, Revision};
use quorate_proto::v1::{
    ChangeOp, EventType, ResumeToken, WatchRequest, WatchResponse, watch_request::Start,
};
use tokio::{sync::watch, time::timeout};
use tonic::Code;

use crate::{
    calls::{Coordinator, Failure, value},
    cluster::POLL,
};

/// Longer than this without even a progress notice: the stream is dead.
const SILENCE: Duration = Duration::from_secs(3);
const PROGRESS_MS: u32 = 200;

/// One change as it was told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) revision: Revision,
    pub(super) key: Bytes,
    pub(super) value: Bytes,
    pub(super) put: bool,
    pub(super) created: bool,
}

/// What a follower was told.
#[derive(Debug, Default)]
pub(super) struct Story {
    /// Which coordinators it followed, first to last.
    pub(super) told_by: Vec<MemberId>,
    /// Every change, in the order of arrival.
    pub(super) changes: Vec<Told>,
    /// What no stream may do.
    pub(super) broken: Vec<String>,
}

/// Follows until everything up to the revision in `finished` has been told.
pub(super) async fn run(
    coordinators: Vec<Coordinator>,
    finished: watch::Receiver<Option<Revision>>,
) -> Story {
    let mut story = Story::default();
    let mut token: Option<ResumeToken> = None;
    let mut at = 0;
    while story.broken.is_empty() && !is_done(token.as_ref(), &finished) {
        let coordinator = &coordinators[at % coordinators.len()];
        at += 1;
        match stream(coordinator, &mut token, &mut story, &finished).await {
            Ok(()) => {}
            Err(failure) if is_refusal(&failure) => {
                let (id, at) = (coordinator.id, token.as_ref().map_or(0, |token| token.revision));
                story.broken.push(format!("member {id} refused to resume after {at}: {failure}"));
            }
            // Down, or out of contact: the next one, or this one again.
            Err(_) => tokio::time::sleep(POLL).await,
        }
    }
    story
}

fn is_done(token: Option<&ResumeToken>, finished: &watch::Receiver<Option<Revision>>) -> bool {
    let told = Revision(token.map_or(0, |token| token.revision));
    finished.borrow().is_some_and(|last| told >= last)
}

fn is_refusal(failure: &Failure) -> bool {
    matches!(
        failure.code,
        Code::OutOfRange | Code::InvalidArgument | Code::FailedPrecondition | Code::Unimplemented
    )
}

async fn stream(
    coordinator: &Coordinator,
    token: &mut Option<ResumeToken>,
    story: &mut Story,
    finished: &watch::Receiver<Option<Revision>>,
) -> Result<(), Failure> {
    let start = token.map_or(Start::FromRevision(1), Start::Resume);
    let request = WatchRequest {
        start: Some(start),
        progress_interval_ms: PROGRESS_MS,
        ..WatchRequest::default()
    };
    let mut stream = coordinator.watch(request).await?;
    story.told_by.push(coordinator.id);
    while !is_done(token.as_ref(), finished) {
        let silent = || tonic::Status::unavailable("silent");
        let message = timeout(SILENCE, stream.message()).await.map_err(|_| silent())?;
        let Some(message) = message? else { return Ok(()) };
        hear(message, token, story);
    }
    Ok(())
}

fn hear(message: WatchResponse, token: &mut Option<ResumeToken>, story: &mut Story) {
    for event in message.events {
        match event.r#type() {
            EventType::Changes => {}
            EventType::Progress => continue,
            other => story.broken.push(format!("unexpected {other:?} at {}", event.revision)),
        }
        for change in &event.changes {
            let record = change.record.as_ref();
            let key = record.and_then(|record| record.key.as_ref()).map(|key| key.key.clone());
            story.changes.push(Told {
                revision: Revision(event.revision),
                key: key.unwrap_or_default(),
                value: record.map(value).unwrap_or_default(),
                put: change.op() == ChangeOp::Put,
                created: change.created,
            });
        }
    }
    match message.resume {
        Some(next) if next.revision < token.map_or(0, |token| token.revision) => {
            story.broken.push(format!("the token went back to {}", next.revision));
        }
        Some(next) => *token = Some(next),
        None => story.broken.push("a message without a resume token".to_owned()),
    }
}
