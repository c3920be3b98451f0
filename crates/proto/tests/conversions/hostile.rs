//! No bytes make a conversion panic.

use bytes::Bytes;
use proptest::{collection::vec, prelude::*};
use prost::Message;
use quorate_core::{Filter, Key, KeyRange, Name, NetworkSpec, Transaction};
use quorate_proto::{
    ConvertError,
    convert::{Consistency, NetworkNumbers, WatchEvent, WatchSpec, record, transaction},
    v1,
};

use crate::arbitrary;

/// Decodes the bytes as a message and converts it; counts what was accepted.
fn convert<M: Message + Default, T>(
    bytes: &[u8],
    convert: impl Fn(M) -> Result<T, ConvertError>,
) -> usize {
    let Ok(message) = M::decode(bytes) else { return 0 };
    match convert(message) {
        Ok(_) => 1,
        Err(error) => {
            assert!(!error.rule.is_empty(), "an error says which rule: {error:?}");
            0
        }
    }
}

/// Every conversion of a message that somebody else sends.
fn all(bytes: &[u8]) -> usize {
    convert(bytes, Key::try_from as fn(v1::Key) -> _)
        + convert(bytes, KeyRange::try_from as fn(v1::Selector) -> _)
        + convert(bytes, Transaction::try_from as fn(v1::TransactionRequest) -> _)
        + convert(bytes, Transaction::try_from as fn(v1::PutRequest) -> _)
        + convert(bytes, Transaction::try_from as fn(v1::DeleteRequest) -> _)
        + convert(bytes, <(Name, NetworkSpec)>::try_from as fn(v1::ApplyNetworkRequest) -> _)
        + convert(bytes, Filter::try_from as fn(v1::WatchFilter) -> _)
        + convert(bytes, WatchSpec::try_from as fn(v1::WatchRequest) -> _)
        + convert(bytes, Consistency::try_from as fn(v1::ReadOptions) -> _)
        + convert(bytes, WatchEvent::try_from as fn(v1::Event) -> _)
        + convert(bytes, NetworkNumbers::try_from as fn(v1::NetworkSummary) -> _)
        + convert(bytes, record::keyed_record)
        + convert(bytes, record::keyed_revisions)
        + convert(bytes, transaction::transaction_reply)
}

proptest! {
    #[test]
    fn random_bytes(bytes in vec(any::<u8>(), 0..64)) {
        all(&bytes);
    }

    #[test]
    fn damaged_records(
        keyed in arbitrary::keyed_record(),
        (at, with) in (any::<prop::sample::Index>(), any::<u8>()),
    ) {
        let mut bytes = record::record(&keyed.0, &keyed.1).encode_to_vec();
        prop_assert!(convert(&bytes, record::keyed_record) == 1);
        let at = at.index(bytes.len());
        bytes[at] = with;
        all(&bytes);
        all(&bytes[..at]);
    }

    #[test]
    fn damaged_transactions(
        transaction in arbitrary::transaction(),
        (at, with) in (any::<prop::sample::Index>(), any::<u8>()),
    ) {
        let mut bytes = v1::TransactionRequest::from(transaction).encode_to_vec();
        if bytes.is_empty() { return Ok(()) }
        let at = at.index(bytes.len());
        bytes[at] = with;
        all(&bytes);
    }

    #[test]
    fn numbers_of_no_enum(number in any::<i32>(), bytes in vec(any::<u8>(), 0..8)) {
        let key = v1::Key { kind: number, key: Bytes::from(bytes) };
        let known = v1::Kind::try_from(number).is_ok();
        prop_assert_eq!(Key::try_from(key).is_ok(), known);
        let event = v1::Event { r#type: number, ..v1::Event::default() };
        let known = v1::EventType::try_from(number).is_ok_and(|it| it != v1::EventType::Unspecified);
        prop_assert_eq!(WatchEvent::try_from(event).is_ok(), known);
    }
}
