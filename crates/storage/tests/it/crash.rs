//! Power cuts of the disk in memory: at a random write, in a deterministic run.

use std::sync::Arc;

use quorate_storage::{Executor, MemoryDisk, Options};

use crate::{
    model::{Ends, Model, work},
    support::{Draw, Store, small},
};

/// Sizes of the journal, from one that is full after two frames on.
const JOURNALS: [usize; 4] = [8 << 10, 16 << 10, 64 << 10, 1 << 20];

/// What the lives of stores came to.
#[derive(Default)]
struct Tally {
    ends: Ends,
    /// Power cuts while a store was being opened.
    at_open: u64,
    /// Power cuts in the middle of a frame.
    torn: u64,
    entries: u64,
}

/// Runs lives of a store, each ended by a power cut at a random write, and checks after each.
async fn lives(seed: u64, lives: u64, tally: &mut Tally) {
    let mut draw = Draw(seed);
    let disk = MemoryDisk::new();
    let mut model = Model::default();
    let journal_bytes = JOURNALS[usize::try_from(seed).unwrap() % JOURNALS.len()];
    let open = || {
        let options = Options { journal_bytes, ..small() };
        Store::open_with(Arc::new(disk.clone()), options, Executor::Tasks)
    };
    for _ in 0..lives {
        // Opening may meet the power cut as well.
        let most = match draw.below(9) {
            0 => 6,
            1..4 => 1200,
            _ => 160,
        };
        disk.fail_after(draw.below(most));
        let mut store = match open() {
            Ok(store) => store,
            Err(quorate_storage::OpenError::Io(_)) => {
                disk.crash(draw.below(u64::MAX));
                tally.at_open += 1;
                continue;
            }
            Err(error) => panic!("seed {seed}: {error}"),
        };
        model.check(&mut store).await;
        let worked = work(&mut store, &mut draw, 600, &mut |event| model.tell(event)).await;
        drop(store);
        if worked.is_err() {
            tally.ends.count(&model);
            tally.torn += u64::from(disk.tears_frame());
        }
        disk.crash(draw.below(u64::MAX));
    }
    let mut store = open().unwrap_or_else(|error| panic!("seed {seed}: {error}"));
    model.check(&mut store).await;
    tally.entries += model.entries;
}

/// `QUORATE_SEEDS=3..4` repeats one seed, `QUORATE_SEEDS=0..1000` runs more than the default.
fn seeds() -> std::ops::Range<u64> {
    let Ok(text) = std::env::var("QUORATE_SEEDS") else { return 0..20 };
    let (from, to) = text.split_once("..").unwrap();
    from.parse().unwrap()..to.parse().unwrap()
}

#[test]
fn acknowledged_entries_survive_power_cuts() {
    let mut tally = Tally::default();
    let seeds = seeds();
    for seed in seeds.clone() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            runtime.block_on(lives(seed, 8, &mut tally));
        }));
        done.unwrap_or_else(|_| {
            panic!("the failure above is of seed {seed}: QUORATE_SEEDS={seed}..{}", seed + 1)
        });
    }
    let Tally { ends, at_open, torn, entries } = &tally;
    println!(
        "{} seeds, power cuts {ends}, in a frame {torn}, at open {at_open}, {entries} acknowledged \
         entries",
        seeds.end - seeds.start
    );
    let runs = seeds.end - seeds.start;
    assert!(ends.all > 4 * runs && *entries > 100 * runs, "too few");
    if runs >= 20 {
        let kinds = [ends.after_full, ends.after_checkpoint, ends.after_purge, *torn];
        assert!(kinds.iter().all(|&count| count >= runs / 2), "too few of one kind");
        assert!(ends.in_checkpoint > 0 && ends.in_purge > 0 && *at_open > 0, "too few in between");
    }
}
