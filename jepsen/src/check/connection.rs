//! The rules of connections, at every revision:
//!
//! - The connections of a network are exactly the pairs of its partitions between which an edge crosses,
//!   each with exactly these edges.
//! - The status of a connection is known exactly while both its partitions have an owner, and names
//!   these two and their epochs: so it follows in the same revision.
//!
//! Owns the recomputation, which shares nothing with the code under test. Must not know how the facts
//! came about.

use std::collections::{BTreeMap, BTreeSet};

use quorate_core::Revision;

use super::{Check, Finding, Found, Work, order, order::Place, seconds};
use crate::history::{
    Line, What,
    fact::{self, Edge, Fact, FactEvent, PartitionFact, StatusFact},
    pair::Malformed,
};

/// How many violations are told.
const VIOLATIONS_MAX: usize = 10;

/// All rules, and the order of the other operations.
pub(crate) fn check<'a>(lines: &'a [Line], others: Vec<Place<'a>>) -> Result<Found, Malformed> {
    let told: Vec<&FactEvent> = events(lines).collect();
    let mut map = Map::default();
    let mut findings = Vec::new();
    for (revision, facts) in fact::revisions(told.iter().copied()) {
        findings.extend(map.take(revision, &facts));
    }
    findings.truncate(VIOLATIONS_MAX);
    findings.extend(order::check(&others));
    Ok(Found { findings, work: work(lines, &map) })
}

fn events(lines: &[Line]) -> impl Iterator<Item = &FactEvent> {
    lines.iter().filter_map(|line| match &line.what {
        What::Fact(event) => Some(event),
        _ => None,
    })
}

/// Everything that is so, and how much was looked at.
#[derive(Default)]
struct Map<'a> {
    networks: BTreeMap<&'a str, &'a [Edge]>,
    partitions: BTreeMap<&'a str, &'a PartitionFact>,
    connections: BTreeMap<&'a str, &'a [Edge]>,
    statuses: BTreeMap<&'a str, &'a StatusFact>,
    revisions: u64,
    changed: u64,
    came: u64,
    up: u64,
    broken: u64,
    went: u64,
}

impl<'a> Map<'a> {
    fn take(&mut self, revision: Revision, facts: &[&'a Fact]) -> Vec<Finding> {
        let mut touched = BTreeSet::new();
        for fact in facts {
            let id = match fact {
                Fact::Network { id, now } => {
                    set(&mut self.networks, id, now.as_deref());
                    self.changed += 1;
                    id
                }
                Fact::Partition { id, now } => {
                    set(&mut self.partitions, id, now.as_ref());
                    id
                }
                Fact::Connection { id, now } => {
                    set(&mut self.connections, id, now.as_deref());
                    id
                }
                Fact::Status { id, now } => {
                    set(&mut self.statuses, id, now.as_ref());
                    self.came += u64::from(now.is_some());
                    let state = |state| now.as_ref().is_some_and(|it| it.state == state);
                    self.up += u64::from(state("up"));
                    self.broken += u64::from(state("broken"));
                    self.went += u64::from(now.is_none());
                    id
                }
                _ => continue,
            };
            touched.insert(network_of(id));
        }
        self.revisions += u64::from(!touched.is_empty());
        touched.into_iter().flat_map(|network| self.of_network(revision, network)).collect()
    }

    /// What is wrong with a network now.
    fn of_network(&self, revision: Revision, network: &str) -> Vec<Finding> {
        let mut wrong = Vec::new();
        let mut say = |what: String| {
            wrong.push(Finding::invalid(Check::Connection, format!("revision {revision}: {what}")));
        };
        let expected = self.crossing(network);
        let stored = of(&self.connections, network);
        let stored: BTreeMap<String, BTreeSet<&Edge>> =
            stored.map(|(id, edges)| (id.to_owned(), edges.iter().collect())).collect();
        for (id, edges) in &expected {
            match stored.get(id) {
                None => say(format!("{id} is missing")),
                Some(found) if found != edges => {
                    say(format!("{id} carries {found:?}, not {edges:?}"));
                }
                Some(_) => {}
            }
            let ends = id.split_once("->").map(|(from, to)| (self.owner(from), self.owner(to)));
            let expected = ends.and_then(|(from, to)| from.zip(to));
            let found = self.statuses.get(id.as_str()).map(|it| (&it.from, &it.to));
            if expected != found {
                say(format!("{id} joins {found:?}, its partitions are owned by {ends:?}"));
            }
        }
        for id in stored.keys().filter(|id| !expected.contains_key(*id)) {
            say(format!("{id} carries nothing"));
        }
        let statuses = of(&self.statuses, network).map(|(id, _)| id);
        for id in statuses.filter(|id| !expected.contains_key(*id)) {
            say(format!("{id} has a status and is no connection"));
        }
        wrong
    }

    /// The edges that cross from one partition to another, by the id of the connection.
    fn crossing(&self, network: &str) -> BTreeMap<String, BTreeSet<&'a Edge>> {
        let mut place: BTreeMap<&str, &str> = BTreeMap::new();
        for (id, partition) in of(&self.partitions, network) {
            if !partition.deleted {
                place.extend(partition.processes.iter().map(|process| (process.as_str(), id)));
            }
        }
        let mut crossing: BTreeMap<String, BTreeSet<&Edge>> = BTreeMap::new();
        for edge in self.networks.get(network).into_iter().flat_map(|edges| edges.iter()) {
            let ends = (place.get(edge.0.as_str()), place.get(edge.1.as_str()));
            if let (Some(from), Some(to)) = ends
                && from != to
            {
                crossing.entry(format!("{from}->{to}")).or_default().insert(edge);
            }
        }
        crossing
    }

    /// Session and epoch of a partition's owner.
    fn owner(&self, partition: &str) -> Option<&'a (String, String)> {
        self.partitions.get(partition)?.owner.as_ref()
    }
}

fn set<'a, T: ?Sized>(map: &mut BTreeMap<&'a str, &'a T>, id: &'a str, now: Option<&'a T>) {
    match now {
        Some(now) => _ = map.insert(id, now),
        None => _ = map.remove(id),
    }
}

/// What is of one network: `net`, `net/0`, `net/0->net/1`.
fn of<'b, 'a, T: ?Sized>(
    map: &'b BTreeMap<&'a str, &'a T>,
    network: &'b str,
) -> impl Iterator<Item = (&'a str, &'a T)> + 'b {
    map.iter().filter(move |(id, _)| network_of(id) == network).map(|(id, now)| (*id, *now))
}

fn network_of(id: &str) -> &str {
    id.split_once('/').map_or(id, |(network, _)| network)
}

fn work(lines: &[Line], map: &Map<'_>) -> Vec<Work> {
    let seconds = seconds(lines);
    vec![
        Work { name: "revisions checked", done: map.revisions, needed: seconds / 2 },
        Work { name: "networks changed", done: map.changed, needed: seconds / 10 },
        Work { name: "statuses that came", done: map.came, needed: seconds / 2 },
        Work { name: "connections that came up", done: map.up, needed: seconds / 10 },
        Work { name: "connections that broke", done: map.broken, needed: seconds / 30 },
        Work { name: "statuses that went", done: map.went, needed: seconds / 4 },
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::{Verdict, sample::History};

    fn tell(history: &mut History, revision: u64, fact: Fact) {
        history.add(What::Fact(FactEvent { revision: Revision(revision), fact }));
    }

    fn end(epoch: &str) -> (String, String) {
        ("0.1".to_owned(), epoch.to_owned())
    }

    fn partition(history: &mut History, revision: u64, index: u32, epoch: Option<&str>) {
        let processes = vec![format!("p{index}")];
        let now = Some(PartitionFact { processes, owner: epoch.map(end), deleted: false });
        tell(history, revision, Fact::Partition { id: format!("net/{index}"), now });
    }

    fn connection(history: &mut History, revision: u64, to: &str) {
        let now = Some(vec![("p0".to_owned(), to.to_owned())]);
        tell(history, revision, Fact::Connection { id: "net/0->net/1".to_owned(), now });
    }

    fn status(history: &mut History, revision: u64, epochs: Option<(&str, &str)>) {
        let now = epochs.map(|(from, to)| StatusFact {
            from: end(from),
            to: end(to),
            state: "connecting".to_owned(),
        });
        tell(history, revision, Fact::Status { id: "net/0->net/1".to_owned(), now });
    }

    /// Two partitions with an edge between them, owned from revision 2.
    fn connected() -> History {
        let mut history = History::new();
        let edges = Some(vec![("p0".to_owned(), "p1".to_owned())]);
        tell(&mut history, 1, Fact::Network { id: "net".to_owned(), now: edges });
        partition(&mut history, 1, 0, None);
        partition(&mut history, 1, 1, None);
        connection(&mut history, 1, "p1");
        partition(&mut history, 2, 0, Some("0.2"));
        partition(&mut history, 2, 1, Some("0.2"));
        status(&mut history, 2, Some(("0.2", "0.2")));
        history
    }

    #[test]
    fn a_connection_that_follows_is_fine() {
        let mut history = connected();
        partition(&mut history, 3, 1, None);
        status(&mut history, 3, None);
        partition(&mut history, 4, 1, Some("0.4"));
        status(&mut history, 4, Some(("0.2", "0.4")));
        assert_eq!(history.findings(check), []);
    }

    #[test]
    fn a_status_that_follows_late_is_found() {
        let mut history = connected();
        partition(&mut history, 3, 1, None);
        history.expect(check, Verdict::Invalid, "revision 3: net/0->net/1 joins");
        status(&mut history, 4, None);
        assert_eq!(history.findings(check).len(), 1);
    }

    #[test]
    fn a_status_of_an_older_grant_is_found() {
        let mut history = connected();
        partition(&mut history, 3, 1, Some("0.3"));
        history.expect(check, Verdict::Invalid, "net/0->net/1 joins");
    }

    #[test]
    fn edges_that_do_not_cross_are_found() {
        let mut history = connected();
        connection(&mut history, 3, "p7");
        history.expect(check, Verdict::Invalid, "net/0->net/1 carries");
    }

    #[test]
    fn a_connection_that_is_missing_or_left_over_is_found() {
        let mut history = connected();
        tell(&mut history, 3, Fact::Network { id: "net".to_owned(), now: Some(Vec::new()) });
        history.expect(check, Verdict::Invalid, "carries nothing");
        history.expect(check, Verdict::Invalid, "is no connection");
        let mut history = connected();
        tell(&mut history, 3, Fact::Connection { id: "net/0->net/1".to_owned(), now: None });
        history.expect(check, Verdict::Invalid, "net/0->net/1 is missing");
    }
}
