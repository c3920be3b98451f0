//! `status`: what each coordinator knows of itself.

use std::time::Duration;

use anyhow::Result;
use futures::future::join_all;
use quorate_client::{Backoff, Client, ClientConfig, Endpoint, Error};

use super::Context;
use crate::{
    failure::{Exit, Failure},
    output::cluster::StatusRow,
};

/// Asks every endpoint and shows a row each.
pub(super) async fn run(context: &Context) -> Result<()> {
    let config = context.client_config();
    let probe = Probe::new(config).map_err(|error| context.explain(&error))?;
    let rows = probe.ask_all(context.global.timeout()).await;
    context.output.rows(&rows)?;
    if rows.iter().all(|row| row.error.is_some()) {
        let first = rows.iter().find_map(|row| row.error.clone()).unwrap_or_default();
        return Err(Failure::new(Exit::Unavailable, format!("no coordinator answers: {first}"))
            .hint(format!("tried {}", context.global.endpoints.join(", ")))
            .hint("`quorate dev` starts a cluster on this machine")
            .into());
    }
    Ok(())
}

/// Asks coordinators how they are: each once, since one that is down is an answer too.
#[derive(Debug)]
pub(crate) struct Probe(Client);

impl Probe {
    /// How long this client waits before it tries again: longer than any call may take.
    const NEVER: Duration = Duration::from_secs(7 * 24 * 60 * 60);

    /// A probe of these endpoints.
    ///
    /// # Errors
    /// When the endpoints make no sense.
    pub(crate) fn new(config: ClientConfig) -> Result<Self, Error> {
        let backoff = Backoff { min: Self::NEVER, max: Self::NEVER };
        Client::new(ClientConfig { backoff, ..config }).map(Self)
    }

    /// A row for each endpoint, in their order, asked at the same time.
    pub(crate) async fn ask_all(&self, timeout: Duration) -> Vec<StatusRow> {
        let Self(client) = self;
        join_all(client.endpoints().iter().map(|endpoint| ask(client, endpoint, timeout))).await
    }
}

async fn ask(client: &Client, endpoint: &Endpoint, timeout: Duration) -> StatusRow {
    let answer = match client.status(endpoint).timeout(timeout).await {
        Ok(answer) => answer,
        Err(error) => return StatusRow::unreachable(endpoint.as_str(), error.to_string()),
    };
    let (header, status) = (answer.header, answer.value);
    StatusRow {
        member_id: Some(header.member_id.get()),
        endpoint: endpoint.to_string(),
        role: status.role.as_str(),
        term: Some(header.term.get()),
        leader_id: status.leader.map(|leader| leader.get()),
        applied_index: Some(status.applied_index.get()),
        revision: Some(header.revision.get()),
        cluster_id: Some(header.cluster_id.to_string()),
        records: Some(status.records),
        state_hash: Some(status.state_hash.to_string()),
        version: Some(status.version),
        error: None,
    }
}
