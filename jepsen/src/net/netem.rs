//! Makes what a host sends late, with the kernel's network emulator.
//!
//! Owns the queueing discipline of each host's interface. What comes later replaces what was there.
//! Must not know why.

use std::time::Duration;

use quorate_core::MemberId;

use super::namespace;

/// Everything that a coordinator sends comes so much later, give or take.
pub(crate) async fn delay(node: MemberId, by: Duration, jitter: Duration) -> anyhow::Result<()> {
    let (by, jitter) = (format!("{}ms", by.as_millis()), format!("{}ms", jitter.as_millis()));
    let mut arguments = vec!["tc", "qdisc", "replace", "dev", "eth0", "root", "netem"];
    arguments.extend(["delay", &by]);
    if jitter != "0ms" {
        arguments.push(&jitter);
    }
    namespace::run_on(node, &arguments).await
}

/// What it sends is in time again.
pub(crate) async fn heal(node: MemberId) -> anyhow::Result<()> {
    namespace::run_on(node, &["tc", "qdisc", "replace", "dev", "eth0", "root", "pfifo"]).await
}
