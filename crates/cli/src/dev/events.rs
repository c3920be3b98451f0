//! What happened in a local cluster between two looks at it.
//!
//! Pure: two lists of status rows in, events out.

use serde::Serialize;

use crate::output::cluster::StatusRow;

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub(super) enum Event {
    /// Another coordinator leads.
    Leader {
        /// The leader.
        member_id: u64,
        /// Its term.
        term: u64,
    },
    /// No coordinator leads.
    NoLeader,
    /// A coordinator stopped answering.
    Lost {
        /// Who it was.
        member_id: Option<u64>,
        /// Where it was.
        endpoint: String,
    },
    /// A coordinator answers again.
    Back {
        /// Who it is.
        member_id: Option<u64>,
        /// Where it is.
        endpoint: String,
    },
}

impl Event {
    /// A line for people.
    pub(super) fn line(&self) -> String {
        match self {
            Self::Leader { member_id, term } => {
                format!("member {member_id} leads, in term {term}")
            }
            Self::NoLeader => "no member leads".to_owned(),
            Self::Lost { member_id, endpoint } => {
                format!("{} at {endpoint} does not answer any more", member(*member_id))
            }
            Self::Back { member_id, endpoint } => {
                format!("{} at {endpoint} answers again", member(*member_id))
            }
        }
    }
}

fn member(id: Option<u64>) -> String {
    id.map_or_else(|| "the coordinator".to_owned(), |id| format!("member {id}"))
}

/// What happened between two looks. Rows are by endpoint, in the same order.
pub(super) fn between(before: &[StatusRow], after: &[StatusRow]) -> Vec<Event> {
    let mut events: Vec<_> = before
        .iter()
        .zip(after)
        .filter_map(|(before, after)| match (answers(before), answers(after)) {
            (true, false) => {
                Some(Event::Lost { member_id: before.member_id, endpoint: after.endpoint.clone() })
            }
            (false, true) => {
                Some(Event::Back { member_id: after.member_id, endpoint: after.endpoint.clone() })
            }
            _ => None,
        })
        .collect();
    match (leader(before), leader(after)) {
        (old, Some(new)) if old != Some(new) => {
            events.push(Event::Leader { member_id: new.0, term: new.1 });
        }
        (Some(_), None) => events.push(Event::NoLeader),
        _ => {}
    }
    events
}

/// The member that leads in the newest term, and the term.
pub(super) fn leader(rows: &[StatusRow]) -> Option<(u64, u64)> {
    rows.iter()
        .filter(|row| row.role == "leader")
        .filter_map(|row| Some((row.member_id?, row.term?)))
        .max_by_key(|(_, term)| *term)
}

fn answers(row: &StatusRow) -> bool {
    row.role != StatusRow::UNREACHABLE
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(id: u64, role: &'static str, term: u64) -> StatusRow {
        StatusRow {
            member_id: Some(id),
            endpoint: format!("127.0.0.1:{id}"),
            role,
            term: Some(term),
            ..StatusRow::default()
        }
    }

    #[test]
    fn a_killed_leader_is_told_step_by_step() {
        let calm = [row(1, "leader", 1), row(2, "follower", 1)];
        let killed = [StatusRow::unreachable("127.0.0.1:1", "x".into()), row(2, "follower", 1)];
        let elected = [StatusRow::unreachable("127.0.0.1:1", "x".into()), row(2, "leader", 2)];
        let back = [row(1, "follower", 2), row(2, "leader", 2)];
        assert_eq!(between(&calm, &calm), []);
        assert_eq!(
            between(&calm, &killed),
            [Event::Lost { member_id: Some(1), endpoint: "127.0.0.1:1".into() }, Event::NoLeader]
        );
        assert_eq!(between(&killed, &elected), [Event::Leader { member_id: 2, term: 2 }]);
        assert_eq!(
            between(&elected, &back),
            [Event::Back { member_id: Some(1), endpoint: "127.0.0.1:1".into() }]
        );
    }

    #[test]
    fn a_deposed_leader_that_does_not_know_it_yet_does_not_count() {
        let rows = [row(1, "leader", 1), row(2, "leader", 2)];
        assert_eq!(leader(&rows), Some((2, 2)));
    }

    #[test]
    fn events_have_names_for_programs() {
        let json = serde_json::to_string(&Event::Leader { member_id: 2, term: 3 }).unwrap();
        assert_eq!(json, r#"{"event":"leader","member_id":2,"term":3}"#);
        let lost = Event::Lost { member_id: Some(1), endpoint: "127.0.0.1:1".into() };
        assert_eq!(lost.line(), "member 1 at 127.0.0.1:1 does not answer any more");
        assert_eq!(serde_json::to_string(&Event::NoLeader).unwrap(), r#"{"event":"no_leader"}"#);
    }
}
