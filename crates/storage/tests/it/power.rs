//! A power cut on a real file system: ext4 on a loop device, shut down while a process writes.
//!
//! Needs root, loop devices, `mkfs.ext4` and `python3` (for the ioctl); says so and does nothing
//! where it cannot. `QUORATE_POWER_CUTS` sets how many cuts there are.

use std::{
    io::{Read, Write},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use crate::{
    kill::{SMALL_JOURNAL, Worker, whole_journal},
    model::{Ends, Model},
    support::{Draw, Store, sled_disk},
};

/// Shuts a mounted file system down without flushing its log: EXT4_IOC_SHUTDOWN with
/// EXT4_GOING_FLAGS_NOLOGFLUSH. Nothing reaches the device from then on. Says when it is ready, and
/// waits for a byte.
const SHUTDOWN: &str = "import fcntl, os, struct, sys; \
    mount = os.open(sys.argv[1], os.O_RDONLY); \
    os.write(1, b'.'); os.read(0, 1); \
    fcntl.ioctl(mount, 0x8004587d, struct.pack('I', 2))";

/// How many cuts there are.
const CUTS: &str = "QUORATE_POWER_CUTS";

fn command(name: &str, arguments: &[&str]) -> Result<(), String> {
    let output = Command::new(name)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("{name}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("{name} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr).trim()))
}

/// A file system of our own, unmounted at the end.
struct Volume {
    image: PathBuf,
    mount: PathBuf,
}

impl Volume {
    fn create(dir: &Path) -> Result<Self, String> {
        let volume = Self { image: dir.join("image"), mount: dir.join("mount") };
        std::fs::create_dir(&volume.mount).map_err(|error| error.to_string())?;
        let file = std::fs::File::create(&volume.image).map_err(|error| error.to_string())?;
        file.set_len(512 << 20).map_err(|error| error.to_string())?;
        command("mkfs.ext4", &["-q", "-F", &volume.image.display().to_string()])?;
        volume.mount()?;
        Ok(volume)
    }

    fn mount(&self) -> Result<(), String> {
        let (image, mount) = (self.image.display().to_string(), self.mount.display().to_string());
        command("mount", &["-o", "loop", &image, &mount])
    }

    fn unmount(&self) -> Result<(), String> {
        command("umount", &[&self.mount.display().to_string()])
    }

    /// Makes everything ready, so that the cut itself takes no time.
    fn switch(&self) -> std::io::Result<Switch> {
        let mut child = Command::new("python3")
            .args(["-c", SHUTDOWN])
            .arg(&self.mount)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        if let Some(out) = &mut child.stdout {
            out.read_exact(&mut [0])?;
        }
        Ok(Switch { child })
    }
}

/// Cuts the power of a volume.
struct Switch {
    child: Child,
}

impl Switch {
    fn off(mut self) {
        self.child.stdin.take().unwrap().write_all(b".").unwrap();
        assert!(self.child.wait().unwrap().success(), "the file system was not shut down");
    }
}

impl Drop for Switch {
    fn drop(&mut self) {
        // Ended already, unless a test failed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Volume {
    fn drop(&mut self) {
        // Not mounted when it could not be, or when a test failed in between.
        let _ = self.unmount();
    }
}

/// Runs in a mount namespace of its own: whoever copied the mounts of this one would keep the file
/// system that was shut down alive, and mounting it again would give the same dead one.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "run by the other test in a mount namespace of its own"]
async fn cuts() {
    let cuts: u64 = std::env::var(CUTS).unwrap().parse().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let volume = match Volume::create(dir.path()) {
        Ok(volume) => volume,
        Err(why) => {
            println!("\nSKIPPED, no file system can be mounted here: {why}");
            return;
        }
    };
    let mut stores = [(SMALL_JOURNAL, Model::default()), (whole_journal(), Model::default())];
    let (mut draw, mut ends) = (Draw(2), Ends::default());
    for cut in 0..cuts {
        let (journal_bytes, model) = &mut stores[usize::try_from(cut % 2).unwrap()];
        let data = volume.mount.join(journal_bytes.to_string());
        let mut worker = Worker::start(&data, cut, *journal_bytes);
        let switch = volume.switch().unwrap();
        worker.follow_to_moment(&mut draw, model);
        switch.off();
        worker.kill(model);
        ends.count(model);
        volume.unmount().unwrap();
        volume.mount().unwrap();
        let mut store = Store::open(sled_disk(&data)).unwrap_or_else(|error| {
            panic!("cut {cut}: {error}");
        });
        model.check(&mut store).await;
        store.storage.close().await;
    }
    let entries: u64 = stores.iter().map(|(_, model)| model.entries).sum();
    println!("\npower cuts {ends}, {entries} acknowledged entries");
    assert!(entries > 100 * cuts, "{entries} entries are too few");
    if cuts >= 20 {
        let kinds = [ends.after_full, ends.after_checkpoint, ends.after_purge];
        assert!(kinds.iter().all(|&count| count >= cuts / 10), "too few of one kind");
        assert!(ends.in_checkpoint + ends.in_purge > 0, "none in between");
    }
}

#[test]
fn acknowledged_entries_survive_power_cuts_of_a_file_system() {
    let cuts = std::env::var(CUTS).unwrap_or_else(|_| "4".into());
    let run = Command::new("unshare")
        .args(["--mount", "--propagation", "private"])
        .arg(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "power::cuts", "--nocapture"])
        .env(CUTS, cuts)
        .stdin(Stdio::null())
        .output();
    let output = match run {
        Ok(output) => output,
        Err(why) => return println!("SKIPPED, no mount namespace can be had here: {why}"),
    };
    let (out, err) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    if err.contains("unshare failed") {
        return println!("SKIPPED, no mount namespace can be had here: {err}");
    }
    println!("{out}");
    assert!(output.status.success(), "{out}{err}");
    assert!(out.contains("SKIPPED") || out.contains("power cuts "), "{out}{err}");
}
