//! The results as a drawing: a row for each option set, a column for each trace.
//!
//! In each panel: instances of all processes and what was needed on the left axis, the highest
//! load of a process on the right one. The panels of a column have the same axes.

use std::fmt::Write as _;

use crate::{course::Round, outcome::Outcome};

const LEFT: u64 = 60;
const TOP: u64 = 92;
const PANEL: (u64, u64) = (300, 120);
const GAP: (u64, u64) = (84, 52);
const STYLE: &str = "\
text { font: 12px sans-serif; fill: #222 }
.small { font-size: 10px; fill: #555 }
.title { font-size: 16px; font-weight: bold }
.head { font-size: 13px; font-weight: bold }
.end { text-anchor: end }
.middle { text-anchor: middle }
.frame { fill: none; stroke: #999 }
.grid { stroke: #e4e4e4 }
.runs { fill: none; stroke: #1f5fa8; stroke-width: 1.8 }
.needed { fill: none; stroke: #222; stroke-width: 1.2; stroke-dasharray: 4 3 }
.load { fill: none; stroke: #d9822b; stroke-width: 1 }
.target { stroke: #d9822b; stroke-dasharray: 1 3 }
";

/// Where a panel is, and its scales.
struct Panel {
    x: u64,
    y: u64,
    end_ms: u64,
    instances_max: u64,
}

/// Draws outcomes that are ordered by trace, `sets` of them for each.
pub(crate) fn plot(outcomes: &[Outcome], sets: usize) -> String {
    let columns: Vec<_> = outcomes.chunks(sets.max(1)).collect();
    let (columns_count, rows) = (columns.len() as u64, sets as u64);
    let width = LEFT + columns_count * (PANEL.0 + GAP.0);
    let height = TOP + rows * (PANEL.1 + GAP.1) + 10;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
         viewBox=\"0 0 {width} {height}\">\n<style>\n{STYLE}</style>\n\
         <rect width=\"{width}\" height=\"{height}\" fill=\"white\"/>\n"
    );
    legend(&mut svg);
    for (column, outcomes) in (0..).zip(columns) {
        let rounds = outcomes.iter().flat_map(|outcome| &outcome.course.rounds);
        let largest = rounds.map(|round| round.instances.max(round.needed)).max().unwrap_or(1);
        for (row, outcome) in (0..).zip(outcomes) {
            let panel = Panel {
                x: LEFT + column * (PANEL.0 + GAP.0),
                y: TOP + row * (PANEL.1 + GAP.1),
                end_ms: outcome.trace.end_ms,
                instances_max: u64::from(largest).next_multiple_of(20),
            };
            panel.draw(&mut svg, outcome);
        }
    }
    svg.push_str("</svg>\n");
    svg
}

fn legend(svg: &mut String) {
    text(svg, (LEFT, 26), "title", "Scaling under simulated load");
    let items = [
        ("runs", "instances of all processes (left)"),
        ("needed", "instances needed at the target load (left)"),
        ("load", "highest load of a process (right); dotted: the target, 70%"),
    ];
    for (class, (x, label)) in items.iter().map(|item| item.0).zip([
        (LEFT, items[0].1),
        (LEFT + 260, items[1].1),
        (LEFT + 580, items[2].1),
    ]) {
        line(svg, class, (x, 46), (x + 28, 46));
        text(svg, (x + 36, 50), "", label);
    }
}

impl Panel {
    fn draw(&self, svg: &mut String, outcome: &Outcome) {
        let (x, y, right, bottom) = (self.x, self.y, self.x + PANEL.0, self.y + PANEL.1);
        let title = format!("{}: {}", outcome.trace.name, outcome.set.name);
        text(svg, (x, y - 8), "head", &title);
        for quarter in 0..=4 {
            let at = bottom - quarter * PANEL.1 / 4;
            line(svg, "grid", (x, at), (right, at));
            let instances = self.instances_max * quarter / 4;
            text(svg, (x - 6, at + 4), "small end", &instances.to_string());
            text(svg, (right + 6, at + 4), "small", &format!("{}%", 25 * quarter));
        }
        for ms in (0..=self.end_ms).step_by(300_000) {
            let at = self.across(ms);
            line(svg, "grid", (at, y), (at, bottom));
            text(svg, (at, bottom + 14), "small middle", &format!("{}", ms / 60_000));
        }
        text(svg, (x + PANEL.0 / 2, bottom + 27), "small middle", "minutes");
        let target = bottom - u64::from(outcome.set.policy.target_ppm) * PANEL.1 / 1_000_000;
        line(svg, "target", (x, target), (right, target));
        let rounds = &outcome.course.rounds;
        self.steps(svg, "load", rounds, |round| round.load_ppm * PANEL.1 / 1_000_000);
        let height = |instances: u32| u64::from(instances) * PANEL.1 / self.instances_max;
        self.steps(svg, "needed", rounds, |round| height(round.needed));
        self.steps(svg, "runs", rounds, |round| height(round.instances));
        let frame = "<rect class=\"frame\"";
        push(
            svg,
            format_args!(
                "{frame} x=\"{x}\" y=\"{y}\" width=\"{}\" height=\"{}\"/>\n",
                PANEL.0, PANEL.1
            ),
        );
    }

    fn across(&self, time_ms: u64) -> u64 {
        self.x + time_ms * PANEL.0 / self.end_ms.max(1)
    }

    /// A line that is at each round's height from the end of the round before until its own.
    fn steps(
        &self,
        svg: &mut String,
        class: &str,
        rounds: &[Round],
        height: impl Fn(&Round) -> u64,
    ) {
        let bottom = self.y + PANEL.1;
        let mut drawn = None;
        push(svg, format_args!("<path class=\"{class}\" d=\"M{}", self.x));
        for round in rounds {
            let at = bottom - height(round).min(PANEL.1);
            match drawn {
                None => push(svg, format_args!(" {at}")),
                Some(last) if last != at => push(svg, format_args!("V{at}")),
                Some(_) => {}
            }
            drawn = Some(at);
            push(svg, format_args!("H{}", self.across(round.time_ms)));
        }
        svg.push_str("\"/>\n");
    }
}

fn line(svg: &mut String, class: &str, from: (u64, u64), to: (u64, u64)) {
    let ((x1, y1), (x2, y2)) = (from, to);
    let ends = format_args!("x1=\"{x1}\" y1=\"{y1}\" x2=\"{x2}\" y2=\"{y2}\"").to_string();
    push(svg, format_args!("<line class=\"{class}\" {ends}/>\n"));
}

fn text(svg: &mut String, (x, y): (u64, u64), class: &str, words: &str) {
    push(svg, format_args!("<text x=\"{x}\" y=\"{y}\" class=\"{class}\">{words}</text>\n"));
}

fn push(svg: &mut String, what: std::fmt::Arguments<'_>) {
    let written = svg.write_fmt(what);
    debug_assert!(written.is_ok(), "a text takes everything");
}
