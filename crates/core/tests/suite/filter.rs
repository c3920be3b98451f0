//! Filters against their description, and ranges against theirs.

use proptest::prelude::*;
use quorate_core::{ConnectionId, Filter, Key, KeyRange, Kind, LoadId, Name, PartitionId};

use crate::generate::{entry_key, network_name, range, run, steps};

/// What an id means, read from its parts instead of its text.
fn belongs(key: &Key) -> Option<(Name, Vec<u32>)> {
    let text = std::str::from_utf8(&key.bytes).ok()?;
    match key.kind {
        Kind::Network => Some((Name::new(text).ok()?, vec![])),
        Kind::Partition => PartitionId::parse(text).map(|id| (id.network, vec![id.index])),
        Kind::Connection | Kind::ConnectionStatus => {
            ConnectionId::parse(text).map(|id| (id.network, vec![id.from, id.to]))
        }
        Kind::Load => match LoadId::parse(text)? {
            LoadId::Partition(id) => Some((id.network, vec![id.index])),
            LoadId::Worker(_) | LoadId::Allocation(_) => None,
        },
        _ => None,
    }
}

fn any_filter() -> impl Strategy<Value = Filter> {
    let partition =
        (network_name(), 0..3_u32).prop_map(|(network, index)| PartitionId { network, index });
    (
        proptest::collection::vec(proptest::sample::select(Kind::ALL.to_vec()), 0..3),
        prop_oneof![Just(bytes::Bytes::new()), entry_key()],
        proptest::option::of(network_name()),
        proptest::option::of(partition),
    )
        .prop_map(|(kinds, key_prefix, network, partition)| Filter {
            worker: None,
            kinds,
            key_prefix,
            network,
            partition,
        })
}

proptest! {
    #![proptest_config(crate::cases(64))]

    #[test]
    fn a_filter_matches_what_it_says(steps in steps(20), filter in any_filter()) {
        let (state, _) = run(&steps);
        for (key, _) in state.records() {
            let (network, touched) = belongs(key).map_or((None, vec![]), |(n, t)| (Some(n), t));
            let expected = (filter.kinds.is_empty() || filter.kinds.contains(&key.kind))
                && key.bytes.starts_with(&filter.key_prefix)
                && (filter.network.is_none() || filter.network == network)
                && filter.partition.as_ref().is_none_or(|partition| {
                    network.as_ref() == Some(&partition.network) && touched.contains(&partition.index)
                });
            prop_assert_eq!(filter.matches_key(key), expected, "{}", key);
        }
    }

    #[test]
    fn a_range_holds_what_it_says(steps in steps(20), range in range()) {
        let (state, _) = run(&steps);
        let found = state.range(&range);
        let expected = state.records().filter(|(key, _)| range.contains(key));
        prop_assert!(found.eq(expected));
        for (key, _) in state.records().filter(|(key, _)| range.contains(key)) {
            prop_assert_eq!(key.kind, range.kind());
        }
    }
}

#[test]
fn a_name_is_no_prefix_of_another() {
    let key = |text: &str| Key { kind: Kind::Partition, bytes: text.to_owned().into() };
    let filter = Filter { network: Some(Name::new("net").unwrap()), ..Filter::default() };
    assert!(filter.matches_key(&key("net/0")));
    assert!(!filter.matches_key(&key("net.2/0")));
    assert!(!filter.matches_key(&Key::entry("net/0")));
    let one = PartitionId { network: Name::new("net").unwrap(), index: 1 };
    let filter = Filter { partition: Some(one.clone()), ..Filter::default() };
    let connection = |text: &str| Key { kind: Kind::Connection, bytes: text.to_owned().into() };
    assert!(filter.matches_key(&Key::partition(&one)));
    assert!(filter.matches_key(&connection("net/1->net/0")));
    assert!(filter.matches_key(&connection("net/0->net/1")));
    assert!(!filter.matches_key(&connection("net/0->net/11")));
    let id = ConnectionId { network: Name::new("net").unwrap(), from: 0, to: 1 };
    assert!(filter.matches_key(&Key::connection_status(&id)));
    assert!(!filter.matches_key(&Key::connection_status(&ConnectionId { to: 11, ..id })));
    assert!(!filter.matches_key(&key("net/11")));
}

#[test]
fn ids_have_one_text() {
    for text in ["net/0", "a.b-c_d/4294967295"] {
        assert_eq!(PartitionId::parse(text).unwrap().to_string(), text);
    }
    for text in ["net", "net/", "/0", "net/00", "net/+1", "net/4294967296", "a/b/0", "net/0 "] {
        assert_eq!(PartitionId::parse(text), None, "{text}");
    }
    assert_eq!(ConnectionId::parse("net/0->net/1").unwrap().to_string(), "net/0->net/1");
    for text in ["net/0", "net/0->other/1", "net/0->net/01", "net/0->", "net/0->net/1->net/2"] {
        assert_eq!(ConnectionId::parse(text), None, "{text}");
    }
}

#[test]
fn kinds_have_names() {
    for kind in Kind::ALL {
        assert_eq!(Kind::from_text(kind.as_str()), Some(kind));
        assert_eq!(Kind::try_from(u8::from(kind)), Ok(kind));
    }
    assert!(Kind::ALL.is_sorted());
    assert_eq!(Kind::from_text("Entry"), None);
    assert!(Kind::try_from(14).is_err());
    assert_eq!(KeyRange::Prefix(Kind::Worker, bytes::Bytes::new()).kind(), Kind::Worker);
}
