//! Settings: limits and intervals that are changed at run time, through the log.
//!
//! Owns the list of settings with their defaults, bounds and units.

use crate::name::Name;

/// What can be set.
#[derive(Debug, Clone, Copy)]
pub struct SettingDefinition {
    /// The name; its last word is the unit.
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

/// The settings in force: typed, with defaults filled in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Largest value of an entry, bytes.
    pub value_bytes_max: u64,
    /// Largest key of an entry, bytes.
    pub key_bytes_max: u64,
    /// Most operations plus preconditions in a transaction.
    pub transaction_operations_max: u64,
    /// Most changes that one command may make.
    pub command_changes_max: u64,
    /// Most bytes that the changes of one command may have.
    pub command_bytes_max: u64,
    /// Most records in one answer.
    pub range_records_max: u64,
    /// Most processes in a network.
    pub network_processes_max: u64,
    /// Most connections in a network.
    pub network_connections_max: u64,
    /// Most bytes of changes kept for change streams.
    pub history_bytes_max: u64,
    /// How long changes are kept for change streams, milliseconds.
    pub history_age_ms_max: u64,
}

/// Checks nothing; see [`Settings`].
#[must_use]
pub fn definition(_name: &Name) -> Option<&'static SettingDefinition> {
    unimplemented!()
}
