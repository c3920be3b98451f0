//! The client against coordinators that do what a script says: refuse, hang, break, contradict.

#![expect(clippy::unwrap_used, reason = "a test that fails says so by panicking")]

mod answers;
mod attempts;
mod freshness;
mod once;
mod server;
mod sessions;
mod streams;
