//! One subscriber's stream: steps its cursor whenever there is a newer view, and says how far it
//! is when nothing else was said for a while.

use std::{pin::Pin, time::Duration};

use bytes::Bytes;
use quorate_core::Revision;
use quorate_proto::{ErrorDetails, Reason};
use tokio::{
    sync::watch,
    time::{Instant, Sleep},
};
use tonic::Status;

use super::{
    cursor::{Cursor, Step},
    frame::Frame,
    hub::{Ended, Permit, Tick},
};

/// An open stream.
pub(super) struct Subscription {
    permit: Permit,
    cursor: Cursor,
    ticks: watch::Receiver<Tick>,
    progress: Progress,
}

/// When to send a progress notice.
struct Progress {
    interval: Duration,
    /// When something was sent last; None: nothing yet, and a notice is due as soon as there is
    /// nothing else to send, so that the subscriber has a place to resume from.
    sent: Option<Instant>,
    timer: Pin<Box<Sleep>>,
}

impl Subscription {
    /// Opens a stream.
    pub(super) fn new(permit: Permit, cursor: Cursor, interval: Duration) -> Self {
        let timer = Box::pin(tokio::time::sleep(interval));
        let ticks = permit.0.ticks();
        Self { permit, cursor, ticks, progress: Progress { interval, sent: None, timer } }
    }

    /// The next message. The stream ends only with an error.
    pub(super) async fn next(&mut self) -> Result<Bytes, Status> {
        loop {
            let tick = *self.ticks.borrow_and_update();
            if let Some(ended) = tick.ended {
                return Err(self.end(ended));
            }
            match self.step(tick.revision) {
                Step::Send(frame) => return Ok(self.send(frame)),
                Step::Resync(frame) => {
                    self.permit.0.metrics.resyncs.inc();
                    return Ok(self.send(frame));
                }
                Step::Again => tokio::task::yield_now().await,
                Step::Lost { oldest } => {
                    self.permit.0.metrics.compacted.inc();
                    return Err(compacted(oldest));
                }
                Step::Idle => {
                    if let Some(notice) = self.wait().await? {
                        return Ok(self.send(notice));
                    }
                }
            }
        }
    }

    /// Looks at the newest view, but only when there is something that this stream was told of:
    /// who has sent everything up to the last tick waits for the next.
    fn step(&mut self, told: Revision) -> Step {
        if self.cursor.waits_beyond(told) {
            return Step::Idle;
        }
        self.cursor.step(&self.permit.0.coordinator.view())
    }

    /// Waits for a newer view, or until a progress notice is due.
    async fn wait(&mut self) -> Result<Option<Frame>, Status> {
        if self.progress.sent.is_none() {
            return Ok(self.notice());
        }
        tokio::select! {
            biased;
            changed = self.ticks.changed() => match changed {
                Ok(()) => Ok(None),
                Err(_) => Err(self.end(Ended::Stopping)),
            },
            () = self.progress.due() => Ok(self.notice()),
        }
    }

    fn notice(&self) -> Option<Frame> {
        self.cursor.progress(&self.permit.0.coordinator.view())
    }

    fn send(&mut self, frame: Frame) -> Bytes {
        let metrics = &self.permit.0.metrics;
        metrics.messages.inc();
        metrics.changes.inc_by(u64::try_from(frame.changes).unwrap_or(u64::MAX));
        metrics.bytes.inc_by(u64::try_from(frame.bytes.len()).unwrap_or(u64::MAX));
        self.progress.sent = Some(Instant::now());
        frame.bytes
    }

    fn end(&self, ended: Ended) -> Status {
        self.permit.0.metrics.ended.inc();
        self.permit.0.ending(ended)
    }
}

impl Progress {
    /// Waits until nothing was sent for an interval. The timer is set once an interval, not once a
    /// message.
    async fn due(&mut self) {
        loop {
            self.timer.as_mut().await;
            let now = Instant::now();
            let due = self.sent.map_or(now, |sent| sent + self.interval);
            if due <= now {
                self.timer.as_mut().reset(now + self.interval);
                return;
            }
            self.timer.as_mut().reset(due);
        }
    }
}

/// What a subscriber is told whose place in history is gone.
pub(super) fn compacted(oldest: Revision) -> Status {
    let message = format!("the history that was asked for is gone: it begins at revision {oldest}");
    ErrorDetails::new(Reason::Compacted, message).with_oldest(oldest).into()
}
