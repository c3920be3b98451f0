//! Labels: what is said of workers, and what processes require of them.

use std::collections::BTreeMap;

use crate::rejection::Rejection;

/// Most labels of a worker, and most that a process requires.
pub const LABELS_MAX: usize = 64;
/// Most bytes of the name of a label, and of its value.
pub const LABEL_BYTES_MAX: usize = 256;

/// Checks labels that stand in a field.
///
/// # Errors
/// The rule that is broken, with the field.
pub(crate) fn validate(field: &str, labels: &BTreeMap<String, String>) -> Result<(), Rejection> {
    if labels.len() > LABELS_MAX {
        return Err(Rejection::invalid(field, format!("at most {LABELS_MAX}")));
    }
    let fits = |text: &String| text.len() <= LABEL_BYTES_MAX;
    if labels.iter().all(|(name, value)| !name.is_empty() && fits(name) && fits(value)) {
        return Ok(());
    }
    let rule = format!("names and values of at most {LABEL_BYTES_MAX} bytes, names not empty");
    Err(Rejection::invalid(field, rule))
}
