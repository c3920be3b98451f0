//! Where partitions are placed and what is moved: by example and by rule.
#![expect(clippy::unwrap_used, reason = "a test that cannot set itself up fails")]

mod checker;
mod groups;
mod properties;
mod script;
mod state;
mod support;
