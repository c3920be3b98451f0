//! The configuration file of a coordinator under test.
//!
//! Owns what differs from the defaults: checkpoints and purges come early, so that a short run
//! goes through restarts from a checkpoint and installs on members that lag. Must not know how the
//! file is used.

use std::path::Path;

use quorate_core::MemberId;

use crate::net::{Port, endpoint};

/// When checkpoints are made, and how much of the log is kept behind them; in log entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Raft {
    checkpoint: u64,
    kept: u64,
    purge: u64,
}

impl Raft {
    /// Often enough for a short run to make many.
    pub(crate) const OFTEN: Self = Self { checkpoint: 100, kept: 20, purge: 10 };

    /// All the time.
    pub(crate) const ALWAYS: Self = Self { checkpoint: 20, kept: 5, purge: 2 };
}

/// The file of a member that founds the cluster; each is on the host of its number.
pub(crate) fn founder(node: MemberId, founders: &[MemberId], data: &Path, raft: Raft) -> String {
    let members: String = founders
        .iter()
        .map(|member| {
            format!(
                "  {{ id = {member}, peer = \"{}\", client = \"{}\" }},\n",
                endpoint(*member, Port::Peer),
                endpoint(*member, Port::Client)
            )
        })
        .collect();
    render(node, node, data, raft, &format!("initial_members = [\n{members}]"))
}

/// The file of a member on this host that joins the cluster through members on these hosts.
pub(crate) fn joiner(
    member: MemberId,
    host: MemberId,
    through: &[MemberId],
    data: &Path,
    raft: Raft,
) -> String {
    let peers: Vec<String> =
        through.iter().map(|host| format!("{:?}", endpoint(*host, Port::Peer))).collect();
    render(member, host, data, raft, &format!("join = [{}]", peers.join(", ")))
}

fn render(member: MemberId, host: MemberId, data: &Path, raft: Raft, cluster: &str) -> String {
    let Raft { checkpoint, kept, purge } = raft;
    format!(
        "[node]\nid = {member}\ndata_dir = {data:?}\n\n\
         [listen]\nclient = \"{}\"\npeer = \"{}\"\nmetrics = \"{}\"\n\n\
         [cluster]\nname = \"jepsen\"\n{cluster}\n\n\
         [raft]\ncheckpoint_entries = {checkpoint}\nkept_entries = {kept}\npurge_entries = {purge}\n",
        endpoint(host, Port::Client),
        endpoint(host, Port::Peer),
        endpoint(host, Port::Metrics),
        data = data.display().to_string(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_member_has_its_own_address() {
        let nodes = [MemberId(1), MemberId(2)];
        let text = founder(MemberId(2), &nodes, Path::new("/data/2"), Raft::OFTEN);
        assert!(text.contains("[node]\nid = 2\ndata_dir = \"/data/2\"\n"), "{text}");
        assert!(text.contains("client = \"10.99.0.2:7102\"\npeer = \"10.99.0.2:7202\""), "{text}");
        assert!(
            text.contains("{ id = 1, peer = \"10.99.0.1:7201\", client = \"10.99.0.1:7101\" }"),
            "{text}"
        );
    }

    #[test]
    fn one_that_joins_has_the_address_of_its_host() {
        let (member, host) = (MemberId(17), MemberId(3));
        let data = Path::new("/data/3");
        let text = joiner(member, host, &[MemberId(1), MemberId(2)], data, Raft::ALWAYS);
        assert!(text.contains("id = 17\n") && text.contains("peer = \"10.99.0.3:7203\""), "{text}");
        assert!(text.contains("join = [\"10.99.0.1:7201\", \"10.99.0.2:7202\"]"), "{text}");
        assert!(text.contains("checkpoint_entries = 20\n"), "{text}");
    }
}
