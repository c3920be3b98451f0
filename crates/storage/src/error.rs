//! What can go wrong here. None of it is retried: a coordinator that cannot write, or that cannot
//! read what it wrote, must stop.

use std::{io, path::PathBuf, time::Duration};

/// Why a disk was not opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process holds it.
    #[error("{} is locked by another process (waited {waited:?})", path.display())]
    Locked {
        /// The database's directory.
        path: PathBuf,
        /// How long the lock was waited for.
        waited: Duration,
    },
    /// Something that was durable is missing or not as it was written.
    #[error(
        "the data directory is damaged: {0}. A vote or entries that this coordinator acknowledged \
         may be lost, so it must not take part again under its id: run `quorate member rejoin`"
    )]
    Damaged(String),
    /// It belongs to something else than the caller said.
    #[error("the data directory belongs to another cluster: {0}")]
    WrongIdentity(String),
    /// It was written by a version that this build does not read.
    #[error("the data directory has an unknown format: {0}")]
    Format(String),
    /// The operating system failed.
    #[error("cannot open the data directory: {0}")]
    Io(#[from] io::Error),
}

/// Why this coordinator must stop: a barrier failed, what was read back is not what was written, or
/// it was removed from its cluster.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Fatal(pub String);

impl From<Fatal> for io::Error {
    fn from(fatal: Fatal) -> Self {
        io::Error::other(fatal)
    }
}

/// A checkpoint that cannot be read, received or installed.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// A block or the whole is not what its writer made.
    #[error("checkpoint is damaged: {0}")]
    Damaged(String),
    /// The disk failed.
    #[error("checkpoint: {0}")]
    Io(#[from] io::Error),
}

impl From<CheckpointError> for io::Error {
    fn from(error: CheckpointError) -> Self {
        match error {
            CheckpointError::Io(error) => error,
            CheckpointError::Damaged(_) => io::Error::new(io::ErrorKind::InvalidData, error),
        }
    }
}
