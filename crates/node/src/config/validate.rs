//! The rules that a configuration must keep.

use std::{collections::BTreeSet, fmt, ops::RangeInclusive};

use super::{Config, section::Member};

/// A field that breaks a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The field, as a path: `raft.heartbeat_ms`.
    pub field: String,
    /// The rule.
    pub rule: String,
    /// What the field has.
    pub value: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} = {}: must be {}", self.field, self.value, self.rule)
    }
}

/// All problems, a line each.
pub(super) fn list(problems: &[Problem]) -> String {
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

/// Everything that is wrong with a configuration, in the order of its fields.
pub(super) fn problems(config: &Config) -> Vec<Problem> {
    let mut check = Check::default();
    check.require(config.node.id.get() > 0, "node.id", "at least 1", config.node.id);
    let data_dir = &config.node.data_dir;
    let named = !data_dir.as_os_str().is_empty();
    check.require(named, "node.data_dir", "a folder", format!("{:?}", data_dir.display()));
    advertise(config, &mut check);
    members(config, &mut check);
    raft(config, &mut check);
    limits(config, &mut check);
    storage(config, &mut check);
    check.require(!config.log.filter.is_empty(), "log.filter", "a filter such as info", "\"\"");
    health(config, &mut check);
    metrics(config, &mut check);
    check.problems.extend(config.settings.problems());
    check.problems
}

#[derive(Default)]
struct Check {
    problems: Vec<Problem>,
}

impl Check {
    fn require(
        &mut self,
        holds: bool,
        field: impl Into<String>,
        rule: impl Into<String>,
        value: impl ToString,
    ) {
        if !holds {
            let (field, rule) = (field.into(), rule.into());
            self.problems.push(Problem { field, rule, value: value.to_string() });
        }
    }

    fn within(&mut self, field: &str, value: u64, bounds: RangeInclusive<u64>) {
        let rule = format!("from {} to {}", bounds.start(), bounds.end());
        self.require(bounds.contains(&value), field, rule, value);
    }

    fn address(&mut self, field: impl Into<String>, value: &str) {
        self.require(
            is_address(value),
            field,
            "host:port with a port above 0",
            format!("{value:?}"),
        );
    }
}

/// Whether a text is host:port with a port above 0.
pub(crate) fn is_address(text: &str) -> bool {
    text.rsplit_once(':').is_some_and(|(host, port)| {
        !host.is_empty()
            && !host.contains(char::is_whitespace)
            && port.parse::<u16>().is_ok_and(|port| port > 0)
    })
}

fn advertise(config: &Config, check: &mut Check) {
    for (field, address) in
        [("advertise.client", &config.advertise.client), ("advertise.peer", &config.advertise.peer)]
    {
        if let Some(address) = address {
            check.address(field, address);
        }
    }
}

fn members(config: &Config, check: &mut Check) {
    let members = &config.cluster.initial_members;
    let field = "cluster.initial_members";
    let join = &config.cluster.join;
    if join.is_empty() {
        check.require(!members.is_empty(), field, "a list of at least one member", "[]");
    } else {
        let rule = "empty when initial_members is not: a coordinator forms a cluster or joins one";
        check.require(members.is_empty(), "cluster.join", rule, format!("{join:?}"));
    }
    for (at, address) in join.iter().enumerate() {
        check.address(format!("cluster.join[{at}]"), address);
    }
    check.require(members.len() <= 9, field, "a list of at most 9 members", members.len());
    for (at, Member { id, peer, client }) in members.iter().enumerate() {
        check.require(id.get() > 0, format!("{field}[{at}].id"), "at least 1", id);
        check.address(format!("{field}[{at}].peer"), peer);
        check.address(format!("{field}[{at}].client"), client);
    }
    let ids: BTreeSet<_> = members.iter().map(|member| member.id).collect();
    let shown =
        || members.iter().map(|member| member.id.to_string()).collect::<Vec<_>>().join(", ");
    check.require(ids.len() == members.len(), field, "a list without a repeated id", shown());
    let addresses: BTreeSet<_> =
        members.iter().flat_map(|member| [&member.peer, &member.client]).collect();
    let distinct = addresses.len() == 2 * members.len();
    check.require(distinct, field, "a list without a repeated address", shown());
}

fn raft(config: &Config, check: &mut Check) {
    let raft = &config.raft;
    check.within("raft.heartbeat_ms", raft.heartbeat_ms, 5..=10_000);
    let shortest = raft.heartbeat_ms.saturating_mul(3);
    check.require(
        raft.election_ms_min >= shortest,
        "raft.election_ms_min",
        format!("at least 3 x raft.heartbeat_ms = {shortest}"),
        raft.election_ms_min,
    );
    let spread = raft.election_ms_min.saturating_add(raft.heartbeat_ms);
    check.require(
        raft.election_ms_max >= spread,
        "raft.election_ms_max",
        format!("at least raft.election_ms_min + raft.heartbeat_ms = {spread}"),
        raft.election_ms_max,
    );
    check.require(
        raft.election_ms_max <= 120_000,
        "raft.election_ms_max",
        "at most 120000",
        raft.election_ms_max,
    );
    check.within("raft.payload_entries_max", raft.payload_entries_max, 1..=100_000);
    check.within("raft.payload_bytes_max", raft.payload_bytes_max, 1 << 10..=64 << 20);
    check.within("raft.batch_commands_max", wide(raft.batch_commands_max), 1..=100_000);
    check.within("raft.batch_bytes_max", wide(raft.batch_bytes_max), 1 << 10..=16 << 20);
    check.within("raft.checkpoint_entries", raft.checkpoint_entries, 1..=u64::MAX);
    check.within("raft.checkpoint_bytes", raft.checkpoint_bytes, 1 << 10..=u64::MAX);
    check.within("raft.purge_entries", raft.purge_entries, 1..=1_000_000);
    check.within("raft.install_idle_ms_max", raft.install_idle_ms_max, 100..=600_000);
}

fn limits(config: &Config, check: &mut Check) {
    let limits = &config.limits;
    let bytes = 1 << 10..=64 << 20;
    check.within("limits.request_bytes_max", wide(limits.request_bytes_max), bytes.clone());
    check.within("limits.response_bytes_max", wide(limits.response_bytes_max), bytes);
    check.within("limits.proposals_max", wide(limits.proposals_max), 1..=1_000_000);
    check.within("limits.watchers_max", wide(limits.watchers_max), 0..=1_000_000);
    check.within("limits.snapshots_max", wide(limits.snapshots_max), 0..=1_000);
    let idle = limits.snapshot_idle_ms_max;
    check.within("limits.snapshot_idle_ms_max", idle, 100..=3_600_000);
    check.within("limits.plans_max", wide(limits.plans_max), 1..=1_000);
    let streams = u64::from(limits.connection_streams_max);
    check.within("limits.connection_streams_max", streams, 1..=1_000_000);
    check.within("limits.connections_max", wide(limits.connections_max), 1..=1_000_000);
    check.within("limits.deadline_ms_max", limits.deadline_ms_max, 1..=3_600_000);
    let default = limits.deadline_ms_default;
    check.within("limits.deadline_ms_default", default, 1..=limits.deadline_ms_max.max(1));
}

fn storage(config: &Config, check: &mut Check) {
    check.within("storage.cache_bytes", config.storage.cache_bytes, 1 << 20..=1 << 40);
    check.within("storage.tail_bytes_max", wide(config.storage.tail_bytes_max), 1 << 16..=1 << 40);
}

fn health(config: &Config, check: &mut Check) {
    let (url, timeout_ms) = (&config.health.webhook_url, config.health.webhook_timeout_ms);
    let field = "health.webhook_url";
    let rule = "empty, or http://host:port with a path or without: nothing else is spoken";
    check.require(url.is_empty() || is_plain_url(url), field, rule, format!("{url:?}"));
    check.within("health.webhook_timeout_ms", timeout_ms, 10..=60_000);
}

fn metrics(config: &Config, check: &mut Check) {
    let metrics = &config.metrics;
    check.within("metrics.networks_max", wide(metrics.networks_max), 0..=100_000);
    check.within("metrics.pools_max", wide(metrics.pools_max), 0..=100_000);
    check.within("metrics.resources_max", wide(metrics.resources_max), 0..=1_000);
}

/// Whether a text is http://host:port, with a path or without.
fn is_plain_url(text: &str) -> bool {
    let Ok(url) = text.parse::<http::Uri>() else { return false };
    let authority = url.authority().map_or("", http::uri::Authority::as_str);
    url.scheme() == Some(&http::uri::Scheme::HTTP)
        && !authority.contains('@')
        && is_address(authority)
}

fn wide(value: usize) -> u64 {
    u64::try_from(value).unwrap_or(u64::MAX)
}
