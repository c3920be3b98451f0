//! A few simulations, and that a seed repeats its course. Many seeds: the command `simulate`.
#![expect(clippy::unwrap_used, reason = "a test that cannot set itself up fails")]

use std::time::Duration;

use quorate_testkit::{
    repeats,
    simulation::{Report, Simulation, run},
};

fn simulate(seed: u64, members: u64) -> Report {
    let simulation = Simulation { seed, length: Duration::from_secs(20), members };
    // A thread of its own: nothing that ran before may matter.
    std::thread::spawn(move || run(simulation)).join().unwrap().unwrap()
}

#[test]
fn every_invariant_holds_under_faults() {
    for (seed, members) in [(1, 3), (2, 5), (3, 5)] {
        let report = simulate(seed, members);
        println!("{report}");
        assert_eq!(report.violations, [], "seed {seed}");
    }
}

#[test]
fn equal_seeds_take_equal_courses() {
    if !repeats() {
        println!("skipped: built without --cfg tokio_unstable (see .cargo/config.toml)");
        return;
    }
    let first = simulate(7, 5);
    assert_eq!(simulate(7, 5), first);
    assert_ne!(simulate(8, 5).trace, first.trace);
}
