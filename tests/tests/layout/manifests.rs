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

/// The feature with which faults can be planted.
const PLANTED: &str = "mutations";

/// Who may have that feature. None of them is released but through a crate that is not here.
const MAY_PLANT: &[&str] = &["quorate-core", "quorate-storage", "quorate-node", "quorate-testkit"];

/// Faults can be planted only where the command line of cargo says so: no other feature (so no
/// `default`) turns that on, no dependency does, and no other crate passes it on.
pub(crate) fn planted_faults(root: &Path) -> Vec<String> {
    packages(root).iter().flat_map(turns_faults_on).collect()
}

fn turns_faults_on(package: &Package) -> Vec<String> {
    let mut found = Vec::new();
    let plants = |feature: &str| feature.rsplit('/').next() == Some(PLANTED);
    for (name, turned_on) in &package.features {
        let may = name == PLANTED && MAY_PLANT.contains(&package.name.as_str());
        if !may && (name == PLANTED || turned_on.iter().any(|feature| plants(feature))) {
            found.push(format!("{}: the feature `{name}` lets faults be planted", package.name));
        }
    }
    for dependency in &package.dependencies {
        if dependency.features.iter().any(|feature| plants(feature)) {
            let (package, name) = (&package.name, &dependency.name);
            found.push(format!("{package}: the dependency {name} lets faults be planted"));
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

#[test]
fn a_feature_that_plants_faults_is_found() {
    let metadata = |name: &str, features: &str| -> Package {
        let dependencies = r#"[{"name": "quorate-node", "source": null, "req": "*", "kind": null,
            "rename": null, "optional": false, "uses_default_features": true,
            "features": ["mutations"], "target": null, "registry": null}]"#;
        let package = format!(
            r#"{{"name": "{name}", "version": "0.1.0", "id": "{name}", "targets": [],
                "manifest_path": "/Cargo.toml", "dependencies": {dependencies},
                "features": {features}}}"#
        );
        serde_json::from_str(&package).expect("what cargo says of a package")
    };
    let chain = r#"{"mutations": ["quorate-core/mutations"]}"#;
    let of_dependency = 1;
    assert_eq!(turns_faults_on(&metadata("quorate-node", chain)).len(), of_dependency);
    assert_eq!(turns_faults_on(&metadata("quorate-cli", chain)).len(), of_dependency + 1);
    let default = r#"{"default": ["mutations"], "mutations": []}"#;
    assert_eq!(turns_faults_on(&metadata("quorate-node", default)).len(), of_dependency + 1);
}
