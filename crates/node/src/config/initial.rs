//! `[partitions]`, `[resources]`, `[connections]` and `[health]`: initial values of the cluster's
//! settings.
//!
//! They are in force in the whole cluster and belong to its log. The member that forms a new
//! cluster writes what its file says there, once; from then on the log rules, and a file that says
//! something else is only reported. Which setting is in which section follows from its name
//! ([`section_of`]), so a new setting needs nothing here.

use std::collections::BTreeMap;

use quorate_core::{
    Command, Key, KeyRange, Name, Operation, Precondition, Record, SETTINGS, Settings, Test,
    Transaction,
    setting::{SettingDefinition, definition, section_of},
};
use serde::Deserialize;

use super::validate::Problem;

/// Values by the name of their setting.
pub(super) type Values = BTreeMap<String, u64>;

/// What a file says of the cluster's settings.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct InitialSettings {
    /// `[partitions]`: sizes, limits, placement and balance.
    pub partitions: Values,
    /// `[resources]`: pools and how they are shared.
    pub resources: Values,
    /// `[connections]`: limits, time-outs and retries between partitions.
    pub connections: Values,
    /// `[health]`: checks and alerts.
    pub health: Values,
}

impl InitialSettings {
    /// The sections' names.
    pub const SECTIONS: [&str; 4] = ["partitions", "resources", "connections", "health"];

    fn sections(&self) -> [(&'static str, &Values); 4] {
        let [partitions, resources, connections, health] = Self::SECTIONS;
        [
            (partitions, &self.partitions),
            (resources, &self.resources),
            (connections, &self.connections),
            (health, &self.health),
        ]
    }

    /// Every value, with its section and its name.
    fn all(&self) -> impl Iterator<Item = (&'static str, &str, u64)> {
        self.sections().into_iter().flat_map(|(section, values)| {
            values.iter().map(move |(name, value)| (section, name.as_str(), *value))
        })
    }

    /// Everything that is wrong.
    pub(super) fn problems(&self) -> Vec<Problem> {
        let problem = |(section, name, value): (&str, &str, u64)| {
            let rule = match known(name).filter(|_| section_of(name) == Some(section)) {
                Some(SettingDefinition { min, max, .. }) if (*min..=*max).contains(&value) => {
                    return None;
                }
                Some(SettingDefinition { min, max, .. }) => format!("from {min} to {max}"),
                None => match section_of(name).filter(|_| known(name).is_some()) {
                    Some(other) => format!("in section [{other}]"),
                    None => format!("a setting of this section: {}", names(section)),
                },
            };
            Some(Problem { field: format!("{section}.{name}"), rule, value: value.to_string() })
        };
        self.all().filter_map(problem).collect()
    }

    /// What a new cluster begins with where it differs from the defaults: a command that changes
    /// nothing if one of the settings is there already.
    pub(crate) fn command(&self) -> Option<Command> {
        let given = self.all().filter_map(|(_, name, value)| {
            let definition = known(name).filter(|definition| definition.default != value)?;
            Some((Key::setting(&Name::new(definition.name).ok()?), value))
        });
        let given: Vec<_> = given.collect();
        let absent = |(key, _): &(Key, u64)| Precondition {
            target: KeyRange::Single(key.clone()),
            test: Test::Absent,
        };
        let put = |(key, value): &(Key, u64)| Operation::Put {
            key: key.clone(),
            record: Record::Setting(value.to_string().into()),
            return_previous: false,
        };
        (!given.is_empty()).then(|| {
            Command::Transaction(Transaction {
                preconditions: given.iter().map(absent).collect(),
                success: given.iter().map(put).collect(),
                ..Transaction::default()
            })
        })
    }

    /// Settings whose value in force is another: the name, what the file says, what is in force.
    pub(crate) fn differing(&self, settings: &Settings) -> Vec<(String, u64, u64)> {
        let differs = |(_, name, value): (&str, &str, u64)| {
            let in_force = settings.get(&Name::new(name).ok()?)?;
            (in_force != value).then(|| (name.to_owned(), value, in_force))
        };
        self.all().filter_map(differs).collect()
    }
}

fn known(name: &str) -> Option<&'static SettingDefinition> {
    definition(&Name::new(name).ok()?)
}

/// The settings of a section, for people.
fn names(section: &str) -> String {
    let of_section = SETTINGS.iter().map(|setting| setting.name);
    let of_section: Vec<_> = of_section.filter(|name| section_of(name) == Some(section)).collect();
    if of_section.is_empty() { "there is none".to_owned() } else { of_section.join(", ") }
}

#[cfg(test)]
mod tests {
    use quorate_core::{ClusterId, Identity, RestoreEpoch, Revision, Stamp, State, apply};

    use super::*;

    fn given(section: &str) -> InitialSettings {
        toml::from_str(section).unwrap()
    }

    fn rules(section: &str) -> Vec<String> {
        given(section).problems().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn every_setting_of_a_section_is_taken_with_its_default() {
        for setting in SETTINGS {
            if let Some(section) = section_of(setting.name) {
                let text = format!("[{section}]\n{} = {}", setting.name, setting.default);
                assert_eq!(rules(&text), [""; 0], "{text}");
            }
        }
    }

    #[test]
    fn what_is_wrong_is_named_with_its_section_its_field_and_the_rule() {
        assert_eq!(
            rules("[partitions]\nbalance_enabled = 2"),
            ["partitions.balance_enabled = 2: must be from 0 to 1"]
        );
        assert_eq!(
            rules("[health]\nbalance_enabled = 1"),
            ["health.balance_enabled = 1: must be in section [partitions]"]
        );
        let unknown = rules("[health]\nhealth_nonsense = 1").remove(0);
        let starts = "health.health_nonsense = 1: must be a setting of this section: alerts_max, ";
        assert!(unknown.starts_with(starts), "{unknown}");
        let other = rules("[partitions]\nvalue_bytes_max = 1").remove(0);
        assert!(other.contains("must be a setting of this section: balance_above_ppm"), "{other}");
    }

    #[test]
    fn a_new_cluster_begins_with_what_is_given_and_then_the_log_rules() {
        let mut state =
            State::new(Identity { cluster_id: ClusterId(1), restore_epoch: RestoreEpoch(0) });
        let initial = given(
            "[health]\nhealth_interval_ms = 700\n[partitions]\nworkers_max = 7\n\
                             balance_enabled = 1",
        );
        assert_eq!(initial.differing(state.settings()).len(), 2);
        let command = initial.command().unwrap();
        apply(&mut state, Stamp::at(1), &command).outcome.result.unwrap();
        assert_eq!(state.revision(), Revision(1));
        let settings = state.settings();
        assert_eq!((settings.health_interval_ms, settings.workers_max), (700, 7));
        assert_eq!(state.len(), 2, "a default is not written");
        assert_eq!(initial.differing(settings), []);
        let other = given("[partitions]\nworkers_max = 9");
        assert_eq!(other.differing(settings), [("workers_max".to_owned(), 9, 7)]);
        apply(&mut state, Stamp::at(1), &other.command().unwrap()).outcome.result.unwrap();
        assert_eq!((state.settings().workers_max, state.revision()), (7, Revision(1)));
        assert_eq!(given("[partitions]\nbalance_enabled = 1").command(), None);
    }
}
