//! Draws what happened on each host: faults, who led, how operations ended.
//!
//! Owns the lanes. Must not know how the data came about.

use quorate_core::MemberId;

use super::{
    frame::{Frame, LEFT, RIGHT_EDGE, WIDTH},
    series::{FaultBar, Interval, MarkKind, Series},
    svg::{Anchor, Class, Drawing, Rect},
};

/// The height of a row of faults.
const FAULT_ROW: f64 = 9.0;

/// So many faults at once have rows of their own.
const FAULT_ROWS: usize = 3;

/// The height of the bar that shows leading.
const LEADER_ROW: f64 = 16.0;

/// The height of the bars of operations.
const OPS_ROW: f64 = 24.0;

/// The space between two hosts.
const GAP: f64 = 14.0;

/// The space above the first lane.
const TOP: f64 = 10.0;

/// So wide must a bar be to have room for a text of so many letters.
const LETTER: f64 = 6.4;

/// The drawing.
pub(crate) fn draw(series: &Series) -> String {
    let rows = rows(&series.faults);
    let deepest = rows.iter().max().map_or(1, |row| row + 1);
    let mut drawing = Drawing::new(WIDTH);
    let frame = Frame::new(series.seconds);
    let lane = FAULT_ROW * deepest as f64 + LEADER_ROW + OPS_ROW + GAP;
    let height = TOP + lane * series.nodes.len() as f64;
    frame.verticals(&mut drawing, TOP, height);
    let busiest = series.by_node.values().flatten().map(total).max().unwrap_or(1).max(1);
    for (number, node) in series.nodes.iter().enumerate() {
        let top = TOP + lane * number as f64;
        let faults_high = FAULT_ROW * deepest as f64;
        label(&mut drawing, *node, top + lane / 2.0);
        faults(&mut drawing, &frame, series, &rows, *node, top);
        leaders(&mut drawing, &frame, series, *node, top + faults_high);
        let bottom = top + faults_high + LEADER_ROW + OPS_ROW;
        operations(&mut drawing, &frame, series, *node, bottom, busiest);
        drawing.line((LEFT, bottom), (RIGHT_EDGE, bottom), "axis");
        marks(&mut drawing, &frame, series, *node, top + faults_high);
    }
    frame.time_axis(&mut drawing, height);
    drawing.finish(height + 30.0, "timeline of faults, leaders and operations per coordinator")
}

/// The row of each fault: the first that is free while it is at work.
fn rows(faults: &[FaultBar]) -> Vec<usize> {
    let mut free_at = [f64::NEG_INFINITY; FAULT_ROWS];
    let mut rows = Vec::with_capacity(faults.len());
    for fault in faults {
        let row = free_at.iter().position(|free| *free <= fault.from).unwrap_or(FAULT_ROWS - 1);
        free_at[row] = free_at[row].max(fault.until);
        rows.push(row);
    }
    rows
}

fn label(drawing: &mut Drawing, node: MemberId, middle: f64) {
    drawing.text((LEFT - 12.0, middle), Anchor::End, "node", &format!("node {node}"));
}

fn faults(
    drawing: &mut Drawing,
    frame: &Frame,
    series: &Series,
    rows: &[usize],
    node: MemberId,
    top: f64,
) {
    for (fault, row) in series.faults.iter().zip(rows) {
        if fault.nodes.is_empty() || fault.nodes.contains(&node) {
            let (x, width) = frame.span(fault.from, fault.until);
            let y = top + FAULT_ROW * *row as f64;
            let rect = Rect { x, y, width, height: FAULT_ROW - 1.0 };
            drawing.rect(rect, fault_class(fault.class), &title(fault));
        }
    }
}

fn title(fault: &FaultBar) -> String {
    format!("{} {} ({:.1} s to {:.1} s)", fault.kind, fault.detail, fault.from, fault.until)
}

fn leaders(drawing: &mut Drawing, frame: &Frame, series: &Series, node: MemberId, top: f64) {
    for bar in series.leaders.iter().filter(|bar| bar.node == node) {
        let (x, width) = frame.span(bar.from, bar.until);
        let rect = Rect { x, y: top + 1.0, width, height: LEADER_ROW - 3.0 };
        let title = format!("leads in term {} ({:.1} s to {:.1} s)", bar.term, bar.from, bar.until);
        drawing.rect(rect, "leads", &title);
        let text = format!("term {}", bar.term);
        let long = [text.as_str(), text.trim_start_matches("term ")];
        if let Some(text) = long.into_iter().find(|text| text.len() as f64 * LETTER < width) {
            let at = (x + width / 2.0, top + LEADER_ROW - 5.0);
            drawing.text(at, Anchor::Middle, "term", text);
        }
    }
}

fn operations(
    drawing: &mut Drawing,
    frame: &Frame,
    series: &Series,
    node: MemberId,
    bottom: f64,
    busiest: u64,
) {
    for (number, interval) in series.by_node.get(&node).into_iter().flatten().enumerate() {
        let from = number as f64 * series.interval;
        let (x, width) = frame.span(from, from + series.interval);
        let mut y = bottom;
        let Interval { ok, fail, info, .. } = interval;
        let title = format!("{from:.1} s: {ok} ok, {fail} failed, {info} unknown");
        for (count, class) in [(*ok, "ok"), (*info, "info"), (*fail, "fail")] {
            let height = (OPS_ROW - 2.0) * count as f64 / busiest as f64;
            if count > 0 {
                y -= height.max(1.0);
                let rect = Rect { x, y, width: (width - 0.4).max(0.6), height: height.max(1.0) };
                drawing.rect(rect, class, &title);
            }
        }
    }
}

fn marks(drawing: &mut Drawing, frame: &Frame, series: &Series, node: MemberId, y: f64) {
    for mark in series.marks.iter().filter(|mark| mark.node == Some(node)) {
        let class = if mark.what == MarkKind::Crash { "crash" } else { "ended" };
        drawing.triangle((frame.x(mark.at), y), class, &mark.detail);
    }
}

fn total(interval: &Interval) -> u64 {
    interval.ok + interval.fail + interval.info
}

/// The colour of a class of faults.
pub(crate) fn fault_class(class: &str) -> Class {
    match class {
        "partition" => "f-partition",
        "kill" => "f-kill",
        "pause" => "f-pause",
        "loss" => "f-loss",
        "delay" => "f-delay",
        "clock" => "f-clock",
        "disk" => "f-disk",
        "slow_disk" => "f-slow_disk",
        "restart" => "f-restart",
        "membership" => "f-membership",
        "transfer" => "f-transfer",
        "compact" => "f-compact",
        "power" => "f-power",
        _ => "f-other",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        check::sample::{History, absent, ok_read},
        history::{Call, FaultEvent, FaultId, What},
        nemesis::fault::{FaultClass, FaultKind, Target},
        page::series,
    };

    #[test]
    fn every_class_has_a_colour_of_its_own() {
        for class in FaultClass::ALL.into_iter().filter(|class| !class.kinds(5).is_empty()) {
            assert_eq!(fault_class(class.name()), format!("f-{}", class.name()));
        }
    }

    #[test]
    fn each_host_has_its_lane_with_faults_leader_and_operations() {
        let mut history = History::started(0, 0, 0);
        history.status(2, 2, 7, 1, 1);
        history.add(What::Fault(FaultEvent {
            id: FaultId(1),
            fault: FaultKind::Pause(Target::One),
            detail: "{3}".to_owned(),
            nodes: vec![MemberId(3)],
        }));
        history.run(1, 1, Call::Read, ok_read(absent()), 0);
        history.status(2, 2, 7, 1, 1);
        let text = draw(&series::read(&history.lines));
        for part in ["node 1", "node 2", "node 3", "term 7", "pause:one {3}", "1 ok, 0 failed"] {
            assert!(text.contains(part), "{part} in {text}");
        }
        assert_eq!(text.matches("f-pause").count(), 1, "only on the host that it hit");
    }

    #[test]
    fn faults_at_the_same_time_have_rows_of_their_own() {
        let mut history = History::started(0, 0, 0);
        for id in 1..=5 {
            history.add(What::Fault(FaultEvent {
                id: FaultId(id),
                fault: FaultKind::Pause(Target::One),
                detail: String::new(),
                nodes: Vec::new(),
            }));
        }
        assert_eq!(rows(&series::read(&history.lines).faults), [0, 1, 2, 2, 2]);
    }
}
