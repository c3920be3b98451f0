//! A network as a drawing, colored by partition.
//!
//! The picture has a column for each step from where data comes in; a process is below the others of its
//! column, those of one partition next to each other.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
};

use quorate_core::{Name, NetworkSpec};

/// Enough to tell neighbors apart; partitions share them in turn.
const COLORS: [&str; 12] = [
    "#8dd3c7", "#ffffb3", "#bebada", "#fb8072", "#80b1d3", "#fdb462", "#b3de69", "#fccde5",
    "#d9d9d9", "#bc80bd", "#ccebc5", "#ffed6f",
];

/// The partition of each process.
pub(crate) type Places = BTreeMap<Name, u32>;

fn color(partition: u32) -> &'static str {
    COLORS[partition as usize % COLORS.len()]
}

/// In the language of Graphviz: a cluster for each partition.
pub(crate) fn dot(name: &Name, spec: &NetworkSpec, places: &Places) -> String {
    let mut out = String::new();
    add(&mut out, &format!("digraph \"{name}\" {{"));
    add(&mut out, "  rankdir=LR;\n  node [shape=box, style=filled];");
    let mut partitions: BTreeMap<u32, Vec<&Name>> = BTreeMap::new();
    for (process, partition) in places {
        partitions.entry(*partition).or_default().push(process);
    }
    for (partition, processes) in partitions {
        let color = color(partition);
        add(
            &mut out,
            &format!("  subgraph cluster_{partition} {{\n    label=\"{name}/{partition}\";"),
        );
        for process in processes {
            add(&mut out, &format!("    \"{process}\" [fillcolor=\"{color}\"];"));
        }
        add(&mut out, "  }");
    }
    for edge in &spec.connections {
        let crosses = places.get(&edge.from) != places.get(&edge.to);
        let style = if crosses { ", style=dashed" } else { "" };
        add(
            &mut out,
            &format!("  \"{}\" -> \"{}\" [label=\"{}\"{style}];", edge.from, edge.to, edge.rate),
        );
    }
    out.push_str("}\n");
    out
}

fn add(out: &mut String, line: &str) {
    writeln!(out, "{line}").expect("a String takes everything");
}

const WIDTH: usize = 180;
const HEIGHT: usize = 34;
const BOX_WIDTH: usize = 140;
const BOX_HEIGHT: usize = 24;
const MARGIN: usize = 20;

/// As a picture.
pub(crate) fn svg(name: &Name, spec: &NetworkSpec, places: &Places) -> String {
    let at = positions(spec, places);
    let columns = at.values().map(|(column, _)| column + 1).max().unwrap_or(1);
    let rows = at.values().map(|(_, row)| row + 1).max().unwrap_or(1);
    let (width, height) = (columns * WIDTH + 2 * MARGIN, rows * HEIGHT + 2 * MARGIN + 20);
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
         font-family=\"sans-serif\" font-size=\"11\">\n<title>{name}</title>\n"
    );
    let corner = |id: &Name| {
        at.get(id).map(|(column, row)| (MARGIN + column * WIDTH, MARGIN + row * HEIGHT))
    };
    for edge in &spec.connections {
        let (Some((x1, y1)), Some((x2, y2))) = (corner(&edge.from), corner(&edge.to)) else {
            continue;
        };
        let (x1, y1, y2) = (x1 + BOX_WIDTH, y1 + BOX_HEIGHT / 2, y2 + BOX_HEIGHT / 2);
        let dash = match places.get(&edge.from) == places.get(&edge.to) {
            true => "",
            false => " stroke-dasharray=\"4 3\"",
        };
        add(
            &mut out,
            &format!(
                "<path d=\"M{x1} {y1} C{} {y1} {} {y2} {x2} {y2}\" fill=\"none\" stroke=\"#555\"{dash}>\
                 <title>{} to {}: {} bytes/s</title></path>",
                x1 + 30,
                x2.saturating_sub(30),
                edge.from,
                edge.to,
                edge.rate
            ),
        );
    }
    for process in &spec.processes {
        let Some((x, y)) = corner(&process.id) else { continue };
        let partition = places.get(&process.id).copied().unwrap_or(0);
        let label: String = process.id.as_str().chars().take(20).collect();
        add(
            &mut out,
            &format!(
                "<g><title>{} in {name}/{partition}</title><rect x=\"{x}\" y=\"{y}\" \
                 width=\"{BOX_WIDTH}\" height=\"{BOX_HEIGHT}\" rx=\"4\" fill=\"{}\" stroke=\"#333\"/>\
                 <text x=\"{}\" y=\"{}\">{label}</text></g>",
                process.id,
                color(partition),
                x + 6,
                y + 16
            ),
        );
    }
    let count = places.values().max().map_or(0, |most| most + 1);
    add(
        &mut out,
        &format!(
            "<text x=\"{MARGIN}\" y=\"{}\">{name}: {count} partitions by color; dashed: between \
             partitions</text>\n</svg>",
            height - 12
        ),
    );
    out
}

/// Column and row of each process.
fn positions<'a>(spec: &'a NetworkSpec, places: &Places) -> BTreeMap<&'a Name, (usize, usize)> {
    let depth = depths(spec);
    let mut columns: BTreeMap<usize, Vec<(u32, &Name)>> = BTreeMap::new();
    for process in &spec.processes {
        let partition = places.get(&process.id).copied().unwrap_or(0);
        let column = depth.get(&process.id).copied().unwrap_or(0);
        columns.entry(column).or_default().push((partition, &process.id));
    }
    let mut at = BTreeMap::new();
    for (column, mut processes) in columns {
        processes.sort();
        for (row, (_, id)) in processes.into_iter().enumerate() {
            at.insert(id, (column, row));
        }
    }
    at
}

/// How many steps each process is from where data comes in, on the longest way. A cycle is entered where
/// it is reached first; the edge that closes it does not count.
fn depths(spec: &NetworkSpec) -> BTreeMap<&Name, usize> {
    let mut waits: BTreeMap<&Name, usize> = spec.processes.iter().map(|p| (&p.id, 0)).collect();
    let mut next: BTreeMap<&Name, Vec<&Name>> = BTreeMap::new();
    for edge in spec.connections.iter().filter(|edge| edge.from != edge.to) {
        *waits.entry(&edge.to).or_default() += 1;
        next.entry(&edge.from).or_default().push(&edge.to);
    }
    let free = waits.iter().filter(|(_, count)| **count == 0);
    let mut ready: BTreeSet<&Name> = free.map(|(id, _)| *id).collect();
    let mut reached: BTreeMap<&Name, usize> = BTreeMap::new();
    let mut depth: BTreeMap<&Name, usize> = BTreeMap::new();
    loop {
        let entered = || reached.first_key_value().or_else(|| waits.first_key_value());
        let Some(id) = ready.pop_first().or_else(|| entered().map(|(id, _)| *id)) else {
            return depth;
        };
        waits.remove(id);
        let at = reached.remove(id).unwrap_or(0);
        depth.insert(id, at);
        for to in next.remove(id).unwrap_or_default() {
            let Some(count) = waits.get_mut(to) else { continue };
            *count -= 1;
            if *count == 0 {
                ready.insert(to);
            }
            let seen = reached.entry(to).or_default();
            *seen = (*seen).max(at + 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use quorate_core::{PartitionPolicy, Process, ProcessEdge};

    use super::*;

    fn spec(edges: &[(&str, &str)]) -> NetworkSpec {
        let name = |text: &str| Name::new(text).unwrap();
        let ids: BTreeSet<&str> = edges.iter().flat_map(|(a, b)| [*a, *b]).collect();
        let process = |id: &str| Process::new(name(id), "x");
        let edge = |(a, b): &(&str, &str)| ProcessEdge { from: name(a), to: name(b), rate: 7 };
        NetworkSpec {
            processes: ids.into_iter().map(process).collect(),
            connections: edges.iter().map(edge).collect(),
            policy: PartitionPolicy::default(),
            connection: Default::default(),
        }
    }

    fn depth_of(edges: &[(&str, &str)]) -> String {
        let spec = spec(edges);
        let told = depths(&spec).into_iter().map(|(id, depth)| format!("{id}{depth}"));
        told.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn a_process_is_behind_all_that_send_to_it() {
        assert_eq!(depth_of(&[("a", "b"), ("b", "c"), ("a", "c")]), "a0 b1 c2");
        assert_eq!(depth_of(&[("z", "y"), ("y", "x")]), "x2 y1 z0");
    }

    #[test]
    fn cycles_are_entered_where_they_are_reached() {
        assert_eq!(
            depth_of(&[("in", "c"), ("c", "b"), ("b", "c"), ("b", "out")]),
            "b2 c1 in0 out3"
        );
        assert_eq!(depth_of(&[("a", "b"), ("b", "a")]), "a0 b1");
    }

    #[test]
    fn drawings_show_every_process_and_edge() {
        let spec = spec(&[("a", "b"), ("b", "c")]);
        let at = [("a", 0), ("b", 0), ("c", 1)];
        let places = at.map(|(id, at)| (Name::new(id).unwrap(), at)).into();
        let name = Name::new("net").unwrap();
        assert_eq!(
            dot(&name, &spec, &places),
            r##"digraph "net" {
  rankdir=LR;
  node [shape=box, style=filled];
  subgraph cluster_0 {
    label="net/0";
    "a" [fillcolor="#8dd3c7"];
    "b" [fillcolor="#8dd3c7"];
  }
  subgraph cluster_1 {
    label="net/1";
    "c" [fillcolor="#ffffb3"];
  }
  "a" -> "b" [label="7"];
  "b" -> "c" [label="7", style=dashed];
}
"##
        );
        let picture = svg(&name, &spec, &places);
        assert_eq!(picture.matches("<rect").count(), 3);
        assert_eq!(picture.matches("<path").count(), 2);
        assert_eq!(picture.matches("stroke-dasharray").count(), 1);
    }
}
