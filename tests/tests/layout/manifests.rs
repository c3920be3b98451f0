//! What the manifests promise: telling crate names, shared lints, one place for versions, and a
//! reason for every dependency.

use std::{fs, path::Path};

use cargo_metadata::{MetadataCommand, Package};

/// Names that say nothing, so that everything ends up in them.
const CATCH_ALL: &[&str] = &["common", "utils", "util", "types", "helpers", "misc", "shared"];

pub(crate) fn catch_all_crates(root: &Path) -> Vec<String> {
    let packages = packages(root);
    let bad = packages
        .iter()
        .filter(|package| package.name.split(['-', '_']).any(|part| CATCH_ALL.contains(&part)));
    bad.map(|package| format!("{}: name what it owns", package.name)).collect()
}

/// A line of `[workspace.dependencies]` has a comment of its own, or stands under the comment that
/// heads its section. An empty line ends a section.
pub(crate) fn unexplained_dependencies(root: &Path) -> Vec<String> {
    let manifest = fs::read_to_string(root.join("Cargo.toml")).expect("the workspace manifest");
    unexplained(&manifest)
}

fn unexplained(manifest: &str) -> Vec<String> {
    let mut found = Vec::new();
    let (mut inside, mut explained) = (false, false);
    for (number, line) in manifest.lines().enumerate() {
        let line = line.trim();
        if line.starts_with('[') {
            (inside, explained) = (line == "[workspace.dependencies]", false);
        } else if line.is_empty() {
            explained = false;
        } else if line.starts_with('#') {
            explained = true;
        } else if inside && !explained && !line.contains(" # ") {
            found.push(format!("Cargo.toml:{}: no comment says why: {line}", number + 1));
        }
    }
    found
}

/// Members take versions and lints from the workspace.
pub(crate) fn members(root: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for package in packages(root) {
        let text = fs::read_to_string(&package.manifest_path).expect("a member's manifest");
        let manifest: toml::Table = text.parse().expect("cargo has read this manifest");
        let inherits = |table: Option<&toml::Value>| {
            table.and_then(|table| table.get("workspace")).and_then(toml::Value::as_bool)
                == Some(true)
        };
        if !inherits(manifest.get("lints")) {
            found.push(format!("{}: needs `[lints] workspace = true`", package.name));
        }
        for section in ["dependencies", "dev-dependencies", "build-dependencies"] {
            let table = manifest.get(section).and_then(toml::Value::as_table);
            for (name, value) in table.into_iter().flatten() {
                if !inherits(Some(value)) {
                    let name = format!("{}: {section}: {name}", package.name);
                    found.push(format!("{name} must take its version from the workspace"));
                }
            }
        }
    }
    found
}

fn packages(root: &Path) -> Vec<Package> {
    let manifest = root.join("Cargo.toml");
    let metadata = MetadataCommand::new().manifest_path(manifest).no_deps().exec();
    metadata.expect("cargo metadata reads the workspace").packages
}

#[test]
fn a_dependency_without_a_reason_is_found() {
    let manifest = "[workspace.dependencies]\n# Errors.\nanyhow = \"1\"\n\nserde = \"1\"\n\
                    toml = \"1\" # files\n[profile.dev]\ndebug = false\n";
    assert_eq!(unexplained(manifest), ["Cargo.toml:5: no comment says why: serde = \"1\""]);
}
