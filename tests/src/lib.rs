//! What the cross-crate tests share: clusters of real processes, plain gRPC calls, the crash
//! programme, the rules of ownership, stories that documents tell, and disks that get full.
//!
//! The calls are made with the generated gRPC clients and without the client library, whose retries
//! would hide what a test looks for. Must not know how a coordinator works inside.

pub mod calls;
pub mod cluster;
pub mod command;
pub mod crash;
pub mod ownership;
pub mod story;
pub mod volume;
