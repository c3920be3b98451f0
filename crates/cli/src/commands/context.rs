//! What every command has: an output, a client, and how errors are explained.

use anyhow::Result;
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
}

impl Context {
    /// From the global options.
    pub(crate) fn new(global: Global) -> Self {
        Self { output: Output { format: global.output }, global }
    }

    /// How clients are configured.
    pub(crate) fn client_config(&self) -> ClientConfig {
        ClientConfig::new(&self.global.endpoints).with_timeout(self.global.timeout())
    }

    /// A client of the cluster.
    ///
    /// # Errors
    /// When the endpoints make no sense.
    pub(crate) fn client(&self) -> Result<Client> {
        Client::new(self.client_config()).map_err(|error| self.explain(&error))
    }

    /// Explains an error of the client library.
    pub(crate) fn explain(&self, error: &Error) -> anyhow::Error {
        explain(error, &self.global.endpoints).into()
    }
}
