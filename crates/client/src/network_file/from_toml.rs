//! Quorate's own format.
//!
//! ```toml
//! [policy]                      # optional, and so are all of its keys
//! partitions = 4                # absent: one per share, or the coordinator's choice
//! strategy = "multilevel"       # absent: the coordinator's choice
//! shares = [4, 2, 1, 1]         # one per partition, each at least 1; absent: all alike
//! pool = "batch"                # of which partitions require what they need; absent: of none
//! tenant = "reports"            # for whom that counts; both or neither
//!
//! [connection]                  # optional, and so are all of its keys: the settings say what is absent
//! attempts_max = 5              # retries in a row; then it has failed
//! backoff_ms = 200              # the first back-off,
//! backoff_factor_percent = 150  # what each is of the one before,
//! backoff_ms_max = 5_000        # and the longest
//! connect_timeout_ms = 3_000    # it must be up so soon
//! request_timeout_ms = 10_000   # what is sent must be answered so soon
//! messages_in_flight_max = 256  # under way, not acknowledged yet
//! bytes_in_flight_max = 1_048_576
//!
//! [[processes]]                 # at least one
//! id = "parse"                  # unique, a name
//! component = "json-parser"     # what runs: 1 to 256 bytes
//! needs = { cpu_millis = 500, memory_bytes = 268435456, gpu = 1 }   # per instance; absent: 0
//! parallelism = { min = 2, max = 8 }    # or one number; absent: 1
//! requires = { zone = "a" }     # labels of the worker; absent: none
//! affinity = "parsing"          # together with all of the same group; absent: none
//! anti_affinity = "sources"     # with none of the same group; absent: none
//!
//! [[connections]]               # optional; at most one per ordered pair
//! from = "ingest"
//! to = "parse"
//! rate = 1000000                # bytes per second; absent: 0
//! ```
//!
//! Invariant: a key that is not known is refused, wherever it is.

use std::collections::BTreeMap;

use quorate_core::{
    ConnectionPolicy, Name, NetworkSpec, Parallelism, PartitionPolicy, Process, Resources,
    label::{LABEL_BYTES_MAX, LABELS_MAX},
    network::{COMPONENT_BYTES_MAX, PARALLELISM_MAX, RESOURCES_MAX},
};

use super::{
    canonical::Processes,
    field::{Field, Invalid},
};

/// The network that a document describes.
pub(super) fn network(root: &Field<'_, '_>) -> Result<NetworkSpec, Invalid> {
    root.only(&["policy", "connection", "processes", "connections"])?;
    let list = root.required("processes")?;
    let mut processes = Processes::default();
    for field in list.items()? {
        processes.add(process(&field)?, &field)?;
    }
    let policy = match root.optional("policy")? {
        Some(field) => policy(&field, list.items()?.len())?,
        None => PartitionPolicy::default(),
    };
    let connections = match root.optional("connections")? {
        Some(list) => connections(&list, &processes)?,
        None => BTreeMap::new(),
    };
    let connection = match root.optional("connection")? {
        Some(field) => connection(&field)?,
        None => ConnectionPolicy::default(),
    };
    let spec = processes.into_spec(connections, policy, &list)?;
    Ok(NetworkSpec { connection, ..spec })
}

fn connection(field: &Field<'_, '_>) -> Result<ConnectionPolicy, Invalid> {
    let mut policy = ConnectionPolicy::default();
    field.only(&policy.fields().map(|(name, _)| name))?;
    for (name, _) in policy.fields() {
        if let Some(field) = field.optional(name)? {
            let (min, max) = ConnectionPolicy::bounds(name);
            let value = field.integer(min, max)?;
            policy.field_mut(name).into_iter().for_each(|it| *it = value);
        }
    }
    if let Some(longest) = field.optional("backoff_ms_max")?
        && policy.backoff_ms_max < policy.backoff_ms
    {
        let (first, given) = (policy.backoff_ms, policy.backoff_ms_max);
        let rule = format!("must be at least backoff_ms, which is {first}, is {given}");
        return Err(longest.invalid(rule));
    }
    Ok(policy)
}

fn policy(field: &Field<'_, '_>, processes: usize) -> Result<PartitionPolicy, Invalid> {
    field.only(&["partitions", "strategy", "shares", "pool", "tenant"])?;
    let mut policy = PartitionPolicy::default();
    if let Some(partitions) = field.optional("partitions")? {
        let number = partitions.integer_u32(1, u32::MAX)?;
        if number as usize > processes {
            let rule = "must be at most the number of processes, which is";
            return Err(partitions.invalid(format!("{rule} {processes}, is {number}")));
        }
        policy.partitions = number;
    }
    if let Some(strategy) = field.optional("strategy")? {
        policy.strategy = strategy.name()?;
    }
    if let Some(list) = field.optional("shares")? {
        policy.shares = shares(&list, policy.partitions as usize, processes)?;
    }
    let (pool, tenant) = (field.optional("pool")?, field.optional("tenant")?);
    match (&pool, &tenant) {
        (Some(pool), None) => return Err(pool.invalid("must be given with tenant".to_owned())),
        (None, Some(tenant)) => return Err(tenant.invalid("must be given with pool".to_owned())),
        _ => {}
    }
    policy.pool = pool.map(|pool| pool.name()).transpose()?;
    policy.tenant = tenant.map(|tenant| tenant.name()).transpose()?;
    Ok(policy)
}

fn shares(field: &Field<'_, '_>, partitions: usize, processes: usize) -> Result<Vec<u32>, Invalid> {
    let items = field.items()?;
    let given = items.len();
    if partitions != 0 && given != partitions {
        return Err(field.invalid(format!("must be one per partition, {partitions}, are {given}")));
    }
    if given == 0 || given > processes {
        let rule = format!("must be 1 to the number of processes, {processes}, are {given}");
        return Err(field.invalid(rule));
    }
    items.map(|share| share.integer_u32(1, u32::MAX)).collect()
}

fn process(field: &Field<'_, '_>) -> Result<Process, Invalid> {
    let keys = ["id", "component", "needs", "parallelism", "requires", "affinity", "anti_affinity"];
    field.only(&keys)?;
    let group = |key| field.optional(key)?.map(|group| group.name()).transpose();
    let component = field.required("component")?.bounded_text(COMPONENT_BYTES_MAX)?.to_owned();
    Ok(Process {
        id: field.required("id")?.name()?,
        component,
        needs: field.optional("needs")?.map_or_else(|| Ok(Resources::default()), |f| needs(&f))?,
        parallelism: match field.optional("parallelism")? {
            Some(bounds) => parallelism(&bounds)?,
            None => Parallelism { min: 1, max: 1 },
        },
        requires: field
            .optional("requires")?
            .map_or_else(|| Ok(BTreeMap::new()), |f| labels(&f))?,
        affinity: group("affinity")?,
        anti_affinity: group("anti_affinity")?,
    })
}

fn needs(field: &Field<'_, '_>) -> Result<Resources, Invalid> {
    let mut needs = Resources::default();
    for (resource, amount) in field.entries()? {
        let name = Name::new(resource).map_err(|_| {
            amount.invalid(format!("a resource's name must match {}", Name::PATTERN))
        })?;
        needs.set(name, amount.integer(0, u64::MAX)?);
    }
    if needs.len() > RESOURCES_MAX {
        let rule = format!("must be at most {RESOURCES_MAX} resources, are {}", needs.len());
        return Err(field.invalid(rule));
    }
    Ok(needs)
}

fn labels(field: &Field<'_, '_>) -> Result<BTreeMap<String, String>, Invalid> {
    let mut labels = BTreeMap::new();
    for (name, value) in field.entries()? {
        if name.is_empty() || name.len() > LABEL_BYTES_MAX {
            let rule =
                format!("a label's name has 1 to {LABEL_BYTES_MAX} bytes, not {}", name.len());
            return Err(field.invalid(rule));
        }
        let text = value.text()?;
        if text.len() > LABEL_BYTES_MAX {
            let rule = format!("must have at most {LABEL_BYTES_MAX} bytes, has {}", text.len());
            return Err(value.invalid(rule));
        }
        labels.insert(name.to_owned(), text.to_owned());
    }
    if labels.len() > LABELS_MAX {
        let rule = format!("must be at most {LABELS_MAX} labels, are {}", labels.len());
        return Err(field.invalid(rule));
    }
    Ok(labels)
}

fn parallelism(field: &Field<'_, '_>) -> Result<Parallelism, Invalid> {
    if !field.is_table() {
        let number = field.integer_u32(1, PARALLELISM_MAX)?;
        return Ok(Parallelism { min: number, max: number });
    }
    field.only(&["min", "max"])?;
    let min = match field.optional("min")? {
        Some(min) => min.integer_u32(1, PARALLELISM_MAX)?,
        None => 1,
    };
    let max = match field.optional("max")? {
        Some(field) => {
            let max = field.integer_u32(1, PARALLELISM_MAX)?;
            if max < min {
                return Err(
                    field.invalid(format!("must be at least min, which is {min}, is {max}"))
                );
            }
            max
        }
        None => min,
    };
    Ok(Parallelism { min, max })
}

const RATES_OVERFLOW: &str = "the sum of all rates must be below 2^64";

fn connections(
    list: &Field<'_, '_>,
    processes: &Processes,
) -> Result<BTreeMap<(Name, Name), u64>, Invalid> {
    let mut rates = BTreeMap::new();
    let mut total = 0_u64;
    for field in list.items()? {
        field.only(&["from", "to", "rate"])?;
        let from = processes.named_by(&field.required("from")?)?;
        let to = processes.named_by(&field.required("to")?)?;
        let rate = match field.optional("rate")? {
            Some(rate) => {
                let bytes = rate.integer(0, u64::MAX)?;
                let sum = total.checked_add(bytes);
                total = sum.ok_or_else(|| rate.invalid(RATES_OVERFLOW))?;
                bytes
            }
            None => 0,
        };
        let rule =
            format!("there is already a connection {from} -> {to}; at most one per ordered pair");
        if rates.insert((from, to), rate).is_some() {
            return Err(field.invalid(rule));
        }
    }
    Ok(rates)
}
