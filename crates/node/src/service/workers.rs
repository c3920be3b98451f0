//! `WorkerService`: who may own partitions, and how loaded they are.

use std::sync::Arc;

use quorate_core::{
    Command, Key, KeyRange, Kind, Load, LoadId, Name, Reason, Record, RegisterWorker, Rejection,
    Reply, SessionId, State, Versioned, Worker,
};
use quorate_proto::{
    ConvertError, ErrorDetails,
    convert::{
        self,
        record::{record, resources},
        write::required_session,
    },
    v1::{self, worker_service_server::WorkerService},
};
use quorate_storage::View;
use tokio::time::Instant;
use tonic::{Request, Response, Status, async_trait};

use super::{
    error, header,
    plans::Question,
    read::Reader,
    write::{Sender, Writer, wrong_reply},
};
use crate::{
    coordinator::Freshness,
    loads::{Loads, holds},
};

/// `WorkerService`.
pub(super) struct Workers {
    pub(super) reader: Reader,
    pub(super) writer: Writer,
    pub(super) loads: Loads,
}

#[async_trait]
impl WorkerService for Workers {
    async fn register(
        &self,
        request: Request<v1::RegisterWorkerRequest>,
    ) -> Result<Response<v1::RegisterWorkerResponse>, Status> {
        let (request, deadline) = self.writer.open(request);
        let v1::RegisterWorkerRequest { name, session, address, capacity, labels, context } =
            request;
        let command = RegisterWorker {
            name: convert::name(&name, "name")?,
            session: required_session(session, "session")?,
            address,
            capacity: resources(capacity, "capacity")?,
            labels,
        };
        let sender = Sender::new(context, &command, deadline)?;
        let (header, _) = self.writer.commit(Command::RegisterWorker(command), &sender).await?;
        Ok(Response::new(v1::RegisterWorkerResponse { header: Some(header.into()) }))
    }

    async fn report(
        &self,
        request: Request<v1::ReportLoadsRequest>,
    ) -> Result<Response<v1::ReportLoadsResponse>, Status> {
        let (request, deadline) = self.writer.open(request);
        let session = required_session(request.session, "session")?;
        let loads = read_loads(&request.loads)?;
        let mut view = self.writer.coordinator().view();
        let count = loads.len() as u64;
        let known = view.state.session(session).is_some()
            && count <= view.state.settings().reported_loads_max
            && loads.iter().all(|(id, _)| holds(&view.state, session, id));
        if !known {
            // The state here may be old: only the newest one counts.
            view = self.newest(deadline).await?;
        }
        let taken = admit(&view.state, session, loads).map_err(ErrorDetails::from)?;
        let header = header::of_view(self.writer.coordinator().member_id(), &view);
        let response = v1::ReportLoadsResponse {
            header: Some(header.into()),
            taken: u32::try_from(taken.len()).unwrap_or(u32::MAX),
        };
        self.loads.report(session, view.state.revision(), taken);
        Ok(Response::new(response))
    }

    async fn drain(
        &self,
        request: Request<v1::DrainWorkerRequest>,
    ) -> Result<Response<v1::DrainWorkerResponse>, Status> {
        let (request, deadline) = self.writer.open(request);
        let (name, drain) = (convert::name(&request.name, "name")?, !request.undrain);
        let sender = Sender::new(request.context, &(&name, drain), deadline)?;
        match self.writer.commit(Command::DrainWorker { name, drain }, &sender).await? {
            (header, Reply::Changed { changed: releasing }) => {
                let header = Some(header.into());
                Ok(Response::new(v1::DrainWorkerResponse { header, releasing }))
            }
            (_, reply) => Err(wrong_reply(&reply)),
        }
    }

    async fn leave(
        &self,
        request: Request<v1::LeaveWorkerRequest>,
    ) -> Result<Response<v1::LeaveWorkerResponse>, Status> {
        let (request, deadline) = self.writer.open(request);
        let name = convert::name(&request.name, "name")?;
        let session = request.session.map(SessionId::from);
        let sender = Sender::new(request.context, &(&name, session), deadline)?;
        let command = Command::LeaveWorker { name, session };
        let (header, _) = self.writer.commit(command, &sender).await?;
        Ok(Response::new(v1::LeaveWorkerResponse { header: Some(header.into()) }))
    }

    async fn list(
        &self,
        request: Request<v1::ListWorkersRequest>,
    ) -> Result<Response<v1::ListWorkersResponse>, Status> {
        let (request, deadline) = self.reader.open(request);
        let (view, header) = self.reader.view(request.read, deadline).await?;
        let workers = summaries(&view.state);
        Ok(Response::new(v1::ListWorkersResponse { header: Some(header.into()), workers }))
    }

    async fn what_if_lost(
        &self,
        request: Request<v1::WhatIfLostRequest>,
    ) -> Result<Response<v1::WhatIfLostResponse>, Status> {
        let (request, deadline) = self.reader.open(request);
        let name = convert::name(&request.name, "name")?;
        let (view, header) = self.reader.view(request.read, deadline).await?;
        let question = Question { reader: &self.reader, view, deadline };
        let plan = question.worker_lost(name).await?;
        let (header, plan) = (Some(header.into()), Some((&plan).into()));
        Ok(Response::new(v1::WhatIfLostResponse { header, plan }))
    }
}

impl Workers {
    async fn newest(&self, deadline: Instant) -> Result<Arc<View>, Status> {
        let view = self.writer.coordinator().read(Freshness::Linearizable, deadline).await;
        view.map_err(|unanswered| error::read(&unanswered))
    }
}

fn read_loads(loads: &[v1::ObservedLoad]) -> Result<Vec<(LoadId, Load)>, ConvertError> {
    let read = |(at, load): (usize, &v1::ObservedLoad)| {
        let id = LoadId::parse(&load.of).ok_or_else(|| {
            let rule =
                "must be a worker's name, a partition's id such as net/0, or allocation:pool/17";
            ConvertError::new(format!("loads[{at}].of"), rule)
        })?;
        Ok((id, Load { load_ppm: load.load_ppm }))
    };
    loads.iter().enumerate().map(read).collect()
}

/// What of a report is taken. A partition that the session does not own any more was just lost: it
/// is left out. Another one's worker is refused.
fn admit(
    state: &State,
    session: SessionId,
    mut loads: Vec<(LoadId, Load)>,
) -> Result<Vec<(LoadId, Load)>, Rejection> {
    let (count, max) = (loads.len() as u64, state.settings().reported_loads_max);
    if count > max {
        return Err(Rejection::limit("loads", "reported_loads_max", count, max));
    }
    if state.session(session).is_none() {
        let message = format!("session {session} has ended, or never was");
        return Err(Rejection::new(Reason::SessionExpired, message));
    }
    for (at, (id, _)) in loads.iter().enumerate() {
        if matches!(id, LoadId::Worker(_)) && !holds(state, session, id) {
            let message = format!("session {session} does not hold worker {id}");
            let field = format!("loads[{at}].of");
            let reason = Reason::PreconditionFailed;
            return Err(Rejection { field, ..Rejection::new(reason, message) });
        }
    }
    loads.retain(|(id, _)| holds(state, session, id));
    Ok(loads)
}

fn summaries(state: &State) -> Vec<v1::WorkerSummary> {
    let all = KeyRange::Prefix(Kind::Worker, bytes::Bytes::new());
    let summary = |(key, found): (&Key, &Arc<Versioned<Record>>)| {
        let name = std::str::from_utf8(&key.bytes).ok().and_then(|text| Name::new(text).ok())?;
        let Record::Worker(worker) = &found.value else { return None };
        Some(v1::WorkerSummary {
            worker: Some(record(key, found)),
            partitions: owned(state, &name, worker),
            load_ppm: load(state, name),
        })
    };
    state.range(&all).filter_map(summary).collect()
}

/// How many partitions a worker owns, those that it is to release too.
fn owned(state: &State, name: &Name, worker: &Worker) -> u32 {
    let held = worker.session.and_then(|session| state.bound_to(session));
    let owned = held.into_iter().flatten().filter(|key| {
        matches!(state.get(key).map(|record| &record.value), Some(Record::Partition(partition))
            if partition.owner.as_ref().is_some_and(|owner| owner.worker == *name))
    });
    u32::try_from(owned.count()).unwrap_or(u32::MAX)
}

fn load(state: &State, name: Name) -> u64 {
    match state.get(&Key::load(&LoadId::Worker(name))).map(|record| &record.value) {
        Some(Record::Load(load)) => load.load_ppm,
        _ => 0,
    }
}
