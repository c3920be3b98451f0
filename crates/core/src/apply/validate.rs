//! The shape of a transaction: what can be checked without looking at records.
//!
//! Both branches are checked, whichever will run, so that the answer does not depend on the state.

use std::fmt;

use crate::{
    command::{Operation, Origin, Precondition, Test, Transaction},
    key::{Key, KeyRange, Kind},
    record::{Entry, Record},
    rejection::Rejection,
    setting::{self, Settings},
};

/// Where in a transaction something is: `success[2].put`.
#[derive(Clone, Copy)]
pub(super) struct Path {
    pub(super) list: &'static str,
    pub(super) index: usize,
    pub(super) step: &'static str,
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { list, index, step } = self;
        write!(f, "{list}[{index}].{step}")
    }
}

impl Path {
    /// A field of what is there.
    pub(super) fn field(self, name: &str) -> String {
        format!("{self}.{name}")
    }
}

impl Transaction {
    /// Checks what can be checked without looking at records: what apply refuses whatever the
    /// records are. For callers who would not write a hopeless command to the log.
    ///
    /// # Errors
    /// The rejection that apply would give.
    pub fn validate(&self, settings: &Settings) -> Result<(), Rejection> {
        transaction(settings, self)
    }
}

pub(super) fn transaction(settings: &Settings, all: &Transaction) -> Result<(), Rejection> {
    let Transaction { preconditions, success, failure, guards } = all;
    let count = (preconditions.len() + success.len() + failure.len() + guards.len()) as u64;
    let count_max = settings.transaction_operations_max;
    if count > count_max {
        let limit = "transaction_operations_max";
        return Err(Rejection::limit("transaction", limit, count, count_max));
    }
    for (index, condition) in preconditions.iter().enumerate() {
        precondition(Path { list: "preconditions", index, step: "target" }, condition)?;
    }
    for (list, operations) in [("success", success), ("failure", failure)] {
        for (index, it) in operations.iter().enumerate() {
            operation(settings, Path { list, index, step: step(it) }, it)?;
        }
    }
    Ok(())
}

/// The operation's name in paths.
pub(super) fn step(operation: &Operation) -> &'static str {
    match operation {
        Operation::Get { .. } => "get",
        Operation::Put { .. } => "put",
        Operation::Delete { .. } => "delete",
    }
}

fn precondition(path: Path, condition: &Precondition) -> Result<(), Rejection> {
    let kind = condition.target.kind();
    if matches!(condition.test, Test::Value(_)) && !is_writable(kind) {
        let rule = "a value can be tested of kind entry and setting only";
        return Err(Rejection::invalid(path.field("kind"), rule));
    }
    selector(path, &condition.target)
}

fn operation(settings: &Settings, path: Path, operation: &Operation) -> Result<(), Rejection> {
    match operation {
        Operation::Get { range, .. } => selector(path, range),
        Operation::Put { key, record, .. } => put(settings, path, key, record),
        Operation::Delete { range, .. } if !is_writable(range.kind()) => {
            let rule = format!("only kind entry and setting, not {}", range.kind());
            Err(Rejection::invalid(path.field("kind"), rule))
        }
        Operation::Delete { range, .. } => selector(path, range),
    }
}

fn selector(path: Path, range: &KeyRange) -> Result<(), Rejection> {
    match range {
        _ if range.kind().is_internal() => {
            Err(Rejection::invalid(path.field("kind"), "must be a kind that callers see"))
        }
        KeyRange::Single(key) if key.bytes.is_empty() => {
            Err(Rejection::invalid(path.field("key"), "must not be empty"))
        }
        _ => Ok(()),
    }
}

fn put(settings: &Settings, path: Path, key: &Key, record: &Record) -> Result<(), Rejection> {
    if key.bytes.is_empty() {
        return Err(Rejection::invalid(path.field("key"), "must not be empty"));
    }
    if record.kind() != key.kind {
        let rule = format!("a key of kind {} takes a value of that kind", key.kind);
        return Err(Rejection::invalid(path.field("value"), rule));
    }
    match record {
        Record::Entry(Entry { value, .. }) => {
            let at_most = |name, limit, bytes: &[u8], max| match bytes.len() as u64 {
                actual if actual > max => {
                    Err(Rejection::limit(path.field(name), limit, actual, max))
                }
                _ => Ok(()),
            };
            at_most("key", "key_bytes_max", &key.bytes, settings.key_bytes_max)?;
            at_most("value", "value_bytes_max", value, settings.value_bytes_max)
        }
        Record::Setting(text) => {
            let parsed = setting::definition_of(&key.bytes)
                .ok_or((path, "key", setting::InvalidSetting::Unknown))
                .and_then(|setting| setting.parse(text).map_err(|error| (path, "value", error)));
            let invalid = |(path, name, error): (Path, _, setting::InvalidSetting)| {
                Rejection::invalid(path.field(name), error.to_string())
            };
            parsed.map(drop).map_err(invalid)
        }
        _ => {
            let rule = format!("only kind entry and setting, not {}", key.kind);
            Err(Rejection::invalid(path.field("key"), rule))
        }
    }
}

/// Most bytes of an address.
pub(super) const ADDRESS_BYTES_MAX: usize = 256;
/// Most bytes of what a client calls itself.
const LABEL_BYTES_MAX: usize = 128;
/// Most bytes of a reason.
const REASON_BYTES_MAX: usize = 1_024;

/// Who asks, and why.
pub(super) fn origin(origin: &Origin) -> Result<(), Rejection> {
    label("origin.label", &origin.label)?;
    if origin.reason.len() <= REASON_BYTES_MAX {
        return Ok(());
    }
    Err(Rejection::invalid("origin.reason", format!("at most {REASON_BYTES_MAX} bytes")))
}

/// What a client calls itself.
pub(super) fn label(field: &str, label: &str) -> Result<(), Rejection> {
    if label.len() <= LABEL_BYTES_MAX && !label.chars().any(char::is_control) {
        return Ok(());
    }
    let rule = format!("at most {LABEL_BYTES_MAX} bytes, without control characters");
    Err(Rejection::invalid(field, rule))
}

fn is_writable(kind: Kind) -> bool {
    matches!(kind, Kind::Entry | Kind::Setting)
}
