//! Files of workers that there are supposed to be.
//!
//! ```toml
//! [[workers]]
//! name = "w1"                                    # unique, a name
//! capacity = { cpu_millis = 4000, gpu = 1 }      # absent: not limited
//! labels = { zone = "a", rack = "a1" }           # absent: none
//! ```

use std::{collections::BTreeMap, path::Path};

use quorate_client::SupposedWorker;
use quorate_core::{Name, Resources};
use serde::Deserialize;

use crate::failure::{Exit, Failure};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    workers: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    name: Name,
    #[serde(default)]
    capacity: BTreeMap<Name, u64>,
    #[serde(default)]
    labels: BTreeMap<String, String>,
}

/// The workers of a file; at least one.
pub(crate) fn read(path: &Path) -> Result<Vec<SupposedWorker>, Failure> {
    let shown = path.display();
    let text = std::fs::read_to_string(path)
        .map_err(|error| Failure::usage(format!("cannot read {shown}: {error}")))?;
    parse(&text).map_err(|rule| Failure::new(Exit::Rejected, format!("{shown}: {rule}")))
}

fn parse(text: &str) -> Result<Vec<SupposedWorker>, String> {
    let document: Document = toml::from_str(text).map_err(|error| error.to_string())?;
    if document.workers.is_empty() {
        return Err("workers: must not be empty".into());
    }
    let mut workers: Vec<SupposedWorker> = Vec::new();
    for (at, Entry { name, capacity, labels }) in document.workers.into_iter().enumerate() {
        if let Some(first) = workers.iter().position(|other| other.name == name) {
            return Err(format!("workers[{at}].name: {name} is already workers[{first}]"));
        }
        if let Some((resource, _)) = capacity.iter().find(|(_, amount)| **amount == 0) {
            return Err(format!(
                "workers[{at}].capacity.{resource}: must not be 0; absent: no limit"
            ));
        }
        workers.push(SupposedWorker { name, capacity: Resources::from(capacity), labels });
    }
    Ok(workers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shipped_file_is_read() {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../config/workers.toml");
        let workers = read(&file).unwrap();
        assert_eq!(workers.len(), 3);
        let cpu = Name::new(Resources::CPU_MILLIS).unwrap();
        assert!(workers.iter().all(|worker| worker.capacity.get(&cpu) > 0));
        assert!(workers.iter().all(|worker| worker.labels.contains_key("zone")));
    }

    #[test]
    fn what_is_wrong_is_named() {
        let error = |text: &str| parse(text).unwrap_err();
        assert_eq!(error("workers = []"), "workers: must not be empty");
        let twice = "[[workers]]\nname = \"a\"\n[[workers]]\nname = \"a\"";
        assert_eq!(error(twice), "workers[1].name: a is already workers[0]");
        let none = "[[workers]]\nname = \"a\"\ncapacity = { gpu = 0 }";
        assert_eq!(error(none), "workers[0].capacity.gpu: must not be 0; absent: no limit");
        assert!(error("[[workers]]\nname = \"a b\"").contains("name"));
        assert!(error("[[workers]]\nname = \"a\"\ncpu = 1").contains("unknown field `cpu`"));
        assert!(error("[[workers]]\nname = \"a\"\ncapacity = { cpu = -1 }").contains("-1"));
    }
}
