//! What happened, as a person wants to hear it: a line, or a JSON object.
//!
//! The names of the JSON fields are an interface: fields are added, never renamed.

use quorate_core::Notice;
use serde::Serialize;

use super::{snapshot::rfc3339, text};

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct NoticeRow<'a> {
    /// The revision.
    pub(crate) revision: u64,
    /// When, by the leader's clock.
    pub(crate) time: String,
    /// What: a stable name.
    #[serde(rename = "type")]
    pub(crate) kind: &'static str,
    /// About what: a name or an id.
    pub(crate) subject: &'a str,
    /// In words.
    pub(crate) text: &'a str,
    /// Who made the change. May be empty.
    pub(crate) by: &'a str,
    /// Why. May be empty.
    pub(crate) reason: &'a str,
}

impl<'a> NoticeRow<'a> {
    /// The row of a notice.
    pub(crate) fn new(notice: &'a Notice) -> Self {
        Self {
            revision: notice.revision.get(),
            time: rfc3339(notice.time_ms),
            kind: notice.kind.as_str(),
            subject: &notice.subject,
            text: &notice.text,
            by: &notice.origin.label,
            reason: &notice.origin.reason,
        }
    }

    /// A line for people.
    pub(crate) fn line(&self) -> String {
        let Self { revision, time, kind, subject, by, reason, .. } = self;
        let text = text::cell(self.text.as_bytes());
        let known = [*by, *reason].into_iter().filter(|text| !text.is_empty());
        let who = match known.collect::<Vec<_>>().join(": ") {
            who if who.is_empty() => who,
            who => format!("  by {}", text::cell(who.as_bytes())),
        };
        format!("{revision:>8}  {time}  {kind:<20}  {subject}  {text}{who}\n")
    }
}

#[cfg(test)]
mod tests {
    use quorate_core::{NoticeKind, Origin, Revision};

    use super::*;

    fn notice(origin: Origin) -> Notice {
        Notice {
            revision: Revision(12),
            time_ms: 0,
            kind: NoticeKind::WorkerLost,
            subject: "w1".into(),
            text: "its session ended without its leaving".into(),
            origin,
            network: None,
            worker: None,
        }
    }

    #[test]
    fn a_notice_has_exactly_the_fields_of_the_interface() {
        let notice = notice(Origin::new("quorate", "ended"));
        assert_eq!(
            serde_json::to_string(&NoticeRow::new(&notice)).unwrap(),
            r#"{"revision":12,"time":"1970-01-01T00:00:00.000Z","type":"worker_lost","subject":"w1","text":"its session ended without its leaving","by":"quorate","reason":"ended"}"#
        );
    }

    #[test]
    fn people_get_a_line() {
        let line = |origin| NoticeRow::new(&notice(origin)).line();
        let head = "      12  1970-01-01T00:00:00.000Z  worker_lost           w1  \
                    its session ended without its leaving";
        assert_eq!(line(Origin::default()), format!("{head}\n"));
        assert_eq!(line(Origin::new("a", "b")), format!("{head}  by a: b\n"));
    }
}
