//! Reads, as every service makes them.

use std::sync::Arc;

use quorate_proto::{
    ConvertError,
    convert::{Consistency, Header},
    v1,
};
use quorate_storage::View;
use tokio::time::Instant;
use tonic::{Request, Status};

use super::{deadline, error, header};
use crate::{
    config::Limits,
    coordinator::{Coordinator, Freshness},
};

/// Reads on behalf of clients.
#[derive(Clone)]
pub(super) struct Reader {
    coordinator: Coordinator,
    limits: Limits,
}

impl Reader {
    pub(super) fn new(coordinator: Coordinator, limits: Limits) -> Self {
        Self { coordinator, limits }
    }

    pub(super) fn coordinator(&self) -> &Coordinator {
        &self.coordinator
    }

    /// Takes a request apart into its message and its deadline.
    pub(super) fn open<M>(&self, request: Request<M>) -> (M, Instant) {
        let deadline = deadline::of(request.metadata().as_ref(), &self.limits);
        (request.into_inner(), deadline)
    }

    /// A view that is as fresh as asked, and the header of an answer from it.
    pub(super) async fn view(
        &self,
        options: Option<v1::ReadOptions>,
        deadline: Instant,
    ) -> Result<(Arc<View>, Header), Status> {
        let freshness = freshness(options).map_err(|error| error.within("read"))?;
        let view = self.coordinator.read(freshness, deadline).await;
        let view = view.map_err(|unanswered| error::read(&unanswered))?;
        let header = header::of_view(self.coordinator.member_id(), &view);
        Ok((view, header))
    }
}

fn freshness(options: Option<v1::ReadOptions>) -> Result<Freshness, ConvertError> {
    Ok(match options.map_or(Ok(Consistency::default()), TryInto::try_into)? {
        Consistency::Linearizable => Freshness::Linearizable,
        Consistency::AtLeast(revision) => Freshness::AtLeast(revision),
        Consistency::Local => Freshness::Local,
    })
}
