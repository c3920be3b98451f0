//! `bench put`: writes. Every reply's revision is its own, and a client's revisions grow.

use std::sync::Arc;

use anyhow::Result;
use quorate_client::Client;
use quorate_core::Revision;

use super::{
    Finished, check,
    drive::{Driven, Work, drive},
    fleet::Fleet,
    payload::Payload,
};
use crate::{
    args::{BenchLoad, BenchPut},
    commands::Context,
    output::bench::{BenchMore, BenchReport},
};

/// Measures writes.
///
/// # Errors
/// When the cluster does not answer at all. Single failures are counted.
pub(crate) async fn put(context: &Context, args: &BenchPut) -> Result<Finished> {
    let load = &args.load;
    let fleet = Arc::new(Fleet::connect(context, load).await?);
    let payload = Payload::new(args.value_size);
    let works = (0..load.clients as usize).map(|index| Writer::new(&fleet, &payload, index));
    let mut driven = drive("put", load, works.collect()).await?;

    let mut revisions: Vec<_> =
        driven.works.iter().flat_map(|writer| writer.written.iter().map(|w| w.0)).collect();
    let repeated = check::repeated(&mut revisions);
    if repeated > 0 {
        driven.errors += repeated;
        driven.first_error.get_or_insert(format!("{repeated} revisions were given twice"));
    }
    if !load.keep {
        fleet.remove(context).await?;
    }
    let report = report("put", load, args.value_size, fleet.connections(), &driven);
    Ok(Finished { report, first_error: driven.first_error })
}

/// A client that writes.
#[derive(Debug)]
pub(super) struct Writer {
    client: Client,
    fleet: Arc<Fleet>,
    payload: Payload,
    /// What was acknowledged: revision and sequence number, in the order of this client.
    pub(super) written: Vec<(Revision, u64)>,
}

impl Writer {
    /// The writer of a client's number.
    pub(super) fn new(fleet: &Arc<Fleet>, payload: &Payload, index: usize) -> Self {
        Self {
            client: fleet.client(index).clone(),
            fleet: fleet.clone(),
            payload: payload.clone(),
            written: Vec::new(),
        }
    }
}

impl Work for Writer {
    async fn request(&mut self, sequence: u64) -> Result<(), String> {
        let key = &self.fleet.keys[spread(sequence, self.fleet.keys.len())];
        let put = self.client.put(key, self.payload.value(sequence));
        let revision = put.await.map_err(|error| error.to_string())?.revision();
        let last = self.written.last().map_or(Revision(0), |(last, _)| *last);
        self.written.push((revision, sequence));
        if revision > last {
            Ok(())
        } else {
            Err(format!("a write was acknowledged at revision {revision}, after {last}"))
        }
    }
}

/// Which key a request uses: all of them, in a scattered order.
pub(super) fn spread(sequence: u64, keys: usize) -> usize {
    // Fibonacci hashing (Knuth, volume 3, section 6.4), reduced to the number of keys.
    let hash = u128::from(sequence.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    usize::try_from((hash * keys as u128) >> 64).unwrap_or(0)
}

/// What a drive means.
pub(super) fn report<W>(
    op: &'static str,
    load: &BenchLoad,
    value_size: u32,
    connections: usize,
    driven: &Driven<W>,
) -> BenchReport {
    let seconds = driven.elapsed.as_secs_f64();
    BenchReport {
        op,
        clients: load.clients,
        total: load.total,
        errors: driven.errors,
        ops_per_second: rate(driven.latencies.len(), seconds),
        p50_us: driven.latencies.value_at_quantile(0.5),
        p99_us: driven.latencies.value_at_quantile(0.99),
        deliveries_per_second: None,
        more: BenchMore {
            connections,
            watchers: None,
            value_size,
            seconds,
            p999_us: driven.latencies.value_at_quantile(0.999),
            max_us: driven.latencies.max(),
        },
    }
}

/// So many per second, to a tenth.
#[expect(clippy::cast_precision_loss, reason = "counts far below 2^52")]
pub(super) fn rate(count: u64, seconds: f64) -> f64 {
    if seconds > 0.0 { (count as f64 / seconds * 10.0).round() / 10.0 } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_spread_over_all_keys() {
        let mut used = [0_u32; 10];
        (0..1_000).for_each(|sequence| used[spread(sequence, 10)] += 1);
        assert!(used.iter().all(|count| (80..=120).contains(count)), "{used:?}");
        assert_eq!(spread(u64::MAX, 1), 0);
    }

    #[test]
    fn rates_are_finite() {
        assert!((rate(1_000, 0.5) - 2_000.0).abs() < f64::EPSILON);
        assert!((rate(1, 3.0) - 0.3).abs() < f64::EPSILON);
        assert!(rate(1, 0.0).abs() < f64::EPSILON);
    }
}
