//! Measures what storage costs on this machine: `cargo run --release -p quorate-storage --example
//! measure [directory]`. The directory should be on the disk that a coordinator would use.

#![expect(clippy::print_stdout, reason = "a program that prints its measurements")]
#![expect(clippy::unwrap_used, reason = "a broken assumption ends the measurement")]

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use openraft::{
    EntryPayload,
    storage::{IOFlushed, RaftLogStorage, RaftSnapshotBuilder, RaftStateMachine},
    type_config::TypeConfigExt,
};
use quorate_core::{
    Batch, ClusterId, Command, Identity, Key, Operation, Record, RestoreEpoch, Transaction,
};
use quorate_storage::{
    Disk, Entry, Executor, LogId, Options, Proposal, SledDisk, SledOptions, Started, Storage,
    TypeConfig, disk::Slot,
};

const IDENTITY: Identity = Identity { cluster_id: ClusterId(1), restore_epoch: RestoreEpoch(0) };

fn entry(index: u64, puts: std::ops::Range<u64>) -> Entry {
    let command = |n: u64| {
        Command::Transaction(Transaction {
            success: vec![Operation::Put {
                key: Key::entry(format!("key-{n:08}")),
                record: Record::Entry(vec![u8::try_from(index % 251).unwrap(); 256].into()),
                return_previous: false,
            }],
            ..Transaction::default()
        })
    };
    let batch = Batch { time_ms: 1, requests: puts.map(|n| command(n).into()).collect() };
    let payload = EntryPayload::Normal(Proposal::new(&batch));
    Entry { log_id: LogId::new_term_index(1, index), payload }
}

async fn append(started: &mut Started, entries: Vec<Entry>) {
    let (done, flushed) = TypeConfig::oneshot();
    started.log.append(entries, IOFlushed::signal(done)).await.unwrap();
    flushed.await.unwrap().unwrap();
}

fn report(what: &str, mut took: Vec<Duration>) {
    took.sort();
    let at = |percent: usize| took[(took.len() - 1) * percent / 100].as_micros();
    println!("{what}: p50 {} us, p99 {} us, max {} us", at(50), at(99), at(100));
}

fn open(dir: &Path) -> (Storage, Started) {
    let disk = SledDisk::new(dir, SledOptions::default()).unwrap();
    let storage = Storage::open(Arc::new(disk), Options::default(), Executor::Threads).unwrap();
    let started = storage.start(IDENTITY).unwrap();
    (storage, started)
}

async fn barriers(dir: &Path) {
    let (storage, mut started) = open(&dir.join("barriers"));
    let mut next = 1;
    for count in [1, 16, 128] {
        let mut took = Vec::new();
        for _ in 0..500 {
            let entries = (next..next + count).map(|index| entry(index, 0..1)).collect();
            next += count;
            let began = Instant::now();
            append(&mut started, entries).await;
            took.push(began.elapsed());
        }
        report(&format!("append and barrier, {count} entries of 256 bytes"), took);
    }
    storage.close().await;
    let disk = SledDisk::new(dir.join("slots"), SledOptions::default()).unwrap();
    let slot = |n: u32| if n.is_multiple_of(2) { Slot::A } else { Slot::B };
    let took = (0..500).map(|n| {
        let began = Instant::now();
        disk.write_slot(slot(n), &[1; 100]).unwrap();
        began.elapsed()
    });
    report("the durability record's share", took.collect());
}

async fn checkpoints(dir: &Path) {
    let (storage, mut started) = open(&dir.join("checkpoints"));
    let mut next = 1;
    let mut change = async |started: &mut Started, keys: std::ops::Range<u64>| {
        for first in keys.clone().step_by(500) {
            let entries = [Ok((entry(next, first..(first + 500).min(keys.end)), None))];
            started.machine.apply(futures::stream::iter(entries)).await.unwrap();
            next += 1;
        }
    };
    change(&mut started, 0..100_000).await;
    for what in ["full", "incremental, 1000 of them together changed"] {
        let began = Instant::now();
        let mut builder = started.machine.get_snapshot_builder().await;
        let checkpoint = builder.build_snapshot().await.unwrap().snapshot;
        let (took, blocks, bytes) = (began.elapsed(), checkpoint.blocks(), checkpoint.bytes());
        let written =
            storage.metrics().checkpoint_bytes_written.load(std::sync::atomic::Ordering::Relaxed);
        println!(
            "checkpoint of 100000 records of 256 bytes, {what}: {took:?}, {blocks} blocks, {bytes} \
             bytes, {written} written so far"
        );
        change(&mut started, 40_000..41_000).await;
    }
    storage.close().await;
    drop(started);
    let began = Instant::now();
    let (storage, _started) = open(&dir.join("checkpoints"));
    println!("open with that checkpoint: {:?}", began.elapsed());
    storage.close().await;
}

#[tokio::main]
async fn main() {
    let parent = std::env::args().nth(1).unwrap_or_else(|| ".".into());
    let dir = tempfile::tempdir_in(parent).unwrap();
    barriers(dir.path()).await;
    checkpoints(dir.path()).await;
}
