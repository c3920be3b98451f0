//! Tests of quorate-core from the outside: golden scripts, properties, stored formats.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

mod checkpoint;
mod filter;
mod formats;
mod generate;
mod limits;
mod properties;
mod script;
