//! Scaling a network when it is asked for: planned and, when it is to be done, committed.

use std::sync::Arc;

use quorate_core::{Name, Reply, rejection::Reason::StalePlan};
use quorate_proto::{ErrorDetails, Reason, convert::header::Header};
use quorate_storage::View;
use tokio::time::Instant;
use tonic::Status;

use super::{
    error, header,
    network::Networks,
    write::{Sender, wrong_reply},
};
use crate::{
    controller::scaler::{self, ScalePlan},
    planner::PLANS_MAX,
};

impl Networks {
    /// Scales, with another plan when the first one came too late. Tells how many processes changed.
    pub(super) async fn scale_now(
        &self,
        name: &Name,
        sender: &Sender,
    ) -> Result<(Header, ScalePlan, u32), Status> {
        let mut plans = 1;
        loop {
            let (view, header) = self.reader.view(None, sender.deadline).await?;
            let kept = sender.call.as_ref().and_then(|call| view.state.kept_reply(call)).cloned();
            let mut planned = match self.plan_scale_now(view, name, sender.deadline).await {
                // It was done before; the network may be gone since.
                Err(_) if kept.is_some() => ScalePlan::default(),
                planned => planned?,
            };
            let (header, result) = match (kept, planned.command.take()) {
                (Some(outcome), _) => (header, outcome.result),
                (None, None) => return Ok((header, planned, 0)),
                (None, Some(command)) => {
                    let committed = self.writer.propose(command, sender).await?;
                    let header = header::of_write(self.writer.coordinator(), &committed);
                    (header, committed.outcome.result)
                }
            };
            match result {
                Ok(Reply::Changed { changed }) => return Ok((header, planned, changed)),
                Ok(reply) => return Err(wrong_reply(&reply)),
                Err(stale) if stale.reason == StalePlan && plans < PLANS_MAX => plans += 1,
                Err(rejection) => return Err(ErrorDetails::from(rejection).into()),
            }
        }
    }

    /// What would be done.
    pub(super) async fn plan_scale_now(
        &self,
        view: Arc<View>,
        name: &Name,
        deadline: Instant,
    ) -> Result<ScalePlan, Status> {
        let (planner, asked) = (self.reader.coordinator().planner(), name.clone());
        let plan = move || scaler::plan_now(&view.state, &asked);
        let planned = planner.ask(deadline, plan).await.map_err(error::plan)?;
        let planned = planned.map_err(|error| {
            tracing::error!(network = %name, %error, "a network cannot be scaled");
            Status::internal(error)
        })?;
        let missing = || {
            let message = format!("there is no network {name}");
            ErrorDetails::new(Reason::NotFound, message).with_field("name", "must name a network")
        };
        Ok(planned.ok_or_else(missing)?)
    }
}
