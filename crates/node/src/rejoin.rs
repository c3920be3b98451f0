//! A new identity for a machine whose member was lost: a note in its data directory that says as
//! which member it comes back.
//!
//! Written by `quorate member rejoin` into the directory that takes the place of the one that was
//! set aside, and followed by [`crate::Node::start`], so that the configuration file, which still
//! names the member that was lost, stays as it is.

use std::{fs, io, io::Write, path::Path};

use quorate_core::MemberId;
use serde::Deserialize;

use crate::config::{Config, ConfigError};

/// The note's file in the data directory.
pub const FILE: &str = "member.toml";

/// As which member a coordinator comes back.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rejoin {
    /// Its new id.
    pub id: MemberId,
    /// The id that was lost.
    pub replaces: MemberId,
    /// Where its peers reach it, host:port.
    pub peer: String,
    /// Where clients reach it, host:port.
    pub client: String,
    /// Peer addresses of members that let it in, host:port.
    pub join: Vec<String>,
}

impl Rejoin {
    /// Reads the note of a data directory. None: there is none.
    ///
    /// # Errors
    /// [`ConfigError`] when there is one that cannot be read.
    pub fn read(dir: &Path) -> Result<Option<Self>, ConfigError> {
        let path = dir.join(FILE);
        match fs::read_to_string(&path) {
            Ok(text) => toml::from_str(&text)
                .map(Some)
                .map_err(|error| ConfigError::Syntax(format!("{}: {error}", path.display()))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(ConfigError::Read { path, source }),
        }
    }

    /// Writes the note into a data directory, which is created when it is not there. Durable when
    /// it returns.
    ///
    /// # Errors
    /// Of the disk.
    pub fn write(&self, dir: &Path) -> io::Result<()> {
        fs::create_dir_all(dir)?;
        let Self { id, replaces, peer, client, join } = self;
        let text = format!(
            "# Written by `quorate member rejoin`: member {replaces} was lost, and this data \
             directory is of member\n# {id} in its place, whatever node.id says.\nid = {id}\n\
             replaces = {replaces}\npeer = {peer:?}\nclient = {client:?}\njoin = {join:?}\n"
        );
        let (path, new) = (dir.join(FILE), dir.join(format!("{FILE}.new")));
        let mut file = fs::File::create(&new)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&new, &path)?;
        fs::File::open(dir)?.sync_all()
    }

    /// The configuration of the member that it is now.
    #[must_use]
    pub fn of(self, config: Config) -> Config {
        let mut config = config;
        config.node.id = self.id;
        config.advertise.peer = Some(self.peer);
        config.advertise.client = Some(self.client);
        config.cluster.initial_members = Vec::new();
        config.cluster.join = self.join;
        config
    }
}

/// The configuration to start with: what the note in its data directory says, where there is one.
///
/// # Errors
/// [`ConfigError`] when there is one that cannot be read.
pub fn follow(config: Config) -> Result<Config, ConfigError> {
    let Some(note) = Rejoin::read(&config.node.data_dir)? else { return Ok(config) };
    if note.id != config.node.id {
        tracing::info!(
            member = %note.id,
            replaces = %note.replaces,
            configured = %config.node.id,
            "this data directory is of a member that rejoined"
        );
    }
    Ok(note.of(config))
}

#[cfg(test)]
mod tests {
    use quorate_core::MemberId;

    use super::*;
    use crate::config::{Cluster, Member};

    #[test]
    fn a_note_comes_back_and_is_followed() {
        let dir = tempfile::tempdir().unwrap();
        let member = Member {
            id: MemberId(3),
            peer: "127.0.0.1:7203".into(),
            client: "127.0.0.1:7103".into(),
        };
        let cluster = Cluster { initial_members: vec![member.clone()], ..Cluster::default() };
        let config = Config::new(MemberId(3), dir.path(), cluster);
        assert_eq!(follow(config.clone()).unwrap(), config, "without a note");
        let note = Rejoin {
            id: MemberId(4),
            replaces: MemberId(3),
            peer: member.peer,
            client: member.client,
            join: vec!["127.0.0.1:7201".into(), "127.0.0.1:7202".into()],
        };
        note.write(dir.path()).unwrap();
        assert_eq!(Rejoin::read(dir.path()).unwrap(), Some(note.clone()));
        let followed = follow(config.clone()).unwrap();
        followed.validate().unwrap();
        assert_eq!(followed.node.id, MemberId(4));
        assert_eq!(followed.listen, config.listen);
        assert_eq!(followed.peer_address(), note.peer);
        assert_eq!(followed.cluster.join, note.join);

        std::fs::write(dir.path().join(FILE), "id = 4\n").unwrap();
        let error = follow(config).unwrap_err().to_string();
        assert!(error.contains(FILE) && error.contains("replaces"), "{error}");
    }
}
