//! The layout rules of the project, checked by machine rather than by reviewers.
//!
//! Owns what ARCHITECTURE.md and the style rules promise about the shape of the sources: which
//! crate may depend on which, how every file begins, how long files and functions get, that the
//! gRPC interface is commented and that a dependency says why it is there. One test per rule; each
//! prints every violation at once. Must not know what any of the crates does.

mod edges;
mod interface;
mod manifests;
mod sources;

use std::path::{Path, PathBuf};

/// The root of the repository.
fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().expect("the tests package is one level below the root").to_path_buf()
}

/// Fails with every violation, one a line.
fn report(rule: &str, violations: &[String]) {
    assert!(
        violations.is_empty(),
        "{rule}: {} violation(s)\n  {}\n",
        violations.len(),
        violations.join("\n  ")
    );
}

#[test]
fn crates_depend_only_along_the_edges_of_the_architecture() {
    report("allowed crate edges", &edges::violations(&root()));
}

#[test]
fn crates_have_telling_names() {
    report("no catch-all crates", &manifests::catch_all_crates(&root()));
}

#[test]
fn every_module_says_what_it_owns() {
    report("module docs", &sources::check(&root(), sources::module_docs));
}

#[test]
fn nothing_is_unfinished_or_left_over() {
    report("forbidden macros", &sources::check(&root(), sources::forbidden_macros));
}

#[test]
fn lints_are_expected_with_a_reason_never_allowed() {
    report("no allow attributes", &sources::check(&root(), sources::allow_attributes));
}

#[test]
fn files_stay_short() {
    report("file length", &sources::check(&root(), sources::file_length));
}

#[test]
fn functions_stay_short() {
    report("function length", &sources::check(&root(), sources::function_length));
}

#[test]
fn the_grpc_interface_is_commented() {
    report("proto comments", &interface::violations(&root()));
}

#[test]
fn dependencies_say_why_they_are_there() {
    report("workspace dependencies", &manifests::unexplained_dependencies(&root()));
}

#[test]
fn crates_inherit_versions_and_lints() {
    report("member manifests", &manifests::members(&root()));
}

#[test]
fn planted_faults_are_in_no_build_that_is_not_asked_for_them() {
    report("the feature `mutations`", &manifests::planted_faults(&root()));
}
