//! Tests of quorate-core from the outside: golden scripts, properties, stored formats.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

mod allocations;
mod checkpoint;
mod connections;
mod exactly_once;
mod filter;
mod formats;
mod generate;
mod held;
mod limits;
mod notice;
mod pools;
mod properties;
mod requirements;
mod restore;
mod script;
mod sessions;

/// So many cases of a property, or as many as PROPTEST_CASES says.
fn cases(count: u32) -> proptest::test_runner::Config {
    let config = proptest::test_runner::Config::default();
    match std::env::var_os("PROPTEST_CASES") {
        Some(_) => config,
        None => proptest::test_runner::Config { cases: count, ..config },
    }
}
