//! Networks in numbers, as they are stored.

use quorate_core::{Connection, KeyRange, Kind, Name, Record, State};
use quorate_proto::convert::NetworkNumbers;

use super::planned::stored;

/// One network in numbers.
#[must_use]
pub fn summary(state: &State, name: &Name) -> Option<NetworkNumbers> {
    let (_, network) = stored(state, name)?;
    let range = KeyRange::Prefix(Kind::Connection, format!("{name}/").into());
    let connections = state.range(&range).filter_map(|(_, record)| match &record.value {
        Record::Connection(connection) => Some::<&Connection>(connection),
        _ => None,
    });
    Some(NetworkNumbers::count(name, network, connections))
}

/// All networks in numbers, by name.
#[must_use]
pub fn summaries(state: &State) -> Vec<NetworkNumbers> {
    let all = KeyRange::Prefix(Kind::Network, bytes::Bytes::new());
    let names = state.range(&all).filter_map(|(key, _)| {
        let text = std::str::from_utf8(&key.bytes).ok()?;
        Name::new(text).ok()
    });
    names.filter_map(|name| summary(state, &name)).collect()
}
