//! Reads one number from a coordinator's metrics page.
//!
//! Owns just enough of HTTP and of the text format for that. Must not know what the number means.

use quorate_core::MemberId;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::net::{Port, endpoint};

/// The largest page that is read.
const PAGE_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// The metric's value; none: the coordinator does not answer, or has no such metric.
pub(super) async fn value(node: MemberId, metric: &str) -> Option<u64> {
    find(&page(&endpoint(node, Port::Metrics)).await.ok()?, metric)
}

async fn page(address: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    let request = format!("GET /metrics HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut text = String::new();
    stream.take(PAGE_BYTES_MAX).read_to_string(&mut text).await?;
    Ok(text)
}

/// The first sample of a metric without labels.
fn find(page: &str, metric: &str) -> Option<u64> {
    page.lines().find_map(|line| line.strip_prefix(metric)?.strip_prefix(' ')?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_is_found_by_its_whole_name() {
        let page = "# TYPE installs_total counter\ninstalls_total_x 9\ninstalls_total 3\n";
        assert_eq!(find(page, "installs_total"), Some(3));
        assert_eq!(find(page, "installs"), None);
    }
}
