//! What can go wrong with a [`super::TestCluster`].

use std::{io, time::Duration};

use quorate_node::{StartError, core::MemberId};

use crate::cluster::{NotConverged, NotRunning};

/// A cluster for tests did not do what it was told.
#[derive(Debug, thiserror::Error)]
pub enum TestClusterError {
    /// No member has this id.
    #[error("there is no member {0}")]
    NoSuchMember(MemberId),
    /// The member was killed or stopped.
    #[error(transparent)]
    NotRunning(#[from] NotRunning),
    /// The groups of a partition overlap.
    #[error("member {0} is in two groups")]
    TwoGroups(MemberId),
    /// A member refused to start.
    #[error("member {member} did not start: {source}")]
    NotStarted {
        /// The member.
        member: MemberId,
        /// Why not.
        source: StartError,
    },
    /// A member neither started nor refused to.
    #[error("member {member} did not start within {within:?}")]
    StartsForever {
        /// The member.
        member: MemberId,
        /// How long it was waited for.
        within: Duration,
    },
    /// Nobody led, or no majority followed.
    #[error("no leader that a majority follows within {within:?}: {members}")]
    NoLeader {
        /// How long it was waited for.
        within: Duration,
        /// What each member takes itself for.
        members: String,
    },
    /// Members have not the same state.
    #[error(transparent)]
    NotConverged(#[from] NotConverged),
    /// A client could not be made.
    #[error(transparent)]
    Client(#[from] quorate_client::Error),
    /// The machine has no port, thread or room left.
    #[error("{what}: {source}")]
    Io {
        /// What there is none of.
        what: &'static str,
        /// Why not.
        source: io::Error,
    },
}

impl TestClusterError {
    pub(super) fn io(what: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { what, source }
    }
}
