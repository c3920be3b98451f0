//! Partitions a graph with the multilevel strategy, for comparisons with other partitioners.
//!
//! ```text
//! partition_graph PARTITIONS SEED ABOVE_PPM < GRAPH
//! ```
//!
//! The graph is numbers, separated by white space: how many processes and resources; what each
//! process needs; how many connections; sender, receiver and rate of each. Prints the partition of each
//! process on a line of its own, then `#`, the CPU time of the planning in microseconds and the memory it
//! took at its peak in KiB, beyond what the graph took before.

use std::io::{Read, Write};

use quorate_core::{Name, NetworkSpec, PartitionPolicy, Process, ProcessEdge, Resources};
use quorate_plan::{Multilevel, NetworkView, PartitionRequest, Seed, Tolerance, partition};

type Failure = Box<dyn std::error::Error>;

/// The numbers of the input, one after the other.
struct Numbers<'a>(std::str::SplitAsciiWhitespace<'a>);

impl Numbers<'_> {
    fn next<T: std::str::FromStr>(&mut self) -> Result<T, Failure>
    where
        T::Err: std::error::Error + 'static,
    {
        Ok(self.0.next().ok_or("the graph ends too early")?.parse()?)
    }
}

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [partitions, seed, above_ppm] = arguments.as_slice() else {
        return Err("usage: partition_graph PARTITIONS SEED ABOVE_PPM < GRAPH".into());
    };
    let (partitions, seed) = (partitions.parse()?, Seed(seed.parse()?));
    let tolerance = Tolerance { above_ppm: above_ppm.parse()?, ..Tolerance::default() };
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text)?;
    let spec = network(&mut Numbers(text.split_ascii_whitespace()))?;
    let view = NetworkView::new(&spec)?;
    let request = PartitionRequest { view: &view, partitions, shares: &[], seed, current: None };
    // The peak counts from here.
    std::fs::write("/proc/self/clear_refs", "5")?;
    let (cpu_before, resident) = (cpu_us()?, status_kib("VmRSS:")?);
    let plan = partition(&Multilevel::with_tolerance(tolerance), &request)?;
    let (cpu, peak) = (cpu_us()? - cpu_before, status_kib("VmHWM:")?);
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    for of_process in plan.assignment.of_process() {
        writeln!(out, "{of_process}")?;
    }
    writeln!(out, "# {cpu} {}", peak.saturating_sub(resident))?;
    Ok(out.flush()?)
}

fn network(numbers: &mut Numbers<'_>) -> Result<NetworkSpec, Failure> {
    let (count, resources): (u32, u32) = (numbers.next()?, numbers.next()?);
    let id = |number: u32| Name::new(&format!("p{number:010}"));
    let mut processes = Vec::new();
    for number in 0..count {
        let mut needs = Vec::new();
        for resource in 0..resources {
            needs.push((Name::new(&format!("r{resource}"))?, numbers.next()?));
        }
        processes.push(Process {
            needs: needs.into_iter().collect::<Resources>(),
            ..Process::new(id(number)?, "noop")
        });
    }
    let mut connections = Vec::new();
    for _ in 0..numbers.next::<u32>()? {
        let (from, to, rate) = (id(numbers.next()?)?, id(numbers.next()?)?, numbers.next()?);
        connections.push(ProcessEdge { from, to, rate });
    }
    connections.sort_by(|one, other| (&one.from, &one.to).cmp(&(&other.from, &other.to)));
    Ok(NetworkSpec {
        processes,
        connections,
        policy: PartitionPolicy::default(),
        connection: Default::default(),
    })
}

/// What this thread, the only one, has had of a CPU.
fn cpu_us() -> Result<u64, Failure> {
    let text = about_this_process("schedstat")?;
    Ok(text.split_ascii_whitespace().next().ok_or("no CPU time")?.parse::<u64>()? / 1_000)
}

fn status_kib(field: &str) -> Result<u64, Failure> {
    let status = about_this_process("status")?;
    let line = status.lines().find_map(|line| line.strip_prefix(field)).ok_or("no such field")?;
    Ok(line.split_ascii_whitespace().next().ok_or("no number")?.parse()?)
}

#[expect(clippy::disallowed_methods, reason = "a program that measures, no planner")]
fn about_this_process(what: &str) -> std::io::Result<String> {
    std::fs::read_to_string(format!("/proc/self/{what}"))
}
