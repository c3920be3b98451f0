//! Rules of connections:
//!
//! - a connection's rules are complete, within their bounds, and what its network says of them;
//! - a status exists exactly for each connection whose two partitions have owners, those that are to
//!   release them too, and names their epochs and sessions;
//! - its time is past, only a broken one is to be retried, its error is bounded;
//! - the index of connections by the partition at which they end is that of the records.

use std::collections::{BTreeMap, BTreeSet};

use super::Report;
use crate::{
    connection::{CONNECTION_ERROR_BYTES_MAX, Connection, ConnectionState, ConnectionStatus},
    id::{Epoch, SessionId},
    key::ConnectionId,
    record::{NetworkSpec, Record},
    state::State,
};

/// The epoch and the owner's session of each partition that has one, by its key's text.
type Grants<'a> = BTreeMap<&'a [u8], (Epoch, SessionId)>;

pub(super) fn check(state: &State, report: &mut Report) {
    let mut grants = Grants::new();
    let mut specs: BTreeMap<&[u8], &NetworkSpec> = BTreeMap::new();
    let (mut connections, mut statuses) = (BTreeMap::new(), BTreeMap::new());
    for (key, versioned) in state.records() {
        match (&versioned.value, key.as_connection()) {
            (Record::Partition(partition), _) => {
                let owner = partition.owner.as_ref().map(|owner| owner.session);
                let grant = owner.and_then(|session| Some((partition.epoch?, session)));
                grants.extend(grant.map(|grant| (key.bytes.as_ref(), grant)));
            }
            (Record::Network(network), _) => _ = specs.insert(&key.bytes, &network.spec),
            (Record::Connection(it), Some(id)) => _ = connections.insert(id, it.as_ref()),
            (Record::ConnectionStatus(it), Some(id)) => _ = statuses.insert(id, it.as_ref()),
            _ => {}
        }
    }
    for (id, connection) in &connections {
        let spec = specs.get(id.network.as_str().as_bytes());
        check_policy(id, connection, spec.copied(), report);
        let expected = ends(id, &grants);
        let found = statuses.remove(id);
        let named = found
            .map(|it| (it.from, it.to))
            .map(|(from, to)| ((from.epoch, from.session), (to.epoch, to.session)));
        report.require(
            named == expected,
            id,
            format_args!("has the status of its ends: {named:?} instead of {expected:?}"),
        );
        if let Some(status) = found {
            check_status(state, id, status, report);
        }
    }
    for id in statuses.keys() {
        report.require(false, id, format_args!("a status without a connection"));
    }
    let incoming: BTreeSet<_> =
        connections.keys().map(|id| (id.ends()[1].clone(), id.from)).collect();
    let same = incoming.iter().eq(state.incoming.iter());
    report.require(same, &"connections", format_args!("the index is recomputed"));
}

/// What a status has to say of the ends. None: there is to be none.
fn ends(
    id: &ConnectionId,
    grants: &Grants<'_>,
) -> Option<((Epoch, SessionId), (Epoch, SessionId))> {
    let [from, to] = id.ends().map(|end| grants.get(end.to_string().as_bytes()).copied());
    Some((from?, to?))
}

fn check_policy(
    id: &ConnectionId,
    connection: &Connection,
    spec: Option<&NetworkSpec>,
    report: &mut Report,
) {
    let policy = &connection.policy;
    let complete = policy.fields().iter().all(|(_, value)| *value > 0);
    let valid = policy.validate();
    report.require(
        complete && valid.is_ok(),
        id,
        format_args!("its rules are complete and valid: {valid:?}"),
    );
    let Some(spec) = spec else { return };
    let mut said = spec.connection.fields().into_iter().zip(policy.fields());
    let kept = said.all(|((name, given), (_, value))| {
        given == 0 || given == value || (name == "backoff_ms_max" && value >= given)
    });
    report.require(kept, id, format_args!("its rules are those of its network"));
}

fn check_status(state: &State, id: &ConnectionId, status: &ConnectionStatus, report: &mut Report) {
    let past = status.since_ms <= state.time_ms();
    report.require(past, id, format_args!("is so since {} ms, in the past", status.since_ms));
    let retried = status.retry_at_ms > 0;
    let broken = status.state == ConnectionState::Broken;
    report.require(retried <= broken, id, format_args!("only what is broken is retried"));
    let bounded = status.error.len() <= CONNECTION_ERROR_BYTES_MAX;
    report.require(bounded, id, format_args!("its error is bounded"));
}
