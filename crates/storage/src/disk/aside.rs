//! Sets a data directory aside: whole, under another name, never while somebody uses it.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use rustix::{
    fs::{FlockOperation, flock},
    io::Errno,
};

use super::sled::{sync_dir, sync_with_parent};
use crate::error::OpenError;

/// Renames a data directory and gives its new name, or None when there is none or nothing is in
/// it. Nothing in it is changed.
///
/// # Errors
/// [`OpenError::Locked`] when a coordinator uses it; of the disk.
pub fn set_aside(dir: &Path, suffix: &str) -> Result<Option<PathBuf>, OpenError> {
    let Some(_locks) = lock(dir)? else { return Ok(None) };
    let dir = dir.canonicalize()?;
    let mut name = dir.file_name().unwrap_or_default().to_owned();
    name.push(suffix);
    let aside = dir.with_file_name(name);
    if aside.try_exists()? {
        let message = format!("{} is there already", aside.display());
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, message).into());
    }
    fs::rename(&dir, &aside)?;
    sync_with_parent(&aside)?;
    fs::create_dir(&dir)?;
    sync_with_parent(&dir)?;
    Ok(Some(aside))
}

/// Fails when a coordinator uses a data directory.
///
/// # Errors
/// [`OpenError::Locked`]; of the disk.
pub fn check_unused(dir: &Path) -> Result<(), OpenError> {
    lock(dir).map(drop)
}

/// Takes the locks that an open database holds on its file. None: nothing is there.
fn lock(dir: &Path) -> Result<Option<Vec<File>>, OpenError> {
    let mut entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    if entries.next().is_none() {
        return Ok(None);
    }
    sync_dir(dir)?;
    let mut locks = Vec::new();
    for name in ["log", "state"] {
        let path = dir.join(name);
        let file = match File::open(path.join("db")) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error.into()),
        };
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => locks.push(file),
            Err(Errno::WOULDBLOCK) => {
                return Err(OpenError::Locked { path, waited: Duration::ZERO });
            }
            Err(error) => return Err(io::Error::from(error).into()),
        }
    }
    Ok(Some(locks))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::{Disk, SledDisk, SledOptions};

    #[test]
    fn a_directory_is_set_aside_whole_unless_it_is_in_use() {
        let parent = tempfile::tempdir().unwrap();
        let dir = parent.path().join("node3");
        assert_eq!(set_aside(&dir, ".lost").unwrap(), None, "nothing is there");
        let disk = SledDisk::new(&dir, SledOptions::default()).unwrap();
        assert_eq!(set_aside(&dir, ".lost").unwrap(), None, "nothing is in it");
        let database = disk.open("log").unwrap();
        disk.write_file("identity", b"who").unwrap();
        let refused = set_aside(&dir, ".lost").unwrap_err();
        assert!(matches!(refused, OpenError::Locked { .. }), "{refused}");
        assert!(dir.join("identity").exists());
        database.close();
        drop(database);

        let aside = set_aside(&dir, ".lost").unwrap().unwrap();
        assert_eq!(fs::read(aside.join("identity")).unwrap(), b"who");
        assert!(aside.join("log/db").exists());
        assert_eq!(fs::read_dir(&dir).unwrap().count(), 0, "an empty one is in its place");
        fs::write(dir.join("identity"), b"again").unwrap();
        set_aside(&dir, ".lost").expect_err("what was set aside before is never replaced");
        assert!(dir.join("identity").exists());
    }
}
