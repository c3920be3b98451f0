//! The built command against real processes: what it prints, in tables and JSON, and how it exits.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, helpers too")]

mod cluster;
mod dev;
mod follow;
mod guard;
mod harness;
mod health;
mod kv;
mod lock;
mod member;
mod network;
mod offline;
mod plan;
mod pool;
mod serve;
mod session;
mod settings;
mod watch;
mod worker;
