//! Writes, as every service makes them.

use quorate_core::{
    Call, Command, Origin, Rejection, Reply, Request, Transaction, TransactionReply, digest,
};
use quorate_proto::{
    ErrorDetails,
    convert::{Header, write::write_context},
    v1,
};
use serde::Serialize;
use tokio::time::Instant;
use tonic::Status;

use super::{deadline, error, header};
use crate::{
    config::Limits,
    coordinator::{Committed, Coordinator, Freshness},
    metrics::WriteMetrics,
};

/// Writes on behalf of clients.
#[derive(Clone)]
pub(super) struct Writer {
    coordinator: Coordinator,
    limits: Limits,
    metrics: WriteMetrics,
}

impl Writer {
    pub(super) fn new(coordinator: Coordinator, limits: Limits, metrics: WriteMetrics) -> Self {
        Self { coordinator, limits, metrics }
    }

    /// Through which it writes.
    pub(super) fn coordinator(&self) -> &Coordinator {
        &self.coordinator
    }

    /// Takes a request apart into its message and its deadline.
    pub(super) fn open<M>(&self, request: tonic::Request<M>) -> (M, Instant) {
        let deadline = deadline::of(request.metadata().as_ref(), &self.limits);
        (request.into_inner(), deadline)
    }

    /// Commits a command; a rejection is a status.
    pub(super) async fn commit(
        &self,
        command: Command,
        sender: &Sender,
    ) -> Result<(Header, Reply), Status> {
        let committed = self.propose(command, sender).await?;
        let header = header::of_write(&self.coordinator, &committed);
        Ok((header, committed.outcome.result.map_err(ErrorDetails::from)?))
    }

    /// Commits a transaction; a rejection is a status, which names fields as seen from `path` (empty:
    /// the transaction itself). What apply would refuse whatever the records are is not written to
    /// the log.
    pub(super) async fn transaction(
        &self,
        transaction: Transaction,
        path: &str,
        sender: &Sender,
    ) -> Result<(Header, TransactionReply), Status> {
        let told =
            |rejection: Rejection| Status::from(ErrorDetails::from(rejection.seen_from(path)));
        if transaction.validate(self.coordinator.view().state.settings()).is_err() {
            // The settings here may be old: only the newest ones count.
            let view = self.coordinator.read(Freshness::Linearizable, sender.deadline).await;
            let view = view.map_err(|unanswered| error::read(&unanswered))?;
            // A repeat is answered as it was the first time, whatever the settings are now.
            let call = sender.call.as_ref();
            if call.and_then(|call| view.state.kept_reply(call)).is_none() {
                transaction.validate(view.state.settings()).map_err(told)?;
            }
        }
        let committed = self.propose(Command::Transaction(transaction), sender).await?;
        let header = header::of_write(&self.coordinator, &committed);
        match committed.outcome.result.map_err(told)? {
            Reply::Transaction(reply) => Ok((header, reply)),
            reply => Err(wrong_reply(&reply)),
        }
    }

    /// Commits a command.
    pub(super) async fn propose(
        &self,
        command: Command,
        sender: &Sender,
    ) -> Result<Committed, Status> {
        let _pending = Pending::new(&self.metrics);
        let Sender { deadline, call, origin } = sender.clone();
        self.coordinator.propose(Request { command, call, origin }, deadline).await.map_err(
            |unanswered| {
                self.metrics.failed.with_label_values(&[error::reason(&unanswered)]).inc();
                error::write(&unanswered)
            },
        )
    }
}

/// Who asks for a write, and until when.
#[derive(Debug, Clone)]
pub(super) struct Sender {
    pub(super) deadline: Instant,
    /// Set when it is to be applied at most once.
    pub(super) call: Option<Call>,
    pub(super) origin: Origin,
}

impl Sender {
    /// Reads a request's context; `asked`: everything else of the request.
    pub(super) fn new<T: Serialize>(
        context: Option<v1::WriteContext>,
        asked: &T,
        deadline: Instant,
    ) -> Result<Self, Status> {
        let (call, origin) = write_context(context, || digest(asked))?;
        Ok(Self { deadline, call, origin })
    }
}

/// A reply of another kind than the command's: a fault of this build.
pub(super) fn wrong_reply(reply: &Reply) -> Status {
    tracing::error!(?reply, "the state answered another kind of command");
    Status::internal("the state answered another kind of command")
}

/// Counts a write while it waits, even if its caller goes away.
struct Pending<'a>(&'a WriteMetrics);

impl<'a> Pending<'a> {
    fn new(metrics: &'a WriteMetrics) -> Self {
        metrics.pending.inc();
        Self(metrics)
    }
}

impl Drop for Pending<'_> {
    fn drop(&mut self) {
        self.0.pending.dec();
    }
}
