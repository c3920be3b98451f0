//! Connections to the members, set up as the Quorate client sets up its own.

use std::time::Duration;

use anyhow::Result;
use tonic::transport::{Channel, Endpoint};

const STREAM_WINDOW_BYTES: u32 = 1 << 20;
const CONNECTION_WINDOW_BYTES: u32 = 16 << 20;
const TIMEOUT: Duration = Duration::from_secs(5);

/// `count` connections, spread over the members in turn.
pub(crate) async fn connect(endpoints: &[String], count: u32) -> Result<Vec<Channel>> {
    let mut channels = Vec::new();
    for endpoint in endpoints.iter().cycle().take(count.max(1) as usize) {
        let endpoint = Endpoint::from_shared(format!("http://{endpoint}"))?
            .connect_timeout(TIMEOUT)
            .tcp_nodelay(true)
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES);
        channels.push(endpoint.connect().await?);
    }
    Ok(channels)
}
