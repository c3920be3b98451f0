//! Bounded fuzzing of decoders, on stable Rust, inside of ordinary tests.
//!
//! A [`Target`] is a decoder with samples of what it should accept. [`Target::run`] gives it the
//! samples, many damaged ones (`damage`), half of them with their checksums made right again so
//! that what is behind the checksum is reached, and bytes that are no encoding at all.
//!
//! ```
//! use quorate_fuzz::Target;
//!
//! let samples = vec![b"17".to_vec(), b"-3".to_vec()];
//! let tried = Target::new("numbers", samples).run(|bytes| {
//!     let text = std::str::from_utf8(bytes).map_err(|error| error.to_string())?;
//!     let number: i64 = text.parse().map_err(|error| format!("no number: {error}"))?;
//!     assert_eq!(number.to_string().parse(), Ok(number));
//!     Ok(())
//! });
//! assert!(tried.refused() > 0);
//! ```
//!
//! Each input must be accepted or refused with an error that says something, without a panic, and
//! at a cost in memory that is in proportion to its length ([`MEMORY_FIXED`], [`MEMORY_PER_BYTE`]).
//! A decoder is handed over as a closure that also checks what was accepted: it comes back the
//! same when it is encoded and decoded again.
//!
//! `QUORATE_FUZZ_CASES` says how many inputs each target is given (default [`CASES`]), and
//! `QUORATE_FUZZ_SEED` which ones (default 1): equal numbers give equal inputs. A failure prints
//! the smallest damage that was found to cause it, and the input. What asks for gigabytes ends the
//! process, which may not have more than [`ADDRESS_BYTES_MAX`]: with `QUORATE_FUZZ_SHOW=1` each
//! input is printed before it is tried.
//!
//! What it does not do: nothing guides it to code that was not reached yet. Must not know what is
//! decoded.

mod damage;
mod panics;

use std::{cell::RefCell, collections::BTreeMap, env};

use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use self::damage::Input;

/// How many inputs a target is given unless `QUORATE_FUZZ_CASES` says otherwise.
pub const CASES: u32 = 1_000;

/// Bytes that a decoder may take whatever the length of its input: what an empty state takes, and
/// what serde reserves for a list before its elements are there (1 MiB at most, once for each level
/// of lists in lists).
pub const MEMORY_FIXED: u64 = 8 << 20;

/// Bytes that a decoder may take, besides, for each byte of its input.
pub const MEMORY_PER_BYTE: u64 = 256;

/// Address space of a process that fuzzes: an allocation beyond it fails, and does not take the
/// machine's memory from others.
pub const ADDRESS_BYTES_MAX: u64 = 6 << 30;

/// How often it is tried to make a failure smaller.
const SHRINKS_MAX: u32 = 1_000;

/// What an error must at least be long, to say something.
const MESSAGE_BYTES_MIN: usize = 4;

/// Puts checksums and what else depends on the rest right again.
type Repair<'a> = Box<dyn Fn(&mut Vec<u8>) + 'a>;

/// A decoder to be, with samples. See the crate.
pub struct Target<'a> {
    name: &'static str,
    samples: Vec<Vec<u8>>,
    repair: Option<Repair<'a>>,
}

/// What came of a run.
#[derive(Debug, Default)]
pub struct Tried {
    /// Inputs that were accepted, the samples themselves aside.
    accepted: u64,
    /// Inputs that were refused, by what was said.
    refused: BTreeMap<String, u64>,
}

impl Tried {
    /// How many damaged inputs were accepted.
    #[must_use]
    pub fn accepted(&self) -> u64 {
        self.accepted
    }

    /// How many inputs were refused.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.refused.values().sum()
    }

    /// How many inputs were refused with something else than messages with these words in them:
    /// so many got past that check.
    #[must_use]
    pub fn refused_past(&self, words: &str) -> u64 {
        self.refused.iter().filter(|(said, _)| !said.contains(words)).map(|(_, times)| times).sum()
    }
}

impl<'a> Target<'a> {
    /// A target that should accept these samples.
    #[must_use]
    pub fn new(name: &'static str, samples: Vec<Vec<u8>>) -> Self {
        Self { name, samples, repair: None }
    }

    /// Half of the damaged inputs are repaired by this before they are decoded.
    #[must_use]
    pub fn repaired_by(self, repair: impl Fn(&mut Vec<u8>) + 'a) -> Self {
        Self { repair: Some(Box::new(repair)), ..self }
    }

    /// Gives a decoder all inputs. It returns an error's text for what it refuses.
    ///
    /// # Panics
    /// When one of the rules is broken; see the crate.
    pub fn run(self, decode: impl Fn(&[u8]) -> Result<(), String>) -> Tried {
        limit_memory();
        for (number, sample) in self.samples.iter().enumerate() {
            if let Err(error) = self.attempt(sample, &decode) {
                panic!("{}: sample {number} should be accepted: {error:?}", self.name);
            }
        }
        let seed = number("QUORATE_FUZZ_SEED").unwrap_or(1);
        let cases = number("QUORATE_FUZZ_CASES").and_then(|cases| u32::try_from(cases).ok());
        let cases = cases.unwrap_or(CASES);
        let config = Config {
            cases,
            failure_persistence: None,
            max_shrink_iters: SHRINKS_MAX,
            ..Config::default()
        };
        let mut runner = TestRunner::new_with_rng(config, random(seed));
        let tried = RefCell::new(Tried::default());
        let ran = runner.run(&damage::inputs(), |input| {
            match self.attempt(&self.bytes(&input), &decode) {
                Ok(()) => tried.borrow_mut().accepted += 1,
                Err(Broken::Refused(message)) => {
                    *tried.borrow_mut().refused.entry(message).or_default() += 1;
                }
                Err(Broken::Rule(message)) => return Err(TestCaseError::fail(message)),
            }
            Ok(())
        });
        if let Err(failed) = ran {
            panic!("{}", self.describe(failed, seed, cases));
        }
        let tried = tried.into_inner();
        let (accepted, refused, ways) = (tried.accepted, tried.refused(), tried.refused.len());
        let name = self.name;
        say(&format!("{name}: {accepted} accepted, {refused} refused in {ways} ways"));
        tried
    }

    fn bytes(&self, input: &Input) -> Vec<u8> {
        let (mut bytes, repair) = input.bytes(&self.samples);
        if repair && let Some(repair) = &self.repair {
            repair(&mut bytes);
        }
        bytes
    }

    fn attempt(
        &self,
        bytes: &[u8],
        decode: &impl Fn(&[u8]) -> Result<(), String>,
    ) -> Result<(), Broken> {
        if env::var_os("QUORATE_FUZZ_SHOW").is_some() {
            say(&format!("{}: \"{}\"", self.name, bytes.escape_ascii()));
        }
        let mut outcome = None;
        let memory =
            allocation_counter::measure(|| outcome = Some(panics::caught(|| decode(bytes))));
        let allowed = MEMORY_FIXED + MEMORY_PER_BYTE * bytes.len() as u64;
        let (took, length) = (memory.bytes_max, bytes.len());
        match outcome.expect("it was measured") {
            Err(panic) => Err(Broken::Rule(format!("it panicked: {panic}"))),
            _ if took > allowed => Err(Broken::Rule(format!(
                "it took {took} bytes of memory for an input of {length}, {allowed} are allowed"
            ))),
            Ok(Ok(())) => Ok(()),
            Ok(Err(message)) if message.len() < MESSAGE_BYTES_MIN => {
                Err(Broken::Rule(format!("the error says nothing: {message:?}")))
            }
            Ok(Err(message)) => Err(Broken::Refused(message)),
        }
    }

    fn describe(&self, failed: TestError<Input>, seed: u64, cases: u32) -> String {
        let again = format!("QUORATE_FUZZ_SEED={seed} QUORATE_FUZZ_CASES={cases} repeats it");
        match failed {
            TestError::Fail(why, input) => format!(
                "{}: {why}\n{again}\n{input:?}\ninput: \"{}\"",
                self.name,
                self.bytes(&input).escape_ascii()
            ),
            TestError::Abort(why) => format!("{}: {why}\n{again}", self.name),
        }
    }
}

/// Why an input was not accepted.
#[derive(Debug)]
enum Broken {
    /// It was refused, as it may be.
    Refused(String),
    /// What must never be.
    Rule(String),
}

fn number(variable: &str) -> Option<u64> {
    let text = env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable}={text} is no number")))
}

/// Shown by test runners when they are told to, or when the test fails.
#[expect(clippy::print_stdout, reason = "it runs in tests")]
fn say(text: &str) {
    println!("{text}");
}

fn limit_memory() {
    let before = getrlimit(Resource::As);
    let limit = before.current.map_or(ADDRESS_BYTES_MAX, |there| there.min(ADDRESS_BYTES_MAX));
    let after = Rlimit { current: Some(limit), ..before };
    if let Err(error) = setrlimit(Resource::As, after) {
        say(&format!("memory is not limited: {error}"));
    }
}

fn random(seed: u64) -> TestRng {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    TestRng::from_seed(RngAlgorithm::ChaCha, &bytes)
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::*;

    fn sample() -> Vec<Vec<u8>> {
        vec![b"\x05hello".to_vec()]
    }

    fn said(run: impl FnOnce()) -> String {
        let panic = catch_unwind(AssertUnwindSafe(run)).expect_err("a rule is broken");
        panic.downcast_ref::<String>().expect("a message").clone()
    }

    #[test]
    fn a_sound_decoder_passes_and_is_given_the_same_again() {
        let run = || {
            Target::new("sound", sample()).run(|bytes| match bytes.split_first() {
                Some((&length, rest)) if usize::from(length) == rest.len() => Ok(()),
                _ => Err("the length is wrong".into()),
            })
        };
        let (one, other) = (run(), run());
        assert!(one.accepted() > 0 && one.refused() > 0, "{one:?}");
        assert_eq!((one.accepted(), one.refused), (other.accepted(), other.refused));
    }

    #[test]
    fn a_panic_is_found_and_made_small() {
        let message = said(|| {
            Target::new("panics", sample()).run(|bytes| {
                assert!(bytes.len() < 9, "too long");
                Ok(())
            });
        });
        assert!(message.contains("panics: it panicked: too long, at "), "{message}");
        assert!(message.contains("QUORATE_FUZZ_SEED=1 "), "{message}");
    }

    #[test]
    fn an_allocation_that_a_length_asks_for_is_found() {
        let message = said(|| {
            Target::new("greedy", sample()).run(|bytes| {
                let claimed = bytes.first().map_or(0, |first| usize::from(*first) << 20);
                let taken: Vec<u8> = Vec::with_capacity(claimed);
                if taken.len() > bytes.len() { Err("cut off".into()) } else { Ok(()) }
            });
        });
        assert!(message.contains("bytes of memory for an input of"), "{message}");
    }

    #[test]
    fn what_is_behind_a_checksum_is_reached() {
        let sum = |bytes: &[u8]| bytes.iter().fold(0_u8, |sum, byte| sum.wrapping_add(*byte));
        let sample = [&[sum(b"hello")][..], b"hello"].concat();
        let repair = |bytes: &mut Vec<u8>| {
            if let Some((first, rest)) = bytes.split_first_mut() {
                *first = sum(rest);
            }
        };
        let tried = Target::new("sealed", vec![sample]).repaired_by(repair).run(|bytes| {
            let (first, rest) = bytes.split_first().ok_or("nothing is there")?;
            if *first != sum(rest) {
                return Err("the checksum is wrong".into());
            }
            if rest == b"hello" { Ok(()) } else { Err("no greeting".into()) }
        });
        assert!(tried.refused_past("checksum") > 100, "{tried:?}");
    }
}
