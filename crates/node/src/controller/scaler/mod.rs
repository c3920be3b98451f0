//! Changes how many instances of processes run, by the loads that their owners observe.
//!
//! ```text
//! every scale_interval_ms, network by network:
//!   observed loads of partitions -> plan::scale (bounds, stabilisation, up limit)
//!                                -> as far as the worker has the resources -> ScaleProcesses { changes, basis }
//! ```
//!
//! The load of a partition counts as that of each of its processes, once it was written after the partition
//! changed last: what was seen before another parallelism, or of another owner, says nothing. A new leader
//! has seen nothing, and takes what runs for recommended: it waits for one stabilisation before it takes
//! anything away.

mod decide;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use quorate_core::{Kind, Name, Settings, State};
use quorate_plan::{ScaleHistory, Strategies};

pub(super) use self::decide::load;
pub(crate) use self::decide::{Room, ScalePlan, plan_now};
use self::decide::{plan, policy};
use super::{
    activity::Controller,
    steward::{Act, Idle, Now, Steward},
};

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Scaler {
    /// What was recommended and what ran, by network.
    histories: BTreeMap<Name, ScaleHistory>,
}

impl Steward for Scaler {
    const CONTROLLER: Controller = Controller::Scaler;

    fn interval_ms(settings: &Settings) -> u64 {
        settings.scale_interval_ms
    }

    fn held(settings: &Settings) -> Option<Idle> {
        match (settings.maintenance, settings.scale_enabled) {
            (1, _) => Some(Idle::Maintenance),
            (_, 0) => Some(Idle::Disabled),
            _ => None,
        }
    }

    fn decide(&mut self, state: &State, _: &Strategies, now: Now) -> Vec<Act> {
        let policy = policy(state.settings());
        let mut room = Room::of(state);
        let mut histories = BTreeMap::new();
        let mut acts = Vec::new();
        for (key, _) in state.records_of(Kind::Network) {
            let name = std::str::from_utf8(&key.bytes).ok().and_then(|text| Name::new(text).ok());
            let Some(name) = name else { continue };
            let history = self.histories.remove(&name).unwrap_or_default();
            match plan(state, &name, &policy, &history, now.elapsed_ms, &mut room) {
                Ok(None) => {}
                Ok(Some(planned)) => {
                    acts.extend(planned.act());
                    histories.insert(name, planned.history);
                }
                Err(error) => {
                    tracing::error!(network = %name, %error, "a network cannot be scaled");
                }
            }
        }
        self.histories = histories;
        acts
    }
}
