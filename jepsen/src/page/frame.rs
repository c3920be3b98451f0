//! The time axis that all drawings of a page share.
//!
//! Owns where times are on it and how they are written. Must not know what happened.

use super::svg::{Anchor, Drawing, Scale, step};

/// The width of every drawing.
pub(crate) const WIDTH: f64 = 1200.0;

/// Where time begins on a drawing.
pub(crate) const LEFT: f64 = 76.0;

/// Where it ends.
pub(crate) const RIGHT_EDGE: f64 = WIDTH - 16.0;

/// At most so many times are written on the axis.
const TIMES_MAX: f64 = 14.0;

/// Steps of the axis from a minute on, in seconds.
const LONG_STEPS: [f64; 12] = [
    30.0, 60.0, 120.0, 300.0, 600.0, 900.0, 1_800.0, 3_600.0, 7_200.0, 14_400.0, 21_600.0, 43_200.0,
];

/// The time axis.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Frame {
    seconds: f64,
    time: Scale,
}

impl Frame {
    /// Of a run of such a length.
    pub(crate) fn new(seconds: f64) -> Self {
        Self { seconds, time: Scale::linear((0.0, seconds), (LEFT, RIGHT_EDGE)) }
    }

    /// The place of a time.
    pub(crate) fn x(&self, at: f64) -> f64 {
        self.time.at(at)
    }

    /// The left edge and the width of a span, which is never too narrow to be seen.
    pub(crate) fn span(&self, from: f64, until: f64) -> (f64, f64) {
        let x = self.x(from);
        (x, (self.x(until) - x).max(1.2))
    }

    /// Thin lines at the times that are written on the axis.
    pub(crate) fn verticals(&self, drawing: &mut Drawing, top: f64, bottom: f64) {
        for at in self.times() {
            drawing.line((self.x(at), top), (self.x(at), bottom), "grid");
        }
    }

    /// The times, below a drawing.
    pub(crate) fn time_axis(&self, drawing: &mut Drawing, y: f64) {
        drawing.line((LEFT, y), (RIGHT_EDGE, y), "axis");
        for at in self.times() {
            drawing.line((self.x(at), y), (self.x(at), y + 4.0), "axis");
            // The last one must not be cut off by the edge.
            let anchor = if self.x(at) > RIGHT_EDGE - 20.0 { Anchor::End } else { Anchor::Middle };
            drawing.text((self.x(at), y + 18.0), anchor, "label", &written(at));
        }
    }

    fn times(&self) -> impl Iterator<Item = f64> {
        let seconds = self.seconds;
        let step = time_step(seconds);
        (0_u32..).map(move |number| f64::from(number) * step).take_while(move |at| *at <= seconds)
    }
}

fn time_step(seconds: f64) -> f64 {
    let short = step(seconds, TIMES_MAX);
    if short < 30.0 {
        return short;
    }
    let fits = |step: &f64| seconds / step <= TIMES_MAX;
    LONG_STEPS.into_iter().find(fits).unwrap_or(short)
}

#[expect(clippy::cast_possible_truncation, reason = "times on an axis are whole minutes and hours")]
fn written(at: f64) -> String {
    let whole = at.round() as i64;
    match whole {
        _ if at < 60.0 && (at - at.round()).abs() > 0.01 => format!("{at:.1} s"),
        0..120 => format!("{whole} s"),
        120..7_200 => format!("{}:{:02} min", whole / 60, whole % 60),
        _ => format!("{}:{:02} h", whole / 3_600, whole / 60 % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_axis_has_few_times_however_long_the_run() {
        for seconds in [0.3, 5.0, 33.0, 90.0, 600.0, 3_700.0, 86_400.0, 500_000.0] {
            let times = Frame::new(seconds).times().count();
            assert!((3..=15).contains(&times), "{seconds}: {times}");
        }
    }

    #[test]
    fn times_are_written_as_people_do() {
        let texts = [0.5, 30.0, 90.0, 150.0, 3_600.0, 9_000.0].map(written);
        assert_eq!(texts, ["0.5 s", "30 s", "90 s", "2:30 min", "60:00 min", "2:30 h"]);
    }

    #[test]
    fn a_short_span_can_be_seen() {
        let (x, width) = Frame::new(3_600.0).span(1_800.0, 1_800.1);
        assert!(x > LEFT && x < RIGHT_EDGE && width >= 1.0);
    }
}
