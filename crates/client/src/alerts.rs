//! Alerts: what is not as it should be, in the whole cluster.

use std::sync::Arc;

use quorate_core::{Alert, AlertId, Key, Kind, Record, Versioned};
use quorate_proto::{ConvertError, convert::record::keyed_record, v1};

use crate::{
    call::{Call, Carried, Operation, Read, rpc},
    client::Client,
};

impl Client {
    /// The alerts that are raised, by check and subject.
    ///
    /// ```no_run
    /// # async fn example(client: quorate_client::Client) -> Result<(), quorate_client::Error> {
    /// for alert in client.list_alerts().await?.value {
    ///     println!("{}: {}", alert.id, alert.alert.message);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn list_alerts(&self) -> Call<ListAlerts> {
        Call::new(self, ListAlerts)
    }
}

/// Lists alerts.
#[derive(Debug, Clone)]
pub struct ListAlerts;

/// An alert that is raised.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundAlert {
    /// The check, and what it is about.
    pub id: AlertId,
    /// As it is stored.
    pub alert: Arc<Alert>,
}

impl Read for ListAlerts {}

impl Operation for ListAlerts {
    type Output = Vec<FoundAlert>;
    rpc!(
        Read,
        cluster_service_client::ClusterServiceClient.list_alerts(ListAlertsRequest)
            -> ListAlertsResponse
    );

    fn request(&self, carried: Carried) -> v1::ListAlertsRequest {
        v1::ListAlertsRequest { read: Some(carried.read.into()) }
    }

    fn read(&self, answer: v1::ListAlertsResponse) -> Result<Vec<FoundAlert>, ConvertError> {
        let read = |(at, record): (usize, v1::Record)| {
            let field = format!("alerts[{at}]");
            let (key, record) = keyed_record(record).map_err(|error| error.within(&field))?;
            alert_of(&key, &record)
                .ok_or_else(|| ConvertError::new(field, "a record of another kind"))
        };
        answer.alerts.into_iter().enumerate().map(read).collect()
    }
}

/// An alert of a range's or a watch's records; None when the record is of another kind.
#[must_use]
pub fn alert_of(key: &Key, record: &Versioned<Record>) -> Option<FoundAlert> {
    let id = AlertId::parse(std::str::from_utf8(&key.bytes).ok()?)?;
    match &record.value {
        Record::Alert(alert) if key.kind == Kind::Alert => {
            Some(FoundAlert { id, alert: alert.clone() })
        }
        _ => None,
    }
}
