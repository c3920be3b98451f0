//! Which serials of a session are in use, and up to which all are finished. Pure.
//!
//! ```text
//!   1 ... acknowledged | finished or in use | not given yet
//!         all finished +------ at most WINDOW ------+
//! ```
//!
//! Invariants: no serial is given twice; a serial in use is above `acknowledged`; `acknowledged`
//! never goes back.

use std::collections::VecDeque;

use quorate_core::Serial;

/// How far serials may be ahead of the first that is not finished: what the cluster allows unless
/// its setting `session_window_max` says otherwise.
pub(crate) const WINDOW: usize = 4_096;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Serials {
    acknowledged: u64,
    /// Of every serial given after `acknowledged`, in order: whether it is finished. The first
    /// one never is.
    given: VecDeque<bool>,
}

impl Serials {
    /// The next serial; None while the window is full.
    pub(crate) fn begin(&mut self) -> Option<Serial> {
        if self.given.len() >= WINDOW {
            return None;
        }
        self.given.push_back(false);
        Some(Serial(self.acknowledged + self.given.len() as u64))
    }

    /// A serial's answer has arrived, or is not wanted any more. True when that makes room.
    pub(crate) fn finish(&mut self, serial: Serial) -> bool {
        let place = serial.0.checked_sub(self.acknowledged + 1);
        let place = place.and_then(|place| usize::try_from(place).ok());
        let given = place.and_then(|place| self.given.get_mut(place));
        *given.expect("a serial is given once and finished once") = true;
        let before = self.given.len();
        while self.given.front() == Some(&true) {
            self.given.pop_front();
            self.acknowledged += 1;
        }
        self.given.len() < before
    }

    /// The highest serial up to which all are finished.
    pub(crate) fn acknowledged(&self) -> Serial {
        Serial(self.acknowledged)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::{collection::vec, prelude::*};

    use super::*;

    proptest! {
        /// `Some(n)`: the n-th of the serials in use is finished. None: another is begun.
        #[test]
        fn acknowledged_is_just_below_the_lowest_serial_in_use(
            steps in vec(proptest::option::weighted(0.45, any::<prop::sample::Index>()), 1..300),
        ) {
            let (mut serials, mut in_use, mut last) = (Serials::default(), BTreeSet::new(), 0);
            for step in steps {
                match step {
                    Some(index) if !in_use.is_empty() => {
                        let lowest = *in_use.first().unwrap();
                        let done = *index.get(&in_use.iter().copied().collect::<Vec<_>>());
                        in_use.remove(&done);
                        prop_assert_eq!(serials.finish(Serial(done)), done == lowest);
                    }
                    _ => {
                        let serial = serials.begin().unwrap().0;
                        prop_assert_eq!(serial, last + 1);
                        last = serial;
                        in_use.insert(serial);
                    }
                }
                let below = in_use.first().map_or(last, |lowest| lowest - 1);
                prop_assert_eq!(serials.acknowledged(), Serial(below));
            }
        }
    }

    #[test]
    fn a_full_window_opens_with_its_oldest_serial() {
        let mut serials = Serials::default();
        for serial in 1..=WINDOW as u64 {
            assert_eq!(serials.begin(), Some(Serial(serial)));
        }
        assert_eq!(serials.begin(), None);
        assert!(!serials.finish(Serial(2)));
        assert_eq!(serials.begin(), None, "the oldest is still in use");
        assert!(serials.finish(Serial(1)));
        assert_eq!(serials.acknowledged(), Serial(2));
        assert_eq!(serials.begin(), Some(Serial(WINDOW as u64 + 1)));
    }
}
