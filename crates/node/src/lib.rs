//! The embeddable coordinator of Quorate.

pub mod config;
pub mod coordinator;
