//! How a measurement of failover looks.
//!
//! The names of the JSON fields are an interface: programs read the last line.

use std::fmt::Write;

use serde::Serialize;

/// What was measured.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct FailoverReport {
    /// failover.
    pub(crate) op: &'static str,
    /// How many workers there were.
    pub(crate) workers: u32,
    /// How many of them were lost.
    pub(crate) killed: u32,
    /// How many partitions they owned together.
    pub(crate) partitions: u32,
    /// How many of these lost their owner and got another.
    pub(crate) replaced: u64,
    /// How many rules were broken, at any revision.
    pub(crate) errors: u64,
    /// How many revisions were checked.
    pub(crate) revisions_checked: u64,
    /// How long it took to register all workers, milliseconds.
    pub(crate) register_ms: u64,
    /// How long it took from there until every partition had an owner, milliseconds.
    pub(crate) place_ms: u64,
    /// From the loss to the first session that expired, milliseconds.
    pub(crate) first_expiry_ms: u64,
    /// From the loss to the last session that expired, milliseconds.
    pub(crate) last_expiry_ms: u64,
    /// From the last session that expired until every partition had an owner again, milliseconds.
    pub(crate) replaced_after_expiry_ms: u64,
    /// From the first session that expired until then, milliseconds.
    pub(crate) replaced_after_first_expiry_ms: u64,
}

impl FailoverReport {
    /// Lines for people.
    pub(crate) fn lines(&self) -> String {
        let after = |ms: u64, what: &str| format!("{ms} ms after {what}");
        let rows = [
            ("workers", format!("{}, {} lost at once", self.workers, self.killed)),
            ("partitions", format!("{}, {} placed again", self.partitions, self.replaced)),
            ("errors", format!("{} in {} revisions", self.errors, self.revisions_checked)),
            ("registered", format!("in {} ms", self.register_ms)),
            ("placed", format!("in {} ms", self.place_ms)),
            (
                "expired",
                after(self.first_expiry_ms, "the loss; the last one ")
                    + &after(self.last_expiry_ms, "it"),
            ),
            (
                "recovered",
                after(self.replaced_after_expiry_ms, "the last expiry, ")
                    + &after(self.replaced_after_first_expiry_ms, "the first"),
            ),
        ];
        rows.iter().fold(String::new(), |mut text, (name, value)| {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{name:<12} {value}");
            text
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_get_aligned_lines() {
        let report = FailoverReport {
            op: "failover",
            workers: 100,
            killed: 10,
            partitions: 10_000,
            replaced: 1_000,
            errors: 0,
            revisions_checked: 321,
            register_ms: 400,
            place_ms: 900,
            first_expiry_ms: 5_050,
            last_expiry_ms: 5_300,
            replaced_after_expiry_ms: 120,
            replaced_after_first_expiry_ms: 370,
        };
        let text = report.lines();
        assert!(text.starts_with("workers      100, 10 lost at once\n"), "{text}");
        assert!(
            text.contains("expired      5050 ms after the loss; the last one 5300 ms after it\n"),
            "{text}"
        );
        assert!(
            text.ends_with("recovered    120 ms after the last expiry, 370 ms after the first\n"),
            "{text}"
        );
    }
}
