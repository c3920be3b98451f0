//! Messages framed by hand are the bytes that prost would write.

use bytes::Bytes;
use proptest::{collection::vec, option, prelude::*};
use prost::Message;
use quorate_core::{Change, Event, Origin, Revision};
use quorate_proto::{
    convert::{Header, ResumeToken, record, watch},
    encoded::{EncodedEvent, EncodedResponse, encode_change},
    v1,
};

use crate::arbitrary;

/// The message as it is built without the shared encodings.
fn plain(
    header: Header,
    events: &[(Revision, Vec<Change>)],
    with_previous: bool,
    resume: Option<ResumeToken>,
) -> v1::WatchResponse {
    let event = |(revision, changes): &(Revision, Vec<Change>)| v1::Event {
        revision: revision.get(),
        r#type: v1::EventType::Changes.into(),
        changes: changes
            .iter()
            .map(|change| watch::change(change, *revision, with_previous))
            .collect(),
        records: Vec::new(),
        label: "l".into(),
        reason: String::new(),
        time_ms: revision.get() / 2,
    };
    v1::WatchResponse {
        header: Some(header.into()),
        events: events.iter().map(event).collect(),
        resume: resume.map(Into::into),
    }
}

proptest! {
    #[test]
    fn framed_messages_are_plain_ones(
        header in arbitrary::header(),
        events in vec((arbitrary::revision(), vec(arbitrary::change(), 1..4)), 0..3),
        with_previous in any::<bool>(),
        resume in option::of(arbitrary::token()),
    ) {
        let expected = plain(header, &events, with_previous, resume);
        let encode = |(revision, changes): (Revision, Vec<Change>)| {
            let event = Event { revision, time_ms: revision.get() / 2, changes, origin: Origin { label: "l".into(), reason: "".into() } };
            EncodedEvent::changes(&event, with_previous, |_| true).unwrap()
        };
        let events = events.into_iter().map(encode).collect();
        let framed = EncodedResponse { header, events, resume };
        let bytes = framed.to_bytes();
        prop_assert_eq!(bytes.len(), framed.encoded_len());
        prop_assert_eq!(&bytes, &Bytes::from(expected.encode_to_vec()));
        prop_assert_eq!(framed.message().unwrap(), expected);
    }

    #[test]
    fn other_events_are_plain_ones(
        header in arbitrary::header(),
        revision in arbitrary::revision(),
        records in vec(arbitrary::keyed_record(), 0..3),
    ) {
        let events = vec![
            EncodedEvent::resync(revision),
            EncodedEvent::snapshot(revision, &records),
            EncodedEvent::snapshot_end(revision),
            EncodedEvent::progress(revision),
        ];
        let message = EncodedResponse { header, events, resume: None }.message().unwrap();
        let types: Vec<_> = message.events.iter().map(v1::Event::r#type).collect();
        prop_assert_eq!(types, [
            v1::EventType::Resync,
            v1::EventType::Snapshot,
            v1::EventType::SnapshotEnd,
            v1::EventType::Progress,
        ]);
        prop_assert!(message.events.iter().all(|event| event.revision == revision.get()));
        prop_assert_eq!(&message.events[1].records, &record::records(&records));
    }

    #[test]
    fn a_change_is_encoded_once(change in arbitrary::change(), revision in arbitrary::revision()) {
        let (first, again) =
            (encode_change(&change, revision, false), encode_change(&change, revision, false));
        prop_assert_eq!(first.as_ptr(), again.as_ptr(), "the bytes are shared");
        let with_previous = encode_change(&change, revision, true);
        let expected = watch::change(&change, revision, true);
        prop_assert_eq!(v1::Change::decode(with_previous).unwrap(), expected);
    }
}

#[test]
fn an_event_without_matching_changes_is_none() {
    let key = quorate_core::Key::entry("k");
    let event = Event {
        revision: Revision(1),
        time_ms: 0,
        changes: vec![Change::new(key, None, None)],
        origin: Origin::default(),
    };
    assert_eq!(EncodedEvent::changes(&event, false, |_| false), None);
}
