//! Defaults, precedence, and what is refused with which words.

use std::path::PathBuf;

use quorate_core::{SETTINGS, setting::section_of};

use super::*;

const MINIMAL: &str = r#"
[node]
id = 2

[cluster]
initial_members = [
  { id = 1, peer = "127.0.0.1:7201", client = "127.0.0.1:7101" },
  { id = 2, peer = "127.0.0.1:7202", client = "127.0.0.1:7102" },
]
"#;

fn problems(change: impl FnOnce(&mut Config)) -> String {
    let mut config = Config::from_toml(MINIMAL).unwrap();
    change(&mut config);
    config.validate().unwrap_err().to_string()
}

fn variables(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect()
}

#[test]
fn example_files_are_one_cluster() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../config");
    let configs: Vec<_> = (1..=3)
        .map(|id| {
            let text = std::fs::read_to_string(folder.join(format!("node{id}.toml"))).unwrap();
            Config::from_toml(&text).unwrap()
        })
        .collect();
    for (config, id) in configs.iter().zip(1..) {
        assert_eq!(config.node.id, MemberId(id));
        assert_eq!(config.cluster, configs[0].cluster, "node {id}");
        assert_eq!(config.listen, Listen::of(MemberId(id)), "node {id}");
        assert_eq!(config.client_address(), config.listen.client.to_string());
        assert_eq!(config.peer_address(), config.listen.peer.to_string());
        // What the files show, commented or not, is what is in force without them.
        let built = Config::new(config.node.id, &config.node.data_dir, config.cluster.clone());
        assert_eq!(*config, built, "node {id}");
    }
}

/// A shipped file, and what it is with every commented field in it.
fn shipped(name: &str) -> (String, String) {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../config");
    let text = std::fs::read_to_string(folder.join(name)).unwrap();
    // A commented setting looks like `# name = value`, without prose around it.
    let uncommented: String = text
        .lines()
        .map(|line| match line.strip_prefix("# ") {
            Some(setting) if setting.split_once(" = ").is_some_and(|(name, _)| is_field(name)) => {
                format!("{setting}\n")
            }
            _ => format!("{line}\n"),
        })
        .collect();
    assert_ne!(text, uncommented);
    (text, uncommented)
}

#[test]
fn the_full_file_has_every_field_and_the_defaults() {
    let (text, uncommented) = shipped("full.toml");
    let config = Config::from_toml(&uncommented).unwrap();
    let sections = &config.settings;
    let all = [&sections.partitions, &sections.resources, &sections.connections, &sections.health];
    let found: Vec<_> = all.into_iter().flatten().map(|(name, value)| (&**name, *value)).collect();
    for setting in SETTINGS.iter().filter(|setting| section_of(setting.name).is_some()) {
        assert!(found.contains(&(setting.name, setting.default)), "{}", setting.name);
        let bounds = format!("From {} to {}.", setting.min, setting.max);
        assert!(text.replace("\n# ", " ").contains(&bounds), "{}", setting.name);
    }
    let (_, node) = shipped("node1.toml");
    let fields = |text: &str| text.lines().filter(|line| line.contains(" = ")).count();
    assert_eq!(fields(&uncommented) - found.len(), fields(&node), "as node1.toml, and settings");
}

#[test]
fn commented_examples_are_valid_and_defaults() {
    let (text, uncommented) = shipped("node1.toml");
    let config = Config::from_toml(&uncommented).unwrap();
    let plain = Config::from_toml(&text).unwrap();
    assert_eq!(Config { advertise: Advertise::default(), ..config.clone() }, plain);
    assert_eq!(config.client_address(), plain.client_address());
}

fn is_field(name: &str) -> bool {
    name.chars().all(|c| c.is_ascii_lowercase() || c == '_')
}

#[test]
fn listens_by_id_when_not_told() {
    let config = Config::from_toml(MINIMAL).unwrap();
    assert_eq!(config.listen.client.to_string(), "127.0.0.1:7102");
    assert_eq!(config.listen.peer.to_string(), "127.0.0.1:7202");
    assert_eq!(config.listen.metrics.to_string(), "127.0.0.1:7302");
    assert_eq!(config.node.data_dir, PathBuf::from("data/node2"));
}

#[test]
fn unknown_fields_and_sections_are_named() {
    for (text, named) in [
        ("[node]\nid = 1\ncolour = 2\n", "colour"),
        ("[node]\nid = 1\n[rafft]\nheartbeat_ms = 1\n", "rafft"),
        ("[node]\nid = 1\n[raft]\nheartbeat = 1\n", "heartbeat_ms"),
        ("[node]\nid = 1\n[[cluster.initial_members]]\nid = 1\nadress = \"x\"\n", "adress"),
    ] {
        let message = Config::from_toml(text).unwrap_err().to_string();
        assert!(message.contains("unknown field"), "{message}");
        assert!(message.contains(named), "{message}");
        assert!(message.contains("line"), "{message}");
    }
}

#[test]
fn missing_and_mistyped_fields_are_named() {
    for (text, named) in [
        ("", "node"),
        ("[node]\ndata_dir = \"x\"\n", "id"),
        ("[node]\nid = \"one\"\n", "one"),
        ("[node]\nid = -1\n", "-1"),
        ("[node]\nid = 1\n[listen]\nclient = \"here\"\n", "client"),
        ("[node]\nid = 1\n[cluster]\nname = \"a b\"\n", "A-Za-z0-9"),
    ] {
        let message = Config::from_toml(text).unwrap_err().to_string();
        assert!(message.contains(named), "{text}: {message}");
    }
}

#[test]
fn broken_rules_name_field_value_and_rule() {
    for (message, expected) in [
        (problems(|c| c.node.id = MemberId(0)), "node.id = 0: must be at least 1"),
        (problems(|c| c.raft.heartbeat_ms = 1), "raft.heartbeat_ms = 1: must be from 5 to 10000"),
        (
            problems(|c| c.raft.election_ms_min = 449),
            "raft.election_ms_min = 449: must be at least 3 x raft.heartbeat_ms = 450",
        ),
        (
            problems(|c| c.raft.election_ms_max = 700),
            "raft.election_ms_max = 700: must be at least raft.election_ms_min + raft.heartbeat_ms = 750",
        ),
        (
            problems(|c| c.cluster.initial_members.clear()),
            "cluster.initial_members = []: must be a list of at least one member",
        ),
        (
            problems(|c| c.cluster.initial_members[1].id = MemberId(1)),
            "cluster.initial_members = 1, 1: must be a list without a repeated id",
        ),
        (
            problems(|c| c.cluster.initial_members[1].peer = "127.0.0.1:7101".into()),
            "cluster.initial_members = 1, 2: must be a list without a repeated address",
        ),
        (
            problems(|c| c.cluster.initial_members[0].peer = "nowhere".into()),
            "cluster.initial_members[0].peer = \"nowhere\": must be host:port with a port above 0",
        ),
        (
            problems(|c| c.advertise.client = Some("host:0".into())),
            "advertise.client = \"host:0\": must be host:port with a port above 0",
        ),
        (
            problems(|c| c.limits.deadline_ms_default = 70_000),
            "limits.deadline_ms_default = 70000: must be from 1 to 60000",
        ),
        (
            problems(|c| c.health.webhook_timeout_ms = 1),
            "health.webhook_timeout_ms = 1: must be from 10 to 60000",
        ),
        (problems(|c| c.limits.proposals_max = 0), "limits.proposals_max = 0: must be from 1"),
        (problems(|c| c.storage.cache_bytes = 5), "storage.cache_bytes = 5: must be from 1048576"),
    ] {
        assert!(message.contains(expected), "{message}\nis not\n{expected}");
    }
}

#[test]
fn a_webhook_is_a_plain_url_with_a_port() {
    let with = |url: &str| {
        let mut config = Config::from_toml(MINIMAL).unwrap();
        config.health.webhook_url = url.into();
        config.validate().map_err(|error| error.to_string())
    };
    for url in ["", "http://127.0.0.1:9000", "http://alerts.example:80/a/b?c=d", "http://[::1]:9/"]
    {
        assert_eq!(with(url), Ok(()), "{url}");
    }
    for url in
        ["https://a:443/", "http://a/", "http://a:0/", "a:80", "/x", "http://u:p@a:80/", "http://"]
    {
        let expected = format!(
            "health.webhook_url = {url:?}: must be empty, or http://host:port with a path or \
             without: nothing else is spoken"
        );
        assert_eq!(with(url), Err(expected));
    }
}

#[test]
fn a_webhook_stands_beside_the_settings_of_its_section() {
    let text =
        format!("{MINIMAL}[health]\nwebhook_url = \"http://a:1\"\nhealth_interval_ms = 700\n");
    let variables = variables(&[
        ("QUORATE_HEALTH_WEBHOOK_URL", "http://b:2/x"),
        ("QUORATE_HEALTH_WEBHOOK_TIMEOUT_MS", "300"),
    ]);
    let config = Config::from_toml_with(&text, variables).unwrap();
    let expected = Health { webhook_url: "http://b:2/x".into(), webhook_timeout_ms: 300 };
    assert_eq!(config.health, expected);
    assert_eq!(config.settings.health, [("health_interval_ms".to_owned(), 700)].into());
    assert_eq!(Config::from_toml(&text).unwrap().health.webhook_url, "http://a:1");
}

#[test]
fn every_problem_is_listed() {
    let message = problems(|config| {
        config.raft.purge_entries = 0;
        config.limits.request_bytes_max = 0;
    });
    assert_eq!(message.lines().count(), 2, "{message}");
}

#[test]
fn environment_wins_over_the_file() {
    let config = Config::from_toml_with(
        MINIMAL,
        variables(&[
            ("QUORATE_DATA_DIR", "/data"),
            ("QUORATE_NODE_ID", "1"),
            ("QUORATE_LISTEN_CLIENT", "0.0.0.0:9000"),
            ("QUORATE_ADVERTISE_CLIENT", "a.example:9000"),
            ("QUORATE_RAFT_HEARTBEAT_MS", "200"),
            ("QUORATE_CLUSTER_NAME", "7"),
            ("QUORATE_LOG_FORMAT", "json"),
            ("QUORATE_ENDPOINTS", "the client's, not ours"),
            ("PATH", "/bin"),
        ]),
    )
    .unwrap();
    assert_eq!(config.node.id, MemberId(1));
    assert_eq!(config.node.data_dir, PathBuf::from("/data"));
    assert_eq!(config.listen.client.to_string(), "0.0.0.0:9000");
    assert_eq!(config.listen.peer.to_string(), "127.0.0.1:7201");
    assert_eq!(config.client_address(), "a.example:9000");
    assert_eq!(config.peer_address(), "127.0.0.1:7201");
    assert_eq!(config.raft.heartbeat_ms, 200);
    assert_eq!(config.cluster.name.as_str(), "7");
    assert_eq!(config.log.format, LogFormat::Json);
}

#[test]
fn a_bad_variable_is_named() {
    for (variable, value) in [
        ("QUORATE_RAFT_HEARTBEAT", "5"),
        ("QUORATE_RAFT_HEARTBEAT_MS", "soon"),
        ("QUORATE_LISTEN_PEER", "x"),
    ] {
        let error = Config::from_toml_with(MINIMAL, variables(&[(variable, value)]))
            .unwrap_err()
            .to_string();
        assert!(error.contains(variable), "{error}");
    }
}

#[tokio::test]
async fn listeners_on_port_zero_tell_where_they_are() {
    let listeners = Listeners::local().await.unwrap();
    let member = listeners.member(MemberId(7)).unwrap();
    let config = Config::local(MemberId(7), std::slice::from_ref(&member), "unused");
    config.validate().unwrap();
    assert_eq!(config.client_address(), listeners.client.local_addr().unwrap().to_string());
    assert_eq!(config.peer_address(), listeners.peer.local_addr().unwrap().to_string());

    let taken = Listen { client: listeners.client.local_addr().unwrap(), ..Listen::any_port() };
    let error = Listeners::bind(&taken).await.unwrap_err().to_string();
    assert!(error.contains("listen.client = 127.0.0.1:"), "{error}");
}
