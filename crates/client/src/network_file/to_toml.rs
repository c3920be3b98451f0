//! A network as a file in Quorate's own format.
//!
//! Invariant: what is written reads back as the same spec; what is the default is left out.

use std::fmt::{self, Write as _};

use quorate_core::{
    ConnectionPolicy, NetworkSpec, Parallelism, PartitionPolicy, Process, ProcessEdge,
};

/// Writes a network in Quorate's own format.
#[must_use]
pub fn to_toml(spec: &NetworkSpec) -> String {
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = write_network(&mut text, spec);
    text
}

fn write_network(out: &mut String, spec: &NetworkSpec) -> fmt::Result {
    write_policy(out, &spec.policy)?;
    write_connection(out, &spec.connection)?;
    for process in &spec.processes {
        write_process(out, process)?;
    }
    for ProcessEdge { from, to, rate } in &spec.connections {
        begin(out, "[[connections]]");
        writeln!(out, "from = \"{from}\"\nto = \"{to}\"")?;
        if *rate != 0 {
            writeln!(out, "rate = {rate}")?;
        }
    }
    Ok(())
}

fn begin(out: &mut String, header: &str) {
    if !out.is_empty() {
        out.push('\n');
    }
    out.push_str(header);
    out.push('\n');
}

fn write_policy(out: &mut String, policy: &PartitionPolicy) -> fmt::Result {
    if *policy == PartitionPolicy::default() {
        return Ok(());
    }
    begin(out, "[policy]");
    if policy.partitions != 0 {
        writeln!(out, "partitions = {}", policy.partitions)?;
    }
    if policy.strategy.as_str() != PartitionPolicy::CHOOSE {
        writeln!(out, "strategy = \"{}\"", policy.strategy)?;
    }
    if !policy.shares.is_empty() {
        writeln!(out, "shares = {:?}", policy.shares)?;
    }
    for (key, name) in [("pool", &policy.pool), ("tenant", &policy.tenant)] {
        if let Some(name) = name {
            writeln!(out, "{key} = \"{name}\"")?;
        }
    }
    Ok(())
}

fn write_connection(out: &mut String, policy: &ConnectionPolicy) -> fmt::Result {
    if policy.is_open() {
        return Ok(());
    }
    begin(out, "[connection]");
    for (name, value) in policy.fields().into_iter().filter(|(_, value)| *value > 0) {
        writeln!(out, "{name} = {value}")?;
    }
    Ok(())
}

fn write_process(out: &mut String, process: &Process) -> fmt::Result {
    begin(out, "[[processes]]");
    let component = toml::Value::String(process.component.clone());
    writeln!(out, "id = \"{}\"\ncomponent = {component}", process.id)?;
    if !process.needs.is_empty() {
        // A resource's name may hold dots, so it is quoted.
        let needs: Vec<_> = process
            .needs
            .iter()
            .map(|(name, amount)| format!("{} = {amount}", Key(name.as_str())))
            .collect();
        writeln!(out, "needs = {{ {} }}", needs.join(", "))?;
    }
    match process.parallelism {
        Parallelism { min: 1, max: 1 } => {}
        Parallelism { min, max } if min == max => writeln!(out, "parallelism = {min}")?,
        Parallelism { min, max } => writeln!(out, "parallelism = {{ min = {min}, max = {max} }}")?,
    }
    if !process.requires.is_empty() {
        let text = |(name, value): (&String, &String)| (name.clone(), value.clone().into());
        let labels = toml::Value::Table(process.requires.iter().map(text).collect());
        writeln!(out, "requires = {labels}")?;
    }
    for (key, group) in [("affinity", &process.affinity), ("anti_affinity", &process.anti_affinity)]
    {
        if let Some(group) = group {
            writeln!(out, "{key} = \"{group}\"")?;
        }
    }
    Ok(())
}

/// A name as a key: bare where TOML allows it.
struct Key<'n>(&'n str);

impl fmt::Display for Key<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.contains('.') { write!(f, "\"{}\"", self.0) } else { f.write_str(self.0) }
    }
}
