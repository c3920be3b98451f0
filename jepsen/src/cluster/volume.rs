//! Where the data of one coordinator is.
//!
//! Owns the file system below a data directory, when faults need one of their own: a small tmpfs
//! that can be full, or an ext4 on a loop device whose power can be cut. It is mounted in the
//! harness's own mount namespace and gone with it. Must not know what the files mean.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
};

use anyhow::Context;

use crate::net::tool;

/// Bytes of a file system. Room for what a coordinator writes in a long run, and quickly filled.
const VOLUME_BYTES: u64 = 192 << 20;

/// Bytes written at once to fill a disk, the last of them in small pieces.
const PIECES: [usize; 2] = [1 << 20, 512];

/// Shuts mounted file systems down without flushing its log: EXT4_IOC_SHUTDOWN with
/// EXT4_GOING_FLAGS_NOLOGFLUSH. Nothing reaches the device from then on.
const SHUTDOWN: &str = "import fcntl, os, struct, sys; \
    [fcntl.ioctl(os.open(root, os.O_RDONLY), 0x8004587d, struct.pack('I', 2)) for root in sys.argv[1:]]";

/// What kind of file system a run needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum VolumeKind {
    /// The one that the results are on.
    Shared,
    /// One in memory of limited size.
    Memory,
    /// One on a disk whose power can be cut.
    Disk,
}

/// Cuts the power of several at one moment: nothing that is written from now on stays, nor what was
/// not synced.
pub(crate) async fn cut_power(volumes: &[&Volume]) -> anyhow::Result<()> {
    let roots: Vec<String> = volumes.iter().map(|one| one.root.display().to_string()).collect();
    let mut arguments = vec!["-c", SHUTDOWN];
    arguments.extend(roots.iter().map(String::as_str));
    tool::run("python3", &arguments).await
}

/// What becomes of data at the end of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Data {
    /// It is there for whoever looks into the run.
    Stays,
    /// It is removed.
    Goes,
}

/// The place of a coordinator's data.
#[derive(Debug)]
pub(crate) struct Volume {
    kind: VolumeKind,
    /// The mount point, or just a directory.
    root: PathBuf,
    image: PathBuf,
}

impl Volume {
    /// Makes it below `dir`, and mounts it.
    pub(crate) async fn create(dir: &Path, kind: VolumeKind) -> anyhow::Result<Self> {
        let volume = Self { kind, root: dir.join("data"), image: dir.join("disk.img") };
        fs::create_dir_all(&volume.root)
            .with_context(|| format!("create {}", volume.root.display()))?;
        match kind {
            VolumeKind::Shared => {}
            VolumeKind::Memory => {
                let size = format!("size={VOLUME_BYTES}");
                let root = volume.root.display().to_string();
                tool::run("mount", &["-t", "tmpfs", "-o", &size, "tmpfs", &root]).await?;
            }
            VolumeKind::Disk => {
                let image = File::create(&volume.image).context("create a disk's image")?;
                image.set_len(VOLUME_BYTES).context("size a disk's image")?;
                let path = volume.image.display().to_string();
                tool::run("mkfs.ext4", &["-q", "-F", "-m", "0", &path]).await?;
                volume.mount().await?;
            }
        }
        fs::create_dir_all(volume.data()).context("create a data directory")?;
        Ok(volume)
    }

    /// The data directory.
    pub(crate) fn data(&self) -> PathBuf {
        match self.kind {
            VolumeKind::Shared => self.root.clone(),
            // Beside the ballast, and beside lost+found.
            VolumeKind::Memory | VolumeKind::Disk => self.root.join("node"),
        }
    }

    /// Makes the data directory empty.
    pub(crate) fn wipe(&self) -> anyhow::Result<()> {
        let data = self.data();
        fs::remove_dir_all(&data).with_context(|| format!("remove {}", data.display()))?;
        fs::create_dir_all(&data).with_context(|| format!("create {}", data.display()))
    }

    /// Fills it to the last byte, or frees it.
    pub(crate) fn fill(&self) -> anyhow::Result<()> {
        let mut ballast = File::create(self.ballast()).context("create the ballast")?;
        for piece in PIECES {
            let bytes = vec![0x51; piece];
            loop {
                match ballast.write_all(&bytes) {
                    Ok(()) => {}
                    Err(error) if error.kind() == io::ErrorKind::StorageFull => break,
                    Err(error) => return Err(error).context("fill a disk"),
                }
            }
        }
        // Blocks are given out late: without this the disk would have room for a while.
        match ballast.sync_all() {
            Err(error) if error.kind() != io::ErrorKind::StorageFull => {
                Err(error).context("fill a disk")
            }
            _ => Ok(()),
        }
    }

    /// Removes what filled it.
    pub(crate) fn free(&self) -> anyhow::Result<()> {
        match fs::remove_file(self.ballast()) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(error).context("remove the ballast")
            }
            _ => Ok(()),
        }
    }

    /// Power is back. Nobody may have a file of it open.
    pub(crate) async fn power_up(&self) -> anyhow::Result<()> {
        tool::run("umount", &[&self.root.display().to_string()]).await?;
        self.mount().await
    }

    /// Leaves the data as ordinary files, or nothing. The coordinator must not run.
    pub(crate) async fn close(&self, data: Data) -> anyhow::Result<()> {
        let root = self.root.display().to_string();
        if self.kind != VolumeKind::Shared {
            let kept = self.root.with_extension("kept");
            if data == Data::Stays {
                let (from, to) = (self.data().display().to_string(), kept.display().to_string());
                tool::run("cp", &["-a", &from, &to]).await?;
            }
            tool::run("umount", &[&root]).await?;
            fs::remove_dir(&self.root).with_context(|| format!("remove {root}"))?;
            if data == Data::Stays {
                fs::rename(&kept, &self.root).with_context(|| format!("name {root}"))?;
            }
            if self.kind == VolumeKind::Disk {
                fs::remove_file(&self.image).context("remove a disk's image")?;
            }
        } else if data == Data::Goes {
            fs::remove_dir_all(&self.root).with_context(|| format!("remove {root}"))?;
        }
        Ok(())
    }

    async fn mount(&self) -> anyhow::Result<()> {
        let (image, root) = (self.image.display().to_string(), self.root.display().to_string());
        tool::run("mount", &["-t", "ext4", "-o", "loop", &image, &root]).await
    }

    fn ballast(&self) -> PathBuf {
        self.root.join("ballast")
    }
}
