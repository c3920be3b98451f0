//! Measurements that check every reply.
//!
//! ```text
//! put, get, watch -> drive (clients, warm-up, clock) -> checks -> report
//! failover        -> workers, networks, losses      -> checks -> report
//! ```
//!
//! Owns the load and the checks. A measurement whose checks fail is a failed command, however fast
//! it was.

mod check;
mod drive;
mod failover;
mod fleet;
mod get;
mod payload;
mod put;
mod watch;

pub(crate) use self::{failover::failover, get::get, put::put, watch::watch};
use crate::output::bench::BenchReport;

/// A finished measurement.
#[derive(Debug)]
pub(crate) struct Finished {
    /// What was measured.
    pub(crate) report: BenchReport,
    /// The first thing that went wrong.
    pub(crate) first_error: Option<String>,
}
