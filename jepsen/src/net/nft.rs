//! Cuts ways with nftables, on the bridge that all hosts are on.
//!
//! Owns one `table bridge` with one set of (sender, receiver) pairs: packets of a pair in the set
//! are dropped without a sign, as a broken switch would. Replacing the set's elements is one
//! transaction, so a partition of any shape begins and ends at once everywhere. Must not know
//! shapes.
//!
//! ARP passes: a host that is cut off looks silent, not absent.

use super::{CutSet, tool};

/// The table, its set and the three places where packets pass a bridge: between two of its ports,
/// from a port to the harness, from the harness to a port.
const TABLE: &str = "\
table bridge quorate {
  set cut { type ipv4_addr . ipv4_addr; }
  chain between { type filter hook forward priority 0; policy accept; ip saddr . ip daddr @cut drop; }
  chain inwards { type filter hook input priority 0; policy accept; ip saddr . ip daddr @cut drop; }
  chain outwards { type filter hook output priority 0; policy accept; ip saddr . ip daddr @cut drop; }
}
";

/// The filter on the bridge.
pub(crate) struct Firewall {
    _installed: (),
}

impl Firewall {
    /// Installs the table; nothing is cut yet.
    pub(crate) async fn install() -> anyhow::Result<Self> {
        tool::run_with_input("nft", &["-f", "-"], TABLE).await?;
        Ok(Self { _installed: () })
    }

    /// Cuts exactly these ways, in one transaction.
    pub(crate) async fn cut(&self, cuts: &CutSet) -> anyhow::Result<()> {
        tool::run_with_input("nft", &["-f", "-"], &render(cuts)).await
    }
}

/// The transaction that leaves exactly these ways cut.
fn render(cuts: &CutSet) -> String {
    let mut text = "flush set bridge quorate cut\n".to_owned();
    let pairs: Vec<String> =
        cuts.iter().map(|(from, to)| format!("{} . {}", from.address(), to.address())).collect();
    if !pairs.is_empty() {
        text.push_str(&format!("add element bridge quorate cut {{ {} }}\n", pairs.join(", ")));
    }
    text
}

#[cfg(test)]
mod tests {
    use quorate_core::MemberId;

    use super::*;
    use crate::net::Host;

    #[test]
    fn a_partition_is_one_transaction() {
        let mut cuts = CutSet::default();
        cuts.one_way(Host::Node(MemberId(2)), Host::Clients);
        cuts.both_ways(Host::Node(MemberId(1)), Host::Node(MemberId(3)));
        assert_eq!(
            render(&cuts),
            "flush set bridge quorate cut\n\
             add element bridge quorate cut { 10.99.0.1 . 10.99.0.3, 10.99.0.2 . 10.99.0.254, 10.99.0.3 . 10.99.0.1 }\n"
        );
    }

    #[test]
    fn healing_empties_the_set() {
        assert_eq!(render(&CutSet::default()), "flush set bridge quorate cut\n");
    }
}
