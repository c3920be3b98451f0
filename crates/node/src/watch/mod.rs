//! Change streams: every subscriber is a cursor into the history that the state keeps.
//!
//! ```text
//! applied ──> Pacer ──tick──> Subscription ──step──> Cursor ──slice──> Group ──scan──> history
//!                                  │                    └──chunk──> Walk (snapshot)
//!                                  └──frame──> body ──> HTTP/2
//! ```
//!
//! Owns where a stream starts (`start`), what it is sent next (`cursor`, `walk`, `scan`:
//! pure, given a view), when it looks again (`hub`, `subscription`), and the bytes on the wire
//! (`frame`, `server`).
//!
//! Invariants:
//! - A subscriber pulls. It holds a revision and no queue, so a slow one costs nothing that grows
//!   with its lag. A snapshot in progress pins one state.
//! - Everything up to a message's resume token was delivered; a revision is never split.
//! - Subscribers with equal filters at equal revisions are sent the very same bytes (`group`).
//! - A stream never ends or jumps in silence: it ends with a status, or says `RESYNC`.
//!
//! Must not know about Raft, or how a view comes about.

mod cursor;
mod frame;
mod group;
mod hub;
mod scan;
mod server;
mod start;
mod subscription;
mod walk;

pub use hub::Watches;
pub use server::WatchServer;

#[cfg(test)]
mod tests;
