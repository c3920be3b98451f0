//! Environment variables over a configuration file: `QUORATE_<SECTION>_<FIELD>`, and
//! `QUORATE_DATA_DIR` for `node.data_dir`. Lists are not set that way.

use serde::Deserialize;
use toml::{Table, Value};

use super::{ConfigError, file::File};

const PREFIX: &str = "QUORATE_";
const SECTIONS: [&str; 13] = [
    "node",
    "listen",
    "advertise",
    "cluster",
    "raft",
    "limits",
    "storage",
    "log",
    "metrics",
    "partitions",
    "resources",
    "connections",
    "health",
];

/// Lays the variables over `file`, which was read from `text`. Variables that name no section of
/// the configuration belong to somebody else and are left alone.
pub(super) fn overlay(
    file: File,
    text: &str,
    variables: impl IntoIterator<Item = (String, String)>,
) -> Result<File, ConfigError> {
    let mut fields: Vec<_> = variables
        .into_iter()
        .filter_map(|(variable, value)| Some((path(&variable)?, variable, value)))
        .collect();
    if fields.is_empty() {
        return Ok(file);
    }
    fields.sort();
    let mut table: Table =
        text.parse().map_err(|error: toml::de::Error| ConfigError::Syntax(error.to_string()))?;
    let mut file = file;
    for ((section, field), variable, value) in fields {
        set(&mut table, section, &field, &value);
        file = File::deserialize(table.clone()).map_err(|error| ConfigError::Environment {
            variable,
            message: format!("{section}.{field} = {value:?}: {}", error.message()),
        })?;
    }
    Ok(file)
}

fn path(variable: &str) -> Option<(&'static str, String)> {
    let name = variable.strip_prefix(PREFIX)?.to_ascii_lowercase();
    if name == "data_dir" {
        return Some(("node", name));
    }
    let (section, field) = name.split_once('_')?;
    let section = SECTIONS.into_iter().find(|known| *known == section)?;
    Some((section, field.to_owned()))
}

/// Numbers become numbers, everything else text, as the field's type will want it.
fn set(table: &mut Table, section: &str, field: &str, value: &str) {
    let is_text = matches!(section, "listen" | "advertise" | "log")
        || matches!(
            (section, field),
            ("node", "data_dir") | ("cluster", "name") | ("health", "webhook_url")
        );
    let value = match value.parse::<i64>() {
        Ok(number) if !is_text => Value::Integer(number),
        _ => Value::String(value.to_owned()),
    };
    let entry = table.entry(section).or_insert_with(|| Value::Table(Table::new()));
    if let Value::Table(fields) = entry {
        fields.insert(field.to_owned(), value);
    }
}
