//! Rows that show alerts.
//!
//! The names of the JSON fields are an interface: fields are added, never renamed.

use quorate_core::{Alert, AlertId};
use serde::Serialize;

use super::{
    Column::{self, Left},
    Row,
    snapshot::rfc3339,
    text,
};

/// An alert that is raised.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct AlertRow {
    /// The check.
    pub(crate) check: String,
    /// What it is about.
    pub(crate) subject: String,
    /// How much it matters.
    pub(crate) severity: &'static str,
    /// When it was raised.
    pub(crate) since: String,
    /// What is wrong.
    pub(crate) message: String,
    /// What was measured, in the check's unit.
    pub(crate) value: u64,
}

impl AlertRow {
    /// The row of an alert.
    pub(crate) fn new(id: &AlertId, alert: &Alert) -> Self {
        Self {
            check: id.check.to_string(),
            subject: id.subject.clone(),
            severity: alert.severity.as_str(),
            since: rfc3339(alert.since_ms),
            message: alert.message.clone(),
            value: alert.value,
        }
    }
}

impl Row for AlertRow {
    const COLUMNS: &'static [Column] =
        &[Left("CHECK"), Left("SUBJECT"), Left("SEVERITY"), Left("SINCE"), Left("MESSAGE")];

    fn cells(&self) -> Vec<String> {
        let Self { check, subject, severity, since, message, .. } = self;
        let message = text::cell(message.as_bytes());
        vec![check.clone(), subject.clone(), (*severity).to_owned(), since.clone(), message]
    }
}

#[cfg(test)]
mod tests {
    use quorate_core::Severity;

    use super::*;

    #[test]
    fn an_alert_has_exactly_the_fields_of_the_interface() {
        let id = AlertId::parse("partition_unowned/net/0").unwrap();
        let message = "nobody owns it".to_owned();
        let alert = Alert { severity: Severity::Critical, message, since_ms: 0, value: 7 };
        let row = AlertRow::new(&id, &alert);
        assert_eq!(
            serde_json::to_string(&row).unwrap(),
            r#"{"check":"partition_unowned","subject":"net/0","severity":"critical","since":"1970-01-01T00:00:00.000Z","message":"nobody owns it","value":7}"#
        );
        assert_eq!(row.cells().len(), AlertRow::COLUMNS.len());
    }
}
