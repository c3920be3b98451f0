//! Pools of resources: putting, deleting and listing them; asking for what they have, and giving it
//! back.

use std::sync::Arc;

use quorate_core::{
    Allocation, AllocationId, Epoch, Holder, Key, KeyedRecord, Kind, Name, Pool, Record,
    RequestAllocation, Resources, Versioned,
};
use quorate_proto::{
    ConvertError,
    convert::{
        name,
        pool::allocation_id,
        record::{keyed_record, keyed_records, resources},
    },
    v1,
};

use crate::{
    call::{Call, Carried, Operation, Read, Write, rpc},
    client::Client,
};

impl Client {
    /// Creates or replaces a pool. An error with reason `CAPACITY_EXCEEDED` when more is granted of it
    /// than there would be.
    ///
    /// ```no_run
    /// # async fn example(client: quorate_client::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// use quorate_client::SessionOptions;
    /// use quorate_core::{Holder, Name, Pool, RequestAllocation, Tenant};
    ///
    /// let (pool, tenant) = (Name::new("batch")?, Name::new("reports")?);
    /// let shared = Pool {
    ///     capacity: [(Name::new("cpu_millis")?, 16_000)].into_iter().collect(),
    ///     tenants: [(tenant.clone(), Tenant::default())].into(),
    ///     ..Pool::default()
    /// };
    /// client.put_pool(&pool, shared).await?;
    /// let session = client.open_session(SessionOptions::default()).await?;
    /// let asked = RequestAllocation {
    ///     pool,
    ///     tenant,
    ///     amount: [(Name::new("cpu_millis")?, 2_000)].into_iter().collect(),
    ///     priority: 0,
    ///     holder: Holder::Session(session.id()),
    ///     epoch: None,
    /// };
    /// let id = client.request_allocation(asked).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn put_pool(&self, name: &Name, pool: Pool) -> Call<PutPool> {
        Call::new(self, PutPool { name: name.clone(), pool: Arc::new(pool) })
    }

    /// Deletes a pool. An error with reason `PRECONDITION_FAILED` while it has allocations.
    pub fn delete_pool(&self, name: &Name) -> Call<DeletePool> {
        Call::new(self, DeletePool(name.clone()))
    }

    /// All pools, by name, with what is granted of them.
    pub fn list_pools(&self) -> Call<ListPools> {
        Call::new(self, ListPools)
    }

    /// Asks for an amount of a pool. It waits until it is granted: its record says when, so watch that or
    /// list it. Gives which it is.
    pub fn request_allocation(&self, asked: RequestAllocation) -> Call<RequestOne> {
        Call::new(self, RequestOne(Arc::new(asked)))
    }

    /// Gives an allocation back, or (without an epoch) withdraws one that waits. An error with reason
    /// `STALE_EPOCH` when that is not its epoch now.
    pub fn release_allocation(&self, id: &AllocationId, epoch: Option<Epoch>) -> Call<ReleaseOne> {
        Call::new(self, ReleaseOne { id: id.clone(), epoch })
    }

    /// Allocations of one pool, or of all, in the order of their keys: those after one of them, as many
    /// as one answer holds.
    pub fn list_allocations(
        &self,
        pool: Option<&Name>,
        after: Option<&AllocationId>,
    ) -> Call<ListAllocations> {
        Call::new(self, ListAllocations { pool: pool.cloned(), after: after.cloned() })
    }
}

/// Creates or replaces a pool.
#[derive(Debug, Clone)]
pub struct PutPool {
    name: Name,
    pool: Arc<Pool>,
}

impl Write for PutPool {}

impl Operation for PutPool {
    type Output = ();
    rpc!(
        Write,
        resource_service_client::ResourceServiceClient.put_pool(PutPoolRequest)
            -> PutPoolResponse
    );

    fn request(&self, carried: Carried) -> v1::PutPoolRequest {
        let (name, pool) = (self.name.to_string(), Some(self.pool.as_ref().into()));
        v1::PutPoolRequest { name, pool, context: carried.context }
    }

    fn read(&self, _answer: v1::PutPoolResponse) -> Result<(), ConvertError> {
        Ok(())
    }
}

/// Deletes a pool.
#[derive(Debug, Clone)]
pub struct DeletePool(Name);

impl Write for DeletePool {}

impl Operation for DeletePool {
    type Output = ();
    rpc!(
        Write,
        resource_service_client::ResourceServiceClient.delete_pool(DeletePoolRequest)
            -> DeletePoolResponse
    );

    fn request(&self, carried: Carried) -> v1::DeletePoolRequest {
        v1::DeletePoolRequest { name: self.0.to_string(), context: carried.context }
    }

    fn read(&self, _answer: v1::DeletePoolResponse) -> Result<(), ConvertError> {
        Ok(())
    }
}

/// Lists pools.
#[derive(Debug, Clone)]
pub struct ListPools;

/// A pool as it is stored, and what is granted of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundPool {
    /// Its name.
    pub name: Name,
    /// As it is stored.
    pub pool: Versioned<Arc<Pool>>,
    /// All grants together, those that are asked back too.
    pub granted: Resources,
    /// How many allocations have a grant.
    pub grants: u64,
    /// How many wait.
    pub waiting: u64,
    /// What each tenant has, by name; only those that have allocations.
    pub tenants: Vec<FoundTenant>,
}

/// What a tenant has of a pool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundTenant {
    /// Its name.
    pub name: Name,
    /// All its grants together.
    pub granted: Resources,
    /// How many allocations it has, those that wait too.
    pub allocations: u64,
}

impl Read for ListPools {}

impl Operation for ListPools {
    type Output = Vec<FoundPool>;
    rpc!(
        Read,
        resource_service_client::ResourceServiceClient.list_pools(ListPoolsRequest)
            -> ListPoolsResponse
    );

    fn request(&self, carried: Carried) -> v1::ListPoolsRequest {
        v1::ListPoolsRequest { name: String::new(), read: Some(carried.read.into()) }
    }

    fn read(&self, answer: v1::ListPoolsResponse) -> Result<Vec<FoundPool>, ConvertError> {
        let read = |(at, summary): (usize, v1::PoolSummary)| {
            found_pool(summary).map_err(|error| error.within(&format!("pools[{at}]")))
        };
        answer.pools.into_iter().enumerate().map(read).collect()
    }
}

fn found_pool(summary: v1::PoolSummary) -> Result<FoundPool, ConvertError> {
    let v1::PoolSummary { pool, granted, grants, waiting, tenants } = summary;
    let record = pool.ok_or_else(|| ConvertError::new("pool", "required"))?;
    let (key, record) = keyed_record(record).map_err(|error| error.within("pool"))?;
    let (pool_name, pool) = pool_of(&key, &record)
        .ok_or_else(|| ConvertError::new("pool", "a record of another kind"))?;
    let tenant = |(text, tenant): (String, v1::TenantUse)| {
        Ok(FoundTenant {
            name: name(&text, "tenants")?,
            granted: resources(tenant.granted, "tenants")?,
            allocations: tenant.allocations,
        })
    };
    let tenants = tenants.into_iter().map(tenant).collect::<Result<_, ConvertError>>()?;
    let granted = resources(granted, "granted")?;
    Ok(FoundPool { name: pool_name, pool, granted, grants, waiting, tenants })
}

/// Asks for an allocation.
#[derive(Debug, Clone)]
pub struct RequestOne(Arc<RequestAllocation>);

impl Write for RequestOne {}

impl Operation for RequestOne {
    type Output = AllocationId;
    rpc!(
        Write,
        resource_service_client::ResourceServiceClient.request(RequestAllocationRequest)
            -> RequestAllocationResponse
    );

    fn request(&self, carried: Carried) -> v1::RequestAllocationRequest {
        let RequestAllocation { pool, tenant, amount, priority, holder, epoch } = self.0.as_ref();
        v1::RequestAllocationRequest {
            pool: pool.to_string(),
            tenant: tenant.to_string(),
            amount: Some(amount.into()),
            priority: *priority,
            holder: Some(holder.into()),
            epoch: epoch.map(Into::into),
            context: carried.context,
        }
    }

    fn read(&self, answer: v1::RequestAllocationResponse) -> Result<AllocationId, ConvertError> {
        allocation_id(&answer.allocation, "allocation")
    }
}

/// Gives an allocation back.
#[derive(Debug, Clone)]
pub struct ReleaseOne {
    id: AllocationId,
    epoch: Option<Epoch>,
}

impl Write for ReleaseOne {}

impl Operation for ReleaseOne {
    type Output = ();
    rpc!(
        Write,
        resource_service_client::ResourceServiceClient.release(ReleaseAllocationRequest)
            -> ReleaseAllocationResponse
    );

    fn request(&self, carried: Carried) -> v1::ReleaseAllocationRequest {
        v1::ReleaseAllocationRequest {
            allocation: self.id.to_string(),
            epoch: self.epoch.map(Into::into),
            context: carried.context,
        }
    }

    fn read(&self, _answer: v1::ReleaseAllocationResponse) -> Result<(), ConvertError> {
        Ok(())
    }
}

/// Lists allocations.
#[derive(Debug, Clone)]
pub struct ListAllocations {
    pool: Option<Name>,
    after: Option<AllocationId>,
}

/// Allocations, as many as one answer holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AllocationPage {
    /// In the order of their keys.
    pub allocations: Vec<FoundAllocation>,
    /// Whether there are more after these.
    pub more: bool,
}

/// An allocation as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundAllocation {
    /// Which.
    pub id: AllocationId,
    /// As it is stored.
    pub allocation: Versioned<Arc<Allocation>>,
}

impl FoundAllocation {
    /// Who holds it: a session's id, or a partition's.
    #[must_use]
    pub fn holder(&self) -> String {
        match &self.allocation.value.holder {
            Holder::Session(session) => session.to_string(),
            Holder::Partition(id) => id.to_string(),
        }
    }
}

impl Read for ListAllocations {}

impl Operation for ListAllocations {
    type Output = AllocationPage;
    rpc!(
        Read,
        resource_service_client::ResourceServiceClient.list_allocations(ListAllocationsRequest)
            -> ListAllocationsResponse
    );

    fn request(&self, carried: Carried) -> v1::ListAllocationsRequest {
        v1::ListAllocationsRequest {
            pool: self.pool.as_ref().map(ToString::to_string).unwrap_or_default(),
            after: self.after.as_ref().map(ToString::to_string).unwrap_or_default(),
            limit: 0,
            read: Some(carried.read.into()),
        }
    }

    fn read(&self, answer: v1::ListAllocationsResponse) -> Result<AllocationPage, ConvertError> {
        let found = |(key, record): KeyedRecord| {
            allocation_of(&key, &record)
                .ok_or_else(|| ConvertError::new("allocations", "a record of another kind"))
        };
        let records = keyed_records(answer.allocations, "allocations")?;
        let allocations = records.into_iter().map(found).collect::<Result<_, _>>()?;
        Ok(AllocationPage { allocations, more: answer.more })
    }
}

/// A pool of a range's or a watch's records; None when the record is of another kind.
#[must_use]
pub fn pool_of(key: &Key, record: &Versioned<Record>) -> Option<(Name, Versioned<Arc<Pool>>)> {
    let name = Name::new(std::str::from_utf8(&key.bytes).ok()?).ok()?;
    let Versioned { created, modified, version, value } = record;
    match value {
        Record::Pool(pool) if key.kind == Kind::Pool => {
            let (created, modified, version) = (*created, *modified, *version);
            Some((name, Versioned { created, modified, version, value: pool.clone() }))
        }
        _ => None,
    }
}

/// An allocation of a range's or a watch's records; None when the record is of another kind.
#[must_use]
pub fn allocation_of(key: &Key, record: &Versioned<Record>) -> Option<FoundAllocation> {
    let id = key.as_allocation()?;
    let Versioned { created, modified, version, value } = record;
    match value {
        Record::Allocation(allocation) => {
            let (created, modified, version) = (*created, *modified, *version);
            let allocation = Versioned { created, modified, version, value: allocation.clone() };
            Some(FoundAllocation { id, allocation })
        }
        _ => None,
    }
}
