//! Recorded workflows: how tasks, files and measurements become a network.

use std::path::Path;

use quorate_client::network_file::read;
use quorate_core::{Name, NetworkSpec, PartitionPolicy, Resources};

use crate::json;

/// A workflow `a` to `b`, with what is given in place.
struct Workflow {
    version: &'static str,
    tasks: &'static str,
    files: &'static str,
    execution: &'static str,
}

impl Default for Workflow {
    fn default() -> Self {
        Self {
            version: "\"1.5\"",
            tasks: r#"{"id": "a", "name": "one", "parents": [], "children": ["b"], "inputFiles": [],
                "outputFiles": ["f", "g", "unread"]},
               {"id": "b", "name": "two", "parents": [], "children": [], "inputFiles": ["f", "g", "f"],
                "outputFiles": []}"#,
            files: r#"{"id": "f", "sizeInBytes": 10}, {"id": "g", "sizeInBytes": 5}"#,
            execution: r#"{"makespanInSeconds": 3}"#,
        }
    }
}

impl Workflow {
    fn text(&self) -> String {
        let Self { version, tasks, files, execution } = self;
        format!(
            r#"{{"schemaVersion": {version}, "name": "ignored", "author": {{"x": [null, 1e3]}},
            "workflow": {{"specification": {{"tasks": [{tasks}], "files": [{files}]}},
            "execution": {execution}}}}}"#
        )
    }

    fn spec(&self) -> NetworkSpec {
        json(&self.text()).unwrap_or_else(|error| panic!("{error}"))
    }

    fn said(&self) -> String {
        json(&self.text()).unwrap_err().to_string()
    }
}

fn need(spec: &NetworkSpec, at: usize, resource: &str) -> u64 {
    spec.processes[at].needs.get(&Name::new(resource).unwrap())
}

#[test]
fn tasks_that_were_not_recorded_need_a_core() {
    let spec = Workflow::default().spec();
    assert_eq!(spec.policy, PartitionPolicy::default());
    assert_eq!(need(&spec, 0, Resources::CPU_MILLIS), 1000);
    assert_eq!(need(&spec, 0, Resources::MEMORY_BYTES), 0);
    assert_eq!(spec.processes[0].component, "one");
    // Named by the parent only; a file that is read twice flows once.
    assert_eq!(spec.connections.len(), 1);
    assert_eq!(spec.connections[0].rate, 15);
}

#[test]
fn measurements_become_needs() {
    let execution = r#"{"tasks": [
        {"id": "b", "avgCPU": 89.3847, "memoryInBytes": 74628, "command": {"program": "run"}},
        {"id": "a", "avgCPU": 0, "command": {"arguments": []}}]}"#;
    let spec = Workflow { execution, ..Workflow::default() }.spec();
    assert_eq!(need(&spec, 1, Resources::CPU_MILLIS), 894);
    assert_eq!(need(&spec, 1, Resources::MEMORY_BYTES), 74628);
    assert_eq!(spec.processes[1].component, "run");
    assert_eq!(need(&spec, 0, Resources::CPU_MILLIS), 0);
    assert_eq!(spec.processes[0].component, "one");
}

#[test]
fn an_edge_is_named_by_the_parent_or_by_the_child() {
    let tasks = r#"{"id": "a", "children": ["b"]}, {"id": "b"}, {"id": "c", "parents": ["a", "b"]},
        {"id": "d", "inputFiles": ["f"]}, {"id": "e", "outputFiles": ["f"]}"#;
    let spec = Workflow { tasks, ..Workflow::default() }.spec();
    let edges: Vec<_> = spec.connections.iter().map(|e| format!("{}{}", e.from, e.to)).collect();
    assert_eq!(edges, ["ab", "ac", "bc"]);
    assert_eq!(spec.processes[0].component, "a", "a task without a name is what it is called");
}

#[test]
fn a_wrong_workflow_is_refused() {
    let with = |change: fn(&mut Workflow)| {
        let mut workflow = Workflow::default();
        change(&mut workflow);
        workflow.said()
    };
    assert_eq!(
        with(|w| w.version = "\"1.3\""),
        "net.json: schemaVersion: must be \"1.5\", is \"1.3\""
    );
    assert_eq!(with(|w| w.version = "1.5"), "net.json: schemaVersion: must be a text, is 1.5");
    let tasks = "net.json: workflow.specification.tasks";
    assert_eq!(with(|w| w.tasks = ""), format!("{tasks}: a network has at least one process"));
    assert_eq!(
        with(|w| w.tasks = r#"{"id": "a", "parents": ["x"]}"#),
        format!("{tasks}[0].parents[0]: there is no process \"x\"")
    );
    assert_eq!(
        with(|w| w.tasks = r#"{"id": "a"}, {"id": "b"}, {"id": "a"}"#),
        format!("{tasks}[2].id: \"a\" is already workflow.specification.tasks[0]")
    );
    assert_eq!(with(|w| w.tasks = r#"{"name": "a"}"#), format!("{tasks}[0].id: is missing"));
    assert_eq!(
        with(|w| w.files = r#"{"id": "f", "sizeInBytes": -1}"#),
        "net.json: workflow.specification.files[0].sizeInBytes: must be at least 0, is -1"
    );
    assert_eq!(
        with(|w| w.files = r#"{"id": "f", "sizeInBytes": 1}"#),
        format!(
            "{tasks}[1].inputFiles[1]: must be listed with its size in workflow.specification.files"
        )
    );
    assert_eq!(
        with(
            |w| w.files = r#"{"id": "f", "sizeInBytes": 18446744073709551615}, {"id": "g", "sizeInBytes": 1}"#
        ),
        format!("{tasks}[1].inputFiles[1]: the sum of all rates must be below 2^64")
    );
    let recorded = "net.json: workflow.execution.tasks";
    assert_eq!(
        with(|w| w.execution = r#"{"tasks": [{"id": "z"}]}"#),
        format!("{recorded}[0].id: there is no process \"z\"")
    );
    assert_eq!(
        with(|w| w.execution = r#"{"tasks": [{"id": "a"}, {"id": "a"}]}"#),
        format!("{recorded}[1].id: \"a\" was recorded already")
    );
    assert_eq!(
        with(|w| w.execution = r#"{"tasks": [{"id": "a", "avgCPU": -3.5}]}"#),
        format!("{recorded}[0].avgCPU: must be a number of at least 0, is -3.5")
    );
    assert_eq!(
        with(|w| w.execution = r#"{"tasks": [{"id": "a", "memoryInBytes": 1e300}]}"#),
        format!("{recorded}[0].memoryInBytes: must be at most 9007199254740992")
    );
}

#[test]
fn a_json_file_that_is_no_workflow_is_refused() {
    assert_eq!(json("{}").unwrap_err().to_string(), "net.json: schemaVersion: is missing");
    assert_eq!(json("[]").unwrap_err().to_string(), "net.json: must be a table, is a list");
}

#[test]
fn the_sample_is_what_it_says() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../config/networks/survey.json");
    let spec = read(&file).unwrap();
    let ids: Vec<_> = spec.processes.iter().map(|process| process.id.as_str()).collect();
    assert_eq!(
        ids,
        [
            "align",
            "calibrate-1",
            "calibrate-2",
            "calibrate-3",
            "detect",
            "mosaic",
            "publish",
            "stack"
        ]
    );
    assert_eq!(need(&spec, 7, Resources::CPU_MILLIS), 3724);
    assert_eq!(need(&spec, 6, Resources::CPU_MILLIS), 1000, "not measured");
    assert_eq!(spec.processes[4].component, "source-extractor");
    let rates: Vec<_> =
        spec.connections.iter().map(|e| (e.from.as_str(), e.to.as_str(), e.rate)).collect();
    assert_eq!(rates[0], ("align", "stack", 100_663_296 + 96));
    assert_eq!(rates.len(), 8);
}
