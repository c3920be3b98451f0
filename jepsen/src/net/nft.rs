//! Cuts ways with nftables, on the bridge that all hosts are on, or makes them lose packets.
//!
//! Owns one `table bridge` with sets of (sender, receiver) pairs: packets of a pair in the set of
//! cut ways are dropped without a sign, as a broken switch would; those of a pair in a set of
//! losses are dropped by lot. Replacing the elements is one transaction, so a partition of any
//! shape begins and ends at once everywhere. What several faults cut or lose adds up. Must not know
//! shapes.
//!
//! ARP passes: a host that is cut off looks silent, not absent.

use std::collections::BTreeMap;

use tokio::sync::Mutex;

use super::{CutSet, tool};
use crate::history::FaultId;

/// Of a hundred packets so many can be lost: each has a set of its own.
pub(crate) const PERCENTS: [u8; 4] = [5, 20, 30, 60];

/// The three places where packets pass a bridge: between two of its ports, from a port to the
/// harness, from the harness to a port.
const PLACES: [(&str, &str); 3] =
    [("between", "forward"), ("inwards", "input"), ("outwards", "output")];

/// The filter on the bridge.
pub(crate) struct Firewall {
    /// What each fault does to the network. Held while the tool runs, so that the newest state is
    /// the one that stays.
    faults: Mutex<BTreeMap<FaultId, Disturbance>>,
}

/// What one fault does to the network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Disturbance {
    /// These ways are cut.
    Cut(CutSet),
    /// On these ways so many of a hundred packets get lost; one of [`PERCENTS`].
    Lose(CutSet, u8),
}

impl Firewall {
    /// Installs the table; nothing is cut yet.
    pub(crate) async fn install() -> anyhow::Result<Self> {
        tool::run_with_input("nft", &["-f", "-"], &table()).await?;
        Ok(Self { faults: Mutex::new(BTreeMap::new()) })
    }

    /// Disturbs the network on behalf of a fault, in one transaction.
    pub(crate) async fn disturb(&self, fault: FaultId, what: Disturbance) -> anyhow::Result<()> {
        let mut faults = self.faults.lock().await;
        faults.insert(fault, what);
        apply(&faults).await
    }

    /// Ends what a fault does to the network, in one transaction.
    pub(crate) async fn heal(&self, fault: FaultId) -> anyhow::Result<()> {
        let mut faults = self.faults.lock().await;
        faults.remove(&fault);
        apply(&faults).await
    }
}

async fn apply(faults: &BTreeMap<FaultId, Disturbance>) -> anyhow::Result<()> {
    tool::run_with_input("nft", &["-f", "-"], &render(faults)).await
}

/// The table, with nothing in its sets.
fn table() -> String {
    let set = |name: String| format!("  set {name} {{ type ipv4_addr . ipv4_addr; }}\n");
    let rule = |name: String, lot: String| format!(" ip saddr . ip daddr @{name}{lot} drop;");
    let mut sets = set("cut".to_owned());
    let mut rules = rule("cut".to_owned(), String::new());
    for percent in PERCENTS {
        sets.push_str(&set(format!("lose{percent}")));
        let lot = format!(" numgen random mod 100 < {percent}");
        rules.push_str(&rule(format!("lose{percent}"), lot));
    }
    let chains: String = PLACES
        .iter()
        .map(|(name, hook)| {
            let hook = format!("type filter hook {hook} priority 0; policy accept;");
            format!("  chain {name} {{ {hook}{rules} }}\n")
        })
        .collect();
    format!("table bridge quorate {{\n{sets}{chains}}}\n")
}

/// The transaction that leaves exactly these disturbances.
fn render(faults: &BTreeMap<FaultId, Disturbance>) -> String {
    let cuts = faults.values().filter_map(|fault| match fault {
        Disturbance::Cut(ways) => Some(ways),
        Disturbance::Lose(..) => None,
    });
    let mut text = replace("cut", cuts);
    for percent in PERCENTS {
        let ways = faults.values().filter_map(|fault| match fault {
            Disturbance::Lose(ways, of) if *of == percent => Some(ways),
            _ => None,
        });
        text.push_str(&replace(&format!("lose{percent}"), ways));
    }
    text
}

fn replace<'a>(set: &str, ways: impl Iterator<Item = &'a CutSet>) -> String {
    let mut text = format!("flush set bridge quorate {set}\n");
    let pairs: std::collections::BTreeSet<String> = ways
        .flat_map(CutSet::iter)
        .map(|(from, to)| format!("{} . {}", from.address(), to.address()))
        .collect();
    if !pairs.is_empty() {
        let pairs: Vec<String> = pairs.into_iter().collect();
        text.push_str(&format!("add element bridge quorate {set} {{ {} }}\n", pairs.join(", ")));
    }
    text
}

#[cfg(test)]
mod tests {
    use quorate_core::MemberId;

    use super::*;
    use crate::net::Host;

    const EMPTY: &str = "flush set bridge quorate cut\n\
        flush set bridge quorate lose5\nflush set bridge quorate lose20\n\
        flush set bridge quorate lose30\nflush set bridge quorate lose60\n";

    #[test]
    fn a_partition_is_one_transaction() {
        let mut cuts = CutSet::default();
        cuts.one_way(Host::Node(MemberId(2)), Host::Clients);
        cuts.both_ways(Host::Node(MemberId(1)), Host::Node(MemberId(3)));
        let text = render(&BTreeMap::from([(FaultId(1), Disturbance::Cut(cuts))]));
        let added = "add element bridge quorate cut { 10.99.0.1 . 10.99.0.3, \
             10.99.0.2 . 10.99.0.254, 10.99.0.3 . 10.99.0.1 }\n";
        assert_eq!(text.replace(added, ""), EMPTY);
        assert!(text.contains(added), "{text}");
    }

    #[test]
    fn what_several_faults_do_adds_up() {
        let way = |from, to| {
            let mut ways = CutSet::default();
            ways.one_way(Host::Node(MemberId(from)), Host::Node(MemberId(to)));
            ways
        };
        let text = render(&BTreeMap::from([
            (FaultId(1), Disturbance::Cut(way(1, 2))),
            (FaultId(2), Disturbance::Lose(way(1, 3), 20)),
            (FaultId(3), Disturbance::Cut(way(2, 1))),
        ]));
        for part in [
            "quorate cut { 10.99.0.1 . 10.99.0.2, 10.99.0.2 . 10.99.0.1 }",
            "quorate lose20 { 10.99.0.1 . 10.99.0.3 }",
        ] {
            assert!(text.contains(part), "{text}");
        }
    }

    #[test]
    fn healing_empties_the_sets() {
        assert_eq!(render(&BTreeMap::new()), EMPTY);
    }

    #[test]
    fn packets_are_lost_by_lot_in_every_place() {
        let rule = "ip saddr . ip daddr @lose30 numgen random mod 100 < 30 drop;";
        assert_eq!(table().matches(rule).count(), 3, "{}", table());
    }
}
