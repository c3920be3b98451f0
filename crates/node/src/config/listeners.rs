//! The sockets that a coordinator serves on, bound before it starts, so that a port 0 becomes
//! known in time to tell the other members.

use std::{io, net::SocketAddr};

use quorate_core::MemberId;
use tokio::net::TcpListener;

use super::section::{Listen, Member};

/// Bound sockets of one coordinator.
#[derive(Debug)]
pub struct Listeners {
    /// gRPC for clients.
    pub client: TcpListener,
    /// gRPC between coordinators.
    pub peer: TcpListener,
    /// HTTP: /metrics and /health.
    pub metrics: TcpListener,
}

impl Listeners {
    /// Binds the addresses of a configuration.
    ///
    /// # Errors
    /// When an address cannot be bound; the message names it.
    pub async fn bind(listen: &Listen) -> io::Result<Self> {
        Ok(Self {
            client: bind("listen.client", listen.client).await?,
            peer: bind("listen.peer", listen.peer).await?,
            metrics: bind("listen.metrics", listen.metrics).await?,
        })
    }

    /// Binds three free ports on loopback.
    ///
    /// # Errors
    /// When there are none.
    pub async fn local() -> io::Result<Self> {
        Self::bind(&Listen::any_port()).await
    }

    /// The row in the list of initial members for a member that serves on these sockets.
    ///
    /// # Errors
    /// When a socket does not know its address.
    pub fn member(&self, id: MemberId) -> io::Result<Member> {
        let (peer, client) = (self.peer.local_addr()?, self.client.local_addr()?);
        Ok(Member { id, peer: peer.to_string(), client: client.to_string() })
    }
}

async fn bind(field: &str, address: SocketAddr) -> io::Result<TcpListener> {
    TcpListener::bind(address).await.map_err(|error| {
        io::Error::new(error.kind(), format!("cannot listen on {field} = {address}: {error}"))
    })
}
