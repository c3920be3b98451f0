//! Golden scripts: commands in, then replies, changes and state out.
//!
//! A script under `tests/scripts` is a list of blocks, each with its commands, a line `---` and the
//! output that they must give. After every command all invariants are checked.
//!
//! ```text
//! put entry/a 1                       a transaction of one put (get and delete likewise)
//! ---
//! ok @1: put
//! + entry a = "1" (1 1 1)             created, modified, version
//!
//! txn                                 the lines after it belong to it
//! if value entry/a 1                  tests: exists, absent, modified SELECTOR N, value SELECTOR V
//! then put entry/b x*3 prev           x*3 is xxx; prev returns the record as it was
//! else get entry/* limit=2            selectors: entry/a, entry/a*, entry/[a,b)
//!
//! open 5000                           a session; it goes by its revision, as an epoch does
//! register w1 1                       a worker, with its session
//! assign w1 1 net/0                   grants; likewise release net/0 3, move net/0 w2, leave w1 1, close 1
//! report 1                            the lines after it belong to it
//! up net/0->net/1 3 4                 with the epochs of both ends; likewise broken, with its error
//! manage                              the lines after it belong to it
//! retry-due net/0->net/1 7            of the status of that revision; likewise time-out
//! retry net/0->net/1
//!
//! network net partitions=2 assign=0,1 basis=none strategy=s
//! process a cpu=1 par=1..2 component=c
//! edge a b rate=3
//! delete-network net
//! clock 5000                          the stamp of the commands after it, milliseconds
//! state                               prints all records
//! history                             prints what is kept for streams
//! ```
//!
//! `UPDATE_SCRIPTS=1` writes the output into the scripts; read the difference before committing it.

mod parse;
mod print;

use std::{env, fs, path::Path};

use quorate_core::{ClusterId, Identity, RestoreEpoch, Stamp, State, apply};

/// A line of a script, with the lines that belong to it.
#[expect(clippy::large_enum_variant, reason = "there are few, and all are run at once")]
enum Step {
    Command(quorate_core::Command),
    Clock(u64),
    State,
    History,
}

#[test]
#[expect(clippy::disallowed_methods, reason = "tests read their scripts")]
fn scripts() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scripts");
    let mut paths: Vec<_> =
        fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()).collect();
    paths.sort();
    assert!(paths.len() >= 6, "scripts are missing: {paths:?}");
    let update = env::var("UPDATE_SCRIPTS").is_ok();
    let mut differing = Vec::new();
    for path in paths {
        let script = fs::read_to_string(&path).unwrap();
        let output = run(&script);
        if output == script {
            continue;
        }
        if update {
            fs::write(&path, output).unwrap();
        } else {
            differing.push(format!("{}\n{}", path.display(), difference(&script, &output)));
        }
    }
    assert!(differing.is_empty(), "{}", differing.join("\n"));
}

/// Runs a script; gives it back with its output.
fn run(script: &str) -> String {
    let identity = Identity { cluster_id: ClusterId(1), restore_epoch: RestoreEpoch(0) };
    let mut state = State::new(identity);
    let mut time_ms = 0;
    let blocks: Vec<String> = script
        .split("\n\n")
        .map(|block| {
            let input: Vec<&str> = block.lines().take_while(|line| *line != "---").collect();
            let steps = parse::steps(&input);
            if steps.is_empty() {
                return input.join("\n");
            }
            let outputs = steps.into_iter().map(|step| execute(&mut state, &mut time_ms, step));
            let output: String = outputs.collect();
            format!("{}\n---\n{}", input.join("\n"), output.trim_end())
        })
        .collect();
    blocks.join("\n\n").trim_end().to_owned() + "\n"
}

fn execute(state: &mut State, time_ms: &mut u64, step: Step) -> String {
    match step {
        Step::Clock(stamp) => {
            *time_ms = stamp;
            String::new()
        }
        Step::State => print::state(state),
        Step::History => print::history(state),
        Step::Command(command) => {
            let before = state.clone();
            let applied = apply(state, Stamp::at(*time_ms), &command);
            if let Err(violations) = state.check() {
                panic!("{command:?} broke {violations:#?}");
            }
            assert_eq!(applied.outcome.revision, state.revision());
            let changed = applied.event.is_some();
            assert_eq!(state.changed_since(&before).is_empty(), !changed, "{command:?}");
            print::applied(&applied)
        }
    }
}

/// The lines that differ, with those that are common to both as context.
fn difference(expected: &str, found: &str) -> String {
    let (old, new): (Vec<_>, Vec<_>) = (expected.lines().collect(), found.lines().collect());
    // common[i][j]: the longest common subsequence of old[i..] and new[j..].
    let mut common = vec![vec![0_u32; new.len() + 1]; old.len() + 1];
    for i in (0..old.len()).rev() {
        for j in (0..new.len()).rev() {
            common[i][j] = if old[i] == new[j] {
                common[i + 1][j + 1] + 1
            } else {
                common[i + 1][j].max(common[i][j + 1])
            };
        }
    }
    let (mut i, mut j, mut lines) = (0, 0, Vec::new());
    while i < old.len() || j < new.len() {
        if i < old.len() && j < new.len() && old[i] == new[j] {
            lines.push(format!("  {}", old[i]));
            (i, j) = (i + 1, j + 1);
        } else if j == new.len() || (i < old.len() && common[i + 1][j] >= common[i][j + 1]) {
            lines.push(format!("- {}", old[i]));
            i += 1;
        } else {
            lines.push(format!("+ {}", new[j]));
            j += 1;
        }
    }
    lines.join("\n")
}

#[test]
fn a_difference_is_shown() {
    assert_eq!(difference("a\nb\nc", "a\nx\nc"), "  a\n- b\n+ x\n  c");
    assert_eq!(difference("a", "a\nb"), "  a\n+ b");
}
