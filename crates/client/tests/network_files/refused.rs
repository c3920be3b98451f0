//! Each wrong file is refused with the file, the line, the field and the rule.

use std::path::Path;

use quorate_client::network_file::{FILE_BYTES_MAX, FileError, read};

use crate::{json, toml};

/// The message for a TOML file.
fn said(text: &str) -> String {
    toml(text).unwrap_err().to_string()
}

/// A process `a` and a process `b`, and then what is added.
fn two(rest: &str) -> String {
    format!(
        "[[processes]]\nid = \"a\"\ncomponent = \"x\"\n\n\
         [[processes]]\nid = \"b\"\ncomponent = \"x\"\n\n{rest}"
    )
}

#[test]
fn a_connection_to_a_process_that_is_not_there() {
    assert_eq!(
        said(&two("[[connections]]\nfrom = \"a\"\nto = \"ghost\"\n")),
        "net.toml:11:6: connections[0].to: there is no process \"ghost\""
    );
    assert_eq!(
        said(&two("[[connections]]\nfrom = \"no name\"\nto = \"a\"\n")),
        "net.toml:10:8: connections[0].from: there is no process \"no name\""
    );
}

#[test]
fn a_duplicate_id() {
    assert_eq!(
        said(&two("[[processes]]\nid = \"a\"\ncomponent = \"y\"\n")),
        "net.toml:10:6: processes[2].id: \"a\" is already processes[0]"
    );
}

#[test]
fn a_duplicate_connection() {
    let edge = "[[connections]]\nfrom = \"a\"\nto = \"b\"\n";
    assert_eq!(
        said(&two(&[edge, edge].concat())),
        "net.toml:12:1: connections[1]: there is already a connection a -> b; at most one per ordered pair"
    );
}

#[test]
fn needs_out_of_range() {
    let with = |needs: &str| {
        said(&format!("[[processes]]\nid = \"a\"\ncomponent = \"x\"\nneeds = {{ {needs} }}"))
    };
    assert_eq!(
        with("cpu_millis = -5"),
        "net.toml:4:24: processes[0].needs.cpu_millis: must be at least 0, is -5"
    );
    assert_eq!(
        with("memory_bytes = 18446744073709551616"),
        "net.toml:4:26: processes[0].needs.memory_bytes: must be at most 18446744073709551615, \
         is 18446744073709551616"
    );
    assert_eq!(
        with("gpu = 0.5"),
        "net.toml:4:17: processes[0].needs.gpu: must be a whole number, is 0.5"
    );
    assert_eq!(
        with("gpu = \"all\""),
        "net.toml:4:17: processes[0].needs.gpu: must be a whole number, is \"all\""
    );
    assert_eq!(
        with("\"a b\" = 1"),
        "net.toml:4:19: processes[0].needs.a b: a resource's name must match \
         [A-Za-z0-9][A-Za-z0-9._-]{0,127}"
    );
    // More digits than any number that is looked at.
    let digits = "9".repeat(100);
    assert!(with(&format!("gpu = {digits}")).contains("must be a whole number, is 99999"));
}

#[test]
fn unknown_keys_at_every_level() {
    let process = "[[processes]]\nid = \"a\"\ncomponent = \"x\"\n";
    let at_end = |rest: &str| said(&format!("{process}{rest}"));
    assert_eq!(
        said(&format!("nmae = 1\n{process}")),
        "net.toml:1:1: nmae: unknown key; known: policy, connection, processes, connections"
    );
    assert_eq!(
        at_end("need = {}"),
        "net.toml:4:1: processes[0].need: unknown key; known: id, component, needs, parallelism, \
         requires, affinity, anti_affinity"
    );
    assert_eq!(
        at_end("parallelism = { mni = 1 }"),
        "net.toml:4:17: processes[0].parallelism.mni: unknown key; known: min, max"
    );
    assert_eq!(
        at_end("[policy]\npartition = 1"),
        "net.toml:5:1: policy.partition: unknown key; known: partitions, strategy, shares, pool, tenant"
    );
    assert_eq!(
        at_end("[[connections]]\nfrom = \"a\"\nto = \"a\"\nspeed = 1"),
        "net.toml:7:1: connections[0].speed: unknown key; known: from, to, rate"
    );
}

#[test]
fn constraints_out_of_bounds() {
    let with = |line: &str| said(&format!("[[processes]]\nid = \"a\"\ncomponent = \"x\"\n{line}"));
    assert_eq!(
        with("affinity = \"no name\""),
        "net.toml:4:12: processes[0].affinity: must match [A-Za-z0-9][A-Za-z0-9._-]{0,127}, \
         is \"no name\""
    );
    assert_eq!(
        with("anti_affinity = 1"),
        "net.toml:4:17: processes[0].anti_affinity: must be a text, is 1"
    );
    assert_eq!(
        with("requires = { zone = 1 }"),
        "net.toml:4:21: processes[0].requires.zone: must be a text, is 1"
    );
    assert_eq!(
        with("requires = { \"\" = \"a\" }"),
        "net.toml:4:12: processes[0].requires: a label's name has 1 to 256 bytes, not 0"
    );
    assert_eq!(
        with(&format!("requires = {{ zone = \"{}\" }}", "a".repeat(257))),
        "net.toml:4:21: processes[0].requires.zone: must have at most 256 bytes, has 257"
    );
    let labels: String = (0..65).map(|label| format!("l{label} = \"\", ")).collect();
    assert_eq!(
        with(&format!("requires = {{ {labels} }}")),
        "net.toml:4:12: processes[0].requires: must be at most 64 labels, are 65"
    );
    let shares = |policy: &str| said(&two(&format!("[policy]\n{policy}")));
    assert_eq!(
        shares("partitions = 2\nshares = [1]"),
        "net.toml:11:10: policy.shares: must be one per partition, 2, are 1"
    );
    assert_eq!(
        shares("shares = [1, 2, 3]"),
        "net.toml:10:10: policy.shares: must be 1 to the number of processes, 2, are 3"
    );
    assert_eq!(
        shares("shares = [1, 0]"),
        "net.toml:10:14: policy.shares[1]: must be at least 1, is 0"
    );
    assert!(shares("shares = []").contains("policy.shares: must be 1 to the number of processes"));
    assert_eq!(shares("pool = \"p\""), "net.toml:10:8: policy.pool: must be given with tenant");
    assert_eq!(shares("tenant = \"a\""), "net.toml:10:10: policy.tenant: must be given with pool");
    assert!(shares("pool = \"p\"\ntenant = \"a b\"").contains("11:10: policy.tenant"));
}

#[test]
fn bounds_of_parallelism() {
    let with = |bounds: &str| {
        said(&format!("[[processes]]\nid = \"a\"\ncomponent = \"x\"\nparallelism = {bounds}"))
    };
    assert_eq!(with("0"), "net.toml:4:15: processes[0].parallelism: must be at least 1, is 0");
    assert_eq!(
        with("{ min = 0 }"),
        "net.toml:4:23: processes[0].parallelism.min: must be at least 1, is 0"
    );
    assert_eq!(
        with("{ min = 4, max = 2 }"),
        "net.toml:4:32: processes[0].parallelism.max: must be at least min, which is 4, is 2"
    );
    assert_eq!(
        with("4097"),
        "net.toml:4:15: processes[0].parallelism: must be at most 4096, is 4097"
    );
    assert_eq!(
        with("true"),
        "net.toml:4:15: processes[0].parallelism: must be a whole number, is true"
    );
}

#[test]
fn what_must_be_there_and_is_not() {
    assert_eq!(said(""), "net.toml: processes: is missing");
    assert_eq!(
        said("processes = []"),
        "net.toml:1:13: processes: a network has at least one process"
    );
    assert_eq!(said("processes = 3"), "net.toml:1:13: processes: must be a list, is 3");
    assert_eq!(said("processes = [3]"), "net.toml:1:14: processes[0]: must be a table, is 3");
    assert_eq!(
        said("[[processes]]\nid = \"a\"\n"),
        "net.toml:1:1: processes[0].component: is missing"
    );
    assert_eq!(
        said("[[processes]]\ncomponent = \"a\"\n"),
        "net.toml:1:1: processes[0].id: is missing"
    );
    assert_eq!(
        said(&two("[[connections]]\nfrom = \"a\"\n")),
        "net.toml:9:1: connections[0].to: is missing"
    );
}

#[test]
fn texts_that_are_too_long_or_empty() {
    let with = |id: &str, component: &str| {
        said(&format!("[[processes]]\nid = \"{id}\"\ncomponent = \"{component}\""))
    };
    let long = "x".repeat(129);
    let pattern = "[A-Za-z0-9][A-Za-z0-9._-]{0,127}";
    assert_eq!(
        with(&long, "c"),
        format!(
            "net.toml:2:6: processes[0].id: must match {pattern}, is \"{}\"... of 129 bytes",
            "x".repeat(64)
        )
    );
    assert_eq!(
        with("", "c"),
        format!("net.toml:2:6: processes[0].id: must match {pattern}, is \"\"")
    );
    assert_eq!(
        with("a", ""),
        "net.toml:3:13: processes[0].component: must have 1 to 256 bytes, has 0"
    );
    assert_eq!(
        with("a", &"c".repeat(257)),
        "net.toml:3:13: processes[0].component: must have 1 to 256 bytes, has 257"
    );
    assert!(with(&"y".repeat(128), "").contains("component"), "128 are allowed");
}

#[test]
fn policies() {
    let with = |policy: &str| said(&two(&format!("[policy]\n{policy}")));
    assert_eq!(
        with("partitions = 0"),
        "net.toml:10:14: policy.partitions: must be at least 1, is 0"
    );
    assert_eq!(
        with("partitions = 3"),
        "net.toml:10:14: policy.partitions: must be at most the number of processes, which is 2, is 3"
    );
    assert_eq!(
        with("strategy = \"best one\""),
        "net.toml:10:12: policy.strategy: must match [A-Za-z0-9][A-Za-z0-9._-]{0,127}, is \"best one\""
    );
}

#[test]
fn sums_that_nobody_can_count() {
    let process = |id: &str| {
        format!(
            "[[processes]]\nid = \"{id}\"\ncomponent = \"x\"\nneeds = {{ gpu = 9223372036854775808 }}\n"
        )
    };
    assert_eq!(
        said(&[process("a"), process("b")].concat()),
        "net.toml: processes[1].needs.gpu: the sum over all processes must be below 2^64"
    );
    let edge = |from: &str, to: &str| {
        format!("[[connections]]\nfrom = \"{from}\"\nto = \"{to}\"\nrate = 9223372036854775808\n")
    };
    assert_eq!(
        said(&two(&[edge("a", "b"), edge("b", "a")].concat())),
        "net.toml:16:8: connections[1].rate: the sum of all rates must be below 2^64"
    );
}

#[test]
fn what_is_no_toml_or_json() {
    assert_eq!(
        said("[[processes]]\nid = \"a\nb\"\n"),
        "net.toml:2:8: invalid basic string, expected `\"`"
    );
    assert!(
        said("a = 1\na = 2\n").starts_with("net.toml:2:1: duplicate key"),
        "{}",
        said("a = 1\na = 2")
    );
    let error = json("{\n  \"schemaVersion\": \n}").unwrap_err();
    assert_eq!(error.to_string(), "net.json:3:1: expected value");
    let error = json("{\"a\": 1, \"a\": 2}").unwrap_err();
    assert!(error.to_string().contains("duplicate key \"a\""), "{error}");
    assert!(matches!(json(&"[".repeat(100_000)), Err(FileError::Syntax { .. })));
    assert!(matches!(toml(&format!("a = {}", "[".repeat(100_000))), Err(FileError::Syntax { .. })));
}

#[test]
fn files_that_cannot_be_read() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("none.toml");
    let error = read(&missing).unwrap_err();
    assert!(matches!(error, FileError::Unreadable { .. }));
    assert!(error.to_string().contains("none.toml: No such file"), "{error}");

    let binary = folder.path().join("binary.toml");
    std::fs::write(&binary, b"# fine\nx = \"\xff\"").unwrap();
    let error = read(&binary).unwrap_err().to_string();
    assert!(error.ends_with("binary.toml:2:6: not UTF-8 text"), "{error}");

    let huge = folder.path().join("huge.toml");
    std::fs::File::create(&huge).unwrap().set_len(FILE_BYTES_MAX + 1).unwrap();
    assert!(matches!(read(&huge), Err(FileError::TooLarge { .. })));
    assert!(read(Path::new("/")).is_err());
}
