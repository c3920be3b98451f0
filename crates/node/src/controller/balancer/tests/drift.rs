//! An hour of loads that drift apart, as the balancer sees it: every move is within the budget, and the
//! deviation comes back. The drawing of it is `docs/balancing.svg`; `UPDATE_GOLDEN=1` makes it anew.

use std::fmt::Write as _;

use super::*;

const WORKERS: u32 = 10;
const PARTITIONS: u32 = 200;
const MINUTE: u64 = 60_000;
/// How often it looks.
const LOOK: u64 = 10_000;
const END: u64 = 60 * MINUTE;
/// The observed load of a partition, parts per million, and that of a busy one.
const EVEN: u64 = 300_000;
const BUSY: u64 = 900_000;
/// The deviation that is to be kept.
const KEPT_PPM: u64 = 100_000;

/// One look.
struct Look {
    at: u64,
    deviation_ppm: u64,
    moves: u64,
}

/// The load of a partition: those that began on one worker get busy at minute 5, those that began on
/// another at minute 25, when the first ones get calm again.
fn load(index: u32, at: u64) -> u64 {
    let began = index / (PARTITIONS / WORKERS);
    let busy = match at / MINUTE {
        0..5 => None,
        5..25 => Some(0),
        _ => Some(3),
    };
    if busy == Some(began) { BUSY } else { EVEN }
}

fn course() -> Vec<Look> {
    let identity = Identity { cluster_id: ClusterId(1), restore_epoch: RestoreEpoch(1) };
    let mut state = State::new(identity);
    let names = (0..WORKERS).map(|number| format!("w{number}"));
    let sessions: BTreeMap<Name, SessionId> =
        names.map(|text| (name(&text), worker(&mut state, &text, 100_000))).collect();
    network(&mut state, PARTITIONS);
    let each = PARTITIONS / WORKERS;
    for (number, (worker, session)) in (0..).zip(&sessions) {
        let owner = Owner { worker: worker.clone(), session: *session };
        grant(&mut state, NOW, number * each..(number + 1) * each, &owner);
    }
    let began = later(&state);
    (0..=END / LOOK).map(|look| at(&mut state, &sessions, began, look * LOOK)).collect()
}

/// Loads are reported, the balancer looks, owners release, and partitions go where they are to.
fn at(state: &mut State, sessions: &BTreeMap<Name, SessionId>, began: u64, at: u64) -> Look {
    let observed = |index| (LoadId::Partition(id(index)), Load { load_ppm: load(index, at) });
    let loads = (0..PARTITIONS).map(observed).collect();
    run_at(state, began + at, &Command::ReportLoads { loads });
    let deviation_ppm = deviation(state);
    let Asked { moves, basis, .. } = asked(decide(state, began + at).unwrap());
    let share = |part: u64, whole: u64, most_ppm: u64| part * 1_000_000 <= whole * most_ppm;
    let moved: u64 = moves.iter().map(|(id, ..)| load(id.index, at)).sum();
    let all: u64 = (0..PARTITIONS).map(|index| load(index, at)).sum();
    let settings = state.settings();
    let count = moves.len() as u64;
    assert!(share(count, PARTITIONS.into(), settings.balance_moved_ppm_max), "{count} moves");
    assert!(share(moved, all, settings.balance_moved_load_ppm_max), "{moved} of {all} moved");
    let targets = moves.iter().map(|(id, to, _)| (id.clone(), Some(to.clone())));
    run_at(state, began + at, &Command::MovePartitions { moves: targets.collect(), basis });
    for (partition, to, _) in moves {
        let epoch = state.partition(&partition).unwrap().epoch.unwrap();
        let release = Command::ReleasePartition { id: partition.clone(), epoch };
        run_at(state, began + at, &release);
        let owner = Owner { worker: to.clone(), session: sessions[&to] };
        grant(state, began + at, [partition.index].into_iter(), &owner);
    }
    Look { at, deviation_ppm, moves: count }
}

#[test]
fn loads_that_drift_for_an_hour_are_followed() {
    let course = course();
    let moves = |from: u64, to: u64| -> u64 {
        let between = course.iter().filter(|look| (from..to).contains(&(look.at / MINUTE)));
        between.map(|look| look.moves).sum()
    };
    assert_eq!(moves(0, 5), 0, "nothing moves while loads are even");
    for (from, to) in [(5, 25), (25, 60)] {
        assert!((1..=40).contains(&moves(from, to)), "{} moves", moves(from, to));
        let looks = course.iter().filter(|look| (from + 15..to).contains(&(look.at / MINUTE)));
        let worst = looks.map(|look| look.deviation_ppm).max().unwrap();
        assert!(worst < KEPT_PPM, "{worst} ppm fifteen minutes after minute {from}");
    }
    assert_eq!(moves(45, 60), 0, "and then nothing moves");
    let drawing = draw(&course);
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/balancing.svg");
    if std::env::var("UPDATE_GOLDEN").is_ok() {
        std::fs::write(&path, &drawing).unwrap();
    }
    let told = std::fs::read_to_string(&path).unwrap();
    assert!(told == drawing, "docs/balancing.svg is of another course: UPDATE_GOLDEN=1 makes it");
}

/// The deviation as a line, and the moves of each look as bars.
fn draw(course: &[Look]) -> String {
    const LEFT: u64 = 60;
    const TOP: u64 = 60;
    const WIDTH: u64 = 720;
    const HEIGHT: u64 = 240;
    let most = course.iter().map(|look| look.deviation_ppm).max().unwrap_or(1).max(KEPT_PPM);
    let most = most.next_multiple_of(100_000);
    let (right, bottom) = (LEFT + WIDTH, TOP + HEIGHT);
    let across = |at: u64| LEFT + at * WIDTH / END;
    let up = |ppm: u64| bottom - ppm * HEIGHT / most;
    let mut svg = String::from(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"840\" height=\"360\" \
         viewBox=\"0 0 840 360\">\n<style>text { font: 12px sans-serif; fill: #222 } .end { \
         text-anchor: end } .middle { text-anchor: middle }</style>\n\
         <rect width=\"840\" height=\"360\" fill=\"white\"/>\n",
    );
    let mut add = |line: std::fmt::Arguments<'_>| writeln!(svg, "{line}").unwrap();
    add(format_args!(
        "<text x=\"{LEFT}\" y=\"24\" font-weight=\"bold\">Loads that drift apart: ten \
        workers, 200 partitions</text>"
    ));
    add(format_args!(
        "<text x=\"{LEFT}\" y=\"44\">line: deviation of the workers' loads over their mean \
        (left); bars: partitions moved (right); dotted: 0.1</text>"
    ));
    for tenth in 0..=most / 100_000 {
        let y = up(tenth * 100_000);
        add(format_args!("<path d=\"M{LEFT} {y}H{right}\" stroke=\"#e4e4e4\"/>"));
        add(format_args!(
            "<text class=\"end\" x=\"{}\" y=\"{}\">0.{tenth}</text>",
            LEFT - 8,
            y + 4
        ));
    }
    for moves in [0, 5, 10] {
        let y = bottom - moves * HEIGHT / 20;
        add(format_args!("<text x=\"{}\" y=\"{}\">{moves}</text>", right + 8, y + 4));
    }
    for minute in (0..=60).step_by(5) {
        let x = across(minute * MINUTE);
        add(format_args!("<text class=\"middle\" x=\"{x}\" y=\"{}\">{minute}</text>", bottom + 18));
    }
    add(format_args!(
        "<text class=\"middle\" x=\"{}\" y=\"{}\">minutes</text>",
        LEFT + WIDTH / 2,
        bottom + 38
    ));
    for look in course.iter().filter(|look| look.moves > 0) {
        let (x, height) = (across(look.at), look.moves * HEIGHT / 20);
        add(format_args!(
            "<rect x=\"{x}\" y=\"{}\" width=\"2\" height=\"{height}\" fill=\"#d9822b\"/>",
            bottom - height
        ));
    }
    let mut points = String::new();
    for look in course {
        write!(points, "{},{} ", across(look.at), up(look.deviation_ppm)).unwrap();
    }
    let points = points.trim_end();
    add(format_args!(
        "<polyline points=\"{points}\" fill=\"none\" stroke=\"#1f5fa8\" stroke-width=\"1.5\"/>"
    ));
    add(format_args!(
        "<path d=\"M{LEFT} {0}H{right}\" stroke=\"#1f5fa8\" stroke-dasharray=\"2 4\"/>",
        up(KEPT_PPM)
    ));
    svg.push_str("</svg>\n");
    svg
}
