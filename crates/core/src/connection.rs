//! Connections between partitions: what one carries and by which rules, and how it is doing.
//!
//! Two records under one id. [`Connection`] follows from the network alone; [`ConnectionStatus`]
//! from who owns the two partitions and from what was seen, so that a partition that moves does
//! not rewrite the edges of its connections.
//!
//! ```text
//! an end has no owner: no status
//!       |  both have one                 retried, at most so often
//!       v                         +--------------------------------+
//!   connecting --------- up       v                                |
//!       |   ^            |    connecting ---> up               (back-off)
//!       |   |  attempts  |                                         |
//!       +---+----------- broken -----------------------------------+---> failed
//! ```
//!
//! Invariant: a status names exactly the grants of both ends; a grant that ends takes it along.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{
    id::{Epoch, Revision, SessionId},
    key::ConnectionId,
    name::Name,
    record::{NetworkSpec, ProcessEdge},
    rejection::Rejection,
    setting::{self, Settings},
};

/// Most bytes of what is kept of an error.
pub const CONNECTION_ERROR_BYTES_MAX: usize = 128;

/// The process edges that cross from one partition to another of the same network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Connection {
    /// The edges, sorted by (from, to). Never empty.
    pub edges: Vec<ProcessEdge>,
    /// By which rules: complete, as it was when the network was applied.
    pub policy: ConnectionPolicy,
}

/// By which rules partitions are connected. 0: left to the settings, which only a description does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConnectionPolicy {
    /// Most retries in a row; then it has failed.
    pub attempts_max: u64,
    /// Every back-off is this part of the one before, percent.
    pub backoff_factor_percent: u64,
    /// The first back-off, milliseconds.
    pub backoff_ms: u64,
    /// The longest back-off, milliseconds.
    pub backoff_ms_max: u64,
    /// Most bytes under way, not acknowledged yet.
    pub bytes_in_flight_max: u64,
    /// It must be up so soon, milliseconds.
    pub connect_timeout_ms: u64,
    /// Most messages under way, not acknowledged yet.
    pub messages_in_flight_max: u64,
    /// What is sent must be answered so soon, milliseconds.
    pub request_timeout_ms: u64,
}

impl ConnectionPolicy {
    /// The fields by name. Each has the bounds and the default of the setting of its name, after
    /// `connection_`.
    #[must_use]
    pub const fn fields(&self) -> [(&'static str, u64); 8] {
        [
            ("attempts_max", self.attempts_max),
            ("backoff_factor_percent", self.backoff_factor_percent),
            ("backoff_ms", self.backoff_ms),
            ("backoff_ms_max", self.backoff_ms_max),
            ("bytes_in_flight_max", self.bytes_in_flight_max),
            ("connect_timeout_ms", self.connect_timeout_ms),
            ("messages_in_flight_max", self.messages_in_flight_max),
            ("request_timeout_ms", self.request_timeout_ms),
        ]
    }

    /// The field of this name. None: there is none.
    pub fn field_mut(&mut self, name: &str) -> Option<&mut u64> {
        match name {
            "attempts_max" => Some(&mut self.attempts_max),
            "backoff_factor_percent" => Some(&mut self.backoff_factor_percent),
            "backoff_ms" => Some(&mut self.backoff_ms),
            "backoff_ms_max" => Some(&mut self.backoff_ms_max),
            "bytes_in_flight_max" => Some(&mut self.bytes_in_flight_max),
            "connect_timeout_ms" => Some(&mut self.connect_timeout_ms),
            "messages_in_flight_max" => Some(&mut self.messages_in_flight_max),
            "request_timeout_ms" => Some(&mut self.request_timeout_ms),
            _ => None,
        }
    }

    /// The smallest and the largest value of a field.
    #[must_use]
    pub fn bounds(field: &str) -> (u64, u64) {
        let name = Name::new(&format!("connection_{field}"));
        let definition = name.ok().and_then(|name| setting::definition(&name));
        definition.map_or((1, u64::MAX), |it| (it.min, it.max))
    }

    /// Whether everything is left to the settings.
    #[must_use]
    pub fn is_open(&self) -> bool {
        *self == Self::default()
    }

    /// Checks what is given.
    ///
    /// # Errors
    /// The first rule that is broken, with the path of the field in a network's description.
    pub fn validate(&self) -> Result<(), Rejection> {
        for (name, value) in self.fields().into_iter().filter(|(_, value)| *value > 0) {
            let (min, max) = Self::bounds(name);
            if !(min..=max).contains(&value) {
                let rule = format!("from {min} to {max}, not {value}");
                return Err(Rejection::invalid(format!("connection.{name}"), rule));
            }
        }
        if self.backoff_ms_max > 0 && self.backoff_ms_max < self.backoff_ms {
            let rule = format!("at least backoff_ms, {}", self.backoff_ms);
            return Err(Rejection::invalid("connection.backoff_ms_max", rule));
        }
        Ok(())
    }

    /// The same with what is not given from the settings. The longest back-off is no shorter than
    /// the first.
    #[must_use]
    pub fn resolved(&self, settings: &Settings) -> Self {
        let or = |given: u64, setting: u64| if given > 0 { given } else { setting };
        let backoff_ms = or(self.backoff_ms, settings.connection_backoff_ms);
        let longest = or(self.backoff_ms_max, settings.connection_backoff_ms_max);
        Self {
            attempts_max: or(self.attempts_max, settings.connection_attempts_max),
            backoff_factor_percent: or(
                self.backoff_factor_percent,
                settings.connection_backoff_factor_percent,
            ),
            backoff_ms,
            backoff_ms_max: longest.max(backoff_ms),
            bytes_in_flight_max: or(
                self.bytes_in_flight_max,
                settings.connection_bytes_in_flight_max,
            ),
            connect_timeout_ms: or(self.connect_timeout_ms, settings.connection_connect_timeout_ms),
            messages_in_flight_max: or(
                self.messages_in_flight_max,
                settings.connection_messages_in_flight_max,
            ),
            request_timeout_ms: or(self.request_timeout_ms, settings.connection_request_timeout_ms),
        }
    }

    /// How long to wait after a break, with so many retries made before it.
    #[must_use]
    pub fn backoff_after(&self, attempts: u32) -> u64 {
        let mut backoff = self.backoff_ms;
        for _ in 0..attempts {
            let next = backoff.saturating_mul(self.backoff_factor_percent) / 100;
            if next >= self.backoff_ms_max || next <= backoff {
                backoff = next.max(backoff);
                break;
            }
            backoff = next;
        }
        backoff.min(self.backoff_ms_max)
    }
}

impl NetworkSpec {
    /// The rules of its connections, with what it does not say from the settings.
    #[must_use]
    pub fn connection_policy(&self, settings: &Settings) -> ConnectionPolicy {
        self.connection.resolved(settings)
    }
}

/// How a connection is doing whose two partitions have owners.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConnectionStatus {
    /// The grant of the partition that sends.
    pub from: ConnectionEnd,
    /// The grant of the partition that receives.
    pub to: ConnectionEnd,
    /// What it is doing.
    pub state: ConnectionState,
    /// How often it was retried since it was up for long enough, or since its ends have these owners.
    pub attempts: u32,
    /// Since when it does that, by the state's clock.
    pub since_ms: u64,
    /// When it is to be retried, by the state's clock. 0: it is not.
    pub retry_at_ms: u64,
    /// What went wrong last, since it was up. At most [`CONNECTION_ERROR_BYTES_MAX`] bytes.
    pub error: Arc<str>,
}

/// A grant at one end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConnectionEnd {
    /// The partition's epoch.
    pub epoch: Epoch,
    /// Its owner's session.
    pub session: SessionId,
}

/// What a connection is doing whose two partitions have owners.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum ConnectionState {
    /// Its ends are to connect.
    Connecting,
    /// It carries messages.
    Up,
    /// It does not; it is retried after a back-off.
    Broken,
    /// It was retried as often as its policy allows.
    Failed,
}

impl ConnectionState {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Connecting, Self::Up, Self::Broken, Self::Failed];

    /// Its name in text and JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Connecting => "connecting",
            Self::Up => "up",
            Self::Broken => "broken",
            Self::Failed => "failed",
        }
    }
}

/// What the owner of an end saw of a connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConnectionReport {
    /// The connection.
    pub id: ConnectionId,
    /// The epoch of the partition that sends.
    pub from_epoch: Epoch,
    /// The epoch of the partition that receives.
    pub to_epoch: Epoch,
    /// What was seen.
    pub seen: Seen,
}

/// What was seen of a connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Seen {
    /// It carries messages.
    Up,
    /// It does not, for this reason.
    Broken(String),
}

/// What is due for a connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConnectionStep {
    /// The connection.
    pub id: ConnectionId,
    /// The revision of the status that it is due for. Another one: it is due no more.
    pub modified: Revision,
    /// What is due.
    pub due: Due,
}

/// What is due for a connection after some time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Due {
    /// It is broken and its back-off is over: it is to connect again, or has failed.
    Retry,
    /// It is connecting for too long: it is broken.
    TimeOut,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_of_a_policy_has_its_setting() {
        for (field, value) in ConnectionPolicy::default().resolved(&Settings::default()).fields() {
            let name = Name::new(&format!("connection_{field}")).unwrap();
            assert_eq!(setting::definition(&name).map(|it| it.default), Some(value), "{field}");
            let mut policy = ConnectionPolicy::default();
            *policy.field_mut(field).unwrap() = 7;
            assert!(policy.fields().iter().all(|(name, it)| (*it == 7) == (*name == field)));
        }
    }

    #[test]
    fn back_offs_grow_up_to_the_longest() {
        let policy = ConnectionPolicy {
            backoff_ms: 100,
            backoff_factor_percent: 250,
            backoff_ms_max: 1_000,
            ..ConnectionPolicy::default()
        };
        let backoffs = [0, 1, 2, 3, 4, u32::MAX].map(|attempts| policy.backoff_after(attempts));
        assert_eq!(backoffs, [100, 250, 625, 1_000, 1_000, 1_000]);
        let even = ConnectionPolicy { backoff_factor_percent: 100, ..policy };
        assert_eq!([0, 1, u32::MAX].map(|attempts| even.backoff_after(attempts)), [100; 3]);
        let least = ConnectionPolicy { backoff_ms: 1, backoff_factor_percent: 150, ..policy };
        assert_eq!(least.backoff_after(u32::MAX), 1);
    }

    #[test]
    fn what_is_given_is_within_bounds() {
        let refused = |change: fn(&mut ConnectionPolicy)| {
            let mut policy = ConnectionPolicy::default();
            change(&mut policy);
            let rejection = policy.validate().unwrap_err();
            (rejection.field, rejection.rule)
        };
        let expected = |field: &str, rule: &str| (format!("connection.{field}"), rule.to_owned());
        assert_eq!(ConnectionPolicy::default().validate(), Ok(()));
        assert_eq!(
            refused(|it| it.attempts_max = 1_001),
            expected("attempts_max", "from 1 to 1000, not 1001")
        );
        assert_eq!(
            refused(|it| it.connect_timeout_ms = 9),
            expected("connect_timeout_ms", "from 10 to 3600000, not 9")
        );
        assert_eq!(
            refused(|it| (it.backoff_ms, it.backoff_ms_max) = (20, 19)),
            expected("backoff_ms_max", "at least backoff_ms, 20")
        );
        // What is left open cannot contradict what is given.
        let long = ConnectionPolicy { backoff_ms: 3_600_000, ..ConnectionPolicy::default() };
        assert_eq!(long.validate(), Ok(()));
        assert_eq!(long.resolved(&Settings::default()).backoff_ms_max, 3_600_000);
    }
}
