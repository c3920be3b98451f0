//! Tests of storage through its public interface: openraft's suite, reopening, crashes of the
//! process and of the machine, damage, checkpoints.

#![expect(clippy::unwrap_used, reason = "a broken assumption fails the test")]

mod ahead;
mod backup;
mod checkpoint;
mod crash;
mod damage;
mod kill;
mod model;
mod power;
mod refusal;
mod reopen;
mod suite;
mod support;
mod wreck;
