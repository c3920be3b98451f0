//! `ResourceService`: pools, and what is allocated of them.

use std::{ops::Bound, sync::Arc};

use quorate_core::{
    AllocationId, Command, Key, KeyRange, Kind, Name, Pool, PoolUse, Reason, Record, Rejection,
    Reply, RequestAllocation, State, Versioned,
};
use quorate_proto::{
    ConvertError, ErrorDetails,
    convert::{
        self,
        pool::{allocation_id, required_holder, sums},
        record::{record, resources},
    },
    v1::{self, resource_service_server::ResourceService},
};
use tonic::{Request, Response, Status, async_trait};

use super::{
    page::weight,
    read::Reader,
    write::{Sender, Writer, wrong_reply},
};

/// `ResourceService`.
pub(super) struct Pools {
    pub(super) reader: Reader,
    pub(super) writer: Writer,
    /// The largest answer, bytes.
    pub(super) response_bytes_max: usize,
}

#[async_trait]
impl ResourceService for Pools {
    async fn put_pool(
        &self,
        request: Request<v1::PutPoolRequest>,
    ) -> Result<Response<v1::PutPoolResponse>, Status> {
        let (request, deadline) = self.writer.open(request);
        let name = convert::name(&request.name, "name")?;
        let pool = request.pool.ok_or_else(|| ConvertError::new("pool", "required"))?;
        let pool = Pool::try_from(pool).map_err(|error| error.within("pool"))?;
        let sender = Sender::new(request.context, &(&name, &pool), deadline)?;
        let (header, _) = self.writer.commit(Command::PutPool { name, pool }, &sender).await?;
        Ok(Response::new(v1::PutPoolResponse { header: Some(header.into()) }))
    }

    async fn delete_pool(
        &self,
        request: Request<v1::DeletePoolRequest>,
    ) -> Result<Response<v1::DeletePoolResponse>, Status> {
        let (request, deadline) = self.writer.open(request);
        let name = convert::name(&request.name, "name")?;
        let sender = Sender::new(request.context, &name, deadline)?;
        let (header, _) = self.writer.commit(Command::DeletePool { name }, &sender).await?;
        Ok(Response::new(v1::DeletePoolResponse { header: Some(header.into()) }))
    }

    async fn list_pools(
        &self,
        request: Request<v1::ListPoolsRequest>,
    ) -> Result<Response<v1::ListPoolsResponse>, Status> {
        let (request, deadline) = self.reader.open(request);
        let range = match request.name.as_str() {
            "" => KeyRange::Prefix(Kind::Pool, bytes::Bytes::new()),
            text => KeyRange::Single(Key::pool(&convert::name(text, "name")?)),
        };
        let (view, header) = self.reader.view(request.read, deadline).await?;
        let pools: Vec<_> =
            view.state.range(&range).filter_map(|found| summary(&view.state, found)).collect();
        if pools.is_empty() && matches!(range, KeyRange::Single(_)) {
            let message = format!("no pool {}", request.name);
            return Err(ErrorDetails::from(Rejection::new(Reason::NotFound, message)).into());
        }
        Ok(Response::new(v1::ListPoolsResponse { header: Some(header.into()), pools }))
    }

    async fn request(
        &self,
        request: Request<v1::RequestAllocationRequest>,
    ) -> Result<Response<v1::RequestAllocationResponse>, Status> {
        let (request, deadline) = self.writer.open(request);
        let asked = RequestAllocation {
            pool: convert::name(&request.pool, "pool")?,
            tenant: convert::name(&request.tenant, "tenant")?,
            amount: resources(request.amount, "amount")?,
            priority: request.priority,
            holder: required_holder(request.holder, "holder")?,
            epoch: request.epoch.map(Into::into),
        };
        let sender = Sender::new(request.context, &asked, deadline)?;
        match self.writer.commit(Command::RequestAllocation(asked), &sender).await? {
            (header, Reply::RequestAllocation { id }) => {
                let (header, allocation) = (Some(header.into()), id.to_string());
                Ok(Response::new(v1::RequestAllocationResponse { header, allocation }))
            }
            (_, reply) => Err(wrong_reply(&reply)),
        }
    }

    async fn release(
        &self,
        request: Request<v1::ReleaseAllocationRequest>,
    ) -> Result<Response<v1::ReleaseAllocationResponse>, Status> {
        let (request, deadline) = self.writer.open(request);
        let id = allocation_id(&request.allocation, "allocation")?;
        let epoch = request.epoch.map(Into::into);
        let sender = Sender::new(request.context, &(&id, epoch), deadline)?;
        let command = Command::ReleaseAllocation { id, epoch };
        let (header, _) = self.writer.commit(command, &sender).await?;
        Ok(Response::new(v1::ReleaseAllocationResponse { header: Some(header.into()) }))
    }

    async fn list_allocations(
        &self,
        request: Request<v1::ListAllocationsRequest>,
    ) -> Result<Response<v1::ListAllocationsResponse>, Status> {
        let (request, deadline) = self.reader.open(request);
        let prefix = match request.pool.as_str() {
            "" => String::new(),
            text => format!("{}/", convert::name(text, "pool")?),
        };
        let after = match request.after.as_str() {
            "" => None,
            text => Some(allocation_id(text, "after")?),
        };
        let (view, header) = self.reader.view(request.read, deadline).await?;
        let most = view.state.settings().range_records_max;
        let limit = if request.limit == 0 { most } else { most.min(request.limit.into()) };
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let range = KeyRange::Prefix(Kind::Allocation, prefix.into());
        let bytes_max = self.response_bytes_max;
        let (allocations, more) = page(&view.state, &range, after.as_ref(), limit, bytes_max);
        let header = Some(header.into());
        Ok(Response::new(v1::ListAllocationsResponse { header, allocations, more }))
    }
}

fn summary(
    state: &State,
    (key, found): (&Key, &Arc<Versioned<Record>>),
) -> Option<v1::PoolSummary> {
    let name = std::str::from_utf8(&key.bytes).ok().and_then(|text| Name::new(text).ok())?;
    let none = PoolUse::default();
    let in_use = state.pool_use(&name).unwrap_or(&none);
    let tenants = in_use.tenants.iter().map(|(name, tenant)| {
        let granted = Some(sums(&tenant.granted));
        (name.to_string(), v1::TenantUse { granted, allocations: tenant.allocations })
    });
    Some(v1::PoolSummary {
        pool: Some(record(key, found)),
        granted: Some(sums(&in_use.granted)),
        grants: in_use.grants,
        waiting: in_use.allocations - in_use.grants,
        tenants: tenants.collect(),
    })
}

/// The records of a range after one of them, as far as they fit, and whether there are more. Costs what
/// it gives.
fn page(
    state: &State,
    range: &KeyRange,
    after: Option<&AllocationId>,
    limit: usize,
    bytes_max: usize,
) -> (Vec<v1::Record>, bool) {
    let after = after.map(Key::allocation);
    let start = after.clone().map_or_else(|| first(range), |after| after.max(first(range)));
    let end = bytes::Bytes::new();
    let from = KeyRange::Bounds { kind: Kind::Allocation, start: start.bytes, end };
    let found = state.range(&from).take_while(|(key, _)| range.contains(key));
    let mut found = found.skip_while(|(key, _)| Some(*key) == after.as_ref()).peekable();
    let (mut records, mut bytes) = (Vec::new(), 0);
    while let Some((key, one)) = found.peek() {
        bytes += key.bytes.len() + weight(&one.value);
        if !records.is_empty() && (records.len() >= limit || bytes > bytes_max) {
            break;
        }
        records.push(record(key, one));
        found.next();
    }
    let more = found.peek().is_some();
    (records, more)
}

/// The first key that a range can have.
fn first(range: &KeyRange) -> Key {
    match range.start() {
        Bound::Included(key) | Bound::Excluded(key) => key,
        Bound::Unbounded => Key { kind: range.kind(), bytes: bytes::Bytes::new() },
    }
}
