//! Workers, networks, sessions, settings, members and alerts.

use super::{NoticeKind, Told};
use crate::{
    alert::AlertId,
    name::Name,
    record::{MemberState, Network, Record, WorkerState},
    setting,
};

/// A notice that is about no network and no worker.
fn told(kind: NoticeKind, subject: String, text: impl Into<String>) -> Told {
    Told { kind, subject, text: text.into(), network: None, worker: None }
}

pub(super) fn worker(
    subject: String,
    previous: Option<&Record>,
    current: Option<&Record>,
) -> Option<Told> {
    let state = |record: Option<&Record>| match record {
        Some(Record::Worker(worker)) => Some(worker.state),
        _ => None,
    };
    use WorkerState::{Active, Down, Draining, Joining};
    let (kind, text) = match (state(previous), state(current)) {
        (Some(_), None) => (NoticeKind::WorkerLeft, "left"),
        (None, Some(Active | Joining | Draining)) => (NoticeKind::WorkerJoined, "joined"),
        (Some(Down), Some(Active | Joining | Draining)) => {
            (NoticeKind::WorkerJoined, "joined again")
        }
        (Some(Active | Joining | Draining) | None, Some(Down)) => {
            (NoticeKind::WorkerLost, "its session ended without its leaving")
        }
        (Some(Active | Joining), Some(Draining)) => {
            (NoticeKind::WorkerDraining, "gives its partitions away")
        }
        (Some(Joining | Draining), Some(Active)) => (NoticeKind::WorkerActive, "takes partitions"),
        _ => return None,
    };
    let worker = Name::new(&subject).ok();
    Some(Told { worker, ..told(kind, subject, text) })
}

pub(super) fn network(
    subject: String,
    previous: Option<&Record>,
    current: Option<&Record>,
) -> Option<Told> {
    let of = |record: Option<&Record>| match record {
        Some(Record::Network(network)) => Some(network.clone()),
        _ => None,
    };
    let what = |network: &Network| {
        let (processes, partitions) =
            (network.spec.processes.len(), network.spec.policy.partitions);
        let generation = network.generation;
        format!("generation {generation}: {processes} processes in {partitions} partitions")
    };
    let (kind, text) = match (of(previous), of(current)) {
        (None, Some(network)) => (NoticeKind::NetworkCreated, what(&network)),
        (Some(_), Some(network)) => (NoticeKind::NetworkChanged, what(&network)),
        (Some(_), None) => (NoticeKind::NetworkDeleted, "deleted".to_owned()),
        (None, None) => return None,
    };
    let network = Name::new(&subject).ok();
    Some(Told { network, ..told(kind, subject, text) })
}

pub(super) fn session(
    subject: String,
    previous: Option<&Record>,
    current: Option<&Record>,
) -> Option<Told> {
    let (Some(Record::Session(session)), None) = (previous, current) else { return None };
    let text = match session.label.as_ref() {
        "" => "a session ended".to_owned(),
        label => format!("the session of {label} ended"),
    };
    Some(told(NoticeKind::SessionEnded, subject, text))
}

pub(super) fn setting(
    subject: String,
    previous: Option<&Record>,
    current: Option<&Record>,
) -> Option<Told> {
    let definition = setting::definition_of(subject.as_bytes())?;
    let of = |record: Option<&Record>| match record {
        Some(Record::Setting(text)) => text.as_ref().to_owned(),
        _ => definition.default.to_string(),
    };
    let (before, after) = (of(previous), of(current));
    if before == after {
        return None;
    }
    let (kind, text) = match (subject.as_str(), after.as_str()) {
        ("maintenance", "0") => (NoticeKind::MaintenanceOff, "what could stay may move".into()),
        ("maintenance", _) => (NoticeKind::MaintenanceOn, "nothing moves that could stay".into()),
        _ => (NoticeKind::SettingChanged, format!("{after}, was {before}")),
    };
    Some(told(kind, subject, text))
}

pub(super) fn member(
    subject: String,
    previous: Option<&Record>,
    current: Option<&Record>,
) -> Option<Told> {
    let state = |record: Option<&Record>| match record {
        Some(Record::Member(member)) => Some((member.state, member.client.clone())),
        _ => None,
    };
    let (before, (after, client)) = (state(previous).map(|(state, _)| state), state(current)?);
    match after {
        _ if before == Some(after) => None,
        MemberState::Active => {
            Some(told(NoticeKind::MemberAdded, subject, format!("serves clients on {client}")))
        }
        MemberState::Removed => {
            Some(told(NoticeKind::MemberRemoved, subject, "its id is never used again"))
        }
    }
}

pub(super) fn alert(
    subject: String,
    previous: Option<&Record>,
    current: Option<&Record>,
) -> Option<Told> {
    let of = |record: Option<&Record>| match record {
        Some(Record::Alert(alert)) => Some(alert.clone()),
        _ => None,
    };
    let about = AlertId::parse(&subject).map(|id| id.subject);
    let (kind, text) = match (of(previous), of(current)) {
        (Some(before), Some(after)) if before.severity == after.severity => return None,
        (_, Some(alert)) => {
            (NoticeKind::AlertRaised, format!("{}: {}", alert.severity, alert.message))
        }
        (Some(alert), None) => (NoticeKind::AlertCleared, format!("no more: {}", alert.message)),
        (None, None) => return None,
    };
    let of_worker = |check: &str| check.starts_with("worker_");
    let worker = about.filter(|_| of_worker(&subject)).and_then(|name| Name::new(&name).ok());
    Some(Told { worker, ..told(kind, subject, text) })
}
