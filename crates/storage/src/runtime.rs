//! The asynchronous runtime that openraft runs on: tokio, with randomness that a simulation can
//! seed.
//!
//! Consensus draws its election timeouts and the first beats of its clocks from a generator of the
//! thread. In production that is the operating system's; after [`seed_thread`] everything that
//! runs on the same thread draws from one seed, so that a simulation on a current-thread runtime
//! takes the same course again.
//!
//! Invariant: nothing but the randomness differs from openraft's own tokio runtime.

use std::{cell::RefCell, future::Future, io, time::Duration};

use openraft::{AsyncRuntime, OptionalSend, impls::TokioRuntime};
use rand::{Rng as _, SeedableRng, rngs::StdRng};

thread_local! {
    static SEEDED: RefCell<Option<StdRng>> = const { RefCell::new(None) };
}

/// From now on the consensus of all coordinators on this thread draws its randomness from `seed`.
/// For simulations only: what draws from one seed on several machines votes at the same time.
pub fn seed_thread(seed: u64) {
    SEEDED.with_borrow_mut(|random| *random = Some(StdRng::seed_from_u64(seed)));
}

/// Tokio, as openraft uses it. See the module.
#[derive(Debug)]
pub struct Runtime(TokioRuntime);

impl AsyncRuntime for Runtime {
    type JoinError = <TokioRuntime as AsyncRuntime>::JoinError;
    type JoinHandle<T: OptionalSend + 'static> = <TokioRuntime as AsyncRuntime>::JoinHandle<T>;
    type Sleep = <TokioRuntime as AsyncRuntime>::Sleep;
    type Instant = <TokioRuntime as AsyncRuntime>::Instant;
    type TimeoutError = <TokioRuntime as AsyncRuntime>::TimeoutError;
    type Timeout<R, T: Future<Output = R> + OptionalSend> =
        <TokioRuntime as AsyncRuntime>::Timeout<R, T>;
    type ThreadLocalRng = StdRng;
    type Mpsc = <TokioRuntime as AsyncRuntime>::Mpsc;
    type Watch = <TokioRuntime as AsyncRuntime>::Watch;
    type Oneshot = <TokioRuntime as AsyncRuntime>::Oneshot;
    type Mutex<T: OptionalSend + 'static> = <TokioRuntime as AsyncRuntime>::Mutex<T>;

    fn spawn<T>(future: T) -> Self::JoinHandle<T::Output>
    where
        T: Future + OptionalSend + 'static,
        T::Output: OptionalSend + 'static,
    {
        TokioRuntime::spawn(future)
    }

    fn sleep(duration: Duration) -> Self::Sleep {
        TokioRuntime::sleep(duration)
    }

    fn sleep_until(deadline: Self::Instant) -> Self::Sleep {
        TokioRuntime::sleep_until(deadline)
    }

    fn timeout<R, F: Future<Output = R> + OptionalSend>(
        duration: Duration,
        future: F,
    ) -> Self::Timeout<R, F> {
        TokioRuntime::timeout(duration, future)
    }

    fn timeout_at<R, F: Future<Output = R> + OptionalSend>(
        deadline: Self::Instant,
        future: F,
    ) -> Self::Timeout<R, F> {
        TokioRuntime::timeout_at(deadline, future)
    }

    fn is_panic(join_error: &Self::JoinError) -> bool {
        TokioRuntime::is_panic(join_error)
    }

    /// A generator of its own for whoever asks, as openraft asks for a draw at a time.
    fn thread_rng() -> Self::ThreadLocalRng {
        SEEDED.with_borrow_mut(|random| match random {
            Some(random) => StdRng::seed_from_u64(random.next_u64()),
            None => rand::make_rng(),
        })
    }

    fn new(threads: usize) -> Self {
        Self(TokioRuntime::new(threads))
    }

    fn block_on<F, T>(&mut self, future: F) -> T
    where
        F: Future<Output = T>,
    {
        self.0.block_on(future)
    }

    fn spawn_blocking<F, T>(f: F) -> impl Future<Output = Result<T, io::Error>> + Send
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        TokioRuntime::spawn_blocking(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draws() -> Vec<u64> {
        (0..4).map(|_| Runtime::thread_rng().next_u64()).collect()
    }

    #[test]
    fn equal_seeds_give_equal_draws() {
        seed_thread(7);
        let first = draws();
        seed_thread(7);
        assert_eq!(draws(), first);
        seed_thread(8);
        assert_ne!(draws(), first);
        // Another thread has not been seeded.
        let other = std::thread::spawn(|| (draws(), draws())).join();
        assert!(other.is_ok_and(|(one, other)| one != other && one != first));
    }
}
