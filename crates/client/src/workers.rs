//! Workers: registering, reporting, draining, leaving; moving and releasing what they own.

use std::{collections::BTreeMap, sync::Arc};

use quorate_core::{
    Epoch, Key, Kind, LoadId, Name, PartitionId, Record, RegisterWorker, SessionId, Versioned,
    Worker,
};
use quorate_proto::{ConvertError, convert::record::keyed_record, v1};

use crate::{
    call::{Call, Carried, Operation, Read, Write, rpc},
    client::Client,
};

impl Client {
    /// Registers a worker under a session that the caller holds, or changes what it says of
    /// itself. An error with reason `ALREADY_EXISTS` while another session that lives has the name.
    ///
    /// ```no_run
    /// # async fn example(client: quorate_client::Client) -> Result<(), quorate_client::Error> {
    /// use quorate_client::{SessionOptions, WorkerProfile};
    /// use quorate_core::Name;
    ///
    /// let session = client.open_session(SessionOptions::default()).await?;
    /// let name = Name::new("w1").expect("a valid name");
    /// let profile = WorkerProfile { address: "10.0.0.7:7400".into(), ..Default::default() };
    /// client.register_worker(&name, &session, profile).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn register_worker(
        &self,
        name: &Name,
        session: impl Into<SessionId>,
        profile: WorkerProfile,
    ) -> Call<Register> {
        let WorkerProfile { address, capacity, labels } = profile;
        let (name, session) = (name.clone(), session.into());
        let worker = RegisterWorker { name, session, address, capacity, labels };
        Call::new(self, Register(Arc::new(worker)))
    }

    /// Reports the observed loads of what a session holds, in parts per million of what each could
    /// take. They are written in batches, when they changed enough. Gives how many were taken: what
    /// the session does not own any more is left out.
    pub fn report_loads(
        &self,
        session: impl Into<SessionId>,
        loads: Vec<(LoadId, u64)>,
    ) -> Call<ReportLoads> {
        Call::new(self, ReportLoads { session: session.into(), loads: loads.into() })
    }

    /// Asks a worker to give its partitions away, and grants it no more. Gives how many it is asked
    /// to release.
    pub fn drain_worker(&self, name: &Name) -> Call<DrainWorker> {
        Call::new(self, DrainWorker { name: name.clone(), undrain: false })
    }

    /// Lets a worker take partitions again.
    pub fn undrain_worker(&self, name: &Name) -> Call<DrainWorker> {
        Call::new(self, DrainWorker { name: name.clone(), undrain: true })
    }

    /// Removes a worker; what it owns is nobody's at once. Without a session, only a worker that is
    /// down.
    pub fn leave_worker(&self, name: &Name, session: Option<SessionId>) -> Call<LeaveWorker> {
        Call::new(self, LeaveWorker { name: name.clone(), session })
    }

    /// All workers, by name.
    pub fn list_workers(&self) -> Call<ListWorkers> {
        Call::new(self, ListWorkers)
    }

    /// Asks the owners of partitions to release them, for a worker or (None) for any other. All or
    /// none. Gives how many that changed.
    pub fn move_partitions(
        &self,
        partitions: Vec<PartitionId>,
        target: Option<&Name>,
    ) -> Call<MovePartitions> {
        let target = target.cloned();
        Call::new(self, MovePartitions { partitions: partitions.into(), target })
    }

    /// Gives a partition back, by its owner, which has stopped it. An error with reason
    /// `STALE_EPOCH` when the ownership of that epoch has ended: either it is over, or the partition got or
    /// lost processes and is owned in a later epoch, which the record has and which is released in turn.
    pub fn release_partition(&self, partition: &PartitionId, epoch: Epoch) -> Call<Release> {
        Call::new(self, Release { partition: partition.clone(), epoch })
    }
}

/// What a worker says of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WorkerProfile {
    /// Where its peers reach it, host:port.
    pub address: String,
    /// What it can give.
    pub capacity: quorate_core::Resources,
    /// What placement may ask for, such as zone=a.
    pub labels: BTreeMap<String, String>,
}

/// Registers a worker.
#[derive(Debug, Clone)]
pub struct Register(Arc<RegisterWorker>);

impl Write for Register {}

impl Operation for Register {
    type Output = ();
    rpc!(
        Write,
        worker_service_client::WorkerServiceClient.register(RegisterWorkerRequest)
            -> RegisterWorkerResponse
    );

    fn request(&self, carried: Carried) -> v1::RegisterWorkerRequest {
        let RegisterWorker { name, session, address, capacity, labels } = self.0.as_ref();
        v1::RegisterWorkerRequest {
            name: name.to_string(),
            session: Some((*session).into()),
            address: address.clone(),
            capacity: Some(capacity.into()),
            labels: labels.clone(),
            context: carried.context,
        }
    }

    fn read(&self, _answer: v1::RegisterWorkerResponse) -> Result<(), ConvertError> {
        Ok(())
    }
}

/// Reports loads. Twice is as good as once.
#[derive(Debug, Clone)]
pub struct ReportLoads {
    session: SessionId,
    loads: Arc<[(LoadId, u64)]>,
}

impl Operation for ReportLoads {
    type Output = u32;
    rpc!(
        Repeatable,
        worker_service_client::WorkerServiceClient.report(ReportLoadsRequest)
            -> ReportLoadsResponse
    );

    fn request(&self, _carried: Carried) -> v1::ReportLoadsRequest {
        let load = |(of, load_ppm): &(LoadId, u64)| v1::ObservedLoad {
            of: of.to_string(),
            load_ppm: *load_ppm,
        };
        v1::ReportLoadsRequest {
            session: Some(self.session.into()),
            loads: self.loads.iter().map(load).collect(),
        }
    }

    fn read(&self, answer: v1::ReportLoadsResponse) -> Result<u32, ConvertError> {
        Ok(answer.taken)
    }
}

/// Drains a worker, or ends that.
#[derive(Debug, Clone)]
pub struct DrainWorker {
    name: Name,
    undrain: bool,
}

impl Write for DrainWorker {}

impl Operation for DrainWorker {
    type Output = u32;
    rpc!(
        Write,
        worker_service_client::WorkerServiceClient.drain(DrainWorkerRequest)
            -> DrainWorkerResponse
    );

    fn request(&self, carried: Carried) -> v1::DrainWorkerRequest {
        let (name, undrain) = (self.name.to_string(), self.undrain);
        v1::DrainWorkerRequest { name, undrain, context: carried.context }
    }

    fn read(&self, answer: v1::DrainWorkerResponse) -> Result<u32, ConvertError> {
        Ok(answer.releasing)
    }
}

/// Removes a worker.
#[derive(Debug, Clone)]
pub struct LeaveWorker {
    name: Name,
    session: Option<SessionId>,
}

impl Write for LeaveWorker {}

impl Operation for LeaveWorker {
    type Output = ();
    rpc!(
        Write,
        worker_service_client::WorkerServiceClient.leave(LeaveWorkerRequest)
            -> LeaveWorkerResponse
    );

    fn request(&self, carried: Carried) -> v1::LeaveWorkerRequest {
        v1::LeaveWorkerRequest {
            name: self.name.to_string(),
            session: self.session.map(Into::into),
            context: carried.context,
        }
    }

    fn read(&self, _answer: v1::LeaveWorkerResponse) -> Result<(), ConvertError> {
        Ok(())
    }
}

/// Lists workers.
#[derive(Debug, Clone)]
pub struct ListWorkers;

/// A worker as it is stored, and what there is to know beside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundWorker {
    /// Its name.
    pub name: Name,
    /// As it is stored.
    pub worker: Versioned<Arc<Worker>>,
    /// How many partitions it owns.
    pub partitions: u32,
    /// The load that it reported last, parts per million; 0: none.
    pub load_ppm: u64,
}

impl Read for ListWorkers {}

impl Operation for ListWorkers {
    type Output = Vec<FoundWorker>;
    rpc!(
        Read,
        worker_service_client::WorkerServiceClient.list(ListWorkersRequest)
            -> ListWorkersResponse
    );

    fn request(&self, carried: Carried) -> v1::ListWorkersRequest {
        v1::ListWorkersRequest { read: Some(carried.read.into()) }
    }

    fn read(&self, answer: v1::ListWorkersResponse) -> Result<Vec<FoundWorker>, ConvertError> {
        let read = |(at, summary): (usize, v1::WorkerSummary)| {
            found(summary).map_err(|error| error.within(&format!("workers[{at}]")))
        };
        answer.workers.into_iter().enumerate().map(read).collect()
    }
}

fn found(summary: v1::WorkerSummary) -> Result<FoundWorker, ConvertError> {
    let v1::WorkerSummary { worker, partitions, load_ppm } = summary;
    let record = worker.ok_or_else(|| ConvertError::new("worker", "required"))?;
    let (key, record) = keyed_record(record).map_err(|error| error.within("worker"))?;
    let (name, worker) = worker_of(&key, &record)
        .ok_or_else(|| ConvertError::new("worker", "a record of another kind"))?;
    Ok(FoundWorker { name, worker, partitions, load_ppm })
}

/// A worker of a range's or a watch's records; None when the record is of another kind.
#[must_use]
pub fn worker_of(key: &Key, record: &Versioned<Record>) -> Option<(Name, Versioned<Arc<Worker>>)> {
    let name = Name::new(std::str::from_utf8(&key.bytes).ok()?).ok()?;
    let Versioned { created, modified, version, value } = record;
    match value {
        Record::Worker(worker) if key.kind == Kind::Worker => {
            let (created, modified, version) = (*created, *modified, *version);
            Some((name, Versioned { created, modified, version, value: worker.clone() }))
        }
        _ => None,
    }
}

/// Moves partitions.
#[derive(Debug, Clone)]
pub struct MovePartitions {
    partitions: Arc<[PartitionId]>,
    target: Option<Name>,
}

impl Write for MovePartitions {}

impl Operation for MovePartitions {
    type Output = u32;
    rpc!(
        Write,
        partition_service_client::PartitionServiceClient.r#move(MovePartitionsRequest)
            -> MovePartitionsResponse
    );

    fn request(&self, carried: Carried) -> v1::MovePartitionsRequest {
        v1::MovePartitionsRequest {
            partitions: self.partitions.iter().map(ToString::to_string).collect(),
            target: self.target.clone().map(String::from).unwrap_or_default(),
            context: carried.context,
        }
    }

    fn read(&self, answer: v1::MovePartitionsResponse) -> Result<u32, ConvertError> {
        Ok(answer.changed)
    }
}

/// Gives a partition back.
#[derive(Debug, Clone)]
pub struct Release {
    partition: PartitionId,
    epoch: Epoch,
}

impl Write for Release {}

impl Operation for Release {
    type Output = ();
    rpc!(
        Write,
        partition_service_client::PartitionServiceClient.release(ReleasePartitionRequest)
            -> ReleasePartitionResponse
    );

    fn request(&self, carried: Carried) -> v1::ReleasePartitionRequest {
        v1::ReleasePartitionRequest {
            partition: self.partition.to_string(),
            epoch: Some(self.epoch.into()),
            context: carried.context,
        }
    }

    fn read(&self, _answer: v1::ReleasePartitionResponse) -> Result<(), ConvertError> {
        Ok(())
    }
}
