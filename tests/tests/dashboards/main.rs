//! The dashboard and the alert rules in config/ are well formed, and a running coordinator shows every
//! metric in them, with every label.
//!
//! The rules are YAML in the form of JSON, so that nothing else is needed to read them.

mod exposition;
mod expression;
mod running;

use std::{collections::BTreeSet, fs, path::Path};

use serde_json::Value;

use crate::{
    exposition::Scrape,
    expression::{check, named},
};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the root is above")
}

fn read(name: &str) -> Value {
    let text = fs::read_to_string(root().join("config").join(name)).expect("a readable file");
    serde_json::from_str(&text).expect("JSON")
}

/// What a running coordinator shows.
async fn scrape() -> Scrape {
    let text = running::scraped().await.expect("a coordinator to which everything happened");
    Scrape::parse(&text).unwrap_or_else(|error| panic!("{error}\nin\n{text}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_dashboard_shows_metrics_that_there_are() {
    let (dashboard, scrape) = (read("grafana/quorate.json"), scrape().await);
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
        for target in targets {
            let text = |field: &str| target[field].as_str().unwrap();
            check(text("expr"), &named(text("legendFormat")), &scrape);
        }
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

#[tokio::test(flavor = "multi_thread")]
async fn the_rules_are_about_metrics_that_there_are() {
    let (rules, scrape) = (read("prometheus/alerts.yml"), scrape().await);
    let mut names = BTreeSet::new();
    for rule in rules["groups"][0]["rules"].as_array().unwrap() {
        let text = |field: &str| rule[field].as_str().unwrap_or_else(|| panic!("{field}: {rule}"));
        assert!(names.insert(text("alert").to_owned()), "twice: {rule}");
        assert!(text("for").ends_with(['s', 'm']), "{rule}");
        assert!(["warning", "critical"].contains(&rule["labels"]["severity"].as_str().unwrap()));
        let mut labels = BTreeSet::new();
        for note in ["summary", "description"] {
            let note = rule["annotations"][note].as_str().unwrap();
            assert!(!note.is_empty(), "{rule}");
            labels.extend(named(note));
        }
        check(text("expr"), &labels, &scrape);
    }
    assert!(names.contains("QuorateNoLeader") && names.contains("QuorateDiskLow"));
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_are_counted_by_every_method_that_there_is() {
    let (scrape, folder) = (scrape().await, root().join("proto"));
    let files = fs::read_dir(folder.join("quorate/v1")).expect("a readable folder");
    let files: Vec<_> = files.map(|file| file.expect("a readable entry").path()).collect();
    let set = protox::compile(&files, [&folder]).expect("the interface compiles");
    let services = set.file.iter().flat_map(|file| &file.service);
    // Coordinators call these, on another address.
    let of_clients = services.filter(|it| !["RaftService", "ForwardService"].contains(&it.name()));
    let mut there: BTreeSet<String> = of_clients
        .flat_map(|service| {
            service.method.iter().map(|it| format!("{}/{}", service.name(), it.name()))
        })
        .collect();
    there.insert("other".into());
    let counted = scrape.series("quorate_rpc_seconds_count");
    let counted: BTreeSet<String> = counted.map(|(labels, _)| labels["method"].clone()).collect();
    assert_eq!(counted, there);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_documents_name_metrics_that_there_are() {
    let scrape = scrape().await;
    let names: BTreeSet<&str> = scrape.names().collect();
    for document in ["docs/OPERATIONS.md", "README.md", "ARCHITECTURE.md"] {
        let text = fs::read_to_string(root().join(document)).expect("a readable file");
        // Code alone: between backticks.
        for code in text.split('`').skip(1).step_by(2) {
            let Some(name) = code.split('{').next().filter(|it| it.starts_with("quorate_")) else {
                continue;
            };
            let is_word = name.chars().all(|c| c.is_ascii_lowercase() || c == '_');
            let of_histogram = format!("{name}_count");
            let is_crate = root().join("crates").join(&name[8..]).is_dir();
            let there = names.contains(name) || names.contains(&*of_histogram);
            assert!(!is_word || is_crate || there, "{document}: `{code}`");
        }
    }
}
