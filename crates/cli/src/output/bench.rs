//! How a measurement looks.
//!
//! The names of the JSON fields are an interface: programs read the last line.

use std::fmt::Write;

use serde::Serialize;

/// What was measured.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct BenchReport {
    /// put, get or watch.
    pub(crate) op: &'static str,
    /// How many clients asked at the same time.
    pub(crate) clients: u32,
    /// How many requests were made.
    pub(crate) total: u64,
    /// How many requests failed, plus how many checks did.
    pub(crate) errors: u64,
    /// Requests that succeeded, per second.
    pub(crate) ops_per_second: f64,
    /// Median latency, microseconds.
    pub(crate) p50_us: u64,
    /// 99th percentile of the latency, microseconds.
    pub(crate) p99_us: u64,
    /// Deliveries to all watchers, per second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) deliveries_per_second: Option<f64>,
    /// What only people see.
    #[serde(skip)]
    pub(crate) more: BenchMore,
}

/// What only people see of a measurement.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct BenchMore {
    /// How many connections the clients shared.
    pub(crate) connections: usize,
    /// How many watchers followed.
    pub(crate) watchers: Option<u32>,
    /// Bytes per value.
    pub(crate) value_size: u32,
    /// How long it took, seconds.
    pub(crate) seconds: f64,
    /// 99.9th percentile of the latency, microseconds.
    pub(crate) p999_us: u64,
    /// The longest latency, microseconds.
    pub(crate) max_us: u64,
}

impl BenchReport {
    /// Lines for people.
    pub(crate) fn lines(&self) -> String {
        let more = &self.more;
        let mut rows = vec![
            ("operation", self.op.to_owned()),
            ("clients", self.clients.to_string()),
            ("connections", more.connections.to_string()),
        ];
        rows.extend(more.watchers.map(|watchers| ("watchers", watchers.to_string())));
        rows.extend([
            ("value size", format!("{} bytes", more.value_size)),
            ("total", format!("{} in {:.2} s", self.total, more.seconds)),
            ("errors", self.errors.to_string()),
            ("rate", format!("{:.0} per second", self.ops_per_second)),
        ]);
        let deliveries = |rate: f64| ("deliveries", format!("{rate:.0} per second"));
        rows.extend(self.deliveries_per_second.map(deliveries));
        rows.extend([
            ("median", millis(self.p50_us)),
            ("99%", millis(self.p99_us)),
            ("99.9%", millis(more.p999_us)),
            ("longest", millis(more.max_us)),
        ]);
        rows.iter().fold(String::new(), |mut text, (name, value)| {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{name:<12} {value}");
            text
        })
    }
}

#[expect(clippy::cast_precision_loss, reason = "microseconds of a latency, for people")]
fn millis(us: u64) -> String {
    format!("{:.3} ms", us as f64 / 1_000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> BenchReport {
        BenchReport {
            op: "put",
            clients: 64,
            total: 1_000,
            errors: 0,
            ops_per_second: 9_700.5,
            p50_us: 6_100,
            p99_us: 12_000,
            deliveries_per_second: None,
            more: BenchMore { seconds: 0.103, value_size: 256, ..BenchMore::default() },
        }
    }

    #[test]
    fn json_has_exactly_the_fields_of_the_interface() {
        assert_eq!(
            serde_json::to_string(&report()).unwrap(),
            r#"{"op":"put","clients":64,"total":1000,"errors":0,"ops_per_second":9700.5,"p50_us":6100,"p99_us":12000}"#
        );
        let watch = BenchReport { op: "watch", deliveries_per_second: Some(270_000.0), ..report() };
        let json = serde_json::to_string(&watch).unwrap();
        assert!(json.ends_with(r#""p99_us":12000,"deliveries_per_second":270000.0}"#), "{json}");
    }

    #[test]
    fn people_get_aligned_lines() {
        let text = report().lines();
        assert!(text.contains("rate         9700 per second\n"), "{text}");
        assert!(text.contains("median       6.100 ms\n"), "{text}");
        assert!(!text.contains("deliveries"), "{text}");
    }
}
