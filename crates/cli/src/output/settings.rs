//! Rows that show settings.
//!
//! The names of the JSON fields are an interface: fields are added, never renamed.

use quorate_core::setting::SettingDefinition;
use serde::Serialize;

use super::{
    Column::{self, Left, Right},
    Row,
};

/// A setting.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct SettingRow {
    /// Its name.
    pub(crate) name: &'static str,
    /// The value in force.
    pub(crate) value: u64,
    /// In force when it is not set.
    pub(crate) default: u64,
    /// The smallest value allowed.
    pub(crate) min: u64,
    /// The largest value allowed.
    pub(crate) max: u64,
    /// Whether it was set.
    pub(crate) set: bool,
    /// What it does.
    pub(crate) description: &'static str,
}

impl SettingRow {
    /// The row of a setting, with the value that is stored.
    pub(crate) fn new(setting: &SettingDefinition, stored: Option<u64>) -> Self {
        Self {
            name: setting.name,
            value: stored.unwrap_or(setting.default),
            default: setting.default,
            min: setting.min,
            max: setting.max,
            set: stored.is_some(),
            description: setting.description,
        }
    }
}

impl Row for SettingRow {
    const COLUMNS: &'static [Column] = &[
        Left("NAME"),
        Right("VALUE"),
        Right("DEFAULT"),
        Right("MIN"),
        Right("MAX"),
        Left("DESCRIPTION"),
    ];

    fn cells(&self) -> Vec<String> {
        let numbers = [self.value, self.default, self.min, self.max].map(|it| it.to_string());
        let [value, default, min, max] = numbers;
        vec![self.name.to_owned(), value, default, min, max, self.description.to_owned()]
    }
}

#[cfg(test)]
mod tests {
    use quorate_core::setting::SETTINGS;

    use super::*;

    #[test]
    fn a_setting_has_exactly_the_fields_of_the_interface() {
        let maintenance = SETTINGS.iter().find(|setting| setting.name == "maintenance").unwrap();
        let json = serde_json::to_string(&SettingRow::new(maintenance, Some(1))).unwrap();
        assert!(
            json.starts_with(
                r#"{"name":"maintenance","value":1,"default":0,"min":0,"max":1,"set":true,"description":""#
            ),
            "{json}"
        );
        assert_eq!(SettingRow::new(maintenance, None).cells()[1], "0");
    }
}
