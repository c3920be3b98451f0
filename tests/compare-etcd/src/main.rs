//! Puts the load of `quorate bench` on etcd: the same client stack (tonic), the same number of
//! clients and connections, the same values, every reply checked. The last line of the output is
//! one JSON object with the fields of `quorate bench`.
//!
//! `put` and `get` are in `load`, `watch` in `watch`; `payload` makes and recognises values.

mod connection;
mod load;
mod payload;
mod watch;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, Parser, Subcommand};
use serde_json::{Value, json};

/// As in `quorate bench`: both loads are to cost the same.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The part of etcd's interface that the load needs.
#[expect(unreachable_pub, clippy::allow_attributes_without_reason, reason = "generated")]
mod etcd {
    tonic::include_proto!("etcdserverpb");
}

/// Puts the load of `quorate bench` on etcd.
#[derive(Debug, Parser)]
struct Arguments {
    /// What to measure
    #[command(subcommand)]
    operation: Operation,
}

#[derive(Debug, Subcommand)]
enum Operation {
    /// Measure writes
    Put(Load),
    /// Measure linearizable reads
    Get(Load),
    /// Measure deliveries of changes to many watchers
    Watch(Load),
}

/// The load, with the flags and defaults of `quorate bench`.
#[derive(Debug, Clone, Args)]
struct Load {
    /// Members, host:port, separated by commas
    #[arg(long, value_delimiter = ',', required = true)]
    endpoints: Vec<String>,
    /// How many clients ask at the same time, each one request after another
    #[arg(long, default_value_t = 64)]
    clients: u32,
    /// How many requests all together
    #[arg(long, default_value_t = 10_000)]
    total: u64,
    /// Requests before the measurement, not counted; a tenth of the total, at most 2000
    #[arg(long)]
    warmup: Option<u64>,
    /// Connections that the clients share; one per client, at most 16
    #[arg(long)]
    connections: Option<u32>,
    /// How many different keys
    #[arg(long, default_value_t = 1_000)]
    keys: u32,
    /// Bytes per value
    #[arg(long, default_value_t = 256)]
    value_size: usize,
    /// How many watchers follow every write, each on a stream of its own
    #[arg(long, default_value_t = 100)]
    watchers: u32,
}

impl Load {
    fn warmup(&self) -> u64 {
        self.warmup.unwrap_or((self.total / 10).min(2_000))
    }

    fn connections(&self) -> u32 {
        self.connections.unwrap_or(self.clients.min(16))
    }
}

/// What was measured.
#[derive(Debug)]
struct Measured {
    operation: &'static str,
    clients: u32,
    total: u64,
    errors: u64,
    seconds: f64,
    latency_us: hdrhistogram::Histogram<u64>,
    deliveries: Option<u64>,
}

impl Measured {
    #[expect(clippy::cast_precision_loss, reason = "counts of requests are far below 2^52")]
    fn json(&self) -> Value {
        let per_second = |count: u64| (count as f64 / self.seconds).round();
        let mut line = json!({
            "op": self.operation,
            "clients": self.clients,
            "total": self.total,
            "errors": self.errors,
            "ops_per_second": per_second(self.total),
            "p50_us": self.latency_us.value_at_quantile(0.5),
            "p99_us": self.latency_us.value_at_quantile(0.99),
        });
        if let Some(deliveries) = self.deliveries {
            line["deliveries_per_second"] = json!(per_second(deliveries));
        }
        line
    }
}

#[tokio::main]
async fn main() -> Result<ExitCode> {
    let measured = match Arguments::parse().operation {
        Operation::Put(load) => load::put(&load).await?,
        Operation::Get(load) => load::get(&load).await?,
        Operation::Watch(load) => watch::watch(&load).await?,
    };
    say(&measured.json().to_string());
    Ok(if measured.errors == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

#[expect(clippy::print_stdout, reason = "the result of a program")]
fn say(line: &str) {
    println!("{line}");
}
