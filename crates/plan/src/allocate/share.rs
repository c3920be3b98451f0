//! Shares, compared exactly.
//!
//! A dominant share over a weight is `amount / (capacity * weight)`: a numerator of 64 bits and a
//! denominator of 128, so that cross multiplication would take 192. They are compared by their
//! continued fractions instead, which needs no more than 128 bits whatever the numbers are, and at
//! most as many steps as Euclid's algorithm.

use std::cmp::Ordering;

/// `part / whole`. Equal values are equal, whatever their parts.
#[derive(Debug, Clone, Copy)]
pub(super) struct Share {
    part: u128,
    /// Not 0.
    whole: u128,
}

impl Share {
    /// `part / whole`; nothing for a whole of 0.
    pub(super) fn new(part: u128, whole: u128) -> Self {
        if whole == 0 { Self { part: 0, whole: 1 } } else { Self { part, whole } }
    }

    /// The largest of `used / capacity`, over `weight`.
    pub(super) fn dominant(used: &[u64], capacity: &[u64], weight: u64) -> Self {
        let (mut part, mut whole) = (0_u64, 1_u64);
        for (used, capacity) in used.iter().zip(capacity) {
            let larger = u128::from(*used) * u128::from(whole);
            if *capacity > 0 && larger > u128::from(part) * u128::from(*capacity) {
                (part, whole) = (*used, *capacity);
            }
        }
        // Below 2^128: both factors are below 2^64.
        Self::new(u128::from(part), u128::from(whole) * u128::from(weight))
    }
}

impl Ord for Share {
    fn cmp(&self, other: &Self) -> Ordering {
        let (mut a, mut b) = (*self, *other);
        loop {
            let whole = (a.part / a.whole).cmp(&(b.part / b.whole));
            let (rest_a, rest_b) = (a.part % a.whole, b.part % b.whole);
            if whole != Ordering::Equal || rest_a == 0 || rest_b == 0 {
                return whole.then(rest_a.min(1).cmp(&rest_b.min(1)));
            }
            // rest_a / a.whole < rest_b / b.whole where b.whole / rest_b < a.whole / rest_a.
            (a, b) = (Self { part: b.whole, whole: rest_b }, Self { part: a.whole, whole: rest_a });
        }
    }
}

impl PartialOrd for Share {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Share {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Share {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_shares_compare_as_by_cross_multiplication() {
        for (a, b, c, d) in
            (0..20_000_u128).map(|n| (n % 11, n / 11 % 11 + 1, n / 121 % 12, n / 1_452 % 13 + 1))
        {
            let order = Share::new(a, b).cmp(&Share::new(c, d));
            assert_eq!(order, (a * d).cmp(&(c * b)), "{a}/{b} and {c}/{d}");
        }
    }

    #[test]
    fn the_largest_numbers_compare_exactly() {
        let most = u64::MAX;
        let dominant = |used, capacity, weight| Share::dominant(&[used], &[capacity], weight);
        assert_eq!(dominant(most, most, most), dominant(1, 1, most));
        assert_eq!(dominant(most - 1, most, 1), Share::new(u128::from(most - 1), most.into()));
        // They differ by less than 2^-190.
        assert!(dominant(most - 1, most, most) < dominant(most, most, most));
        assert!(dominant(most - 2, most - 1, most) < dominant(most - 1, most, most));
        assert!(dominant(1, most, most) > dominant(0, most, most));
        assert!(dominant(1, most, most) < dominant(1, most, most - 1));
        assert!(Share::new(u128::MAX - 1, u128::MAX) > Share::new(u128::MAX - 2, u128::MAX - 1));
    }

    #[test]
    fn the_dominant_resource_is_the_one_of_the_largest_share() {
        assert_eq!(Share::dominant(&[3, 12], &[9, 18], 1), Share::new(2, 3));
        assert_eq!(Share::dominant(&[6, 2], &[9, 18], 2), Share::new(1, 3));
        assert_eq!(Share::dominant(&[], &[], 2), Share::new(0, 1));
    }
}
