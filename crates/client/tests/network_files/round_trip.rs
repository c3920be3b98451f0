//! What is written reads back as it was.

use proptest::prelude::*;
use quorate_client::network_file::to_toml;
use quorate_core::{
    ConnectionPolicy, Name, NetworkSpec, Parallelism, PartitionPolicy, Process, ProcessEdge,
    Resources,
};

use crate::toml;

fn names() -> impl Strategy<Value = Name> {
    "[A-Za-z0-9][A-Za-z0-9._-]{0,20}".prop_map(|text| Name::new(&text).unwrap())
}

fn processes() -> impl Strategy<Value = Process> {
    // Sums over eight processes of 4096 instances stay countable.
    let amount = prop_oneof![0..1_u64 << 48, Just(0), Just(1 << 48)];
    let needs = prop::collection::vec((names(), amount), 0..4)
        .prop_map(|amounts| amounts.into_iter().collect::<Resources>());
    let parallelism = (1..=4096_u32, 0..=4096_u32)
        .prop_map(|(min, more)| Parallelism { min, max: (min + more).min(4096) });
    let parallelism = prop_oneof![
        parallelism,
        (1..9_u32).prop_map(|number| Parallelism { min: number, max: number }),
    ];
    let labels = prop::collection::btree_map("(.|\n){1,9}", "(.|\n){0,9}", 0..3);
    let groups = (prop::option::of(names()), prop::option::of(names()));
    (names(), ".{1,40}", needs, parallelism, labels, groups).prop_map(
        |(id, component, needs, parallelism, requires, (affinity, anti_affinity))| Process {
            id,
            component,
            needs,
            parallelism,
            requires,
            affinity,
            anti_affinity,
        },
    )
}

/// What is given is within its bounds, and the longest back-off no shorter than the first.
fn connections() -> impl Strategy<Value = ConnectionPolicy> {
    prop::collection::vec(prop::option::of(any::<u64>()), 8).prop_map(|values| {
        let mut policy = ConnectionPolicy::default();
        for ((name, _), value) in policy.fields().into_iter().zip(values) {
            let (min, max) = ConnectionPolicy::bounds(name);
            *policy.field_mut(name).unwrap() =
                value.map_or(0, |value| min + value % (max - min + 1));
        }
        if policy.backoff_ms_max > 0 {
            policy.backoff_ms_max = policy.backoff_ms_max.max(policy.backoff_ms);
        }
        policy
    })
}

fn specs() -> impl Strategy<Value = NetworkSpec> {
    let edges = prop::collection::vec(
        (any::<prop::sample::Index>(), any::<prop::sample::Index>(), 0..1_u64 << 60),
        0..12,
    );
    let shares = prop::option::of(prop::collection::vec(1..=u32::MAX, 8));
    let source = prop::option::of((names(), names()));
    let policy = (any::<u32>(), prop::option::of(names()), shares, source, connections());
    (prop::collection::vec(processes(), 1..8), edges, policy).prop_map(
        |(mut processes, edges, (partitions, strategy, shares, source, connection))| {
            processes.sort_by(|a, b| a.id.cmp(&b.id));
            processes.dedup_by(|a, b| a.id == b.id);
            let id = |index: prop::sample::Index| index.get(&processes).id.clone();
            let mut connections: Vec<_> = edges
                .into_iter()
                .map(|(from, to, rate)| ProcessEdge { from: id(from), to: id(to), rate })
                .filter(|edge| edge.from != edge.to)
                .collect();
            connections.sort_by(|a, b| (&a.from, &a.to).cmp(&(&b.from, &b.to)));
            connections.dedup_by(|a, b| (&a.from, &a.to) == (&b.from, &b.to));
            let count = u32::try_from(processes.len()).unwrap();
            let mut policy =
                PartitionPolicy { partitions: partitions % (count + 1), ..Default::default() };
            if let Some(strategy) = strategy {
                policy.strategy = strategy;
            }
            if let Some(mut shares) = shares {
                let asked = policy.partitions as usize;
                shares.truncate(if asked == 0 { processes.len() } else { asked });
                policy.shares = shares;
            }
            (policy.pool, policy.tenant) = source.unzip();
            NetworkSpec { processes, connections, policy, connection }
        },
    )
}

proptest! {
    #[test]
    fn a_network_survives_the_way_through_a_file(spec in specs()) {
        let text = to_toml(&spec);
        match toml(&text) {
            Ok(read) => prop_assert_eq!(read, spec, "{}", text),
            Err(error) => prop_assert!(false, "{error}\n{text}"),
        }
    }

    #[test]
    fn no_text_breaks_the_parsers(text in "\\PC{0,200}") {
        // Whatever it says, it says it; nothing panics.
        let _ = toml(&text).map_err(|error| error.to_string());
        let _ = crate::json(&text).map_err(|error| error.to_string());
    }

    #[test]
    fn no_mutation_of_a_network_breaks_the_parser(spec in specs(), at in any::<prop::sample::Index>(), with in any::<char>()) {
        let mut text: Vec<char> = to_toml(&spec).chars().collect();
        let at = at.index(text.len());
        text[at] = with;
        let text: String = text.into_iter().collect();
        if let Ok(read) = toml(&text) {
            prop_assert!(!read.processes.is_empty());
        }
    }
}

#[test]
fn a_small_network_is_written_for_people() {
    let spec = toml(
        "policy = { partitions = 2, shares = [2, 1] }\n\
         processes = [{ id = \"a\", component = \"say \\\"hi\\\"\", needs = { cpu_millis = 5, \"net.bytes\" = 7 } },\n\
         { id = \"b\", component = \"c\", parallelism = { min = 1, max = 2 },\n\
           requires = { \"a.b\" = \"say \\\"hi\\\"\", zone = \"a\" }, affinity = \"g\", anti_affinity = \"h\" }]\n\
         connections = [{ from = \"a\", to = \"b\", rate = 3 }]",
    );
    assert_eq!(
        to_toml(&spec.unwrap()),
        "\
[policy]
partitions = 2
shares = [2, 1]

[[processes]]
id = \"a\"
component = 'say \"hi\"'
needs = { cpu_millis = 5, \"net.bytes\" = 7 }

[[processes]]
id = \"b\"
component = \"c\"
parallelism = { min = 1, max = 2 }
requires = { \"a.b\" = 'say \"hi\"', zone = \"a\" }
affinity = \"g\"
anti_affinity = \"h\"

[[connections]]
from = \"a\"
to = \"b\"
rate = 3
"
    );
}
