//! A small file system in a mount namespace of its own, for a disk that gets full.
//!
//! Needs `unshare`, `nsenter` and `mount`, and either root or user namespaces: where it cannot be
//! had, [`Volume::mount`] says why, and the test is to be skipped with that.

use std::{
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use anyhow::{Context, Result, ensure};

/// Mounts, says so, and keeps the namespace until its standard input ends.
const KEEPER: &str = "mount -t tmpfs -o size=$1 tmpfs \"$0\" && echo mounted && exec cat";

/// See the module. It is gone, with what is on it, when it is dropped.
#[derive(Debug)]
pub struct Volume {
    path: PathBuf,
    keeper: Child,
    user_namespace: bool,
}

impl Volume {
    /// Mounts a file system of this size (as `tmpfs` takes it: `16m`) on a folder, which is made.
    /// Only processes started by [`Volume::entering`] see it.
    ///
    /// # Errors
    /// Why there can be none here.
    pub fn mount(path: &Path, size: &str) -> Result<Self> {
        std::fs::create_dir_all(path)?;
        let user_namespace = !rustix::process::geteuid().is_root();
        let mut command = Command::new("unshare");
        command.args(if user_namespace { &["-Urm"][..] } else { &["-m"] });
        command.args(["sh", "-c", KEEPER]).arg(path).arg(size);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let keeper = command.spawn().context("unshare")?;
        let mut volume = Self { path: path.to_path_buf(), keeper, user_namespace };
        let said = volume.keeper.stdout.take().context("it is piped")?;
        let mut line = String::new();
        BufReader::new(said).read_line(&mut line)?;
        ensure!(line == "mounted\n", "unshare and mount are not permitted, or not there");
        Ok(volume)
    }

    /// The command that becomes the one after it, where the file system is seen.
    #[must_use]
    pub fn entering(&self) -> Vec<String> {
        let mut command = vec!["nsenter".to_owned(), "-m".into()];
        if self.user_namespace {
            command.extend(["-U".into(), "--preserve-credentials".into()]);
        }
        command.extend(["-t".into(), self.keeper.id().to_string(), "--".into()]);
        command
    }

    /// Makes it larger.
    ///
    /// # Errors
    /// When it cannot be done.
    pub fn resize(&self, size: &str) -> Result<()> {
        let entering = self.entering();
        let mut command = Command::new(&entering[0]);
        command.args(&entering[1..]).args(["mount", "-o", &format!("remount,size={size}")]);
        let done = command.arg(&self.path).status().context("nsenter")?;
        ensure!(done.success(), "{} cannot be made larger: {done}", self.path.display());
        Ok(())
    }
}

impl Drop for Volume {
    fn drop(&mut self) {
        // Nothing can be done about a child that has ended already.
        let _ = self.keeper.kill();
        let _ = self.keeper.wait();
    }
}
