//! The gRPC interface of Quorate: generated messages and services, and their conversions to and
//! from `quorate-core`.
//!
//! Owns the wire format for clients and between coordinators. Must not know about Raft's types,
//! disks or connections.

/// Generated from `proto/quorate/v1`.
#[expect(unreachable_pub, reason = "generated")]
pub mod v1 {
    tonic::include_proto!("quorate.v1");
}

/// The descriptors of all services, for server reflection.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
