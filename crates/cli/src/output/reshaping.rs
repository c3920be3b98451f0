//! What splitting and merging partitions do, as text and as JSON. Pure.

use std::fmt::Write;

use quorate_core::{
    Name,
    plan::{PartitionChange, Reshaping},
};
use serde_json::{Value, json};

use super::text::shorten;

/// For a person. `revision`: where it was done; None: it would be.
pub(crate) fn reshaping_text(it: &Reshaping, revision: Option<u64>) -> String {
    let has = match revision {
        Some(revision) => format!("has, since revision {revision},"),
        None => "would have".to_owned(),
    };
    let mut out = format!(
        "Network {} {has} {} partitions instead of {}, {} instead of {} bytes/s across.\n",
        it.network,
        it.partitions_after,
        it.partitions_before,
        it.cut_rate_after,
        it.cut_rate_before
    );
    for change in &it.changes {
        write!(out, "\n{}", change_text(change)).expect("a String takes everything");
    }
    out
}

fn change_text(it: &PartitionChange) -> String {
    let mut out = match (it.load_ppm_before, it.processes, it.stops.is_empty()) {
        (before, 0, _) => format!("{}  goes; its load was {}\n", it.id, percent(before)),
        (0, count, true) => {
            format!("{}  is new: processes {count}, load {}\n", it.id, percent(it.load_ppm_after))
        }
        (before, count, _) => {
            let (before, after) = (percent(before), percent(it.load_ppm_after));
            format!("{}  has processes {count}, load {before} -> {after}\n", it.id)
        }
    };
    let who = match &it.owner {
        Some(owner) => format!("{owner} has to "),
        None => "nobody owns it yet; ".to_owned(),
    };
    for (what, ids) in [("stop", &it.stops), ("start", &it.starts)] {
        if !ids.is_empty() {
            writeln!(out, "  {who}{what} {}", list(ids)).expect("a String takes everything");
        }
    }
    out
}

fn list(ids: &[Name]) -> String {
    let ids: Vec<&str> = ids.iter().map(Name::as_str).collect();
    format!("{}: {}", ids.len(), shorten(&ids.join(", ")))
}

fn percent(ppm: u64) -> String {
    format!("{}.{}%", ppm / 10_000, ppm % 10_000 / 1_000)
}

/// For programs.
pub(crate) fn reshaping_json(it: &Reshaping) -> Value {
    let texts = |ids: &[Name]| ids.iter().map(ToString::to_string).collect::<Vec<_>>();
    let change = |it: &PartitionChange| {
        json!({
            "id": it.id.to_string(),
            "owner": it.owner.as_ref().map(ToString::to_string),
            "processes": it.processes,
            "stops": texts(&it.stops),
            "starts": texts(&it.starts),
            "load_ppm_before": it.load_ppm_before,
            "load_ppm_after": it.load_ppm_after,
        })
    };
    json!({
        "network": it.network.to_string(),
        "partitions_before": it.partitions_before,
        "partitions_after": it.partitions_after,
        "cut_rate_before": it.cut_rate_before,
        "cut_rate_after": it.cut_rate_after,
        "changes": it.changes.iter().map(change).collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use quorate_core::PartitionId;

    use super::*;

    #[test]
    fn who_has_to_restart_what_is_told() {
        let name = |text: &str| Name::new(text).unwrap();
        let id = |index| PartitionId { network: name("net"), index };
        let kept = PartitionChange {
            id: id(0),
            owner: Some(name("w1")),
            starts: vec![],
            stops: vec![name("b")],
            processes: 1,
            load_ppm_before: 500_000,
            load_ppm_after: 250_000,
        };
        let new = PartitionChange {
            id: id(2),
            owner: None,
            starts: vec![name("b")],
            stops: vec![],
            processes: 1,
            load_ppm_before: 0,
            load_ppm_after: 250_000,
        };
        let reshaping = Reshaping {
            network: name("net"),
            partitions_before: 2,
            partitions_after: 3,
            cut_rate_before: 10,
            cut_rate_after: 20,
            changes: vec![kept, new],
        };
        let text = reshaping_text(&reshaping, Some(7));
        let expected = "\
Network net has, since revision 7, 3 partitions instead of 2, 20 instead of 10 bytes/s across.

net/0  has processes 1, load 50.0% -> 25.0%
  w1 has to stop 1: b

net/2  is new: processes 1, load 25.0%
  nobody owns it yet; start 1: b
";
        assert_eq!(text, expected);
        assert!(reshaping_text(&reshaping, None).starts_with("Network net would have 3"));
        assert_eq!(reshaping_json(&reshaping)["changes"][0]["stops"][0], "b");
    }
}
