//! What `quorate dev` says when the cluster serves.

use std::{env, fmt::Write};

use serde::Serialize;

use super::layout::{BASE_PORT, Layout};

/// The cluster serves.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Welcome {
    event: &'static str,
    endpoints: Vec<String>,
    dir: String,
    temporary: bool,
    leader_id: u64,
    members: Vec<Line>,
    /// Where this binary is, if a shell does not find it.
    #[serde(skip)]
    folder_off_path: Option<String>,
}

/// One coordinator.
#[derive(Debug, Clone, Serialize)]
struct Line {
    member_id: u64,
    endpoint: String,
    metrics: String,
    config: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pid: Option<u32>,
}

impl Welcome {
    /// What to say of this cluster.
    pub(super) fn new(
        layout: &Layout,
        pids: &[(quorate_core::MemberId, u32)],
        leader_id: u64,
    ) -> Self {
        let line = |member: &super::layout::Member| Line {
            member_id: member.id().get(),
            endpoint: member.config.listen.client.to_string(),
            metrics: format!("http://{}/metrics", member.config.listen.metrics),
            config: member.file.display().to_string(),
            pid: pids.iter().find(|(id, _)| *id == member.id()).map(|(_, pid)| *pid),
        };
        Self {
            event: "ready",
            endpoints: layout.endpoints(),
            dir: layout.dir.display().to_string(),
            temporary: layout.is_temporary(),
            leader_id,
            members: layout.members.iter().map(line).collect(),
            folder_off_path: folder_off_path(),
        }
    }

    /// The text for people.
    pub(super) fn text(&self) -> String {
        let mut text = String::from("Three coordinators are running:\n\n");
        for line in &self.members {
            let Line { member_id, endpoint, metrics, .. } = line;
            let pid = line.pid.map(|pid| format!("  pid {pid}")).unwrap_or_default();
            let leads = if *member_id == self.leader_id { "  leads" } else { "" };
            // Writing to a String cannot fail.
            let _ = writeln!(text, "  member {member_id}  {endpoint}  {metrics}{pid}{leads}");
        }
        let fate = if self.temporary { "removed at the end" } else { "kept" };
        let _ = writeln!(text, "\nData: {} ({fate})", self.dir);
        text.push_str("\nTry next, in another terminal:\n\n");
        for step in self.steps() {
            let _ = writeln!(text, "  {step}");
        }
        text.push_str("\nCtrl-C stops it. What happens from here on:");
        text
    }

    fn steps(&self) -> Vec<String> {
        let mut steps = Vec::new();
        if let Some(folder) = &self.folder_off_path {
            steps.push(format!("export PATH={folder}:$PATH"));
        }
        if !self.endpoints[0].ends_with(&format!(":{}", BASE_PORT + 1)) {
            steps.push(format!("export QUORATE_ENDPOINTS={}", self.endpoints.join(",")));
        }
        steps.extend(
            [
                "quorate status",
                "quorate kv put greeting hello",
                "quorate kv get greeting",
                "quorate watch --snapshot",
                "quorate network apply config/networks/clickstream.toml --partitions 3",
                "quorate worker register --name w1    # owns partitions until Ctrl-C",
            ]
            .map(str::to_owned),
        );
        let leader = self.members.iter().find(|line| line.member_id == self.leader_id);
        if let Some(Line { pid: Some(pid), config, member_id, .. }) = leader {
            steps.push(format!("kill -9 {pid}    # the leader; see it go on"));
            steps.push(format!(
                "quorate serve --config {config}    # bring member {member_id} back"
            ));
        }
        steps
    }
}

fn folder_off_path() -> Option<String> {
    let program = env::current_exe().ok()?;
    let folder = program.parent()?;
    let path = env::var_os("PATH").unwrap_or_default();
    let found = env::split_paths(&path).any(|searched| searched == folder);
    (!found).then(|| folder.display().to_string())
}

#[cfg(test)]
mod tests {
    use quorate_core::MemberId;

    use super::*;

    #[test]
    fn it_names_every_member_and_what_to_try() {
        let layout = Layout::open(None, Some(0)).unwrap();
        let pids = [(MemberId(1), 11), (MemberId(2), 22), (MemberId(3), 33)];
        let welcome = Welcome::new(&layout, &pids, 2);
        let text = welcome.text();
        for endpoint in layout.endpoints() {
            assert!(text.contains(&endpoint), "{text}");
        }
        assert!(text.contains("kill -9 22 "), "{text}");
        assert!(text.contains("removed at the end"), "{text}");
        assert!(text.contains("export QUORATE_ENDPOINTS="), "{text}");
        let json = serde_json::to_value(&welcome).unwrap();
        assert_eq!(json["event"], "ready");
        assert_eq!(json["members"][2]["pid"], 33);
        assert_eq!(json["endpoints"].as_array().unwrap().len(), 3);
        layout.close().unwrap();
    }
}
