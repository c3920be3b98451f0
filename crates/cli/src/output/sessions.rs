//! Rows that show sessions.
//!
//! The names of the JSON fields are an interface: fields are added, never renamed.

use quorate_client::sessions::FoundSession;
use serde::Serialize;

use super::{
    Column::{self, Left, Right},
    Row,
};

/// A session that is alive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct SessionRow {
    /// Its id: `restore.revision`.
    pub(crate) id: String,
    /// How long it lives after its last keep-alive, milliseconds.
    pub(crate) ttl_ms: u64,
    /// What its holder calls itself.
    pub(crate) label: String,
    /// How many entries, workers and partitions it holds.
    pub(crate) held: u32,
}

impl SessionRow {
    /// The row of a session.
    pub(crate) fn new(session: &FoundSession) -> Self {
        Self {
            id: session.id.to_string(),
            ttl_ms: u64::try_from(session.ttl.as_millis()).unwrap_or(u64::MAX),
            label: session.label.clone(),
            held: session.held,
        }
    }
}

impl Row for SessionRow {
    const COLUMNS: &'static [Column] = &[Left("ID"), Right("TTL MS"), Right("HELD"), Left("LABEL")];

    fn cells(&self) -> Vec<String> {
        vec![self.id.clone(), self.ttl_ms.to_string(), self.held.to_string(), self.label.clone()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_has_exactly_the_fields_of_the_interface() {
        let row = SessionRow { id: "0.7".into(), ttl_ms: 10_000, label: "w".into(), held: 2 };
        let json = serde_json::to_string(&row).unwrap();
        assert_eq!(json, r#"{"id":"0.7","ttl_ms":10000,"label":"w","held":2}"#);
        assert_eq!(row.cells(), ["0.7", "10000", "2", "w"]);
    }
}
