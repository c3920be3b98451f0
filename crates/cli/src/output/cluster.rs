//! Rows that show the coordinators and the networks' summaries.
//!
//! The names of the JSON fields are an interface: fields are added, never renamed.

use serde::Serialize;

use super::{
    Column::{self, Left, Right},
    Row,
};

/// What one coordinator knows of itself, or why it did not answer.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(crate) struct StatusRow {
    /// Its id.
    pub(crate) member_id: Option<u64>,
    /// The endpoint that was asked.
    pub(crate) endpoint: String,
    /// leader, follower, candidate, learner; or unreachable.
    pub(crate) role: &'static str,
    /// Its term.
    pub(crate) term: Option<u64>,
    /// The leader that it knows of.
    pub(crate) leader_id: Option<u64>,
    /// The last log entry applied.
    pub(crate) applied_index: Option<u64>,
    /// Its revision.
    pub(crate) revision: Option<u64>,
    /// Its cluster, 16 hex digits.
    pub(crate) cluster_id: Option<String>,
    /// How many records it has.
    pub(crate) records: Option<u64>,
    /// Hash of its state at `applied_index`, 16 hex digits.
    pub(crate) state_hash: Option<String>,
    /// The version of its software.
    pub(crate) version: Option<String>,
    /// Why it did not answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<String>,
}

impl StatusRow {
    /// The role of a coordinator that did not answer.
    pub(crate) const UNREACHABLE: &'static str = "unreachable";

    /// The row of a coordinator that did not answer.
    pub(crate) fn unreachable(endpoint: &str, error: String) -> Self {
        Self {
            endpoint: endpoint.to_owned(),
            role: Self::UNREACHABLE,
            error: Some(error),
            ..Self::default()
        }
    }
}

impl Row for StatusRow {
    const COLUMNS: &'static [Column] = &[
        Right("MEMBER"),
        Left("ENDPOINT"),
        Left("ROLE"),
        Right("TERM"),
        Right("LEADER"),
        Right("APPLIED"),
        Right("REVISION"),
        Right("RECORDS"),
        Left("STATE HASH"),
    ];

    fn cells(&self) -> Vec<String> {
        let number = |number: Option<u64>| number.map_or_else(dash, |n| n.to_string());
        vec![
            number(self.member_id),
            self.endpoint.clone(),
            self.role.to_owned(),
            number(self.term),
            number(self.leader_id),
            number(self.applied_index),
            number(self.revision),
            number(self.records),
            self.state_hash.clone().unwrap_or_else(dash),
        ]
    }
}

/// A coordinator in the membership.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct MemberRow {
    /// Its id.
    pub(crate) member_id: u64,
    /// Where clients reach it.
    pub(crate) client_address: String,
    /// Where its peers reach it.
    pub(crate) peer_address: String,
    /// Whether it votes.
    pub(crate) voter: bool,
    /// Whether it leads, as far as the coordinator that answered knows.
    pub(crate) leader: bool,
    /// What it is: voter, learner or joining.
    pub(crate) state: &'static str,
}

impl Row for MemberRow {
    const COLUMNS: &'static [Column] =
        &[Right("MEMBER"), Left("CLIENTS"), Left("PEERS"), Left("STATE"), Left("LEADS")];

    fn cells(&self) -> Vec<String> {
        let word = |yes| if yes { "yes" } else { "no" }.to_owned();
        vec![
            self.member_id.to_string(),
            self.client_address.clone(),
            self.peer_address.clone(),
            self.state.to_owned(),
            word(self.leader),
        ]
    }
}

/// A network in numbers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct NetworkRow {
    /// Its name.
    pub(crate) name: String,
    /// Counts the changes of its spec.
    pub(crate) generation: u64,
    /// How many processes it has.
    pub(crate) processes: u64,
    /// How many partitions it has.
    pub(crate) partitions: u64,
    /// How many connections between partitions it has.
    pub(crate) connections: u64,
    /// How many edges between processes it has.
    pub(crate) edges: u64,
    /// The traffic that crosses partitions, bytes per second.
    pub(crate) cut_rate: u64,
    /// All traffic, bytes per second.
    pub(crate) total_rate: u64,
    /// The strategy that partitioned it.
    pub(crate) strategy: String,
}

impl NetworkRow {
    /// The share of the traffic that crosses partitions, in percent.
    fn cut_percent(&self) -> String {
        let permille = u128::from(self.cut_rate) * 1_000 / u128::from(self.total_rate.max(1));
        format!("{}.{}%", permille / 10, permille % 10)
    }
}

impl Row for NetworkRow {
    const COLUMNS: &'static [Column] = &[
        Left("NAME"),
        Right("GENERATION"),
        Right("PROCESSES"),
        Right("PARTITIONS"),
        Right("CONNECTIONS"),
        Right("EDGES"),
        Right("CUT"),
        Left("STRATEGY"),
    ];

    fn cells(&self) -> Vec<String> {
        vec![
            self.name.clone(),
            self.generation.to_string(),
            self.processes.to_string(),
            self.partitions.to_string(),
            self.connections.to_string(),
            self.edges.to_string(),
            self.cut_percent(),
            self.strategy.clone(),
        ]
    }
}

fn dash() -> String {
    "-".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_begins_with_exactly_the_fields_of_the_interface() {
        let row = StatusRow {
            member_id: Some(1),
            endpoint: "127.0.0.1:7101".into(),
            role: "leader",
            term: Some(2),
            leader_id: Some(1),
            applied_index: Some(40),
            revision: Some(30),
            ..StatusRow::default()
        };
        let json = serde_json::to_string(&row).unwrap();
        let fields = r#"{"member_id":1,"endpoint":"127.0.0.1:7101","role":"leader","term":2,"leader_id":1,"applied_index":40,"revision":30,"#;
        assert!(json.starts_with(fields), "{json}");
        assert!(!json.contains("error"), "{json}");
    }

    #[test]
    fn an_unreachable_coordinator_is_a_row_too() {
        let row = StatusRow::unreachable("127.0.0.1:1", "connection refused".into());
        let json = serde_json::to_value(&row).unwrap();
        assert_eq!(json["member_id"], serde_json::Value::Null);
        assert_eq!(json["role"], "unreachable");
        assert_eq!(json["error"], "connection refused");
        assert_eq!(row.cells()[..3], ["-", "127.0.0.1:1", "unreachable"]);
    }

    #[test]
    fn a_network_shows_its_cut() {
        let row = NetworkRow {
            name: "net".into(),
            generation: 1,
            processes: 4,
            partitions: 2,
            connections: 1,
            edges: 3,
            cut_rate: 1,
            total_rate: 3,
            strategy: "round-robin".into(),
        };
        assert_eq!(row.cells()[6], "33.3%");
        assert_eq!(NetworkRow { total_rate: 0, cut_rate: 0, ..row.clone() }.cells()[6], "0.0%");
        let json = serde_json::to_string(&row).unwrap();
        assert!(
            json.starts_with(r#"{"name":"net","generation":1,"processes":4,"partitions":2,"#),
            "{json}"
        );
    }
}
