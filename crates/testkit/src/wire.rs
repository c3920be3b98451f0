//! Streams over the simulated network: in order, delayed, and broken with their connection.
//!
//! Invariant: when a connection breaks, the receiver of requests sees its stream end, and the
//! receiver of answers sees an error, once.

use std::sync::Arc;

use futures::{StreamExt, stream, stream::BoxStream};
use quorate_node::transport::{PeerError, PeerErrorKind, PeerStream};
use tokio::sync::watch;

use crate::network::{End, SimNetwork};

/// One connection for a pair of streams.
#[derive(Clone)]
pub(crate) struct Wire {
    network: SimNetwork,
    client: End,
    server: End,
    broken: Arc<watch::Sender<Option<PeerError>>>,
}

impl Wire {
    pub(crate) fn new(network: SimNetwork, client: End, server: End) -> Self {
        Self { network, client, server, broken: Arc::new(watch::Sender::new(None)) }
    }

    fn break_with(&self, error: PeerError) {
        self.broken.send_if_modified(|broken| {
            let first = broken.is_none();
            broken.get_or_insert(error);
            first
        });
    }

    /// Waits until the connection is broken.
    async fn breaks(&self) -> PeerError {
        let mut broken = self.broken.subscribe();
        tokio::select! {
            biased;
            broken = broken.wait_for(Option::is_some) => match broken {
                Ok(error) => error.clone().unwrap_or_else(ended),
                Err(_) => ended(),
            },
            error = self.network.gone(self.client, self.server) => error,
        }
    }

    /// From the client to the server.
    pub(crate) fn requests<T: Send + 'static>(
        &self,
        requests: BoxStream<'static, T>,
    ) -> BoxStream<'static, T> {
        let start = (self.clone(), requests);
        stream::unfold(start, |(wire, mut requests)| async move {
            let carried = async {
                let item = requests.next().await?;
                match wire.network.deliver(wire.client, wire.server).await {
                    Ok(()) => Some(item),
                    Err(error) => {
                        wire.break_with(error);
                        None
                    }
                }
            };
            let item = tokio::select! {
                biased;
                _ = wire.breaks() => None,
                item = carried => item,
            };
            item.map(|item| (item, (wire, requests)))
        })
        .boxed()
    }

    /// The server's only answer.
    pub(crate) async fn answer<T>(
        &self,
        answer: impl Future<Output = Result<T, PeerError>>,
    ) -> Result<T, PeerError> {
        let carried = async {
            let answer = answer.await;
            self.network.deliver(self.server, self.client).await?;
            answer
        };
        tokio::select! {
            biased;
            error = self.breaks() => Err(error),
            answer = carried => answer,
        }
    }

    /// From the server to the client.
    pub(crate) fn answers<T: Send + 'static>(&self, answers: PeerStream<T>) -> PeerStream<T> {
        // None: an error was passed on, which was the end.
        let start = Some((self.clone(), answers));
        stream::unfold(start, |state| async move {
            let (wire, mut answers) = state?;
            let carried = async {
                let item = answers.next().await?;
                let item = match wire.network.deliver(wire.server, wire.client).await {
                    Ok(()) => item,
                    Err(error) => {
                        wire.break_with(error.clone());
                        Err(error)
                    }
                };
                Some(item)
            };
            let item = tokio::select! {
                biased;
                error = wire.breaks() => Some(Err(error)),
                item = carried => item,
            };
            match item? {
                Ok(item) => Some((Ok(item), Some((wire, answers)))),
                Err(error) => Some((Err(error), None)),
            }
        })
        .boxed()
    }
}

fn ended() -> PeerError {
    PeerError::new(PeerErrorKind::Unreachable, "connection closed")
}
