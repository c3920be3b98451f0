//! How networks are partitioned: by example and by rule.
#![expect(clippy::unwrap_used, reason = "a test that cannot set itself up fails")]

mod constraints;
mod properties;
mod script;
mod strategies;
mod support;
