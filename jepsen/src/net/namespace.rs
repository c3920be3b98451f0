//! Builds the hosts: a network namespace per coordinator, all on one bridge.
//!
//! Owns names of namespaces and interfaces. Runs inside namespaces that [`super::isolate`] made, so
//! nothing outside is touched and everything is gone with the last process. Must not know what the
//! hosts run.
//!
//! ```text
//!   node1: eth0 10.99.0.1 --- v1 \
//!   node2: eth0 10.99.0.2 --- v2 -- br0 10.99.0.254: the harness and its clients
//!   node3: eth0 10.99.0.3 --- v3 /
//! ```

use anyhow::Context;
use quorate_core::MemberId;
use tokio::process::Command;

use super::{Host, tool};

const BRIDGE: &str = "br0";

/// Builds the bridge and all hosts.
pub(crate) async fn build(nodes: &[MemberId]) -> anyhow::Result<()> {
    // `ip netns` keeps its handles in /run, which a plain user cannot write.
    tool::run("mount", &["-t", "tmpfs", "tmpfs", "/run"]).await?;
    ip("link set lo up").await?;
    ip(&format!("link add {BRIDGE} type bridge")).await?;
    ip(&format!("addr add {}/24 dev {BRIDGE}", Host::Clients.address())).await?;
    ip(&format!("link set {BRIDGE} up")).await?;
    for node in nodes {
        host(*node).await.with_context(|| format!("make the host of coordinator {node}"))?;
    }
    Ok(())
}

/// A command that will run on a coordinator's host. Becomes the program itself: the process id is
/// the program's. It shares the harness's mounts, so that an unmounted volume is gone everywhere.
pub(crate) fn command_on(node: MemberId) -> Command {
    let mut command = tool::command("nsenter");
    command.arg(format!("--net=/run/netns/{}", name(node)));
    command
}

/// Runs a tool on a coordinator's host to its end.
pub(crate) async fn run_on(node: MemberId, command: &[&str]) -> anyhow::Result<()> {
    let net = format!("--net=/run/netns/{}", name(node));
    let mut arguments = vec![net.as_str()];
    arguments.extend(command);
    tool::run("nsenter", &arguments).await
}

async fn host(node: MemberId) -> anyhow::Result<()> {
    let (name, port) = (name(node), format!("v{node}"));
    ip(&format!("netns add {name}")).await?;
    ip(&format!("link add {port} type veth peer name eth0 netns {name}")).await?;
    ip(&format!("link set {port} master {BRIDGE} up")).await?;
    ip(&format!("-n {name} addr add {}/24 dev eth0", Host::Node(node).address())).await?;
    ip(&format!("-n {name} link set eth0 up")).await?;
    ip(&format!("-n {name} link set lo up")).await
}

async fn ip(arguments: &str) -> anyhow::Result<()> {
    let arguments: Vec<&str> = arguments.split(' ').collect();
    tool::run("ip", &arguments).await
}

fn name(node: MemberId) -> String {
    format!("node{node}")
}
