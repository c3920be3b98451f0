//! The attempts of one call, and what each that failed means for the next.
//!
//! ```text
//!   failed attempt            without serial     with serial
//!   certainly not applied     again              again
//!   unknown                   Err: unknown       again, same serial
//!   session ended             -                  never unknown before: a new session, else Err
//!   a rejection               Err                Err: the first outcome of the serial
//! ```
//!
//! Invariant: a serial is finished, and with it never applied later, when its call has ended.

use std::time::Duration;

use quorate_core::Revision;
use quorate_proto::{
    ConvertError, Reason,
    convert::{Consistency, Header},
    v1,
};
use tokio::time::{Instant, sleep_until, timeout_at};
use tonic::Code;

use super::{Call, Carried, Operation, Response, Safety};
use crate::{
    error::{CallTrouble, Effect, Error, ErrorKind},
    exactly_once::Ticket,
    pool::{EndpointIndex, Tried, delay},
    sent::{MarkingChannel, SentMark},
};

/// See the module.
pub(super) struct Attempts<'a, O> {
    call: &'a Call<O>,
    effect: Effect,
    started: Instant,
    deadline: Instant,
    only: Option<EndpointIndex>,
    tried: Tried,
    rounds: u32,
    /// An attempt may have been applied.
    tainted: bool,
    /// How long an attempt may take that can be repeated. Grows, so that repeats of writes to a
    /// cluster that is slow do not make it slower.
    patience: Duration,
    /// The serial of a write that is applied at most once.
    ticket: Option<Ticket>,
}

/// What comes after a failed attempt.
enum Next {
    /// Another one.
    Again,
    /// Another one, with a serial of another session.
    Renew,
    /// Nothing.
    End(Error),
}

impl<'a, O: Operation> Attempts<'a, O> {
    pub(super) fn new(call: &'a Call<O>) -> Result<Self, Error> {
        let pool = call.client.pool();
        let only = match &call.options.via {
            None => None,
            Some(endpoint) => Some(pool.find(endpoint).ok_or_else(|| {
                Error::invalid("via", format!("{endpoint} is none of the client's endpoints"))
            })?),
        };
        let effect = match O::SAFETY {
            Safety::Read | Safety::Probe => Effect::None,
            Safety::Write | Safety::Control | Safety::Repeatable => Effect::Write,
        };
        let started = Instant::now();
        let timeout = call.options.timeout.unwrap_or(call.client.config().timeout);
        Ok(Self {
            call,
            effect,
            started,
            deadline: started + timeout,
            only,
            tried: Tried::default(),
            rounds: 0,
            tainted: false,
            patience: call.client.config().attempt_timeout,
            ticket: None,
        })
    }

    pub(super) async fn run(mut self) -> Result<Response<O::Output>, Error> {
        let mut earlier = None;
        loop {
            if self.is_exactly_once() && self.ticket.is_none() {
                let Call { client, options, .. } = self.call;
                let ticket = client.writes().begin(client, options.via.as_ref(), self.deadline);
                self.ticket = Some(ticket.await?);
            }
            let index = self.pick();
            let pool = self.call.client.pool();
            let error = match self.attempt(index).await {
                Ok(response) => {
                    pool.succeeded(index);
                    return Ok(response);
                }
                Err(error) => error.at(pool.endpoint(index)),
            };
            if error.is_retryable() || error.kind() == ErrorKind::OutcomeUnknown {
                pool.failed(index);
            } else {
                pool.succeeded(index);
            }
            tracing::debug!(endpoint = %pool.endpoint(index), %error, "attempt failed");
            match self.next(&error) {
                Next::Again => {}
                Next::Renew => self.ticket = None,
                Next::End(error) => return Err(error),
            }
            if !self.pause(&error).await {
                // An attempt that was cut short says less than the one before it.
                let error = if error.is_cut_short() { earlier.unwrap_or(error) } else { error };
                return Err(self.in_doubt(error));
            }
            earlier = Some(error);
        }
    }

    fn is_exactly_once(&self) -> bool {
        O::SAFETY == Safety::Write && self.call.client.config().exactly_once
    }

    fn pick(&mut self) -> EndpointIndex {
        if let Some(index) = self.only {
            return index;
        }
        let pool = self.call.client.pool();
        if let Some(index) = pool.pick(&mut self.tried) {
            return index;
        }
        self.tried = Tried::default();
        pool.pick(&mut self.tried).expect("a pool is never empty")
    }

    fn next(&mut self, error: &Error) -> Next {
        let trouble = self.ticket.as_ref().and_then(|_| error.call_trouble());
        if let (Some(CallTrouble::SessionEnded), Some(ticket)) = (trouble, &self.ticket) {
            ticket.session_ended();
        }
        match (error.kind(), trouble) {
            (ErrorKind::OutcomeUnknown, trouble) => {
                self.tainted = true;
                if error.code() == Code::DeadlineExceeded {
                    self.patience = self.patience.saturating_mul(2);
                }
                let again = self.ticket.is_some() || O::SAFETY == Safety::Repeatable;
                let elsewhere = error.reason() == Some(Reason::WrongCluster);
                match trouble {
                    None if again && !elsewhere => Next::Again,
                    _ => Next::End(error.clone()),
                }
            }
            (ErrorKind::Unavailable, _) | (_, Some(CallTrouble::WindowFull)) => Next::Again,
            // It was refused whole, and every attempt before it was not applied either.
            (_, Some(CallTrouble::SessionEnded)) if !self.tainted => Next::Renew,
            // What came of this very serial.
            (_, None) if self.ticket.is_some() && error.is_of_apply() => Next::End(error.clone()),
            _ => Next::End(self.in_doubt(error.clone())),
        }
    }

    /// An earlier attempt may have been applied, whatever the last one said.
    fn in_doubt(&self, error: Error) -> Error {
        if self.tainted { error.into_unknown() } else { error }
    }

    /// Waits before the next attempt: not at all while there are endpoints that were not tried,
    /// unless the coordinator says how long. False when there is no time left for another one.
    async fn pause(&mut self, error: &Error) -> bool {
        let untried = self.only.is_none() && self.tried.len() < self.call.client.pool().len();
        let mut wait = Duration::ZERO;
        if !untried {
            wait = delay(self.call.client.config().backoff, self.rounds);
            self.rounds += 1;
        }
        let now = Instant::now();
        let wait = wait.max(error.retry_after().unwrap_or_default());
        if now + wait >= self.deadline {
            return false;
        }
        if wait > Duration::ZERO {
            sleep_until(now + wait).await;
        }
        true
    }

    async fn attempt(&self, index: EndpointIndex) -> Result<Response<O::Output>, Error> {
        let client = &self.call.client;
        let floor = client.seen().revision();
        let now = Instant::now();
        // Giving up an attempt of a write leaves its outcome unknown, unless it can be repeated.
        let left = self.deadline.saturating_duration_since(now);
        let end = match self.effect {
            Effect::Write if self.ticket.is_none() => self.deadline,
            _ => now + left.min(self.patience),
        };
        let carried = Carried { read: self.read_as(floor), context: self.context() };
        let mut request = tonic::Request::new(self.call.operation.request(carried));
        request.set_timeout(end.saturating_duration_since(now));
        let mark = SentMark::default();
        let channel = MarkingChannel::new(client.pool().channel(index), mark.clone());
        let sent = O::send(channel, client.config().message_bytes_max, request);
        let result = timeout_at(end, sent).await;
        // What was not sent changed nothing.
        let effect = if mark.is_set() { self.effect } else { Effect::None };
        let answer = match result {
            Err(_) => return Err(Error::timed_out(effect, self.started.elapsed())),
            Ok(Err(status)) => return Err(Error::from_status(&status, effect)),
            Ok(Ok(answer)) => answer.into_inner(),
        };
        self.accept(answer, floor)
    }

    /// What a change carries, if there is anything to say.
    fn context(&self) -> Option<v1::WriteContext> {
        if self.effect != Effect::Write {
            return None;
        }
        let asked = self.call.client.config().audit(self.call.options.reason.as_deref());
        let Some(ticket) = &self.ticket else { return asked };
        let v1::WriteContext { label, reason, .. } = asked.unwrap_or_default();
        Some(v1::WriteContext { label, reason, ..ticket.context() })
    }

    /// What to ask for, so that the answer is not from before `floor`.
    fn read_as(&self, floor: Revision) -> Consistency {
        match self.call.options.consistency {
            Consistency::Linearizable => Consistency::Linearizable,
            Consistency::AtLeast(revision) => Consistency::AtLeast(revision.max(floor)),
            Consistency::Local if floor > Revision(0) => Consistency::AtLeast(floor),
            Consistency::Local => Consistency::Local,
        }
    }

    fn accept(&self, answer: O::Answer, floor: Revision) -> Result<Response<O::Output>, Error> {
        let unreadable = |error: ConvertError| Error::unreadable(self.effect, &error);
        let header = Header::of(O::header(&answer)).map_err(unreadable)?;
        if O::SAFETY != Safety::Probe {
            let observed = self.call.client.seen().observe(&header);
            observed.map_err(|message| Error::wrong_cluster(self.effect, message))?;
        }
        if O::SAFETY == Safety::Read && header.revision < floor {
            return Err(Error::stale(header.revision, floor));
        }
        let value = self.call.operation.read(answer).map_err(unreadable)?;
        Ok(Response { header, value })
    }
}
