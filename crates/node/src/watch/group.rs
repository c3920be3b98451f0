//! Subscribers who see through the same lens share what is encoded for them.
//!
//! Caught-up subscribers all stand at the same revision, so one slice serves all of them: the
//! first one takes it, the others are handed the same bytes. Invariants: slices are kept only
//! while there is somebody to share them with, at most [`SLICES_MAX`] per group and
//! [`KEPT_BYTES_MAX`] over all groups; a slice is a function of lens and history, so it does not
//! matter who took it.

use std::{
    collections::{HashMap, VecDeque},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use parking_lot::Mutex;
use prometheus::IntCounter;
use prost::Message as _;
use quorate_core::{MemberId, Revision};
use quorate_proto::v1;
use quorate_storage::View;

use super::scan::{Lens, Slice, slice};

const SLICES_MAX: usize = 4;
const KEPT_BYTES_MAX: usize = 64 << 20;

/// All groups of a coordinator. A clone is a handle.
#[derive(Debug, Clone)]
pub(super) struct Groups(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    member: MemberId,
    encoded: IntCounter,
    kept_bytes: AtomicUsize,
    groups: Mutex<HashMap<Vec<u8>, Arc<Group>>>,
}

#[derive(Debug)]
struct Group {
    lens: Lens,
    shared: Mutex<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    seats: usize,
    slices: VecDeque<Slice>,
}

/// A subscriber's place in its group.
#[derive(Debug)]
pub(super) struct Seat {
    groups: Groups,
    group: Arc<Group>,
}

impl Groups {
    /// No groups yet. `encoded` counts the messages that are put together.
    pub(super) fn new(member: MemberId, encoded: IntCounter) -> Self {
        let (kept_bytes, groups) = (AtomicUsize::new(0), Mutex::default());
        Self(Arc::new(Inner { member, encoded, kept_bytes, groups }))
    }

    /// Joins those who see the same.
    pub(super) fn join(&self, mut lens: Lens) -> Seat {
        lens.filter.kinds.sort_unstable();
        lens.filter.kinds.dedup();
        let mut groups = self.0.groups.lock();
        let group = groups
            .entry(name(&lens))
            .or_insert_with(|| Arc::new(Group { lens, shared: Mutex::default() }));
        group.shared.lock().seats += 1;
        Seat { groups: self.clone(), group: Arc::clone(group) }
    }

    fn leave(&self, group: &Group) {
        let mut groups = self.0.groups.lock();
        let mut shared = group.shared.lock();
        shared.seats -= 1;
        if shared.seats <= 1 {
            self.forget(&mut shared);
        }
        if shared.seats == 0 {
            groups.remove(&name(&group.lens));
        }
    }

    fn forget(&self, shared: &mut Shared) {
        for slice in shared.slices.drain(..) {
            self.0.kept_bytes.fetch_sub(weight(&slice), Ordering::Relaxed);
        }
    }

    fn keep(&self, shared: &mut Shared, slice: &Slice) {
        let newer = shared.slices.back().is_none_or(|last| last.from < slice.from);
        let bytes = weight(slice);
        let room = self.0.kept_bytes.load(Ordering::Relaxed) + bytes <= KEPT_BYTES_MAX;
        if shared.seats < 2 || !newer || !room {
            return;
        }
        if shared.slices.len() == SLICES_MAX
            && let Some(oldest) = shared.slices.pop_front()
        {
            self.0.kept_bytes.fetch_sub(weight(&oldest), Ordering::Relaxed);
        }
        self.0.kept_bytes.fetch_add(bytes, Ordering::Relaxed);
        shared.slices.push_back(slice.clone());
    }

    #[cfg(test)]
    pub(super) fn counts(&self) -> (usize, usize) {
        (self.0.groups.lock().len(), self.0.kept_bytes.load(Ordering::Relaxed))
    }
}

impl Seat {
    /// What this subscriber sees.
    pub(super) fn lens(&self) -> &Lens {
        &self.group.lens
    }

    /// The coordinator that sends.
    pub(super) fn member(&self) -> MemberId {
        self.groups.0.member
    }

    /// The slice from revision `from` on, which the view's history holds. May be one that another
    /// subscriber took from a newer view.
    pub(super) fn slice(&self, from: Revision, view: &View) -> Slice {
        let mut shared = self.group.shared.lock();
        if let Some(slice) = shared.slices.iter().rev().find(|slice| slice.from == from) {
            return slice.clone();
        }
        let slice = slice(&self.group.lens, from, view, self.groups.0.member);
        self.groups.keep(&mut shared, &slice);
        if slice.frame.is_some() {
            self.groups.0.encoded.inc();
        }
        slice
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.groups.leave(&self.group);
    }
}

/// Equal for equal lenses only.
fn name(lens: &Lens) -> Vec<u8> {
    let mut name = v1::WatchFilter::from(lens.filter.clone()).encode_to_vec();
    name.push(u8::from(lens.with_previous));
    name
}

fn weight(slice: &Slice) -> usize {
    slice.frame.as_ref().map_or(0, |frame| frame.bytes.len())
}
