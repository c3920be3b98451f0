//! Settings: limits and intervals that are changed at run time, through the log.
//!
//! Owns the one list of settings with their defaults, bounds and units, and the reading of their
//! text. A setting that is not stored, or was deleted, has its default.
//!
//! Invariant: no setting can be set so low that settings can no longer be changed.

use std::ops::RangeInclusive;

use crate::{name::Name, record::Record};

/// What can be set.
#[derive(Debug, Clone, Copy)]
pub struct SettingDefinition {
    /// The name; its last words are the unit and the kind of bound.
    pub name: &'static str,
    /// What it does.
    pub description: &'static str,
    /// In force when it is not set.
    pub default: u64,
    /// The smallest value allowed.
    pub min: u64,
    /// The largest value allowed.
    pub max: u64,
}

/// The text is no value of a setting.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSetting {
    /// There is no such setting.
    #[error("no setting has this name")]
    Unknown,
    /// The text is not a number in plain decimal digits.
    #[error("must be a whole number in decimal digits")]
    NotANumber,
    /// The number is out of the setting's bounds.
    #[error("must be from {min} to {max}")]
    OutOfBounds {
        /// The smallest value allowed.
        min: u64,
        /// The largest value allowed.
        max: u64,
    },
}

macro_rules! settings {
    ($(#[doc = $description:literal] $name:ident = $default:expr, $bounds:expr;)+) => {
        /// The settings in force: typed, with defaults filled in.
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub struct Settings {
            $(#[doc = $description] pub $name: u64,)+
        }

        /// All settings, by name.
        pub const SETTINGS: &[SettingDefinition] = &[$({
            const BOUNDS: RangeInclusive<u64> = $bounds;
            SettingDefinition {
                name: stringify!($name),
                description: $description.trim_ascii(),
                default: $default,
                min: *BOUNDS.start(),
                max: *BOUNDS.end(),
            }
        }),+];

        impl Default for Settings {
            fn default() -> Self {
                Self { $($name: $default),+ }
            }
        }

        impl Settings {
            /// The value in force; None when there is no such setting.
            #[must_use]
            pub fn get(&self, name: &Name) -> Option<u64> {
                match name.as_str() {
                    $(stringify!($name) => Some(self.$name),)+
                    _ => None,
                }
            }

            fn slot(&mut self, name: &str) -> Option<&mut u64> {
                match name {
                    $(stringify!($name) => Some(&mut self.$name),)+
                    _ => None,
                }
            }
        }
    };
}

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;

settings! {
    /// Most alerts that are raised at a time.
    alerts_max = 10_000, 1..=100_000;
    /// Most allocations of one pool, those that wait too.
    allocations_max = 100_000, 1..=10_000_000;
    /// How far a worker's load may be above its fair share before anything is moved, parts per million.
    balance_above_ppm = 50_000, 1_000..=10_000_000;
    /// How far a worker's load may be below its fair share before anything is moved, parts per million.
    balance_below_ppm = 100_000, 1_000..=1_000_000;
    /// How long a partition stays once it was granted, or got or lost processes, unless it must leave, milliseconds; no longer than the history goes back.
    balance_cooldown_ms = 300_000, 0..=30 * 24 * 3_600_000;
    /// Whether owners are asked for partitions that should be elsewhere: 1, or 0.
    balance_enabled = 1, 0..=1;
    /// Nothing is moved for traffic whose gain is below this share of all traffic, parts per million.
    balance_gain_ppm_min = 100, 0..=1_000_000;
    /// How often it is looked for something to move, milliseconds.
    balance_interval_ms = 10_000, 100..=24 * 3_600_000;
    /// Most of all load that may be on its way at a time for balance and traffic, parts per million.
    balance_moved_load_ppm_max = 90_000, 1..=1_000_000;
    /// Most of all partitions that may be on their way at a time for balance and traffic, parts per million.
    balance_moved_ppm_max = 50_000, 1..=1_000_000;
    /// Most bytes that the changes of one command may have, as they were before and after.
    command_bytes_max = 64 * MIB, KIB..=128 * MIB;
    /// Most changes that one command may make.
    command_changes_max = 250_000, 1..=1_000_000;
    /// Most retries of a connection in a row; then it has failed. For networks that do not say.
    connection_attempts_max = 10, 1..=1_000;
    /// What each back-off of a connection is of the one before, percent. For networks that do not say.
    connection_backoff_factor_percent = 200, 100..=1_000;
    /// The first back-off of a connection, milliseconds. For networks that do not say.
    connection_backoff_ms = 500, 1..=3_600_000;
    /// The longest back-off of a connection, milliseconds. For networks that do not say.
    connection_backoff_ms_max = 60_000, 1..=24 * 3_600_000;
    /// Most bytes under way on a connection, not acknowledged yet. For networks that do not say.
    connection_bytes_in_flight_max = 8 * MIB, 1..=1_024 * MIB;
    /// A connection must be up so soon, milliseconds. For networks that do not say.
    connection_connect_timeout_ms = 60_000, 10..=3_600_000;
    /// How often it is looked for connections to retry or to give up, milliseconds.
    connection_interval_ms = 500, 10..=3_600_000;
    /// Most messages under way on a connection, not acknowledged yet. For networks that do not say.
    connection_messages_in_flight_max = 1_000, 1..=1_000_000;
    /// What is sent on a connection must be answered so soon, milliseconds. For networks that do not say.
    connection_request_timeout_ms = 30_000, 1..=24 * 3_600_000;
    /// Whether connections are retried and given up: 1, or 0.
    connections_enabled = 1, 0..=1;
    /// Whether the leader grants allocations of pools and takes them back: 1, or 0.
    distribute_enabled = 1, 0..=1;
    /// How often the leader looks at pools that changed, milliseconds.
    distribute_interval_ms = 50, 10..=3_600_000;
    /// How long a health check may take, milliseconds.
    health_check_ms_max = 5_000, 10..=600_000;
    /// Free space of a data directory below which an alert is raised, bytes; critical below a quarter of it.
    health_disk_free_bytes_min = 1024 * MIB, 0..=1024 * 1024 * 1024 * MIB;
    /// How long a lost worker may stay away before an alert is raised, milliseconds.
    health_down_ms_max = 30_000, 0..=30 * 24 * 3_600_000;
    /// Whether health is checked and alerts are raised and cleared: 1, or 0.
    health_enabled = 1, 0..=1;
    /// How often in a row a health check must find something before an alert is raised.
    health_failures_min = 3, 1..=1_000;
    /// How often health is checked, milliseconds.
    health_interval_ms = 5_000, 100..=3_600_000;
    /// Observed load of a worker above which an alert is raised, parts per million of what it can take.
    health_load_ppm_max = 1_000_000, 1..=100_000_000;
    /// The least time between two recovery actions of health checks, milliseconds.
    health_recovery_interval_ms = 60_000, 0..=24 * 3_600_000;
    /// How often in a row a health check must not find something before its alert is cleared.
    health_successes_min = 2, 1..=1_000;
    /// How long a partition may have no owner before an alert is raised, milliseconds.
    health_unowned_ms_max = 60_000, 0..=30 * 24 * 3_600_000;
    /// How long an allocation may wait for its grant before an alert is raised, milliseconds.
    health_waiting_ms_max = 300_000, 0..=30 * 24 * 3_600_000;
    /// How long changes are kept for change streams, milliseconds.
    history_age_ms_max = 3_600_000, 1..=30 * 24 * 3_600_000;
    /// Most bytes of changes kept for change streams; the newest revision is always kept.
    history_bytes_max = 64 * MIB, 0..=16 * 1024 * MIB;
    /// Whether workers that are down for long are removed: 1, or 0.
    janitor_enabled = 1, 0..=1;
    /// How often it is looked for something to remove, milliseconds.
    janitor_interval_ms = 60_000, 100..=24 * 3_600_000;
    /// How long a worker is down before it is removed, milliseconds; 0: it stays.
    janitor_worker_down_ms = 24 * 3_600_000, 0..=365 * 24 * 3_600_000;
    /// Largest key of an entry, bytes.
    key_bytes_max = 4 * KIB, 1..=64 * KIB;
    /// How often observed loads are written, milliseconds.
    load_report_interval_ms = 5_000, 10..=3_600_000;
    /// Whether nothing is moved that could stay, as during work on the machines: 1, or 0.
    maintenance = 0, 0..=1;
    /// Two partitions of one network with less observed load than this are merged, parts per million; 0: none is.
    merge_load_ppm_below = 0, 0..=1_000_000;
    /// Most connections between processes in a network.
    network_connections_max = 500_000, 1..=4_000_000;
    /// Most processes in a network.
    network_processes_max = 100_000, 1..=1_000_000;
    /// Most tenants of one pool.
    pool_tenants_max = 1_000, 1..=10_000;
    /// Most pools.
    pools_max = 1_000, 1..=100_000;
    /// Most records in one answer.
    range_records_max = 10_000, 1..=1_000_000;
    /// Most bytes of records that one transaction may return.
    reply_bytes_max = 16 * MIB, KIB..=128 * MIB;
    /// Most connections in one report of a worker.
    reported_connections_max = 10_000, 1..=100_000;
    /// Most loads in one report of a worker.
    reported_loads_max = 10_000, 1..=100_000;
    /// For how long a process keeps as many instances as were recommended, before some are taken away, milliseconds.
    scale_down_stabilisation_ms = 300_000, 0..=24 * 3_600_000;
    /// Whether processes whose bounds allow it get more instances under load and fewer without: 1, or 0.
    scale_enabled = 1, 0..=1;
    /// How often it is looked for processes to scale, milliseconds.
    scale_interval_ms = 15_000, 100..=24 * 3_600_000;
    /// The load of a process to aim at, parts per million of capacity.
    scale_target_ppm = 700_000, 1..=1_000_000;
    /// How far a load may be beyond the target, or below half of it, before anything is scaled, parts per million of that bound.
    scale_tolerance_ppm = 100_000, 0..=999_999;
    /// A process gets at most twice as many instances, or this many more, in one period.
    scale_up_instances_max = 4, 1..=4_096;
    /// The period in which the number of instances of a process grows by so many at most, milliseconds.
    scale_up_period_ms = 15_000, 1..=24 * 3_600_000;
    /// Most bytes that the end of all entries, workers, partitions, connections and allocations bound to one session may have.
    session_record_bytes_max = 32 * MIB, KIB..=64 * MIB;
    /// Most entries, workers, partitions and allocations bound to one session: they end at one revision.
    session_records_max = 10_000, 1..=100_000;
    /// Most bytes of replies kept for one session.
    session_reply_bytes_max = 32 * MIB, KIB..=256 * MIB;
    /// Longest time to live of a session, milliseconds.
    session_ttl_ms_max = 3_600_000, 1_000..=30 * 24 * 3_600_000;
    /// Shortest time to live of a session, milliseconds.
    session_ttl_ms_min = 1_000, 10..=3_600_000;
    /// Most requests of one session that may be under way.
    session_window_max = 4_096, 1..=65_536;
    /// Most sessions.
    sessions_max = 100_000, 1..=10_000_000;
    /// How long a network is left alone once it changed, before its partitions are split or merged, milliseconds; no longer than the history goes back.
    split_cooldown_ms = 600_000, 0..=30 * 24 * 3_600_000;
    /// Whether partitions that are too large are split, and those that are too small merged: 1, or 0.
    split_enabled = 0, 0..=1;
    /// How often it is looked for partitions to split or merge, milliseconds.
    split_interval_ms = 30_000, 100..=24 * 3_600_000;
    /// The observed load above which a partition is split, parts per million.
    split_load_ppm_above = 900_000, 1..=100_000_000;
    /// More processes than this are split; 0: any number may be in a partition.
    split_processes_above = 0, 0..=1_000_000;
    /// Most operations plus preconditions in a transaction, both branches counted.
    transaction_operations_max = 1_024, 1..=65_536;
    /// Most records that one transaction may read, test or delete.
    transaction_reads_max = 100_000, 1..=10_000_000;
    /// Largest value of an entry, bytes.
    value_bytes_max = MIB, 1..=16 * MIB;
    /// Most partitions that one worker is granted.
    worker_partitions_max = 10_000, 1..=100_000;
    /// Most workers, those that are down too: they stay until they leave.
    workers_max = 10_000, 1..=100_000;
}

/// Sections of a coordinator's configuration that give the initial values of settings, by how the
/// names of the settings begin. A new setting is in the section that its name says.
const SECTIONS: [(&str, &str); 15] = [
    ("alerts_", "health"),
    ("allocation", "resources"),
    ("balance_", "partitions"),
    ("connection", "connections"),
    ("distribute_", "resources"),
    ("health_", "health"),
    ("janitor_", "partitions"),
    ("merge_", "partitions"),
    ("network_", "partitions"),
    ("partition", "partitions"),
    ("pool", "resources"),
    ("scale_", "partitions"),
    ("split_", "partitions"),
    ("worker_partitions_", "partitions"),
    ("workers_", "partitions"),
];

/// The section of a coordinator's configuration that gives a setting its initial value; None: no
/// section does.
#[must_use]
pub fn section_of(name: &str) -> Option<&'static str> {
    SECTIONS.iter().find(|(start, _)| name.starts_with(start)).map(|(_, section)| *section)
}

impl Settings {
    /// Puts a value in force, or the default. The text was checked; what is no setting is ignored.
    pub(crate) fn set(&mut self, key: &[u8], record: Option<&Record>) {
        let Some(definition) = definition_of(key) else { return };
        let value = match record {
            Some(Record::Setting(text)) => definition.parse(text).unwrap_or(definition.default),
            _ => definition.default,
        };
        if let Some(slot) = self.slot(definition.name) {
            *slot = value;
        }
    }
}

impl SettingDefinition {
    /// Reads a value. It has one text only: `007` and `+7` are refused.
    ///
    /// # Errors
    /// [`InvalidSetting`] when the text is no number or out of bounds.
    pub fn parse(&self, text: &str) -> Result<u64, InvalidSetting> {
        let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        if !digits || (text.len() > 1 && text.starts_with('0')) {
            return Err(InvalidSetting::NotANumber);
        }
        let Self { min, max, .. } = *self;
        let value = text.parse().ok().filter(|value| (min..=max).contains(value));
        value.ok_or(InvalidSetting::OutOfBounds { min, max })
    }
}

/// The definition of a setting; None when there is no such setting.
#[must_use]
pub fn definition(name: &Name) -> Option<&'static SettingDefinition> {
    definition_of(name.as_str().as_bytes())
}

/// The definition under a key of kind setting.
pub(crate) fn definition_of(key: &[u8]) -> Option<&'static SettingDefinition> {
    let found = SETTINGS.binary_search_by(|definition| definition.name.as_bytes().cmp(key)).ok()?;
    SETTINGS.get(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn definitions_are_sorted_and_consistent() {
        assert!(SETTINGS.is_sorted_by(|a, b| a.name < b.name));
        let settings = Settings::default();
        for definition in SETTINGS {
            let name = Name::new(definition.name).unwrap();
            assert_eq!(settings.get(&name), Some(definition.default));
            assert!((definition.min..=definition.max).contains(&definition.default), "{name}");
            assert!(!definition.description.is_empty() && definition.description.ends_with('.'));
        }
    }

    #[test]
    fn text_has_one_form() {
        let definition = definition(&Name::new("value_bytes_max").unwrap()).unwrap();
        assert_eq!(definition.parse("1024"), Ok(1024));
        for text in ["", "+1024", "01024", " 1024", "1_024", "-1", "1k", "१"] {
            assert_eq!(definition.parse(text), Err(InvalidSetting::NotANumber), "{text}");
        }
        for text in ["0", "16777217", "99999999999999999999999"] {
            let bounds = InvalidSetting::OutOfBounds { min: 1, max: 16 * MIB };
            assert_eq!(definition.parse(text), Err(bounds), "{text}");
        }
    }
}
