//! The gRPC interface of Quorate: generated messages and services, and their conversions to and
//! from `quorate-core`.
//!
//! Owns the wire format for clients and between coordinators, and what errors say on the wire.
//! Must not know about Raft's types, disks or connections.

pub mod convert;
pub mod encoded;
pub mod errors;

pub use convert::ConvertError;
pub use errors::{ErrorDetails, Reason, WriteOutcome};

/// Generated from `proto/quorate/v1`.
#[expect(
    clippy::allow_attributes,
    clippy::allow_attributes_without_reason,
    clippy::large_enum_variant,
    clippy::too_many_lines,
    reason = "generated"
)]
pub mod v1 {
    tonic::include_proto!("quorate.v1");
}

/// The descriptors of all services, for server reflection.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
