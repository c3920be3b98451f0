//! Recipes: what sessions, transactions and watches make together. Locks and elections.
//!
//! Both are queues: everybody puts an entry that is bound to their session; the one with the lowest
//! created revision has the turn, and each of the others waits for the one before it to go. The
//! created revision, with the cluster's restore epoch, is a fencing epoch: whoever has the turn
//! later has a higher one.
//!
//! A lock alone protects nothing from a holder that is slow: it may act after it has lost the lock.
//! Check [`Lock::is_held`] before every effect; give the epoch to whatever receives effects, and let
//! it refuse lower ones; or write through a transaction that requires that [`Lock::key`] exists.
//!
//! Must not know more of the cluster than any other user of [`crate::Client`].

mod election;
mod lock;
mod queue;

use quorate_core::Kind;

pub use self::{
    election::{Leader, LeaderWatch, Leadership},
    lock::Lock,
};
use crate::{error::Error, session::Lost};

/// Why a lock or a leadership is not held any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Gone {
    /// The session is lost: its validity has passed, or it has ended.
    Session(Lost),
    /// The entry was deleted: by its holder, or by somebody who broke the lock.
    Removed,
}

/// Why a lock or a leadership was not taken. Nothing of it stays in the queue.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum NotTaken {
    /// Somebody else had it all the time.
    #[error("held by another until the time was over")]
    Timeout,
    /// The session was lost, or the place in the queue was removed.
    #[error("the place in the queue was lost: {0:?}")]
    Gone(Gone),
    /// A call failed.
    #[error(transparent)]
    Call(#[from] Error),
}

impl From<Lost> for NotTaken {
    fn from(lost: Lost) -> Self {
        Self::Gone(Gone::Session(lost))
    }
}

const KIND: Kind = Kind::Entry;
