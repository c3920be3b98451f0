//! `NetworkService`: networks of processes.

use quorate_core::{Command, Key, Name, NetworkSpec, Reply, Revision, State, WorkerState};
use quorate_plan::cluster::WorkerSpec;
use quorate_proto::{
    ConvertError, ErrorDetails, Reason,
    convert::{
        self,
        network::{NetworkNumbers, apply_network_response, network_spec},
        record::{record, resources},
    },
    v1::{self, network_service_server::NetworkService},
};
use tonic::{Request, Response, Status, async_trait};

use super::{
    error, header,
    read::Reader,
    write::{Sender, Writer, wrong_reply},
};
use crate::network::{
    AppliedNetwork, ApplyError, Wanted, apply_network, dry_run, summaries, summary,
};

/// `NetworkService`.
pub(super) struct Networks {
    pub(super) reader: Reader,
    pub(super) writer: Writer,
}

#[async_trait]
impl NetworkService for Networks {
    async fn apply(
        &self,
        request: Request<v1::ApplyNetworkRequest>,
    ) -> Result<Response<v1::ApplyNetworkResponse>, Status> {
        let (mut request, deadline) = self.writer.open(request);
        let context = request.context.take();
        let asked = <(Name, NetworkSpec)>::try_from(request)?;
        let sender = Sender::new(context, &asked, deadline)?;
        let (name, spec) = asked;
        let read = async || self.reader.view(None, deadline).await.map(|(view, _)| view);
        let propose = async |command| self.writer.propose(command, &sender).await;
        let call = sender.call.as_ref();
        let planner = self.writer.coordinator().planner();
        let wanted = Wanted { name, spec, call, deadline };
        let applied = apply_network(planner, wanted, read, propose).await;
        let response = match applied.map_err(status)? {
            AppliedNetwork::Committed { outcome, committed, numbers } => {
                let header = header::of_write(self.writer.coordinator(), &committed);
                apply_network_response(header, outcome, &numbers)
            }
            AppliedNetwork::Unchanged { view, numbers } => {
                let header = header::of_view(self.writer.coordinator().member_id(), &view);
                apply_network_response(header, quorate_core::ApplyOutcome::Unchanged, &numbers)
            }
        };
        Ok(Response::new(response))
    }

    async fn get(
        &self,
        request: Request<v1::GetNetworkRequest>,
    ) -> Result<Response<v1::GetNetworkResponse>, Status> {
        let (request, deadline) = self.reader.open(request);
        let name = convert::name(&request.name, "name")?;
        let (view, header) = self.reader.view(request.read, deadline).await?;
        let (numbers, network) = find(&view.state, &name)?;
        Ok(Response::new(v1::GetNetworkResponse {
            header: Some(header.into()),
            summary: Some((&numbers).into()),
            network: Some(network),
        }))
    }

    async fn list(
        &self,
        request: Request<v1::ListNetworksRequest>,
    ) -> Result<Response<v1::ListNetworksResponse>, Status> {
        let (request, deadline) = self.reader.open(request);
        let (view, header) = self.reader.view(request.read, deadline).await?;
        let networks = summaries(&view.state).iter().map(Into::into).collect();
        Ok(Response::new(v1::ListNetworksResponse { header: Some(header.into()), networks }))
    }

    async fn delete(
        &self,
        request: Request<v1::DeleteNetworkRequest>,
    ) -> Result<Response<v1::DeleteNetworkResponse>, Status> {
        let (request, deadline) = self.writer.open(request);
        let name = convert::name(&request.name, "name")?;
        let sender = Sender::new(request.context, &name, deadline)?;
        match self.writer.commit(Command::DeleteNetwork { name }, &sender).await? {
            (header, Reply::DeleteNetwork { partitions, connections }) => {
                let header = Some(header.into());
                Ok(Response::new(v1::DeleteNetworkResponse { header, partitions, connections }))
            }
            (_, reply) => Err(wrong_reply(&reply)),
        }
    }

    async fn plan(
        &self,
        request: Request<v1::PlanNetworkRequest>,
    ) -> Result<Response<v1::PlanNetworkResponse>, Status> {
        let (request, deadline) = self.reader.open(request);
        let name = convert::name(&request.name, "name")?;
        let spec = network_spec(request.spec)?;
        let (view, header) = self.reader.view(request.read, deadline).await?;
        let partitions_max = view.state.settings().worker_partitions_max;
        let workers = supposed_workers(request.workers, partitions_max)?;
        let workers = (!workers.is_empty()).then_some(workers);
        let planner = self.reader.coordinator().planner();
        let strategies = planner.strategies();
        let plan = move || dry_run(&view.state, &strategies, &name, spec, workers);
        let planned = planner.ask(deadline, plan).await.map_err(error::plan)?;
        let planned = planned.map_err(ErrorDetails::from)?;
        let plan = &planned.plan;
        Ok(Response::new(v1::PlanNetworkResponse {
            header: Some(header.into()),
            outcome: v1::ApplyOutcome::from(plan.outcome).into(),
            network: Some((&planned.numbers).into()),
            before: Some((&plan.before).into()),
            after: Some((&plan.after).into()),
            moves: plan.moves.iter().map(Into::into).collect(),
            placement: Some((&plan.placement).into()),
        }))
    }

    async fn scale(
        &self,
        request: Request<v1::ScaleNetworkRequest>,
    ) -> Result<Response<v1::ScaleNetworkResponse>, Status> {
        let (request, deadline) = self.writer.open(request);
        let name = convert::name(&request.name, "name")?;
        let sender = Sender::new(request.context, &("scale", &name), deadline)?;
        let (header, planned, changed) = self.scale_now(&name, &sender).await?;
        let decisions = planned.decisions.iter().map(Into::into).collect();
        let header = Some(header.into());
        Ok(Response::new(v1::ScaleNetworkResponse { header, decisions, changed }))
    }

    async fn plan_scale(
        &self,
        request: Request<v1::PlanScaleRequest>,
    ) -> Result<Response<v1::PlanScaleResponse>, Status> {
        let (request, deadline) = self.reader.open(request);
        let name = convert::name(&request.name, "name")?;
        let (view, header) = self.reader.view(request.read, deadline).await?;
        let planned = self.plan_scale_now(view, &name, deadline).await?;
        let decisions = planned.decisions.iter().map(Into::into).collect();
        Ok(Response::new(v1::PlanScaleResponse { header: Some(header.into()), decisions }))
    }
}

/// So many workers may be supposed.
const SUPPOSED_MAX: usize = 10_000;

/// The workers that there are supposed to be: active, each with room for as many partitions as any.
fn supposed_workers(
    workers: Vec<v1::SupposedWorker>,
    partitions_max: u64,
) -> Result<Vec<WorkerSpec>, ConvertError> {
    if workers.len() > SUPPOSED_MAX {
        return Err(ConvertError::new("workers", format!("at most {SUPPOSED_MAX}")));
    }
    let worker = |(at, worker): (usize, v1::SupposedWorker)| {
        let field = |name: &str| format!("workers[{at}].{name}");
        Ok(WorkerSpec {
            name: convert::name(&worker.name, &field("name"))?,
            version: Revision(0),
            capacity: resources(worker.capacity, &field("capacity"))?,
            labels: worker.labels,
            partitions_max,
            state: WorkerState::Active,
        })
    };
    workers.into_iter().enumerate().map(worker).collect()
}

fn status(error: ApplyError<Status>) -> Status {
    match error {
        ApplyError::Rejected(rejection) => ErrorDetails::from(rejection).into(),
        ApplyError::NoPlan(no_plan) => error::plan(no_plan),
        ApplyError::Unanswered(status) => status,
    }
}

fn find(state: &State, name: &Name) -> Result<(NetworkNumbers, v1::Record), Status> {
    let key = Key::network(name);
    let found = summary(state, name).zip(state.get(&key));
    let (numbers, network) = found.ok_or_else(|| {
        let message = format!("there is no network {name}");
        ErrorDetails::new(Reason::NotFound, message).with_field("name", "must name a network")
    })?;
    Ok((numbers, record(&key, network)))
}
