//! What well-formed files mean, and that the samples are such files.

use std::path::{Path, PathBuf};

use quorate_client::network_file::{Format, parse, read};
use quorate_core::{Name, Parallelism, PartitionPolicy};

use crate::toml;

fn samples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../config/networks")
}

#[test]
fn every_sample_is_a_network() {
    let mut formats = [0, 0];
    for entry in std::fs::read_dir(samples()).unwrap() {
        let file = entry.unwrap().path();
        let spec = read(&file).unwrap_or_else(|error| panic!("{error}"));
        assert!(spec.processes.len() >= 6, "{}", file.display());
        assert!(!spec.connections.is_empty(), "{}", file.display());
        let stem = file.file_stem().and_then(|stem| stem.to_str()).unwrap();
        Name::new(stem).unwrap();
        let text = std::fs::read_to_string(&file).unwrap();
        formats[usize::from(Format::detect(&file, &text) == Format::Toml)] += 1;
    }
    assert!(formats.iter().all(|count| *count > 0), "a sample of each format: {formats:?}");
}

#[test]
fn the_stream_sample_is_what_it_says() {
    let spec = read(&samples().join("clickstream.toml")).unwrap();
    assert_eq!((spec.processes.len(), spec.connections.len()), (12, 12));
    assert_eq!(spec.policy.partitions, 4);
    assert_eq!(spec.policy.strategy.as_str(), "round-robin");
    let score = spec.processes.iter().find(|process| process.id.as_str() == "score").unwrap();
    assert_eq!(score.parallelism, Parallelism { min: 2, max: 2 });
    assert_eq!(score.needs.get(&Name::new("gpu").unwrap()), 1);
    assert_eq!(score.component, "model-runner");
}

#[test]
fn the_sample_of_constraints_is_what_it_says() {
    let spec = read(&samples().join("replicated.toml")).unwrap();
    let process = |id: &str| spec.processes.iter().find(|it| it.id.as_str() == id).unwrap();
    assert_eq!((spec.policy.partitions, &spec.policy.shares), (0, &vec![2, 1, 1]));
    assert_eq!(process("cache").affinity, Some(Name::new("front").unwrap()));
    assert_eq!(process("cache").affinity, process("gateway").affinity);
    let replicas = ["a", "b", "c"].map(|replica| process(&format!("replica-{replica}")));
    assert!(replicas.iter().all(|it| it.anti_affinity == Some(Name::new("replicas").unwrap())));
    let labels = [("disk".to_owned(), "ssd".to_owned()), ("zone".to_owned(), "b".to_owned())];
    assert_eq!(replicas[2].requires, labels.into());
    assert_eq!(spec.partitions_possible(), 3..=5);
}

#[test]
fn the_sample_of_a_pool_is_what_it_says() {
    let spec = read(&samples().join("nightly.toml")).unwrap();
    let source = (Name::new("batch").unwrap(), Name::new("reports").unwrap());
    assert_eq!(spec.policy.source(), Some((&source.0, &source.1)));
    assert!(spec.processes.iter().all(|process| !process.needs.is_empty()));
}

#[test]
fn what_a_file_leaves_out_has_a_default() {
    let spec = toml("processes = [{ id = \"a\", component = \"c\" }]").unwrap();
    assert_eq!(spec.policy, PartitionPolicy::default());
    assert!(spec.connections.is_empty());
    assert!(spec.processes[0].needs.is_empty());
    assert_eq!(spec.processes[0].parallelism, Parallelism { min: 1, max: 1 });
    let bounds = |text: &str| {
        let file =
            format!("processes = [{{ id = \"a\", component = \"c\", parallelism = {text} }}]");
        let Parallelism { min, max } = toml(&file).unwrap().processes[0].parallelism;
        (min, max)
    };
    assert_eq!(bounds("3"), (3, 3));
    assert_eq!(bounds("{ max = 3 }"), (1, 3));
    assert_eq!(bounds("{ min = 3 }"), (3, 3));
    assert_eq!(bounds("{ }"), (1, 1));
}

#[test]
fn the_order_of_a_file_does_not_matter() {
    let one = "[[processes]]\nid = \"b\"\ncomponent = \"x\"\nneeds = { gpu = 1, cpu_millis = 2 }\n\
               [[processes]]\nid = \"a\"\ncomponent = \"y\"\n\
               [[connections]]\nfrom = \"b\"\nto = \"a\"\n[[connections]]\nfrom = \"a\"\nto = \"b\"\n\
               [policy]\npartitions = 2\nstrategy = \"round-robin\"\n";
    let other = "connections = [{ to = \"b\", from = \"a\" }, { from = \"b\", to = \"a\", rate = 0 }]\n\
                 policy = { strategy = \"round-robin\", partitions = 2 }\n\
                 [[processes]]\ncomponent = \"y\"\nid = \"a\"\nparallelism = 1\n\
                 [[processes]]\nneeds = { cpu_millis = 0x2, memory_bytes = 0, gpu = 1 }\ncomponent = \"x\"\nid = \"b\"\n";
    assert_eq!(toml(one).unwrap(), toml(other).unwrap());
    let ids: Vec<_> = toml(one).unwrap().processes.iter().map(|p| p.id.to_string()).collect();
    assert_eq!(ids, ["a", "b"]);
}

#[test]
fn the_format_is_told_by_the_name_or_else_by_the_text() {
    let detect = |file: &str, text: &str| Format::detect(Path::new(file), text);
    assert_eq!(detect("a.toml", "{"), Format::Toml);
    assert_eq!(detect("a.JSON", "x = 1"), Format::WfFormat);
    assert_eq!(detect("a", " \n{"), Format::WfFormat);
    assert_eq!(detect("a.net", "# a network"), Format::Toml);
    assert_eq!(detect("-", ""), Format::Toml);
}

#[test]
fn a_byte_order_mark_is_no_content() {
    let text = "\u{feff}processes = [{ id = \"a\", component = \"c\" }]";
    assert!(parse(text, Format::Toml, Path::new("-")).is_ok());
}
