//! How pools are shared: by example and by rule.
#![expect(clippy::unwrap_used, reason = "a test that cannot set itself up fails")]

mod checker;
mod properties;
mod script;
mod support;
