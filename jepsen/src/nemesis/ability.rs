//! What each class of faults needs of the machine, and whether it is there.
//!
//! Owns the trials: what a class does is tried out in namespaces of its own, rather than guessed
//! from versions and names. Must not know when faults are made.

use std::path::PathBuf;

use super::fault::FaultClass;
use crate::{
    cluster::{config::Raft, volume::VolumeKind, wall},
    net::tool,
};

/// Drops packets by lot.
const LOSS: &str = "nft add table bridge trial && nft add chain bridge trial c \
    '{ type filter hook forward priority 0; }' && \
    nft add rule bridge trial c numgen random mod 100 '<' 5 drop";

/// Delays packets.
const DELAY: &str = "ip link set lo up && tc qdisc add dev lo root netem delay 1ms";

/// Traces a process for a moment; 124 says that it was still being traced when the time was up.
const TRACE: &str = "sleep 5 & s=$!; timeout -s INT 0.4 strace -f -o /dev/null -e trace=fsync \
    -e inject=fsync:delay_enter=1000 -p $s; [ $? = 124 ]; e=$?; kill $s; exit $e";

/// Mounts a file system on a loop device.
const POWER: &str = "d=$(mktemp -d) && mount -t tmpfs tmpfs $d && truncate -s 8M $d/i && \
    mkfs.ext4 -q -F $d/i && mkdir $d/m && mount -t ext4 -o loop $d/i $d/m && umount $d/m && \
    umount $d && rmdir $d";

/// The class's tools and where they come from.
const fn tools(class: FaultClass) -> &'static [(&'static str, &'static str)] {
    match class {
        FaultClass::Delay => &[("tc", "iproute2")],
        FaultClass::SlowDisk => &[("strace", "strace")],
        FaultClass::Power => &[("mkfs.ext4", "e2fsprogs"), ("python3", "python3")],
        _ => &[],
    }
}

/// Whether this machine, on which the harness itself can run, can run a class; if not, why.
pub(crate) async fn find(class: FaultClass) -> Result<(), String> {
    let missing: Vec<_> =
        tools(class).iter().filter(|(name, _)| !tool::is_installed(name)).collect();
    if let Some((name, package)) = missing.first() {
        return Err(format!("{name} not found (apt-get install {package})"));
    }
    match class {
        FaultClass::Loss => attempt(LOSS, "nftables cannot draw lots here (numgen)").await,
        FaultClass::Delay => attempt(DELAY, "the kernel has no netem (module sch_netem)").await,
        FaultClass::SlowDisk => attempt(TRACE, "processes cannot be traced here").await,
        FaultClass::Power => attempt(POWER, "needs root and loop devices with ext4").await,
        FaultClass::Clock if wall::library().is_none() => {
            Err("libfaketime not found (apt-get install libfaketime)".to_owned())
        }
        _ => Ok(()),
    }
}

/// The classes that a mixed run mixes here.
pub(crate) async fn all_here() -> Vec<FaultClass> {
    let mut can = Vec::new();
    for class in FaultClass::ALL {
        let real = !matches!(class, FaultClass::None | FaultClass::Mixed);
        if real && find(class).await.is_ok() {
            can.push(class);
        }
    }
    can
}

/// What a cluster must be made of for its faults.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Needs {
    /// Where data is.
    pub(crate) volume: VolumeKind,
    /// The library that moves wall clocks.
    pub(crate) faketime: Option<PathBuf>,
    /// When checkpoints are made.
    pub(crate) raft: Raft,
}

impl Needs {
    /// What these classes need.
    pub(crate) fn of(classes: &[FaultClass]) -> Self {
        let has = |class| classes.contains(&class);
        Self {
            volume: if has(FaultClass::Power) {
                VolumeKind::Disk
            } else if has(FaultClass::Disk) {
                VolumeKind::Memory
            } else {
                VolumeKind::Shared
            },
            faketime: if has(FaultClass::Clock) { wall::library() } else { None },
            raft: if has(FaultClass::Compact) { Raft::ALWAYS } else { Raft::OFTEN },
        }
    }
}

async fn attempt(script: &str, otherwise: &str) -> Result<(), String> {
    let user: &[&str] = if rustix::process::geteuid().is_root() {
        &["-n", "-m"]
    } else {
        &["-U", "-r", "-n", "-m"]
    };
    let mut command = tool::command("unshare");
    let output = command.args(user).args(["sh", "-c", script]).output().await;
    match output {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stderr);
            let said = said.lines().next().unwrap_or_default().trim();
            Err(format!("{otherwise}{}{said}", if said.is_empty() { "" } else { ": " }))
        }
        Err(error) => Err(format!("{otherwise}: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_gets_what_its_faults_need_and_no_more() {
        let plain = Needs::of(&[FaultClass::Kill]);
        assert_eq!((plain.volume, plain.raft), (VolumeKind::Shared, Raft::OFTEN));
        assert_eq!(plain.faketime, None);
        let disk = Needs::of(&[FaultClass::Disk, FaultClass::Compact]);
        assert_eq!((disk.volume, disk.raft), (VolumeKind::Memory, Raft::ALWAYS));
        assert_eq!(Needs::of(&[FaultClass::Disk, FaultClass::Power]).volume, VolumeKind::Disk);
    }

    #[tokio::test]
    async fn what_cannot_be_done_says_why() {
        let told = attempt("echo nothing works >&2; exit 1", "no luck").await.unwrap_err();
        assert!(told.starts_with("no luck: "), "{told}");
        assert_eq!(find(FaultClass::Kill).await, Ok(()));
    }
}
