//! Backups as they are shown.

use std::collections::BTreeMap;

use quorate_core::{Kind, State};
use serde::Serialize;

use super::{Column, Table};

/// A backup: as `snapshot save` and `snapshot inspect` show it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct BackupRow {
    /// The file.
    pub(crate) file: String,
    /// How many bytes it has.
    pub(crate) bytes: u64,
    /// The name of the cluster that was saved.
    pub(crate) cluster_name: String,
    /// Its id.
    pub(crate) cluster_id: String,
    /// Its restore epoch.
    pub(crate) restore_epoch: u64,
    /// The revision that was saved.
    pub(crate) revision: u64,
    /// When it was saved, RFC 3339.
    pub(crate) taken_at: String,
    /// When it was saved, milliseconds since 1970.
    pub(crate) taken_ms: u64,
    /// The version of the software that saved it.
    pub(crate) version: String,
    /// How many records it has.
    pub(crate) records: u64,
    /// How many of each kind.
    pub(crate) kinds: BTreeMap<&'static str, u64>,
}

impl BackupRow {
    /// A table for people.
    pub(crate) fn table(&self) -> String {
        let mut about = Table::new(&[Column::Left("BACKUP"), Column::Left("")]);
        about.push(vec!["file".into(), self.file.clone()]);
        about.push(vec!["bytes".into(), self.bytes.to_string()]);
        about.push(vec!["cluster".into(), format!("{} {}", self.cluster_name, self.cluster_id)]);
        about.push(vec!["restore epoch".into(), self.restore_epoch.to_string()]);
        about.push(vec!["revision".into(), self.revision.to_string()]);
        about.push(vec!["taken at".into(), self.taken_at.clone()]);
        about.push(vec!["taken by".into(), format!("quorate {}", self.version)]);
        let mut kinds = Table::new(&[Column::Left("KIND"), Column::Right("RECORDS")]);
        for (kind, count) in &self.kinds {
            kinds.push(vec![(*kind).to_owned(), count.to_string()]);
        }
        kinds.push(vec!["all".into(), self.records.to_string()]);
        format!("{about}\n{kinds}")
    }
}

/// How many records of each kind a state has; kinds without any are left out.
pub(crate) fn count_kinds(state: &State) -> BTreeMap<&'static str, u64> {
    let mut counts: BTreeMap<Kind, u64> = BTreeMap::new();
    for (key, _) in state.records() {
        *counts.entry(key.kind).or_default() += 1;
    }
    counts.into_iter().map(|(kind, count)| (kind.as_str(), count)).collect()
}

/// A time as RFC 3339 in UTC. The days are counted as in H. Hinnant, "chrono-Compatible Low-Level
/// Date Algorithms", `civil_from_days`: years begin in March, so that the leap day is the last.
pub(crate) fn rfc3339(unix_ms: u64) -> String {
    let (days, ms) = (unix_ms / 86_400_000, unix_ms % 86_400_000);
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    let (hour, minute, second) = (ms / 3_600_000, ms / 60_000 % 60, ms / 1_000 % 60);
    let millis = ms % 1_000;
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_those_of_the_calendar() {
        for (ms, expected) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_399_999, "2000-02-28T23:59:59.999Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (1_709_251_199_000, "2024-02-29T23:59:59.000Z"),
            (1_735_689_600_123, "2025-01-01T00:00:00.123Z"),
            (4_102_444_800_000, "2100-01-01T00:00:00.000Z"),
        ] {
            assert_eq!(rfc3339(ms), expected);
        }
    }
}
