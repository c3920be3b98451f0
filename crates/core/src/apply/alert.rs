//! Alerts: raised and cleared.
//!
//! Invariants: an alert that stays raised keeps the time at which it was raised; the settings
//! bound how many there are; clearing is always possible.

use std::{collections::BTreeSet, sync::Arc};

use bytes::Bytes;

use super::draft::Draft;
use crate::{
    alert::{Alert, AlertId, Raised},
    key::{Key, KeyRange, Kind},
    record::Record,
    rejection::Rejection,
    reply::Reply,
};

/// Clears alerts, then raises others. What is so already changes nothing.
pub(super) fn set(
    draft: &mut Draft<'_>,
    raise: &[(AlertId, Raised)],
    clear: &[AlertId],
) -> Result<Reply, Rejection> {
    validate(raise)?;
    let mut changed = 0;
    for key in clear.iter().map(Key::alert) {
        if draft.get(&key).is_some() {
            draft.delete(&key);
            changed += 1;
        }
    }
    let mut new = BTreeSet::new();
    for (id, Raised { severity, message, value }) in raise {
        let key = Key::alert(id);
        let known = match draft.get(&key).map(|record| &record.value) {
            Some(Record::Alert(alert)) => Some(alert.clone()),
            _ => None,
        };
        let since_ms = known.as_ref().map_or(draft.state().time_ms(), |known| known.since_ms);
        let (severity, value) = (*severity, *value);
        let alert = Alert { severity, message: message.clone(), since_ms, value };
        if known.as_deref() != Some(&alert) {
            changed += 1;
            if known.is_none() {
                new.insert(id);
            }
            draft.put(&key, Record::Alert(Arc::new(alert)));
        }
    }
    if !new.is_empty() {
        let all = KeyRange::Prefix(Kind::Alert, Bytes::new());
        let (count, max) = (draft.range(&all).count() as u64, draft.settings().alerts_max);
        if count > max {
            return Err(Rejection::limit("raise", "alerts_max", count, max));
        }
    }
    Ok(Reply::Changed { changed })
}

fn validate(raise: &[(AlertId, Raised)]) -> Result<(), Rejection> {
    for (at, (id, raised)) in raise.iter().enumerate() {
        if !AlertId::is_subject(&id.subject) {
            let max = AlertId::SUBJECT_BYTES_MAX;
            let rule = format!("1 to {max} bytes, without control characters");
            return Err(Rejection::invalid(format!("raise[{at}].subject"), rule));
        }
        if raised.message.len() > Raised::MESSAGE_BYTES_MAX {
            let rule = format!("at most {} bytes", Raised::MESSAGE_BYTES_MAX);
            return Err(Rejection::invalid(format!("raise[{at}].message"), rule));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Command, Name, Reason, Severity, Stamp, State, apply, invariant::tests::sound,
        record::Versioned,
    };

    fn id(subject: &str) -> AlertId {
        AlertId { check: Name::new("worker_lost").unwrap(), subject: subject.into() }
    }

    fn raised(severity: Severity) -> Raised {
        Raised { severity, message: "it is lost".into(), value: 7 }
    }

    fn set(
        state: &mut State,
        time_ms: u64,
        raise: Vec<(AlertId, Raised)>,
        clear: Vec<AlertId>,
    ) -> Result<Reply, Rejection> {
        let command = Command::SetAlerts { raise, clear };
        let applied = apply(state, Stamp::at(time_ms), &command);
        assert_eq!(state.check(), Ok(()));
        applied.outcome.result
    }

    fn alert(state: &State, subject: &str) -> Option<Versioned<Record>> {
        state.get(&Key::alert(&id(subject))).map(|record| record.as_ref().clone())
    }

    fn since(state: &State, subject: &str) -> u64 {
        match alert(state, subject).unwrap().value {
            Record::Alert(alert) => alert.since_ms,
            other => panic!("{other:?}"),
        }
    }

    const CHANGED: Result<Reply, Rejection> = Ok(Reply::Changed { changed: 1 });
    const SAME: Result<Reply, Rejection> = Ok(Reply::Changed { changed: 0 });

    #[test]
    fn an_alert_keeps_the_time_at_which_it_was_raised() {
        let mut state = sound();
        let warning = || vec![(id("w"), raised(Severity::Warning))];
        assert_eq!(set(&mut state, 1_000_000, warning(), vec![]), CHANGED);
        let revision = state.revision();
        assert_eq!(set(&mut state, 2_000_000, warning(), vec![]), SAME);
        assert_eq!(state.revision(), revision);
        let critical = vec![(id("w"), raised(Severity::Critical))];
        assert_eq!(set(&mut state, 3_000_000, critical, vec![]), CHANGED);
        assert_eq!(since(&state, "w"), 1_000_000);
        assert_eq!(set(&mut state, 4_000_000, vec![], vec![id("w"), id("v")]), CHANGED);
        assert_eq!(alert(&state, "w"), None);
        assert_eq!(set(&mut state, 5_000_000, warning(), vec![]), CHANGED);
        assert_eq!(since(&state, "w"), 5_000_000);
    }

    #[test]
    fn alerts_are_bounded_and_can_always_be_cleared() {
        let mut state = sound();
        let many = |count: usize| {
            (0..count).map(|n| (id(&n.to_string()), raised(Severity::Warning))).collect::<Vec<_>>()
        };
        let max = usize::try_from(state.settings().alerts_max).unwrap();
        assert_eq!(
            set(&mut state, 1, many(max + 1), vec![]).unwrap_err().reason,
            Reason::LimitExceeded
        );
        assert_eq!(
            set(&mut state, 1, many(max), vec![]),
            Ok(Reply::Changed { changed: u32::try_from(max).unwrap() })
        );
        let more = vec![(id("w"), raised(Severity::Warning))];
        assert!(set(&mut state, 1, more.clone(), vec![]).is_err());
        // One goes as another comes.
        assert_eq!(set(&mut state, 1, more, vec![id("0")]), Ok(Reply::Changed { changed: 2 }));
    }

    #[test]
    fn what_is_not_valid_is_refused_with_its_field() {
        let mut state = sound();
        let long = Raised { message: "m".repeat(513), ..raised(Severity::Warning) };
        let refused = set(&mut state, 1, vec![(id("w"), long)], vec![]).unwrap_err();
        assert_eq!(refused.field, "raise[0].message");
        let refused = set(&mut state, 1, vec![(id("a\n"), raised(Severity::Warning))], vec![]);
        assert_eq!(refused.unwrap_err().field, "raise[0].subject");
    }
}
