//! Rules that hold in every state.
//!
//! Checked after every command in tests, and whenever a state is loaded. Written against the
//! records alone, without the code of apply, so that a mistake there shows up here. Rules:
//!
//! - revisions: `1 <= created <= modified <= revision`, `1 <= version`; keys are canonical and hold
//!   their kind; settings are within their bounds and in force;
//! - totals: the incremental state hash is the recomputed one;
//! - history: contiguous, ends at the revision, within its limits, and tells of the records as they
//!   are;
//! - sessions: what is bound to one exists with it, replies are within its window; `session.rs`
//!   lists how;
//! - networks: descriptions, partitions, connections and owners fit together; `network.rs` lists how;
//! - the status of connections follows from who owns their ends; `connection.rs` lists how;
//! - pools: what is granted is within what there is; `allocation.rs` lists how.

mod allocation;
mod connection;
mod network;
mod session;
#[cfg(test)]
pub(crate) mod tests;

use std::{collections::BTreeSet, fmt};

use crate::{
    alert::AlertId,
    event::Event,
    hash,
    id::Revision,
    key::{ConnectionId, Key, Kind, LoadId, PartitionId},
    name::Name,
    record::{Record, Versioned},
    setting::{self, Settings},
    state::State,
};

/// A rule that a state breaks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// What breaks it: a key or a part of the state.
    pub subject: String,
    /// The rule, and how it is broken.
    pub detail: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.subject, self.detail)
    }
}

/// The most violations that a check reports.
const VIOLATIONS_MAX: usize = 100;

impl State {
    /// Checks every rule. Costs what the whole state costs to read.
    ///
    /// # Errors
    /// The rules that are broken, the first 100 of them.
    pub fn check(&self) -> Result<(), Vec<Violation>> {
        let mut report = Report::default();
        check_records(self, &mut report);
        check_history(self, &mut report);
        network::check(self, &mut report);
        connection::check(self, &mut report);
        session::check(self, &mut report);
        allocation::check(self, &mut report);
        if report.violations.is_empty() { Ok(()) } else { Err(report.violations) }
    }
}

/// Collects violations.
#[derive(Default)]
struct Report {
    violations: Vec<Violation>,
}

impl Report {
    /// States a rule; says so when it does not hold.
    fn require(&mut self, holds: bool, subject: &dyn fmt::Display, detail: fmt::Arguments<'_>) {
        if !holds && self.violations.len() < VIOLATIONS_MAX {
            let (subject, detail) = (subject.to_string(), detail.to_string());
            self.violations.push(Violation { subject, detail });
        }
    }
}

fn check_records(state: &State, report: &mut Report) {
    let mut sum = 0_u64;
    let mut settings = Settings::default();
    for (key, versioned) in &state.records {
        let Versioned { created, modified, version, value } = versioned.as_ref();
        sum = sum.wrapping_add(hash::record(key, versioned));
        report.require(
            Revision(1) <= *created && created <= modified && *modified <= state.revision,
            key,
            format_args!("1 <= created {created} <= modified {modified} <= {}", state.revision),
        );
        let versions = 1..=modified.0.saturating_sub(created.0).saturating_add(1);
        report.require(
            versions.contains(version),
            key,
            format_args!("version {version} within {versions:?}"),
        );
        report.require(is_canonical(key), key, format_args!("the key is canonical"));
        report.require(
            value.kind() == key.kind,
            key,
            format_args!("holds its kind, not {}", value.kind()),
        );
        if let Record::Setting(text) = value {
            let valid = setting::definition_of(&key.bytes).map(|setting| setting.parse(text));
            report.require(matches!(valid, Some(Ok(_))), key, format_args!("{text:?} is valid"));
            settings.set(&key.bytes, Some(value));
        }
    }
    report.require(sum == state.sum, &"state", format_args!("the records' sum is recomputed"));
    let in_force = *state.settings == settings;
    report.require(in_force, &"state", format_args!("the settings are those of the records"));
}

fn is_canonical(key: &Key) -> bool {
    let text = std::str::from_utf8(&key.bytes);
    match key.kind {
        Kind::Entry => !key.bytes.is_empty(),
        Kind::Worker | Kind::Network | Kind::Setting | Kind::Pool => {
            text.is_ok_and(|text| Name::new(text).is_ok())
        }
        Kind::Partition => text.is_ok_and(|text| PartitionId::parse(text).is_some()),
        Kind::Session => key.as_session().is_some(),
        Kind::Allocation => key.as_allocation().is_some(),
        Kind::Load => text.is_ok_and(|text| LoadId::parse(text).is_some()),
        Kind::Member => text
            .is_ok_and(|text| text.parse().is_ok_and(|id: u64| id > 0 && id.to_string() == text)),
        Kind::Alert => text.is_ok_and(|text| AlertId::parse(text).is_some()),
        // Kept apart.
        Kind::Window | Kind::Reply => false,
        Kind::Connection | Kind::ConnectionStatus => {
            let id = text.ok().and_then(ConnectionId::parse);
            id.is_some_and(|id| id.from != id.to)
        }
    }
}

fn check_history(state: &State, report: &mut Report) {
    let history = state.history();
    let oldest = history.oldest();
    let mut require = |holds: bool, detail: fmt::Arguments<'_>| {
        report.require(holds, &"history", detail);
    };
    let last = oldest.0.saturating_add(history.len() as u64).saturating_sub(1);
    require(last == state.revision.0, format_args!("ends at the revision, not at {last}"));
    let totals = history.recomputed_totals();
    require(totals == history.totals(), format_args!("bytes and hash are recomputed"));
    let limit = state.settings().history_bytes_max;
    require(
        history.len() <= 1 || history.bytes() <= limit,
        format_args!("{} bytes are within {limit}", history.bytes()),
    );
    let age_max = state.settings().history_age_ms_max;
    let age = history.get(oldest).map_or(0, |event| state.time_ms.saturating_sub(event.time_ms));
    require(
        history.len() <= 1 || age <= age_max,
        format_args!("an age of {age} ms is within {age_max}"),
    );
    let contiguous = history.from(oldest).map(|event| event.revision.0);
    require(contiguous.eq(oldest.0..=last), format_args!("its revisions are {oldest} to {last}"));
    let times = history.from(oldest).map(|event| event.time_ms).chain([state.time_ms]);
    require(times.is_sorted(), format_args!("its times are in order, up to the clock"));
    history.from(oldest).for_each(|event| check_event(event, report));
    check_newest_changes(state, report);
}

fn check_event(event: &Event, report: &mut Report) {
    let revision = event.revision;
    let mut keys = BTreeSet::new();
    report.require(!event.changes.is_empty(), &"history", format_args!("{revision} has changes"));
    for change in &event.changes {
        let key = &change.key;
        let (current, previous) = (change.current.as_deref(), change.previous.as_deref());
        let once = keys.insert(key);
        report.require(once, key, format_args!("changes once at {revision}"));
        let some = current.is_some() || previous.is_some();
        report.require(some, key, format_args!("changes at {revision}"));
        let now = current.is_none_or(|record| record.modified == revision);
        let before = previous.is_none_or(|record| record.modified < revision);
        report.require(now && before, key, format_args!("is modified at {revision}"));
        if let (Some(previous), Some(current)) = (previous, current) {
            let continues = current.created == previous.created
                && previous.version.checked_add(1) == Some(current.version);
            report.require(continues, key, format_args!("continues at {revision}"));
        }
        let created = current.is_none_or(|record| (record.created == revision) == change.created());
        report.require(created, key, format_args!("is created at {revision} if it was absent"));
    }
}

/// The newest change of each key in the history is how the key's record is.
fn check_newest_changes(state: &State, report: &mut Report) {
    let mut seen = BTreeSet::new();
    let events: Vec<_> = state.history().from(state.history().oldest()).collect();
    for change in events.into_iter().rev().flat_map(|event| &event.changes) {
        if seen.insert(&change.key) {
            let same = state.get(&change.key) == change.current.as_ref();
            report.require(same, &change.key, format_args!("is as its newest change says"));
        }
    }
}
