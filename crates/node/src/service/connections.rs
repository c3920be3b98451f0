//! Client connections, counted and limited: one too many is closed as soon as it is accepted.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use futures::{Stream, StreamExt as _};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    sync::{OwnedSemaphorePermit, Semaphore},
};
use tonic::transport::server::{Connected, TcpConnectInfo};

use crate::metrics::ConnectionMetrics;

/// Lets at most `max` of the incoming connections be open at a time.
pub(crate) fn limit(
    incoming: impl Stream<Item = io::Result<TcpStream>>,
    max: usize,
    metrics: ConnectionMetrics,
) -> impl Stream<Item = io::Result<Connection>> {
    let places = Arc::new(Semaphore::new(max));
    incoming.filter_map(move |stream| {
        let admitted = stream.map(|stream| Connection::admit(stream, &places, &metrics));
        std::future::ready(admitted.transpose())
    })
}

/// A connection that holds its place under the limit while it is open.
pub(crate) struct Connection {
    stream: TcpStream,
    metrics: ConnectionMetrics,
    _place: OwnedSemaphorePermit,
}

impl Connection {
    fn admit(
        stream: TcpStream,
        places: &Arc<Semaphore>,
        metrics: &ConnectionMetrics,
    ) -> Option<Self> {
        let Ok(place) = places.clone().try_acquire_owned() else {
            metrics.refused.inc();
            tracing::debug!("a connection was refused: limits.connections_max are open");
            return None;
        };
        metrics.open.inc();
        Some(Self { stream, metrics: metrics.clone(), _place: place })
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.metrics.open.dec();
    }
}

impl Connected for Connection {
    type ConnectInfo = TcpConnectInfo;

    fn connect_info(&self) -> TcpConnectInfo {
        self.stream.connect_info()
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;
    use tokio_stream::wrappers::TcpListenerStream;

    use super::*;
    use crate::metrics::Metrics;

    #[tokio::test]
    async fn one_connection_too_many_is_closed_and_a_place_is_given_back() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let metrics = Metrics::new().connections;
        let mut accepted = Box::pin(limit(TcpListenerStream::new(listener), 1, metrics.clone()));
        let _first = TcpStream::connect(address).await.unwrap();
        let place = accepted.next().await.unwrap().unwrap();
        let second = TcpStream::connect(address).await.unwrap();
        let closed = async {
            second.readable().await.unwrap();
            second.try_read(&mut [0]).unwrap()
        };
        tokio::select! {
            biased;
            admitted = accepted.next() => panic!("there was no place: {}", admitted.is_some()),
            read = closed => assert_eq!(read, 0, "closed"),
        }
        assert_eq!((metrics.open.get(), metrics.refused.get()), (1, 1));
        drop(place);
        let _third = TcpStream::connect(address).await.unwrap();
        let place = accepted.next().await.unwrap().unwrap();
        assert_eq!((metrics.open.get(), metrics.refused.get()), (1, 1));
        drop(place);
        assert_eq!(metrics.open.get(), 0);
    }
}
