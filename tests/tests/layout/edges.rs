//! Which crate may depend on which.
//!
//! ARCHITECTURE.md holds the only list, the column `knows` of its table of crates; this module reads
//! it there, so the document and the check cannot differ. A few lines that no document may cross
//! are here as well.

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
    let metadata = MetadataCommand::new()
        .manifest_path(root.join("Cargo.toml"))
        .no_deps()
        .exec()
        .expect("cargo metadata reads the workspace");
    let names: BTreeSet<String> = metadata.workspace_packages().into_iter().map(short).collect();
    let allowed = parse(&document, &names);
    assert!(
        !allowed.edges.is_empty(),
        "ARCHITECTURE.md has no table of crates with what they know"
    );
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
             ARCHITECTURE.md does not say that {dependent} knows {dependency}"
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

/// Reads the rows of the table with the columns `crate` and `knows`: "| `a`, `b` | owns | c, d (and
/// e through d) | ... |". What is in parentheses is a remark; words that name no crate are prose.
fn parse(document: &str, names: &BTreeSet<String>) -> Allowed {
    let rows = document.lines().filter_map(|line| line.strip_prefix('|'));
    let rows = rows.map(|row| row.split('|').map(str::trim).collect::<Vec<_>>());
    let rows = rows.skip_while(|cells| cells.first() != Some(&"crate"));
    let mut allowed = Allowed::default();
    let mut known = None;
    for cells in rows {
        let Some(column) = known else {
            known = cells.iter().position(|cell| *cell == "knows");
            continue;
        };
        let Some(knows) = cells.get(column) else { break };
        for dependent in words(cells[0]).filter(|word| names.contains(*word)) {
            let knows = without_remarks(knows);
            if words(&knows).any(|word| word == "anything") {
                allowed.free.insert(dependent.to_owned());
            }
            let known = words(&knows).filter(|word| names.contains(*word));
            allowed.edges.extend(known.map(|one| (dependent.to_owned(), one.to_owned())));
        }
    }
    allowed
}

fn words(cell: &str) -> impl Iterator<Item = &str> {
    cell.split(|letter: char| !letter.is_alphanumeric() && letter != '-')
}

fn without_remarks(cell: &str) -> String {
    let mut depth = 0_usize;
    let outside = cell.chars().filter(|letter| {
        match letter {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        depth == 0
    });
    outside.collect()
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
fn the_table_of_crates_is_read_as_edges() {
    let table = "| a | table |\n\n| crate | owns | knows | not |\n| --- | --- | --- | --- |\n\
                 | `low` | x | nothing else | b |\n| `mid` | low | low, its friends | |\n\
                 | `top` | x | mid (and through it low) | |\n| `one`, `two` | x | anything | |\n";
    let names = ["low", "mid", "top", "one", "two"].map(str::to_owned).into();
    let allowed = parse(table, &names);
    let edges: Vec<(&str, &str)> =
        allowed.edges.iter().map(|(user, used)| (user.as_str(), used.as_str())).collect();
    assert_eq!(edges, [("mid", "low"), ("top", "mid")]);
    assert!(allowed.permits("two", "top") && !allowed.permits("top", "low"));
}
