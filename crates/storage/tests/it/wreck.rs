//! Damage of a journal in use: a process that writes is killed, and what it leaves on a real disk is
//! damaged in every way: flipped bits, pages of zeros, cut and exchanged files, of the journal, of
//! sled and of the slots. A store that opens must have everything that was acknowledged.
//!
//! Left out, because nothing can tell: the journal as it was earlier in the same lap, when sled had
//! not written what it lacks either.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use futures::FutureExt;
use quorate_storage::OpenError;
use tempfile::TempDir;

use crate::{
    damage::{copy, used},
    kill::{SMALL_JOURNAL, Worker, whole_journal},
    model::{Event, Model},
    support::{Draw, Store, sled_disk},
};

const PAGE: u64 = 4096;

/// What a killed process left, and an older state of the same.
struct Victim {
    dir: TempDir,
    older: TempDir,
    model: Model,
}

impl Victim {
    /// Killed after so many acknowledgements, and after the journal was full if `full`.
    async fn new(seed: u64, journal_bytes: usize, acknowledgements: u64, full: bool) -> Self {
        let (dir, older) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let mut model = Model::default();
        let mut worker = Worker::start(dir.path(), seed + 100, journal_bytes);
        worker.follow(30, &mut model);
        worker.kill(&mut model);
        copy(dir.path(), older.path());
        let mut store = Store::open(sled_disk(dir.path())).unwrap();
        model.check(&mut store).await;
        store.storage.close().await;
        drop(store);
        let mut worker = Worker::start(dir.path(), seed, journal_bytes);
        if full {
            worker.follow_until(&mut model, |event| matches!(event, Event::Full(_)));
        }
        worker.follow(acknowledgements, &mut model);
        worker.kill(&mut model);
        Self { dir, older, model }
    }

    /// In the first lap, in a later one, and after many short ones.
    async fn all() -> [Self; 3] {
        [
            Self::new(1, whole_journal(), 40, false).await,
            Self::new(2, whole_journal(), 25, true).await,
            Self::new(3, SMALL_JOURNAL, 200, true).await,
        ]
    }

    /// The files that a store consists of.
    fn files(&self) -> Vec<PathBuf> {
        let mut files = Vec::new();
        for name in [".", "log", "state"] {
            let dir = self.dir.path().join(name);
            for entry in fs::read_dir(dir).unwrap().map(Result::unwrap) {
                if entry.file_type().unwrap().is_file() {
                    files.push(Path::new(name).join(entry.file_name()));
                }
            }
        }
        files.sort();
        files
    }
}

/// What came of the damage.
#[derive(Default)]
struct Tally {
    all: u64,
    refused: u64,
    intact: u64,
    /// What was damaged when something acknowledged was missing.
    lost: Vec<String>,
}

impl Tally {
    /// Damages a copy of what was left, opens it and looks for what was acknowledged.
    async fn damage(&mut self, victim: &Victim, what: &str, damage: impl FnOnce(&Path)) {
        let dir = tempfile::tempdir().unwrap();
        copy(victim.dir.path(), dir.path());
        damage(dir.path());
        self.all += 1;
        let mut store = match Store::open(sled_disk(dir.path())) {
            Ok(store) => store,
            Err(error @ (OpenError::Damaged(_) | OpenError::Format(_))) => {
                assert!(error.to_string().len() > 40, "{what}: {error} says too little");
                self.refused += 1;
                return;
            }
            Err(error) => panic!("{what}: not recognised as damage: {error}"),
        };
        let mut model = victim.model.clone();
        let checked = std::panic::AssertUnwindSafe(model.check(&mut store)).catch_unwind().await;
        if checked.is_ok() {
            self.intact += 1;
        } else {
            self.lost.push(what.to_owned());
        }
        store.storage.close().await;
    }

    /// A line for people, after the check.
    fn report(&self, what: &str) -> String {
        let Self { all, refused, intact, lost } = self;
        assert!(lost.is_empty(), "silently lost: {lost:?}");
        assert!(*refused > all / 8 && *intact > 0, "{refused} of {all} refused: of one kind only");
        format!("{what}={all} refused={refused} intact={intact} silently_lost={}", lost.len())
    }
}

fn change(path: PathBuf, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(&path).unwrap();
    change(&mut bytes);
    fs::write(path, bytes).unwrap();
}

fn at(offset: u64) -> usize {
    usize::try_from(offset).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flipped_bit_in_what_a_killed_process_left_is_refused_or_harmless() {
    let (mut tally, mut draw) = (Tally::default(), Draw(6));
    for victim in Victim::all().await {
        for file in victim.files() {
            let mut used = used(&victim.dir.path().join(&file));
            let flips = match file.file_name().and_then(|name| name.to_str()) {
                Some("journal") => {
                    // Where the newest frames are, mostly.
                    used.retain(|at| *at < 30 * PAGE);
                    14
                }
                Some("db" | "durability") => 6,
                _ => 2,
            };
            for _ in 0..flips.min(used.len()) {
                let offset = used[at(draw.below(used.len() as u64))];
                let bit = draw.below(8);
                let what = format!("bit {bit} of byte {offset} of {}", file.display());
                let flip = |dir: &Path| {
                    change(dir.join(&file), |bytes| bytes[at(offset)] ^= 1 << bit);
                };
                tally.damage(&victim, &what, flip).await;
            }
        }
    }
    assert!(tally.all >= 60, "{} flips are too few", tally.all);
    println!("{}", tally.report("flips"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_zeros_or_a_missing_end_is_refused_or_harmless() {
    let (mut zeroed, mut cut, mut draw) = (Tally::default(), Tally::default(), Draw(7));
    for victim in Victim::all().await {
        for file in victim.files() {
            let used = used(&victim.dir.path().join(&file));
            let Some(end) = used.last().map(|last| last + 1) else { continue };
            let mut pages: Vec<u64> = used.iter().map(|at| at / PAGE).collect();
            pages.dedup();
            if file.ends_with("journal") {
                pages.truncate(30);
            }
            for _ in 0..4 {
                let page = pages[at(draw.below(pages.len() as u64))];
                let what = format!("page {page} of {} zeroed", file.display());
                let zero = |dir: &Path| {
                    change(dir.join(&file), |bytes| {
                        let end = at((page + 1) * PAGE).min(bytes.len());
                        bytes[at(page * PAGE)..end].fill(0);
                    });
                };
                zeroed.damage(&victim, &what, zero).await;
            }
            let what = format!("{} zeroed", file.display());
            zeroed
                .damage(&victim, &what, |dir| change(dir.join(&file), |bytes| bytes.fill(0)))
                .await;
            for less in [1, 100, PAGE, end / 2, end] {
                let what = format!("{} shorter by {less}", file.display());
                let shorten = |dir: &Path| {
                    let file = fs::OpenOptions::new().write(true).open(dir.join(&file)).unwrap();
                    file.set_len(end.saturating_sub(less)).unwrap();
                };
                cut.damage(&victim, &what, shorten).await;
            }
        }
    }
    println!("{}", zeroed.report("zeroed"));
    println!("{}", cut.report("cut"));
}

/// Puts a file or a directory of another store into its place.
fn exchange(from: &Path, to: &Path, name: &str) -> io::Result<()> {
    let (from, to) = (from.join(name), to.join(name));
    if from.is_dir() {
        fs::remove_dir_all(&to)?;
        copy(&from, &to);
        return Ok(());
    }
    fs::copy(from, to).map(drop)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_exchanged_is_refused_or_harmless() {
    let (mut tally, mut draw) = (Tally::default(), Draw(8));
    let victims = Victim::all().await;
    for (number, victim) in victims.iter().enumerate() {
        let other = &victims[(number + 1) % victims.len()];
        for name in ["journal", "log", "state", "durability"] {
            for (whose, from) in [("its older", &victim.older), ("another's", &other.dir)] {
                let before = tally.refused;
                let put = |dir: &Path| exchange(from.path(), dir, name).unwrap();
                tally.damage(victim, &format!("{whose} {name}"), put).await;
                let refused = tally.refused > before;
                assert!(refused || !matches!(name, "journal" | "durability"), "{whose} {name}");
            }
        }
        let slots = |dir: &Path| {
            change(dir.join("durability"), |bytes| {
                let (a, b) = bytes.split_at_mut(at(PAGE));
                a.swap_with_slice(b);
            });
        };
        tally.damage(victim, "the slots exchanged", slots).await;
        for slot in 0..2 {
            let zero = |dir: &Path| {
                change(dir.join("durability"), |bytes| bytes[at(slot * PAGE)..][..4096].fill(0));
            };
            tally.damage(victim, &format!("slot {slot} zeroed"), zero).await;
        }
        for _ in 0..10 {
            let (a, b) = (draw.below(15), draw.below(15));
            let swap = |dir: &Path| {
                change(dir.join("journal"), |bytes| {
                    for byte in 0..PAGE {
                        bytes.swap(at(a * PAGE + byte), at(b * PAGE + byte));
                    }
                });
            };
            tally.damage(victim, &format!("pages {a} and {b} of the journal"), swap).await;
        }
    }
    println!("{}", tally.report("exchanged"));
}
