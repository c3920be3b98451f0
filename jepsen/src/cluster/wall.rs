//! The wall clock of one coordinator, which libfaketime shows it.
//!
//! Owns the file that says how far it is off. Only the wall clock is moved: the clocks that timers
//! and sessions go by stay, as they do on a machine whose time is set. Must not know when it moves.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::Context;
use tokio::process::Command;

/// Where the library may be; the first that is there is taken.
const LIBRARIES: [&str; 5] = [
    "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1",
    "/usr/lib/aarch64-linux-gnu/faketime/libfaketimeMT.so.1",
    "/usr/lib64/faketime/libfaketimeMT.so.1",
    "/usr/lib/faketime/libfaketimeMT.so.1",
    "/usr/local/lib/faketime/libfaketimeMT.so.1",
];

/// Names the library where it is not found by itself.
const LIBRARY: &str = "QUORATE_JEPSEN_FAKETIME";

/// The library, if it is there.
pub(crate) fn library() -> Option<PathBuf> {
    let named = std::env::var_os(LIBRARY).map(PathBuf::from);
    named.into_iter().chain(LIBRARIES.map(PathBuf::from)).find(|path| path.is_file())
}

/// The wall clock of one coordinator.
#[derive(Debug)]
pub(crate) struct WallClock {
    library: PathBuf,
    file: PathBuf,
}

impl WallClock {
    /// A clock that is right, kept in a file in `dir`.
    pub(crate) fn create(library: PathBuf, dir: &Path) -> anyhow::Result<Self> {
        let clock = Self { library, file: dir.join("clock") };
        clock.set(0)?;
        Ok(clock)
    }

    /// Puts it off by so many seconds.
    pub(crate) fn set(&self, seconds: i64) -> anyhow::Result<()> {
        // Replaced in one step: a half-written file would be another time.
        let new = self.file.with_extension("new");
        fs::write(&new, format!("{seconds:+}\n")).context("write a clock")?;
        fs::rename(&new, &self.file).context("set a clock")
    }

    /// Makes a command see it.
    pub(crate) fn show(&self, command: &mut Command) {
        command
            .env("LD_PRELOAD", &self.library)
            .env("FAKETIME_TIMESTAMP_FILE", &self.file)
            .env("FAKETIME_NO_CACHE", "1")
            .env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
            .env("DONT_FAKE_MONOTONIC", "1")
            .env("NO_FAKE_STAT", "1");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_is_off_by_what_its_file_says() {
        let directory = tempfile::tempdir().unwrap();
        let clock = WallClock::create(PathBuf::from("x"), directory.path()).unwrap();
        let read = || fs::read_to_string(directory.path().join("clock")).unwrap();
        assert_eq!(read(), "+0\n");
        clock.set(-3600).unwrap();
        assert_eq!(read(), "-3600\n");
    }

    #[tokio::test]
    async fn a_program_sees_the_clock_and_not_another_monotonic_one() {
        let Some(library) = library() else {
            return println!("SKIPPED, libfaketime is not there");
        };
        let directory = tempfile::tempdir().unwrap();
        let clock = WallClock::create(library, directory.path()).unwrap();
        clock.set(-86_400 * 365).unwrap();
        let mut date = Command::new("date");
        clock.show(date.arg("+%s"));
        let output = date.output().await.unwrap();
        let seen: u64 = String::from_utf8_lossy(&output.stdout).trim().parse().unwrap();
        let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs();
        assert!((86_400 * 364..86_400 * 366).contains(&(now - seen)), "{now} {seen}");
    }
}
