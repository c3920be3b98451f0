//! Whether what came back is right: revisions of writes, and what watchers were told.
//!
//! Pure. Every function counts violations; 0 is right.

use quorate_core::Revision;

/// How many revisions of writes occur more than once, or are 0. Sorts them.
pub(crate) fn repeated(revisions: &mut [Revision]) -> u64 {
    revisions.sort_unstable();
    let zeros = revisions.iter().take_while(|revision| revision.get() == 0).count();
    let repeats = revisions[zeros..].windows(2).filter(|pair| pair[0] == pair[1]).count();
    (zeros + repeats) as u64
}

/// What one watcher was told: a fingerprint of (revision, sequence) in order, so that a million
/// deliveries to a thousand watchers need not be kept.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Story {
    /// How many deliveries.
    pub(crate) count: u64,
    /// Deliveries whose revision was not after the one before, or whose value was not as written.
    pub(crate) wrong: u64,
    last: Revision,
    fingerprint: u64,
}

impl Story {
    /// A delivery; no sequence: the value is not one that was written.
    pub(crate) fn tell(&mut self, revision: Revision, sequence: Option<u64>) {
        if revision <= self.last || sequence.is_none() {
            self.wrong += 1;
        }
        self.last = revision;
        self.count += 1;
        for word in [revision.get(), sequence.unwrap_or(u64::MAX)] {
            // FNV-1a over words, with a rotation so that high bits count too.
            self.fingerprint =
                (self.fingerprint ^ word).wrapping_mul(0x0000_0100_0000_01b3).rotate_left(23);
        }
    }

    /// The story of writes that were acknowledged at these revisions: `(revision, sequence)`.
    pub(crate) fn of(mut writes: Vec<(Revision, u64)>) -> Self {
        writes.sort_unstable();
        let mut story = Self::default();
        writes.into_iter().for_each(|(revision, sequence)| story.tell(revision, Some(sequence)));
        story
    }

    /// How much of `told` differs from this story: missing or additional deliveries, those that
    /// were wrong by themselves, or 1 when only the fingerprint shows it.
    pub(crate) fn violations(&self, told: &Self) -> u64 {
        let counted = self.count.abs_diff(told.count) + told.wrong;
        if counted == 0 && self.fingerprint != told.fingerprint { 1 } else { counted }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn revisions(numbers: &[u64]) -> Vec<Revision> {
        numbers.iter().copied().map(Revision).collect()
    }

    fn told(deliveries: &[(u64, Option<u64>)]) -> Story {
        let mut story = Story::default();
        deliveries.iter().for_each(|&(revision, seq)| story.tell(Revision(revision), seq));
        story
    }

    #[test]
    fn repeated_revisions_are_counted() {
        assert_eq!(repeated(&mut revisions(&[])), 0);
        assert_eq!(repeated(&mut revisions(&[3, 1, 2])), 0);
        assert_eq!(repeated(&mut revisions(&[3, 1, 3, 2, 3])), 2);
        assert_eq!(repeated(&mut revisions(&[0, 1, 0])), 2);
    }

    #[test]
    fn a_true_story_has_no_violations() {
        let truth = Story::of(vec![(Revision(5), 0), (Revision(2), 1), (Revision(9), 2)]);
        assert_eq!(truth.violations(&told(&[(2, Some(1)), (5, Some(0)), (9, Some(2))])), 0);
    }

    #[test]
    fn every_lie_is_noticed() {
        let truth = Story::of(vec![(Revision(2), 1), (Revision(5), 0), (Revision(9), 2)]);
        let lies: [&[(u64, Option<u64>)]; 6] = [
            &[(2, Some(1)), (5, Some(0))], // a gap at the end
            &[(2, Some(1)), (9, Some(2))], // a gap in the middle
            &[(2, Some(1)), (2, Some(1)), (5, Some(0)), (9, Some(2))], // a repeat
            &[(2, Some(1)), (9, Some(2)), (5, Some(0))], // out of order
            &[(2, Some(0)), (5, Some(1)), (9, Some(2))], // values swapped
            &[(2, Some(1)), (5, None), (9, Some(2))], // a damaged value
        ];
        for lie in lies {
            assert!(truth.violations(&told(lie)) > 0, "{lie:?}");
        }
    }
}
