//! The configuration file of a coordinator under test.
//!
//! Owns what differs from the defaults: checkpoints and purges come early, so that a short run
//! goes through restarts from a checkpoint and installs on members that lag. Must not know how the
//! file is used.

use std::path::Path;

use quorate_core::MemberId;

use crate::net::{Port, endpoint};

/// The file's text.
pub(crate) fn render(node: MemberId, nodes: &[MemberId], data: &Path) -> String {
    let members: String = nodes
        .iter()
        .map(|member| {
            format!(
                "  {{ id = {member}, peer = \"{}\", client = \"{}\" }},\n",
                endpoint(*member, Port::Peer),
                endpoint(*member, Port::Client)
            )
        })
        .collect();
    format!(
        "[node]\nid = {node}\ndata_dir = {data:?}\n\n\
         [listen]\nclient = \"{}\"\npeer = \"{}\"\nmetrics = \"{}\"\n\n\
         [cluster]\nname = \"jepsen\"\ninitial_members = [\n{members}]\n\n\
         [raft]\ncheckpoint_entries = 100\nkept_entries = 20\npurge_entries = 10\n",
        endpoint(node, Port::Client),
        endpoint(node, Port::Peer),
        endpoint(node, Port::Metrics),
        data = data.display().to_string(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_member_has_its_own_address() {
        let nodes = [MemberId(1), MemberId(2)];
        let text = render(MemberId(2), &nodes, Path::new("/data/2"));
        assert!(text.contains("[node]\nid = 2\ndata_dir = \"/data/2\"\n"), "{text}");
        assert!(text.contains("client = \"10.99.0.2:7102\"\npeer = \"10.99.0.2:7202\""), "{text}");
        assert!(
            text.contains("{ id = 1, peer = \"10.99.0.1:7201\", client = \"10.99.0.1:7101\" }"),
            "{text}"
        );
    }
}
