//! No session ends before the time until which its holder may rely on it, and none is left when
//! nobody has kept any alive for long enough. (That the story ends long enough after the last
//! keep-alive is seen to by whoever tells it.)

use std::collections::BTreeMap;

use quorate_node::core::{Key, Kind};

use crate::simulation::story::{At, Told};

pub(super) fn check(told: &Told) -> Vec<String> {
    let mut ends: BTreeMap<&Key, At> = BTreeMap::new();
    for applied in told.events.values() {
        for change in &applied.event.changes {
            if change.key.kind == Kind::Session && change.current.is_none() {
                ends.insert(&change.key, applied.at);
            }
        }
    }
    let mut found = Vec::new();
    for (id, holder) in &told.holders {
        match ends.get(&Key::session(*id)) {
            Some(end) if *end < holder.valid_until => found.push(format!(
                "session {id} ended at {end:?}; its holder relied on it until {:?}",
                holder.valid_until
            )),
            Some(_) => {}
            None => found.push(format!(
                "session {id} (TTL {:?}) was kept alive last at {:?} and never ended",
                holder.ttl, holder.last_sent
            )),
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::super::samples::{ended, session, told_sessions};
    use super::*;

    #[test]
    fn an_early_end_and_none_are_found() {
        let id = session(1);
        assert_eq!(check(&told_sessions(id, 10, &[ended(5, id, 11)])), [""; 0]);
        assert_eq!(check(&told_sessions(id, 10, &[ended(5, id, 9)])).len(), 1);
        assert_eq!(check(&told_sessions(id, 10, &[])).len(), 1);
    }
}
