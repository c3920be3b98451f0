//! How much each part may have.
//!
//! Invariant: `least <= target <= most`, for every part. All resources are on the same scale, so one
//! number holds for all: none may be above `most`, and the largest should not be below `least`. Held to
//! both, the standard deviation of the parts' loads is at most the root of the product of the two
//! tolerances, as a share of their mean.

use crate::{facts::COARSE_PPM, loads::targets};

/// Shares in parts per million.
pub(super) const PPM: i64 = 1_000_000;

/// How far loads may be from their targets, in parts per million of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tolerance {
    /// How far above.
    pub above_ppm: u32,
    /// How far below.
    pub below_ppm: u32,
}

impl Default for Tolerance {
    /// 5% above and 10% below: a deviation of 7.1% at most.
    fn default() -> Self {
        Self { above_ppm: 50_000, below_ppm: 100_000 }
    }
}

impl Tolerance {
    /// A fifth more, so that what was just balanced is not moved for the next small change. Of the
    /// default: a deviation of 8.5% at most.
    pub(super) fn widened(self) -> Self {
        let widened = |ppm: u32| ppm.saturating_add(ppm / 5);
        Self { above_ppm: widened(self.above_ppm), below_ppm: widened(self.below_ppm) }
    }

    /// For coarse loads, of which some parts have these shares of their targets, in parts per
    /// million: as far above the largest, but at least [`COARSE_PPM`], and as far below the smallest
    /// as this is above and below the target; nowhere less than this.
    pub(super) fn beyond(self, smallest: i64, largest: i64) -> Self {
        let above = i64::from(self.above_ppm.max(COARSE_PPM));
        let to_ppm = |share: i64| u32::try_from(share.max(0)).unwrap_or(u32::MAX);
        let (mut beyond, below) = (self, (PPM - i64::from(self.below_ppm)).max(0));
        if largest > PPM + i64::from(self.above_ppm) {
            beyond.above_ppm = to_ppm(mul_ppm(largest, PPM + above) - PPM);
        }
        if smallest < below {
            beyond.below_ppm = to_ppm(PPM - mul_ppm(smallest, below));
        }
        beyond
    }
}

/// What the parts may have, by part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Limits {
    pub(super) target: Vec<i64>,
    pub(super) least: Vec<i64>,
    pub(super) most: Vec<i64>,
}

impl Limits {
    /// For `count` parts of these shares; none: all alike.
    pub(super) fn of(count: u32, shares: &[u32], tolerance: Tolerance) -> Self {
        let target = targets(count, shares);
        let part = |target: i64, ppm: u32| mul_ppm(target, i64::from(ppm));
        let below = |target: &i64| target - part(*target, tolerance.below_ppm.min(1_000_000));
        let above = |target: &i64| target + part(*target, tolerance.above_ppm);
        let least = target.iter().map(below).collect();
        let most = target.iter().map(above).collect();
        Self { target, least, most }
    }

    /// The same, and one part more that is to have nothing.
    pub(super) fn with_limbo(&self) -> Self {
        let with = |of: &[i64]| of.iter().copied().chain([0]).collect();
        Self { target: with(&self.target), least: with(&self.least), most: with(&self.most) }
    }

    /// Of two sides, none with less than nothing.
    pub(super) fn sides(target: [i64; 2], most: [i64; 2]) -> Self {
        Self { target: target.to_vec(), least: vec![0; 2], most: most.to_vec() }
    }
}

/// So many millionths of a load.
pub(super) fn mul_ppm(load: i64, ppm: i64) -> i64 {
    ratio(load, ppm, PPM)
}

/// `load * up / down`, rounded down.
pub(super) fn ratio(load: i64, up: i64, down: i64) -> i64 {
    let product = i128::from(load) * i128::from(up) / i128::from(down.max(1));
    i64::try_from(product).unwrap_or(i64::MAX)
}
