//! Lots, drawn the same way on every machine.
//!
//! Source: SplitMix64, G. Steele, D. Lea, C. Flood, "Fast splittable pseudorandom number
//! generators", OOPSLA 2014.

/// A sequence of lots that its seed decides.
#[derive(Debug, Clone)]
pub(super) struct Draw(u64);

impl Draw {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Lots of their own for a part of the work.
    pub(super) fn split(&mut self) -> Self {
        Self(self.next())
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`, which is not 0.
    pub(super) fn below(&mut self, end: u32) -> u32 {
        // Lemire's multiplication; its bias of end / 2^32 does not matter here.
        let scaled = (self.next() >> 32) * u64::from(end);
        (scaled >> 32).try_into().unwrap_or(0)
    }

    /// The numbers below `end` in random order.
    pub(super) fn order(&mut self, end: u32) -> Vec<u32> {
        let mut order: Vec<u32> = (0..end).collect();
        for last in (1..end).rev() {
            let other = self.below(last + 1);
            order.swap(last as usize, other as usize);
        }
        order
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_has_every_number_once_and_follows_from_the_seed() {
        let order = Draw::new(7).order(1_000);
        assert_eq!(order, Draw::new(7).order(1_000));
        assert_ne!(order, Draw::new(8).order(1_000));
        let mut sorted = order;
        sorted.sort_unstable();
        assert!(sorted.into_iter().eq(0..1_000));
    }

    #[test]
    fn numbers_are_below_the_end_and_spread() {
        let mut draw = Draw::new(1);
        let mut counts = [0; 5];
        for _ in 0..5_000 {
            counts[draw.below(5) as usize] += 1;
        }
        assert!(counts.iter().all(|count| (800..1_200).contains(count)), "{counts:?}");
    }
}
