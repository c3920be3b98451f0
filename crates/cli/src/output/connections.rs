//! Rows that show connections.
//!
//! The names of the JSON fields are an interface: fields are added, never renamed.

use std::{collections::BTreeMap, fmt::Write as _};

use quorate_client::FoundConnection;
use quorate_core::{Connection, ConnectionId, ConnectionPolicy, ConnectionStatus, PartitionId};
use serde::Serialize;

use super::{
    Column::{self, Left, Right},
    Row,
    records::EdgeRow,
    text,
};

/// A connection between two partitions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct ConnectionRow {
    id: String,
    network: String,
    from: String,
    to: String,
    edges: usize,
    /// None: not known from the record alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<&'static str>,
    process_edges: Vec<EdgeRow>,
    #[serde(flatten)]
    status: Option<StatusRow>,
    policy: BTreeMap<&'static str, u64>,
}

/// How a connection is doing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct StatusRow {
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<&'static str>,
    from_epoch: Option<String>,
    to_epoch: Option<String>,
    attempts: u32,
    since_ms: Option<u64>,
    retry_at_ms: Option<u64>,
    error: Option<String>,
}

impl StatusRow {
    /// The status on its own, with the id and state of the connection.
    pub(super) fn with_id(id: &ConnectionId, status: &ConnectionStatus) -> Self {
        let state = Some(status.state.as_str());
        Self { id: Some(id.to_string()), state, ..Self::new(Some(status)) }
    }

    fn new(status: Option<&ConnectionStatus>) -> Self {
        Self {
            id: None,
            state: None,
            from_epoch: status.map(|status| status.from.epoch.to_string()),
            to_epoch: status.map(|status| status.to.epoch.to_string()),
            attempts: status.map_or(0, |status| status.attempts),
            since_ms: status.map(|status| status.since_ms),
            retry_at_ms: status.map(|status| status.retry_at_ms).filter(|at| *at > 0),
            error: status.map(|it| it.error.to_string()).filter(|error| !error.is_empty()),
        }
    }
}

impl ConnectionRow {
    /// The row of a connection whose status is not known.
    pub(super) fn new(id: &ConnectionId, connection: &Connection) -> Self {
        let end = |index| PartitionId { network: id.network.clone(), index }.to_string();
        Self {
            id: id.to_string(),
            network: id.network.to_string(),
            from: end(id.from),
            to: end(id.to),
            edges: connection.edges.len(),
            state: None,
            process_edges: connection.edges.iter().map(EdgeRow::new).collect(),
            status: None,
            policy: policy(&connection.policy),
        }
    }

    /// The row of a connection with its status.
    pub(crate) fn of(found: &FoundConnection) -> Self {
        Self::with(&found.id, &found.connection.value, found.status.as_ref())
    }

    /// The same from its parts.
    pub(crate) fn with(
        id: &ConnectionId,
        connection: &Connection,
        status: Option<&ConnectionStatus>,
    ) -> Self {
        Self {
            state: Some(status.map_or("pending", |status| status.state.as_str())),
            status: Some(StatusRow::new(status)),
            ..Self::new(id, connection)
        }
    }

    /// All of it, for people.
    pub(crate) fn text(&self) -> String {
        let mut text = format!("connection {}: {}", self.id, self.state.unwrap_or("-"));
        if let Some(status) = &self.status {
            let times = [("since", status.since_ms), ("retried at", status.retry_at_ms)];
            for (what, at) in times.into_iter().filter_map(|(what, at)| Some((what, at?))) {
                let _ = write!(text, ", {what} {at} ms");
            }
            let epochs =
                [&status.from_epoch, &status.to_epoch].map(|it| text::or_dash(it.as_deref()));
            let _ = write!(text, "\nepochs: {} -> {}", epochs[0], epochs[1]);
            let _ = write!(text, "\nattempts: {}", status.attempts);
            if let Some(error) = &status.error {
                let _ = write!(text, "\nlast error: {}", text::cell(error.as_bytes()));
            }
        }
        for EdgeRow { from, to, rate } in &self.process_edges {
            let _ = write!(text, "\nedge: {from}->{to}, {rate} bytes/s");
        }
        for (name, value) in &self.policy {
            let _ = write!(text, "\n{name}: {value}");
        }
        text
    }
}

/// What is given of a policy, by name.
pub(super) fn policy(policy: &ConnectionPolicy) -> BTreeMap<&'static str, u64> {
    policy.fields().into_iter().filter(|(_, value)| *value > 0).collect()
}

impl Row for ConnectionRow {
    const COLUMNS: &'static [Column] =
        &[Left("ID"), Left("STATE"), Right("EDGES"), Right("BYTES/S"), Left("FIRST")];

    fn cells(&self) -> Vec<String> {
        let edges = self.process_edges.iter().map(|edge| format!("{}->{}", edge.from, edge.to));
        let rate: u64 =
            self.process_edges.iter().fold(0, |sum, edge| sum.saturating_add(edge.rate));
        vec![
            self.id.clone(),
            text::or_dash(self.state),
            self.edges.to_string(),
            rate.to_string(),
            text::shorten(&edges.collect::<Vec<_>>().join(" ")),
        ]
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use quorate_core::{
        ConnectionEnd, ConnectionState, Epoch, Name, ProcessEdge, RestoreEpoch, Revision,
        SessionId, Versioned,
    };

    use super::*;

    fn found(status: Option<ConnectionStatus>) -> FoundConnection {
        let name = |text| Name::new(text).unwrap();
        let value = Arc::new(Connection {
            edges: vec![ProcessEdge { from: name("p1"), to: name("p2"), rate: 10 }],
            policy: ConnectionPolicy { attempts_max: 5, ..ConnectionPolicy::default() },
        });
        let (created, modified) = (Revision(1), Revision(1));
        let connection = Versioned { created, modified, version: 1, value };
        FoundConnection { id: ConnectionId::parse("net/0->net/1").unwrap(), connection, status }
    }

    fn status() -> ConnectionStatus {
        let end = |revision| ConnectionEnd {
            epoch: Epoch { restore: RestoreEpoch(0), revision: Revision(revision) },
            session: SessionId { restore: RestoreEpoch(0), revision: Revision(2) },
        };
        ConnectionStatus {
            from: end(6),
            to: end(7),
            state: ConnectionState::Broken,
            attempts: 2,
            since_ms: 1_000,
            retry_at_ms: 3_000,
            error: "reset".into(),
        }
    }

    #[test]
    fn a_connection_has_exactly_the_fields_of_the_interface() {
        let json = |row: &ConnectionRow| serde_json::to_string(row).unwrap();
        let row = ConnectionRow::of(&found(None));
        assert_eq!(
            json(&row),
            r#"{"id":"net/0->net/1","network":"net","from":"net/0","to":"net/1","edges":1,"state":"pending","process_edges":[{"from":"p1","to":"p2","rate":10}],"from_epoch":null,"to_epoch":null,"attempts":0,"since_ms":null,"retry_at_ms":null,"error":null,"policy":{"attempts_max":5}}"#
        );
        assert_eq!(row.cells(), ["net/0->net/1", "pending", "1", "10", "p1->p2"]);
        let row = ConnectionRow::of(&found(Some(status())));
        let json = json(&row);
        let (_, fields) = json.split_once(r#""rate":10}],"#).unwrap();
        assert_eq!(
            fields,
            r#""from_epoch":"0.6","to_epoch":"0.7","attempts":2,"since_ms":1000,"retry_at_ms":3000,"error":"reset","policy":{"attempts_max":5}}"#
        );
        assert_eq!(
            row.text(),
            "connection net/0->net/1: broken, since 1000 ms, retried at 3000 ms\n\
             epochs: 0.6 -> 0.7\nattempts: 2\nlast error: reset\n\
             edge: p1->p2, 10 bytes/s\nattempts_max: 5"
        );
    }

    #[test]
    fn a_status_on_its_own_says_of_which_connection_it_is() {
        let row = StatusRow::with_id(&ConnectionId::parse("net/0->net/1").unwrap(), &status());
        assert_eq!(
            serde_json::to_string(&row).unwrap(),
            r#"{"id":"net/0->net/1","state":"broken","from_epoch":"0.6","to_epoch":"0.7","attempts":2,"since_ms":1000,"retry_at_ms":3000,"error":"reset"}"#
        );
    }
}
