//! Which crate may depend on which.
//!
//! ARCHITECTURE.md holds the only list, in its first code block with an arrow; this module reads it
//! there, so the document and the check cannot differ. A few lines that no document may cross are
//! here as well.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use cargo_metadata::{DependencyKind, Metadata, MetadataCommand, Package};

/// Dependent and dependency, by folder name: ("node", "core").
type Edge = (String, String);

/// What the document allows.
#[derive(Debug, Default)]
struct Allowed {
    edges: BTreeSet<Edge>,
    /// These may depend on anything.
    free: BTreeSet<String>,
}

/// Lines that stay even when the document changes: (dependent, must never be reached by it, why).
const NEVER: &[(&str, &str, &str)] = &[
    ("core", "plan", "core knows no other crate"),
    ("core", "proto", "core knows no other crate"),
    ("core", "storage", "core knows no other crate"),
    ("core", "node", "core knows no other crate"),
    ("plan", "proto", "plan is pure"),
    ("plan", "storage", "plan is pure"),
    ("plan", "node", "plan is pure"),
    ("client", "node", "a client never links the server"),
    ("client", "storage", "a client never links the server"),
    ("worker", "node", "a worker never links the server"),
    ("worker", "storage", "a worker never links the server"),
];

pub(crate) fn violations(root: &Path) -> Vec<String> {
    let document = fs::read_to_string(root.join("ARCHITECTURE.md"))
        .expect("ARCHITECTURE.md at the root lists the allowed edges");
    let allowed = parse(&document);
    assert!(!allowed.edges.is_empty(), "ARCHITECTURE.md has no code block with `a <- b` edges");
    let metadata = MetadataCommand::new()
        .manifest_path(root.join("Cargo.toml"))
        .no_deps()
        .exec()
        .expect("cargo metadata reads the workspace");
    let real = real_edges(&metadata);
    let mut found = Vec::new();
    for (dependent, dependency, development) in &real {
        let pure = dependent == "core" || dependent == "plan";
        if (*development && !pure) || allowed.permits(dependent, dependency) {
            continue;
        }
        let kind = if *development { "development " } else { "" };
        found.push(format!(
            "{dependent} has a {kind}dependency on {dependency}: \
             `{dependency} <- {dependent}` is not in ARCHITECTURE.md"
        ));
    }
    found.extend(forbidden_paths(&real));
    found
}

impl Allowed {
    fn permits(&self, dependent: &str, dependency: &str) -> bool {
        self.free.contains(dependent)
            || self.edges.contains(&(dependent.to_owned(), dependency.to_owned()))
    }
}

/// Reads `a, b <- c <- d, e` (c uses a and b; d and e use c) and `x, y -> anything`. Statements on
/// a line are set apart by two spaces or more.
fn parse(document: &str) -> Allowed {
    let mut allowed = Allowed::default();
    let block = document.split("```").skip(1).step_by(2).find(|block| block.contains(" <- "));
    let statements = block.unwrap_or_default().lines().flat_map(|line| line.split("  "));
    for statement in statements.map(str::trim).filter(|statement| !statement.is_empty()) {
        if let Some((names, "anything")) = statement.split_once(" -> ") {
            allowed.free.extend(list(names));
            continue;
        }
        let steps: Vec<Vec<String>> = statement.split(" <- ").map(list).collect();
        for pair in steps.windows(2) {
            for dependency in &pair[0] {
                let edges = pair[1].iter().map(|user| (user.clone(), dependency.clone()));
                allowed.edges.extend(edges);
            }
        }
    }
    allowed
}

fn list(names: &str) -> Vec<String> {
    names.split(',').map(|name| name.trim().to_owned()).collect()
}

/// (dependent, dependency, whether for development only), between crates of the workspace.
fn real_edges(metadata: &Metadata) -> BTreeSet<(String, String, bool)> {
    let packages = metadata.workspace_packages();
    let names: BTreeMap<String, String> =
        packages.iter().map(|package| (package.name.to_string(), short(package))).collect();
    let mut edges = BTreeSet::new();
    for package in packages {
        for dependency in &package.dependencies {
            if let Some(name) = names.get(&dependency.name) {
                let development = dependency.kind == DependencyKind::Development;
                edges.insert((short(package), name.clone(), development));
            }
        }
    }
    edges
}

/// The name of the package's folder, which is the name that the document uses.
fn short(package: &Package) -> String {
    let folder = package.manifest_path.parent().and_then(|folder| folder.file_name());
    folder.expect("a manifest lies in a folder").to_owned()
}

fn forbidden_paths(real: &BTreeSet<(String, String, bool)>) -> Vec<String> {
    let mut found = Vec::new();
    for (from, to, why) in NEVER {
        let mut reached = BTreeSet::from([(*from).to_owned()]);
        let mut size = 0;
        while size < reached.len() {
            size = reached.len();
            for (dependent, dependency, development) in real {
                if !development && reached.contains(dependent) {
                    reached.insert(dependency.clone());
                }
            }
        }
        if reached.contains(*to) {
            found.push(format!("{from} reaches {to}: {why}"));
        }
    }
    found
}

#[test]
fn a_chain_of_arrows_is_read_as_edges() {
    let allowed = parse("text\n```\na, b <- c <- d   e <- f, g\nx, y -> anything\n```\n");
    let edges: Vec<(&str, &str)> =
        allowed.edges.iter().map(|(user, used)| (user.as_str(), used.as_str())).collect();
    assert_eq!(edges, [("c", "a"), ("c", "b"), ("d", "c"), ("f", "e"), ("g", "e")]);
    assert!(allowed.permits("x", "c") && allowed.permits("d", "c") && !allowed.permits("d", "a"));
}
