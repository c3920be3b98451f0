//! The embeddable coordinator of Quorate.

pub mod coordinator;
