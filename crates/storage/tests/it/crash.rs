//! Power cuts of the disk in memory: at a random write, in a deterministic run.

use std::sync::Arc;

use quorate_storage::{Executor, MemoryDisk};

use crate::{
    model::{Model, work},
    support::{Draw, Store, small},
};

/// Runs lives of a store, each ended by a power cut at a random write, and checks after each.
async fn lives(seed: u64, lives: u64) -> (u64, u64) {
    let mut draw = Draw(seed);
    let disk = MemoryDisk::new();
    let mut model = Model::default();
    let mut cuts = 0;
    for _ in 0..lives {
        // Opening may meet the power cut as well.
        let cut = draw.below(160);
        disk.fail_after(cut);
        let opened = Store::open_with(Arc::new(disk.clone()), small(), Executor::Tasks);
        let mut store = match opened {
            Ok(store) => store,
            Err(quorate_storage::OpenError::Io(_)) => {
                disk.crash(draw.below(u64::MAX));
                cuts += 1;
                continue;
            }
            Err(error) => panic!("seed {seed}: {error}"),
        };
        model.check(&mut store).await;
        let worked = work(&mut store, &mut draw, 200, &mut |event| model.tell(event)).await;
        cuts += u64::from(worked.is_err());
        drop(store);
        disk.crash(draw.below(u64::MAX));
    }
    let mut store =
        Store::open_with(Arc::new(disk), small(), Executor::Tasks).unwrap_or_else(|error| {
            panic!("seed {seed}: {error}");
        });
    model.check(&mut store).await;
    (cuts, model.entries)
}

/// `QUORATE_SEEDS=3..4` repeats one seed, `QUORATE_SEEDS=0..1000` runs more than the default.
fn seeds() -> std::ops::Range<u64> {
    let Ok(text) = std::env::var("QUORATE_SEEDS") else { return 0..20 };
    let (from, to) = text.split_once("..").unwrap();
    from.parse().unwrap()..to.parse().unwrap()
}

#[test]
fn acknowledged_entries_survive_power_cuts() {
    let (mut cuts, mut entries) = (0, 0);
    let seeds = seeds();
    for seed in seeds.clone() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let done = std::panic::catch_unwind(|| runtime.block_on(lives(seed, 8)));
        let done = done.unwrap_or_else(|_| {
            panic!("the failure above is of seed {seed}: QUORATE_SEEDS={seed}..{}", seed + 1)
        });
        (cuts, entries) = (cuts + done.0, entries + done.1);
    }
    println!("{cuts} power cuts, {entries} acknowledged entries");
    let runs = seeds.end - seeds.start;
    assert!(cuts > 4 * runs && entries > 100 * runs, "{cuts} cuts, {entries} entries: too few");
}
