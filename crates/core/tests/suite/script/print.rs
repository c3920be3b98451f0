//! Writes what a command did and what a state holds, for people to compare.

use std::fmt::Write as _;

use quorate_core::{
    Applied, Change, ConnectionPolicy, Entry, Key, KeyedRecord, OperationReply, Record, Reply,
    Resources, Settings, State, Versioned,
};

pub(super) fn applied(applied: &Applied) -> String {
    let revision = applied.outcome.revision;
    let mut text = match &applied.outcome.result {
        Ok(reply) => format!("ok @{revision}: {}\n", self::reply(reply)),
        Err(rejection) => {
            let quorate_core::Rejection { reason, field, rule, message } = rejection;
            format!("{reason} @{revision}: field {field:?}, rule {rule:?}, message {message:?}\n")
        }
    };
    let changes = applied.event.iter().flat_map(|event| &event.changes);
    text.extend(changes.map(change));
    text
}

pub(super) fn state(state: &State) -> String {
    let mut text = format!("state @{} at {} ms\n", state.revision(), state.time_ms());
    text.extend(state.records().map(|(key, record)| format!("  {}\n", keyed(key, record))));
    text
}

pub(super) fn history(state: &State) -> String {
    let history = state.history();
    let mut text = format!("history from @{}, {} bytes\n", history.oldest(), history.bytes());
    for event in history.from(history.oldest()) {
        let (revision, changes) = (event.revision, event.changes.len());
        writeln!(text, "  @{revision} at {} ms: {changes} changes", event.time_ms).unwrap();
    }
    text
}

fn change(change: &Change) -> String {
    match (&change.previous, &change.current) {
        (None, Some(current)) => format!("+ {}\n", keyed(&change.key, current)),
        (Some(previous), Some(current)) => {
            format!("~ {}, was {}\n", keyed(&change.key, current), versioned(previous))
        }
        (Some(previous), None) => format!("- {}, was {}\n", change.key, versioned(previous)),
        (None, None) => panic!("{} did not change", change.key),
    }
}

fn reply(reply: &Reply) -> String {
    match reply {
        Reply::ApplyNetwork { outcome, generation } => {
            format!("{outcome:?}, generation {generation}")
        }
        Reply::DeleteNetwork { partitions, connections } => {
            format!("deleted {partitions} partitions, {connections} connections")
        }
        Reply::OpenSession { id, ttl_ms } => format!("session {id} for {ttl_ms} ms"),
        Reply::Done => "done".to_owned(),
        Reply::Changed { changed } => format!("changed {changed}"),
        Reply::ReportConnections { changed, stale } => format!("changed {changed}, stale {stale}"),
        Reply::RequestAllocation { id } => format!("allocation {id}"),
        Reply::Transaction(reply) => {
            let results: Vec<String> = reply.results.iter().map(result).collect();
            let branch = if reply.succeeded { "then" } else { "else" };
            format!("{branch} [{}]", results.join("; "))
        }
    }
}

fn result(result: &OperationReply) -> String {
    match result {
        OperationReply::Get { records, more } => {
            format!("get {}{}", list(records), if *more { " and more" } else { "" })
        }
        OperationReply::Put { previous: None } => "put".to_owned(),
        OperationReply::Put { previous: Some(previous) } => {
            format!("put, was {}", versioned(previous))
        }
        OperationReply::Delete { deleted, previous } if previous.is_empty() => {
            format!("deleted {deleted}")
        }
        OperationReply::Delete { deleted, previous } => {
            format!("deleted {deleted}: {}", list(previous))
        }
    }
}

fn list(records: &[KeyedRecord]) -> String {
    let records: Vec<_> = records.iter().map(|(key, record)| keyed(key, record)).collect();
    if records.is_empty() { "nothing".to_owned() } else { records.join(", ") }
}

fn keyed(key: &Key, record: &Versioned<Record>) -> String {
    format!("{key} = {}", versioned(record))
}

fn versioned(record: &Versioned<Record>) -> String {
    let Versioned { created, modified, version, value } = record;
    format!("{} ({created} {modified} {version})", self::value(value))
}

fn value(record: &Record) -> String {
    match record {
        Record::Entry(Entry { value, .. }) if value.len() > 20 => format!("{} bytes", value.len()),
        Record::Entry(Entry { value, session }) => {
            let bound = session.map(|id| format!(" while {id}")).unwrap_or_default();
            format!("{:?}{bound}", String::from_utf8_lossy(value))
        }
        Record::Session(session) => format!("{} ms {:?}", session.ttl_ms, session.label),
        Record::Load(load) => format!("{} ppm", load.load_ppm),
        Record::Member(member) => format!("{member:?}"),
        Record::Pool(pool) => format!("{pool:?}"),
        Record::Allocation(allocation) => format!("{allocation:?}"),
        Record::Alert(alert) => format!("{alert:?}"),
        Record::Window(_) | Record::Reply(_) => panic!("no caller sees {record:?}"),
        Record::Setting(text) => text.to_string(),
        Record::Worker(worker) => format!("{worker:?}"),
        Record::Network(network) => {
            let spec = &network.spec;
            format!(
                "network: generation {}, {} processes, {} edges, {} partitions by {}",
                network.generation,
                spec.processes.len(),
                spec.connections.len(),
                spec.policy.partitions,
                spec.policy.strategy,
            )
        }
        Record::Partition(partition) => {
            let processes = partition.processes.iter();
            let processes: Vec<_> =
                processes.map(|p| format!("{}x{}", p.id, p.parallelism)).collect();
            let (demand, load) = (resources(&partition.demand), partition.load_ppm);
            let labels = partition.requires.iter().map(|(name, value)| format!(" @{name}={value}"));
            let groups = partition.apart.iter().map(|group| format!(" apart={group}"));
            let constraints: String = labels.chain(groups).collect();
            let state = partition.state;
            format!("[{}] {demand}{constraints} {load} ppm, {state:?}", processes.join(" "))
        }
        Record::Connection(connection) => {
            let edges = connection.edges.iter();
            let edges: Vec<_> = edges.map(|e| format!("{}>{} {}", e.from, e.to, e.rate)).collect();
            format!("[{}]{}", edges.join(", "), policy(&connection.policy))
        }
        Record::ConnectionStatus(status) => {
            let (from, to) = (status.from.epoch, status.to.epoch);
            let state = status.state.as_str();
            let retry = match status.retry_at_ms {
                0 => String::new(),
                at => format!(", retried at {at} ms"),
            };
            let (attempts, since) = (status.attempts, status.since_ms);
            let error = &status.error;
            format!("{from}->{to} {state} since {since} ms, attempts {attempts}{retry} {error:?}")
        }
    }
}

/// What differs from the default settings.
fn policy(policy: &ConnectionPolicy) -> String {
    let defaults = ConnectionPolicy::default().resolved(&Settings::default()).fields();
    let fields = policy.fields().into_iter().zip(defaults);
    let differing = fields.filter(|(field, default)| field != default);
    differing.map(|((name, value), _)| format!(" {name}={value}")).collect()
}

fn resources(resources: &Resources) -> String {
    let amounts: Vec<_> = resources.iter().map(|(name, n)| format!("{name}={n}")).collect();
    format!("{{{}}}", amounts.join(" "))
}
