//! The runtime of a simulation: one thread, paused time, seeded order.
//!
//! Time passes only when nobody has anything left to do, so minutes of elections take
//! milliseconds. Nothing here may depend on the machine: no threads, no real clock, no randomness
//! but the seed's.

use std::io;

/// Runs a simulation to its end. On one machine and one build, equal seeds and equal futures take
/// equal courses; give each run a thread of its own.
///
/// # Errors
/// When the runtime cannot be made.
pub fn simulate<T>(seed: u64, simulation: impl Future<Output = T>) -> io::Result<T> {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_time().start_paused(true);
    #[cfg(tokio_unstable)]
    builder.rng_seed(tokio::runtime::RngSeed::from_bytes(&seed.to_le_bytes()));
    quorate_node::storage::runtime::seed_thread(seed);
    Ok(builder.build()?.block_on(simulation))
}

/// Whether this build repeats courses: whether tokio was built so that its order can be seeded.
#[must_use]
pub const fn repeats() -> bool {
    cfg!(tokio_unstable)
}
