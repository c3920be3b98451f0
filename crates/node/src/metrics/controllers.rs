//! What the leader's controllers did, and what holds them back.

use prometheus::proto::MetricFamily;
use quorate_core::ConnectionState;

use super::family::{counter, counters, float, gauge, gauge_sample, gauges};
use crate::controller::{
    Activity, Balancer, Connections, ConnectionsHeld, Controller, Distribution, Held, Idle, Why,
};

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

/// The connection manager in numbers.
pub(super) fn connections(manager: &Connections) -> Vec<MetricFamily> {
    let held = |why: ConnectionsHeld| {
        let is = f64::from(u8::from(manager.held == Some(why)));
        gauge_sample(&[("reason", why.as_str())], is)
    };
    // It makes none come up.
    let states = [ConnectionState::Connecting, ConnectionState::Broken, ConnectionState::Failed];
    let labels = states.map(|state| [("state", state.as_str())]);
    let changes = states.iter().zip(&labels);
    let changes = changes.map(|(state, labels)| {
        (labels.as_slice(), manager.changes.get(state).copied().unwrap_or(0))
    });
    vec![
        counter(
            "quorate_connection_manager_looks_total",
            "Times that this coordinator looked for connections to retry or to give up.",
            manager.looks,
        ),
        counters(
            "quorate_connection_manager_changes_total",
            "Connections that this coordinator, leading, retried (connecting), gave up for want of a report (broken), \
             or found retried as often as their rules allow (failed).",
            changes,
        ),
        counter(
            "quorate_connection_manager_refused_total",
            "Commands of the connection manager that were refused by a limit.",
            manager.refused,
        ),
        gauge(
            "quorate_connection_manager_waiting",
            "Connections that wait for a report, or for the end of their back-off.",
            float(u64::try_from(manager.waiting).unwrap_or(u64::MAX)),
        ),
        gauges(
            "quorate_connection_manager_held",
            "1 for what held the connection manager back at its last look.",
            ConnectionsHeld::ALL.map(held).to_vec(),
        ),
    ]
}

/// The distributor in numbers.
pub(super) fn distributor(did: &Distribution) -> Vec<MetricFamily> {
    let held = |reason, is| gauge_sample(&[("reason", reason)], f64::from(u8::from(is)));
    vec![
        counter(
            "quorate_distributor_looks_total",
            "Times that this coordinator, leading, looked for what pools have to grant.",
            did.looks,
        ),
        counter(
            "quorate_distributor_granted_total",
            "Allocations that this coordinator, leading, granted.",
            did.granted,
        ),
        counter(
            "quorate_distributor_revoked_total",
            "Grants that this coordinator, leading, asked back for somebody below a guarantee.",
            did.revoked,
        ),
        counter(
            "quorate_distributor_ended_total",
            "Grants that this coordinator, leading, ended: asked back and over, or idle.",
            did.ended,
        ),
        counter(
            "quorate_distributor_refused_total",
            "Commands of this coordinator's distributor that were refused by a limit.",
            did.refused,
        ),
        gauges(
            "quorate_distributor_held",
            "1 for what held the distributor back at its last look.",
            vec![held("not_leading", !did.leads), held("disabled", did.disabled)],
        ),
        counter(
            "quorate_distributor_required_total",
            "Partitions of which this coordinator, leading, changed what they require of a pool.",
            did.required,
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
