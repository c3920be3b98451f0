//! The dashboard and the alert rules in config/ are well formed, and every metric in them is one
//! that the code has.
//!
//! The rules are YAML in the form of JSON, so that nothing else is needed to read them.

use std::{collections::BTreeSet, fs, path::Path};

use serde_json::Value;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the root is above")
}

fn read(name: &str) -> Value {
    let text = fs::read_to_string(root().join("config").join(name)).expect("a readable file");
    serde_json::from_str(&text).expect("JSON")
}

/// The words of a text that are names of metrics.
fn metrics(text: &str) -> impl Iterator<Item = &str> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words.filter(|word| word.starts_with("quorate_"))
}

/// The names of all metrics: the literals in the folder that owns them.
fn known() -> BTreeSet<String> {
    let folder = root().join("crates/node/src/metrics");
    let mut known = BTreeSet::new();
    for entry in fs::read_dir(folder).expect("a readable folder") {
        let path = entry.expect("a readable entry").path();
        if path.ends_with("tests.rs") {
            continue;
        }
        let text = fs::read_to_string(path).expect("a readable file");
        let literals = text.split('"').skip(1).step_by(2);
        known.extend(literals.filter(|text| text.starts_with("quorate_")).map(str::to_owned));
    }
    known
}

#[track_caller]
fn check(expression: &str, known: &BTreeSet<String>) {
    let mut count = 0;
    for metric in metrics(expression) {
        let of_histogram = metric.strip_suffix("_bucket").filter(|name| name.ends_with("_seconds"));
        let name = of_histogram.unwrap_or(metric);
        assert!(known.contains(name), "no metric {metric}: {expression}");
        count += 1;
    }
    assert!(count > 0, "no metric in {expression}");
    let count = |c| expression.matches(c).count();
    assert_eq!((count('('), count('{'), count('[')), (count(')'), count('}'), count(']')));
}

#[test]
fn the_dashboard_shows_metrics_that_there_are() {
    let (dashboard, known) = (read("grafana/quorate.json"), known());
    assert!(dashboard["schemaVersion"].as_u64().unwrap() >= 39);
    let variables = dashboard["templating"]["list"].as_array().unwrap();
    assert!(variables.iter().any(|it| it["name"] == "datasource" && it["type"] == "datasource"));
    let (mut ids, mut rows) = (BTreeSet::new(), Vec::new());
    for panel in dashboard["panels"].as_array().unwrap() {
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "an id twice: {panel}");
        if panel["type"] == "row" {
            rows.push(panel["title"].as_str().unwrap());
            continue;
        }
        assert_eq!(panel["datasource"]["uid"], "${datasource}", "{panel}");
        let targets = panel["targets"].as_array().unwrap();
        assert!(!targets.is_empty(), "{panel}");
        targets.iter().for_each(|target| check(target["expr"].as_str().unwrap(), &known));
    }
    let expected = [
        "Consensus",
        "Storage",
        "Change streams",
        "Calls",
        "Partitions and workers",
        "Balancer",
        "Health",
    ];
    assert_eq!(rows, expected);
}

#[test]
fn the_rules_are_about_metrics_that_there_are() {
    let (rules, known) = (read("prometheus/alerts.yml"), known());
    let mut names = BTreeSet::new();
    for rule in rules["groups"][0]["rules"].as_array().unwrap() {
        let text = |field: &str| rule[field].as_str().unwrap_or_else(|| panic!("{field}: {rule}"));
        assert!(names.insert(text("alert").to_owned()), "twice: {rule}");
        check(text("expr"), &known);
        assert!(text("for").ends_with(['s', 'm']), "{rule}");
        assert!(["warning", "critical"].contains(&rule["labels"]["severity"].as_str().unwrap()));
        for note in ["summary", "description"] {
            assert!(!rule["annotations"][note].as_str().unwrap().is_empty(), "{rule}");
        }
    }
    assert!(names.contains("QuorateNoLeader") && names.contains("QuorateDiskLow"));
}
