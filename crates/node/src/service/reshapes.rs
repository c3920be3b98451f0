//! Splits and merges: planned and, when they are to be done, committed.

use quorate_core::{Name, Reply, plan::Reshaping, rejection::Reason::StalePlan};
use quorate_proto::{
    ConvertError, ErrorDetails, convert::header::Header, convert::write::partition_id, v1,
};
use tokio::time::Instant;
use tonic::Status;

use super::{
    error, header,
    lists::Partitions,
    write::{Sender, wrong_reply},
};
use crate::{
    network::{PlannedReshape, Reshape, plan_reshape, reshaped_at},
    planner::PLANS_MAX,
};

impl Partitions {
    /// What would be done.
    pub(super) async fn plan_reshape(
        &self,
        reshape: Reshape,
        read: Option<v1::ReadOptions>,
        deadline: Instant,
    ) -> Result<(Header, Reshaping), Status> {
        let (header, planned) = self.plan(reshape, read, deadline).await?;
        Ok((header, planned.reshaping))
    }

    /// Does it, with another plan when the first one came too late.
    pub(super) async fn reshape(
        &self,
        reshape: Reshape,
        context: Option<v1::WriteContext>,
        deadline: Instant,
    ) -> Result<(Header, Reshaping), Status> {
        let sender = Sender::new(context, &reshape, deadline)?;
        let mut plans = 1;
        loop {
            if let Some(repeat) = self.repeat(&reshape, &sender).await? {
                return Ok(repeat);
            }
            let planned = match self.plan(reshape.clone(), None, deadline).await {
                Ok((_, planned)) => planned,
                // An attempt that was under way may have come in between.
                Err(refused) => match self.repeat(&reshape, &sender).await? {
                    Some(repeat) => return Ok(repeat),
                    None => return Err(refused),
                },
            };
            let PlannedReshape { command, reshaping } = planned;
            let committed = self.writer.propose(command, &sender).await?;
            let header = header::of_write(self.writer.coordinator(), &committed);
            match committed.outcome.result {
                Ok(Reply::ApplyNetwork { .. }) => return Ok((header, reshaping)),
                Ok(reply) => return Err(wrong_reply(&reply)),
                Err(stale) if stale.reason == StalePlan && plans < PLANS_MAX => plans += 1,
                Err(rejection) => return Err(ErrorDetails::from(rejection).into()),
            }
        }
    }

    /// What came of the request when it was made before.
    async fn repeat(
        &self,
        reshape: &Reshape,
        sender: &Sender,
    ) -> Result<Option<(Header, Reshaping)>, Status> {
        let Some(call) = &sender.call else { return Ok(None) };
        let (view, header) = self.reader.view(None, sender.deadline).await?;
        let Some(kept) = view.state.kept_reply(call) else { return Ok(None) };
        match &kept.result {
            Ok(Reply::ApplyNetwork { .. }) => {
                let name = network(reshape);
                let done = reshaped_at(&view.state, &name, kept.revision);
                Ok(Some((header, done.unwrap_or_else(|| Reshaping::of(&name, &[], 0, 0)))))
            }
            Ok(reply) => Err(wrong_reply(reply)),
            Err(rejection) => Err(ErrorDetails::from(rejection.clone()).into()),
        }
    }

    async fn plan(
        &self,
        reshape: Reshape,
        read: Option<v1::ReadOptions>,
        deadline: Instant,
    ) -> Result<(Header, PlannedReshape), Status> {
        let (view, header) = self.reader.view(read, deadline).await?;
        let planner = self.reader.coordinator().planner();
        let strategies = planner.strategies();
        let plan = move || plan_reshape(&view.state, &strategies, &reshape);
        let planned = planner.ask(deadline, plan).await.map_err(error::plan)?;
        Ok((header, planned.map_err(ErrorDetails::from)?))
    }
}

fn network(reshape: &Reshape) -> Name {
    match reshape {
        Reshape::Split { id, .. } => id.network.clone(),
        // What was committed has at least two.
        Reshape::Merge { ids } => ids[0].network.clone(),
    }
}

/// Reads what is to be split.
pub(super) fn split(partition: &str, into: u32) -> Result<Reshape, ConvertError> {
    Ok(Reshape::Split { id: partition_id(partition, "partition")?, into })
}

/// Reads what is to be merged.
pub(super) fn merge(partitions: &[String]) -> Result<Reshape, ConvertError> {
    let ids = partitions.iter().enumerate();
    let ids = ids.map(|(at, text)| partition_id(text, &format!("partitions[{at}]")));
    Ok(Reshape::Merge { ids: ids.collect::<Result<_, _>>()? })
}
