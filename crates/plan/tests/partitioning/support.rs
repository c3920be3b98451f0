//! Networks for tests, from short texts and from lists of edges.

use quorate_core::{Name, NetworkSpec, PartitionPolicy, Process, ProcessEdge, Resources};

/// A name that is known to be valid.
pub(crate) fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

/// A process with that need of CPU.
pub(crate) fn process(id: &str, cpu_millis: u64) -> Process {
    Process {
        needs: [(name(Resources::CPU_MILLIS), cpu_millis)].into_iter().collect(),
        ..Process::new(name(id), "noop")
    }
}

/// A connection.
pub(crate) fn edge(from: &str, to: &str, rate: u64) -> ProcessEdge {
    ProcessEdge { from: name(from), to: name(to), rate }
}

/// A canonical spec of these parts, given in any order.
pub(crate) fn network(
    mut processes: Vec<Process>,
    mut connections: Vec<ProcessEdge>,
) -> NetworkSpec {
    processes.sort_by(|a, b| a.id.cmp(&b.id));
    connections.sort_by(|a, b| (&a.from, &a.to).cmp(&(&b.from, &b.to)));
    connections.dedup_by(|a, b| (&a.from, &a.to) == (&b.from, &b.to));
    NetworkSpec {
        processes,
        connections,
        policy: PartitionPolicy::default(),
        connection: Default::default(),
    }
}

/// `n` processes that need 1 each, numbered in order of their ids, with these edges of rate 1.
pub(crate) fn numbered(n: u32, edges: impl IntoIterator<Item = (u32, u32)>) -> NetworkSpec {
    let id = |number: u32| format!("p{number:07}");
    let processes = (0..n).map(|number| process(&id(number), 1)).collect();
    let connections = edges.into_iter().map(|(from, to)| edge(&id(from), &id(to), 1)).collect();
    network(processes, connections)
}
