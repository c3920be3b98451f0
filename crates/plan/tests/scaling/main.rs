//! How processes are scaled: by example, by rule, and under simulated load.
#![expect(clippy::unwrap_used, reason = "a test that cannot set itself up fails")]

mod hostile;
mod properties;
mod script;
mod support;
mod true_rate;
