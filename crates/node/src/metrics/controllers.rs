//! What the leader's controllers did, and what holds them back.

use prometheus::proto::MetricFamily;

use super::family::{counter, counters, gauge_sample, gauges};
use crate::controller::{Activity, Balancer, Controller, Held, Idle, Why};

/// The balancer in numbers.
pub(super) fn families(balancer: &Balancer) -> Vec<MetricFamily> {
    let held = |why: Held| {
        let is = f64::from(u8::from(balancer.held == Some(why)));
        gauge_sample(&[("reason", why.as_str())], is)
    };
    let labels = Why::ALL.map(|why| [("reason", why.as_str())]);
    let moves = Why::ALL.iter().zip(&labels);
    let moves = moves
        .map(|(why, labels)| (labels.as_slice(), balancer.moves.get(why).copied().unwrap_or(0)));
    vec![
        counter(
            "quorate_balancer_looks_total",
            "Times that this coordinator looked for partitions that should be elsewhere.",
            balancer.looks,
        ),
        counters(
            "quorate_balancer_moves_total",
            "Partitions that this coordinator, leading, asked their owners for, by reason.",
            moves,
        ),
        counter(
            "quorate_balancer_refused_total",
            "Moves that were refused, because something had changed meanwhile or by a limit.",
            balancer.refused,
        ),
        gauges(
            "quorate_balancer_held",
            "1 for what held the balancer back at its last look.",
            Held::ALL.map(held).to_vec(),
        ),
    ]
}

/// The other controllers in numbers.
pub(super) fn others(activity: &Activity) -> Vec<MetricFamily> {
    Controller::ALL.into_iter().flat_map(|it| of_controller(activity, it)).collect()
}

fn of_controller(activity: &Activity, controller: Controller) -> Vec<MetricFamily> {
    let (acts, name) = (activity.acts(controller), controller.as_str());
    let held = |idle: Idle| {
        let is = f64::from(u8::from(acts.held == Some(idle)));
        gauge_sample(&[("reason", idle.as_str())], is)
    };
    let labels: Vec<_> = controller.actions().iter().map(|action| [("action", *action)]).collect();
    let done = controller.actions().iter().zip(&labels);
    let done = done
        .map(|(action, labels)| (labels.as_slice(), acts.done.get(action).copied().unwrap_or(0)));
    vec![
        counter(
            &format!("quorate_{name}_looks_total"),
            &format!("Times that the {name} of this coordinator looked for something to do."),
            acts.looks,
        ),
        counters(
            &format!("quorate_{name}_actions_total"),
            &format!("What the {name} of this coordinator, leading, did."),
            done,
        ),
        counter(
            &format!("quorate_{name}_refused_total"),
            &format!("Commands of the {name} that were refused, by a change meanwhile or a limit."),
            acts.refused,
        ),
        gauges(
            &format!("quorate_{name}_held"),
            &format!("1 for what held the {name} back at its last look."),
            Idle::ALL.map(held).to_vec(),
        ),
    ]
}
