//! What every command has: an output, a client, and how errors are explained.

use std::sync::{Mutex, PoisonError};

use anyhow::Result;
use futures::future::join_all;
use quorate_client::{Client, ClientConfig, Error};

use super::explain::explain;
use crate::{args::Global, output::Output};

/// What every command has.
#[derive(Debug)]
pub(crate) struct Context {
    /// Where results go.
    pub(crate) output: Output,
    /// The global options.
    pub(crate) global: Global,
    /// Clients whose sessions are to be ended with the command.
    clients: Mutex<Vec<Client>>,
}

impl Context {
    /// From the global options.
    pub(crate) fn new(global: Global) -> Self {
        Self { output: Output { format: global.output }, global, clients: Mutex::default() }
    }

    /// How clients are configured that make many changes: at most once each.
    pub(crate) fn client_config(&self) -> ClientConfig {
        ClientConfig::new(&self.global.endpoints)
            .with_timeout(self.global.timeout())
            .with_label(&self.global.label)
            .with_reason(&self.global.reason)
    }

    /// A client of the cluster, without a session for a single change unless that is asked for.
    ///
    /// # Errors
    /// When the endpoints make no sense.
    pub(crate) fn client(&self) -> Result<Client> {
        let mut config = self.client_config();
        config.exactly_once = self.global.exactly_once;
        self.client_of(config).map_err(|error| self.explain(&error))
    }

    /// A client with this configuration.
    ///
    /// # Errors
    /// When the endpoints make no sense.
    pub(crate) fn client_of(&self, config: ClientConfig) -> Result<Client, Error> {
        let client = Client::new(config)?;
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        clients.push(client.clone());
        Ok(client)
    }

    /// Ends the sessions of clients. What does not end now ends after its time to live.
    pub(crate) async fn close(&self) {
        let clients =
            std::mem::take(&mut *self.clients.lock().unwrap_or_else(PoisonError::into_inner));
        join_all(clients.iter().map(Client::close)).await;
    }

    /// Explains an error of the client library.
    pub(crate) fn explain(&self, error: &Error) -> anyhow::Error {
        explain(error, &self.global.endpoints).into()
    }
}
