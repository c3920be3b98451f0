//! Draws how fast the cluster answered: operations a second, and latencies.
//!
//! Owns the vertical axes. Must not know how the data came about.

use super::{
    frame::{Frame, LEFT, RIGHT_EDGE, WIDTH},
    series::{Interval, MarkKind, Series},
    svg::{Anchor, Class, Drawing, Rect, Scale, short, step},
};

/// Where the plot begins and ends.
const TOP: f64 = 12.0;
const BOTTOM: f64 = 200.0;

/// The height of a drawing.
const HEIGHT: f64 = 232.0;

/// The lowest latency on the axis, in milliseconds.
const LATENCY_MS_MIN: f64 = 0.1;

/// Operations a second, by how they ended.
pub(crate) fn rates(series: &Series) -> String {
    let rate = |count: u64| count as f64 / series.interval;
    let most = series.all.iter().map(|all| rate(all.ok.max(all.fail).max(all.info)));
    let high = most.fold(1.0, f64::max) * 1.05;
    let scale = Scale::linear((0.0, high), (BOTTOM, TOP));
    let (mut drawing, frame) = begin(series);
    let each = step(high, 5.0);
    let values = (0_u32..).map(|number| f64::from(number) * each).take_while(|value| *value < high);
    for value in values {
        level(&mut drawing, scale.at(value), &short(value));
    }
    let mut plot = |class: Class, of: fn(&Interval) -> u64| {
        let value = |interval: &Interval| Some(scale.at(rate(of(interval))));
        drawing.path(&points(series, &frame, value), class);
    };
    plot("line-ok", |all| all.ok);
    plot("line-info", |all| all.info);
    plot("line-fail", |all| all.fail);
    end(drawing, &frame, "operations a second")
}

/// How long answers took.
pub(crate) fn latencies(series: &Series) -> String {
    let longest = series.all.iter().filter_map(|all| all.latency_ms(1.0)).fold(1.0, f64::max);
    let scale = Scale::logarithmic((LATENCY_MS_MIN, longest * 1.2), (BOTTOM, TOP));
    let (mut drawing, frame) = begin(series);
    let mut value = LATENCY_MS_MIN;
    while value < longest * 1.2 {
        let text =
            if value < 1_000.0 { format!("{value} ms") } else { format!("{} s", value / 1e3) };
        level(&mut drawing, scale.at(value), &text);
        value *= 10.0;
    }
    for (class, share) in [("line-max", 1.0), ("line-p99", 0.99), ("line-p50", 0.5)] {
        let value = |interval: &Interval| interval.latency_ms(share).map(|ms| scale.at(ms));
        drawing.path(&points(series, &frame, value), class);
    }
    end(drawing, &frame, "latency of answers")
}

/// The grounds: a shade while any fault is at work, and where everything was healed for good.
fn begin(series: &Series) -> (Drawing, Frame) {
    let (mut drawing, frame) = (Drawing::new(WIDTH), Frame::new(series.seconds));
    let mut shaded = f64::NEG_INFINITY;
    for fault in &series.faults {
        let from = fault.from.max(shaded);
        if fault.until > from {
            let (x, width) = frame.span(from, fault.until);
            let rect = Rect { x, y: TOP, width, height: BOTTOM - TOP };
            drawing.rect(rect, "shade", &fault.kind);
            shaded = fault.until;
        }
    }
    frame.verticals(&mut drawing, TOP, BOTTOM);
    for mark in series.marks.iter().filter(|mark| mark.what == MarkKind::Healed) {
        let x = frame.x(mark.at);
        drawing.line((x, TOP), (x, BOTTOM), "healed");
        drawing.text((x - 4.0, TOP + 10.0), Anchor::End, "label", "all healed");
    }
    (drawing, frame)
}

fn end(mut drawing: Drawing, frame: &Frame, label: &str) -> String {
    frame.time_axis(&mut drawing, BOTTOM);
    drawing.finish(HEIGHT, label)
}

fn level(drawing: &mut Drawing, y: f64, text: &str) {
    drawing.line((LEFT, y), (RIGHT_EDGE, y), "grid");
    drawing.text((LEFT - 8.0, y + 4.0), Anchor::End, "label", text);
}

/// A point in the middle of each interval that has a value.
fn points(
    series: &Series,
    frame: &Frame,
    value: impl Fn(&Interval) -> Option<f64>,
) -> Vec<Option<(f64, f64)>> {
    let at = |number: usize| frame.x((number as f64 + 0.5) * series.interval);
    let place = |(number, interval)| value(interval).map(|y| (at(number), y));
    series.all.iter().enumerate().map(place).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        check::sample::{History, absent, ok_read},
        history::{Call, Nanos, What},
        nemesis::fault::{FaultKind, Target},
        page::series,
    };

    fn sample() -> Series {
        let mut history = History::started(0, 0, 0);
        for process in 0..20 {
            history.run(process, 1, Call::Read, ok_read(absent()), 0);
        }
        history.fault(FaultKind::Kill(Target::One));
        history.add(What::Healed);
        let mut lines = history.lines;
        for (at, line) in (0..).zip(&mut lines) {
            line.time = Nanos(at * 100_000_000);
        }
        series::read(&lines)
    }

    #[test]
    fn rates_have_an_axis_that_reaches_over_them() {
        let text = rates(&sample());
        // Ten lines a second, half of them answers.
        assert!(text.contains(">6</text>") || text.contains(">5</text>"), "{text}");
        assert_eq!(text.matches("class=\"line-").count(), 3);
        assert!(text.contains("class=\"shade\"") && text.contains("all healed"), "{text}");
    }

    #[test]
    fn latencies_are_on_a_logarithmic_axis() {
        let text = latencies(&sample());
        for part in [">1 ms</text>", ">10 ms</text>", ">100 ms</text>", "line-p50", "line-p99"] {
            assert!(text.contains(part), "{part} in {text}");
        }
    }

    #[test]
    fn a_run_without_operations_can_be_drawn() {
        let series = series::read(&[]);
        assert!(rates(&series).contains("<svg") && latencies(&series).contains("<svg"));
    }
}
