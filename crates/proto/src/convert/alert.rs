//! Alerts.

use quorate_core::{Alert, Severity};

use super::ConvertError;
use crate::v1;

impl From<&Alert> for v1::AlertRecord {
    fn from(alert: &Alert) -> Self {
        let severity = match alert.severity {
            Severity::Warning => v1::AlertSeverity::Warning,
            Severity::Critical => v1::AlertSeverity::Critical,
        };
        Self {
            severity: severity.into(),
            message: alert.message.clone(),
            since_ms: alert.since_ms,
            value: alert.value,
        }
    }
}

impl TryFrom<v1::AlertRecord> for Alert {
    type Error = ConvertError;

    fn try_from(alert: v1::AlertRecord) -> Result<Self, ConvertError> {
        let severity = match v1::AlertSeverity::try_from(alert.severity) {
            Ok(v1::AlertSeverity::Warning) => Severity::Warning,
            Ok(v1::AlertSeverity::Critical) => Severity::Critical,
            Ok(v1::AlertSeverity::Unspecified) | Err(_) => {
                let rule = format!("unknown value {}", alert.severity);
                return Err(ConvertError::new("severity", rule));
            }
        };
        let v1::AlertRecord { message, since_ms, value, .. } = alert;
        Ok(Self { severity, message, since_ms, value })
    }
}
