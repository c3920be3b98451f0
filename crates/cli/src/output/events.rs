//! How a change stream looks: a JSON object per revision, or a line per change.
//!
//! The names of the JSON fields are an interface: fields are added, never renamed.

use std::fmt::Write;

use quorate_core::{Key, Origin, Record, Revision, Versioned};
use serde::{Serialize, Serializer, ser::SerializeMap};

use super::{
    pools::allocation_summary,
    records::{member_state, record_value},
    text::{self, BytesField},
};

/// One step of a stream, borrowed from wherever it came.
#[derive(Debug, Clone)]
pub(crate) enum Step<'a> {
    /// The matching changes of one revision.
    Changes(Revision, Vec<Shown<'a>>, &'a Origin),
    /// Some of the matching records as of this revision.
    Snapshot(Revision, Vec<Shown<'a>>),
    /// The snapshot is complete.
    SnapshotEnd(Revision),
    /// Every matching change up to this revision was delivered.
    Progress(Revision),
    /// History was lost: a new snapshot follows.
    Resync(Revision),
    /// History was lost and the stream ends; the oldest revision that is kept.
    Compacted(Revision),
}

/// One change, or one record of a snapshot.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shown<'a> {
    /// The key.
    pub(crate) key: &'a Key,
    /// The record after the change; None: deleted.
    pub(crate) current: Option<&'a Versioned<Record>>,
    /// The record before the change, if there was one and it was asked for.
    pub(crate) previous: Option<&'a Versioned<Record>>,
    /// Whether this change created the record.
    pub(crate) created: bool,
}

impl<'a> Shown<'a> {
    /// A record of a snapshot: a put, which created the record if it was never written again.
    pub(crate) fn record(key: &'a Key, record: &'a Versioned<Record>) -> Self {
        Self { key, current: Some(record), previous: None, created: record.version == 1 }
    }
}

impl Step<'_> {
    const fn name(&self) -> &'static str {
        match self {
            Self::Changes(..) => "changes",
            Self::Snapshot(..) => "snapshot",
            Self::SnapshotEnd(_) => "snapshot_end",
            Self::Progress(_) => "progress",
            Self::Resync(_) => "resync",
            Self::Compacted(_) => "compacted",
        }
    }

    const fn revision(&self) -> Revision {
        match self {
            Self::Changes(revision, ..)
            | Self::Snapshot(revision, _)
            | Self::SnapshotEnd(revision)
            | Self::Progress(revision)
            | Self::Resync(revision)
            | Self::Compacted(revision) => *revision,
        }
    }

    fn shown(&self) -> &[Shown<'_>] {
        match self {
            Self::Changes(_, shown, _) | Self::Snapshot(_, shown) => shown,
            _ => &[],
        }
    }

    /// One line for people: the first change, how many more there are, who made them and why.
    pub(crate) fn line(&self) -> String {
        let (revision, shown) = (self.revision(), self.shown());
        let mut line = String::new();
        if let Some(first) = shown.first() {
            first.write_line(&mut line, revision);
            line.truncate(line.trim_end().len());
        }
        // Writing to a String cannot fail.
        match shown.len() {
            0 | 1 => {}
            count => {
                let _ = write!(line, "  (and {} more)", count - 1);
            }
        }
        if let Self::Changes(.., origin) = self
            && let Some(who) = who(origin)
        {
            let _ = write!(line, "  by {who}");
        }
        line.push('\n');
        line
    }

    /// Lines for people: one per change. Progress is silent.
    pub(crate) fn lines(&self) -> String {
        let revision = self.revision();
        match self {
            Self::Changes(_, shown, origin) => {
                let mut lines = String::new();
                shown.iter().for_each(|shown| shown.write_line(&mut lines, revision));
                // Who did it, once for all that belongs together.
                if let Some(who) = who(origin) {
                    // Writing to a String cannot fail.
                    let _ = writeln!(lines, "{:>8}    by {who}", "");
                }
                lines
            }
            Self::Snapshot(_, shown) => shown.iter().fold(String::new(), |mut lines, shown| {
                shown.write_line(&mut lines, revision);
                lines
            }),
            Self::SnapshotEnd(_) => format!("{revision:>8}  -- end of snapshot\n"),
            Self::Progress(_) => String::new(),
            Self::Resync(_) => format!("{revision:>8}  -- history was lost, starting over\n"),
            Self::Compacted(_) => format!("{revision:>8}  -- history before this was lost\n"),
        }
    }
}

impl Serialize for Step<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("type", self.name())?;
        map.serialize_entry("revision", &self.revision())?;
        if let Self::Compacted(oldest) = self {
            map.serialize_entry("oldest", oldest)?;
        }
        map.serialize_entry("changes", self.shown())?;
        if let Self::Changes(.., origin) = self {
            for (name, text) in [("label", &origin.label), ("reason", &origin.reason)] {
                if !text.is_empty() {
                    map.serialize_entry(name, text.as_ref())?;
                }
            }
        }
        map.end()
    }
}

impl Serialize for Shown<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("kind", self.key.kind.as_str())?;
        text::KEY.serialize(&mut map, &self.key.bytes)?;
        map.serialize_entry("op", if self.current.is_some() { "put" } else { "delete" })?;
        map.serialize_entry("created", &self.created)?;
        serialize_value(&mut map, text::VALUE, self.key, self.current)?;
        serialize_value(&mut map, text::PREVIOUS, self.key, self.previous)?;
        if let Some(current) = self.current {
            map.serialize_entry("version", &current.version)?;
            map.serialize_entry("modified", &current.modified)?;
        }
        map.end()
    }
}

/// An entry's bytes as text or base64, any other record as an object, no record as null.
fn serialize_value<M: SerializeMap>(
    map: &mut M,
    field: BytesField,
    key: &Key,
    record: Option<&Versioned<Record>>,
) -> Result<(), M::Error> {
    match record.map(|record| &record.value) {
        Some(Record::Entry(entry)) => field.serialize(map, &entry.value),
        Some(other) => map.serialize_entry(field.name(), &record_value(&key.bytes, other)),
        None => map.serialize_entry(field.name(), &()),
    }
}

impl Shown<'_> {
    fn write_line(&self, out: &mut String, revision: Revision) {
        let sign = match (self.current, self.created) {
            (None, _) => '-',
            (Some(_), true) => '+',
            (Some(_), false) => '~',
        };
        let kind = self.key.kind.as_str();
        let key = text::cell(&self.key.bytes);
        // Writing to a String cannot fail.
        let _ = write!(out, "{revision:>8}  {sign} {kind:<10} {key}");
        if let Some(current) = self.current {
            let _ = write!(out, "  {}", summary(current));
        }
        if let Some(previous) = self.previous {
            let _ = write!(out, "  (was {})", summary(previous));
        }
        out.push('\n');
    }
}

/// Who, and why, as far as they are known.
fn who(origin: &Origin) -> Option<String> {
    let known = [&origin.label, &origin.reason].into_iter().map(AsRef::as_ref);
    let known: Vec<&str> = known.filter(|text: &&str| !text.is_empty()).collect();
    (!known.is_empty()).then(|| text::cell(known.join(": ").as_bytes()))
}

/// What a record holds, in a few words.
fn summary(record: &Versioned<Record>) -> String {
    match &record.value {
        Record::Entry(entry) => text::short_cell(&entry.value),
        Record::Session(session) => format!("{} ms {}", session.ttl_ms, session.label),
        Record::Load(load) => format!("{} ppm", load.load_ppm),
        Record::Member(member) => member_state(member.state).to_owned(),
        Record::Pool(pool) => {
            format!("{} resources, {} tenants", pool.capacity.len(), pool.tenants.len())
        }
        Record::Allocation(allocation) => allocation_summary(allocation),
        Record::Alert(alert) => format!("{}: {}", alert.severity, alert.message),
        Record::Window(_) | Record::Reply(_) => String::new(),
        Record::Setting(value) => value.to_string(),
        Record::Worker(worker) => worker.address.clone(),
        Record::Network(network) => format!(
            "generation {}, {} processes, {} partitions",
            network.generation,
            network.spec.processes.len(),
            network.spec.policy.partitions
        ),
        Record::Partition(partition) => {
            let ids: Vec<_> = partition.processes.iter().map(|p| p.id.as_str()).collect();
            text::shorten(&ids.join(" "))
        }
        Record::ConnectionStatus(status) => match status.error.as_ref() {
            "" => status.state.as_str().to_owned(),
            error => text::shorten(&format!("{}: {error}", status.state.as_str())),
        },
        Record::Connection(connection) => {
            let edges: Vec<_> =
                connection.edges.iter().map(|e| format!("{}->{}", e.from, e.to)).collect();
            text::shorten(&edges.join(" "))
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn entry(value: &'static [u8], version: u64) -> Versioned<Record> {
        Versioned {
            created: Revision(1),
            modified: Revision(version),
            version,
            value: Record::Entry(Bytes::from_static(value).into()),
        }
    }

    fn json(step: &Step<'_>) -> String {
        serde_json::to_string(step).unwrap()
    }

    #[test]
    fn a_revision_is_one_line_of_json() {
        let key = Key::entry("k");
        let (new, old) = (entry(b"new", 2), entry(&[0xff], 1));
        let put = Shown { key: &key, current: Some(&new), previous: Some(&old), created: false };
        let delete = Shown { key: &key, current: None, previous: None, created: false };
        assert_eq!(
            json(&Step::Changes(Revision(2), vec![put, delete], &Origin::default())),
            concat!(
                r#"{"type":"changes","revision":2,"changes":["#,
                r#"{"kind":"entry","key":"k","op":"put","created":false,"value":"new","#,
                r#""previous_base64":"/w==","version":2,"modified":2},"#,
                r#"{"kind":"entry","key":"k","op":"delete","created":false,"value":null,"previous":null}]}"#,
            )
        );
    }

    #[test]
    fn the_other_steps_have_their_names() {
        let revision = Revision(9);
        assert_eq!(
            json(&Step::Progress(revision)),
            r#"{"type":"progress","revision":9,"changes":[]}"#
        );
        assert_eq!(
            json(&Step::Compacted(revision)),
            r#"{"type":"compacted","revision":9,"oldest":9,"changes":[]}"#
        );
        for (step, name) in [
            (Step::SnapshotEnd(revision), "snapshot_end"),
            (Step::Resync(revision), "resync"),
            (Step::Snapshot(revision, vec![]), "snapshot"),
        ] {
            assert!(json(&step).contains(&format!(r#""type":"{name}""#)));
        }
    }

    #[test]
    fn people_get_a_line_per_change_and_no_progress() {
        let key = Key::entry("config/mode");
        let (new, old) = (entry(b"fast", 1), entry(b"slow", 1));
        let shown = Shown { key: &key, current: Some(&new), previous: Some(&old), created: false };
        let created = Shown::record(&key, &new);
        let gone = Shown { key: &key, current: None, previous: None, created: false };
        assert_eq!(
            Step::Changes(Revision(12), vec![created, shown, gone], &Origin::default()).lines(),
            "      12  + entry      config/mode  fast\n      \
             12  ~ entry      config/mode  fast  (was slow)\n      \
             12  - entry      config/mode\n"
        );
        assert_eq!(Step::Progress(Revision(12)).lines(), "");
    }

    #[test]
    fn a_revision_of_the_history_is_one_line() {
        let key = Key::entry("config/mode");
        let new = entry(b"fast", 1);
        let created = Shown::record(&key, &new);
        let origin = Origin { label: "ops".into(), reason: "too slow".into() };
        assert_eq!(
            Step::Changes(Revision(12), vec![created, created, created], &origin).line(),
            "      12  + entry      config/mode  fast  (and 2 more)  by ops: too slow\n"
        );
        assert_eq!(
            Step::Changes(Revision(3), vec![created], &Origin::default()).line(),
            "       3  + entry      config/mode  fast\n"
        );
    }
}
