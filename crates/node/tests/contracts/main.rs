//! What callers may rely on, over real sockets: three coordinators in one process.
//!
//! The numbers in the names of the modules' sections are those of the contract's lines.

#![expect(clippy::unwrap_used, reason = "a test that fails says where")]

mod backups;
mod clients;
mod cluster;
mod common;
mod connections;
mod consistency;
mod errors;
mod http;
mod interface;
mod membership;
mod monitor;
mod ownership;
mod plans;
mod requirements;
mod resources;
mod sessions;
mod shaping;
mod stream_ends;
mod streams;
mod webhook;
mod workers;
