//! Where a local cluster lives: its directory, its ports and its configuration files.
//!
//! Owns `DIR/nodeN.toml` and `DIR/nodeN`. A directory that holds a cluster keeps its ports: members
//! know each other by them. Must not know how coordinators run.

use std::{
    fs, io,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use quorate_core::MemberId;
use quorate_node::config::{Config, Listen};
use tempfile::TempDir;

use crate::failure::Failure;

/// How many coordinators a local cluster has.
pub(super) const MEMBERS: u16 = 3;
/// The base of the ports when nothing else is said.
pub(super) const BASE_PORT: u16 = 7_100;

/// A local cluster on disk.
#[derive(Debug)]
pub(super) struct Layout {
    /// Its directory.
    pub(super) dir: PathBuf,
    /// Its members, by id.
    pub(super) members: Vec<Member>,
    /// Removes a temporary directory when dropped.
    temporary: Option<TempDir>,
}

/// One coordinator of a local cluster.
#[derive(Debug)]
pub(super) struct Member {
    /// Its configuration.
    pub(super) config: Config,
    /// The file that holds it.
    pub(super) file: PathBuf,
}

impl Layout {
    /// Opens the cluster in `dir`, or lays out a new one there, or in a temporary directory.
    ///
    /// # Errors
    /// A [`Failure`] when a port is in use, or not the one that the directory's cluster has.
    pub(super) fn open(dir: Option<&Path>, base_port: Option<u16>) -> Result<Self> {
        let (dir, temporary) = match dir {
            Some(dir) => {
                fs::create_dir_all(dir)
                    .with_context(|| format!("cannot create {}", dir.display()))?;
                (fs::canonicalize(dir)?, None)
            }
            None => {
                let temporary = tempfile::Builder::new().prefix("quorate-dev-").tempdir()?;
                (temporary.path().to_owned(), Some(temporary))
            }
        };
        if file(&dir, 1).exists() {
            check_same_ports(&dir, base_port)?;
        } else {
            let ports = ports(base_port.unwrap_or(BASE_PORT))?;
            for (id, listen) in (1..).zip(&ports) {
                let text = text(id, &dir.join(format!("node{id}")), listen, &ports);
                fs::write(file(&dir, id), text)
                    .with_context(|| format!("cannot write {}", file(&dir, id).display()))?;
            }
        }
        let members = (1..=MEMBERS).map(|id| Member::load(&dir, id)).collect::<Result<Vec<_>>>()?;
        members.iter().try_for_each(|member| check_free(&member.config.listen))?;
        Ok(Self { dir, members, temporary })
    }

    /// Whether the data goes when the cluster stops.
    pub(super) fn is_temporary(&self) -> bool {
        self.temporary.is_some()
    }

    /// Where clients reach the members.
    pub(super) fn endpoints(&self) -> Vec<String> {
        self.members.iter().map(|member| member.config.listen.client.to_string()).collect()
    }

    /// Removes a temporary directory.
    ///
    /// # Errors
    /// When it cannot be removed.
    pub(super) fn close(self) -> io::Result<()> {
        self.temporary.map_or(Ok(()), TempDir::close)
    }
}

impl Member {
    fn load(dir: &Path, id: u16) -> Result<Self> {
        let file = file(dir, id);
        let text =
            fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
        let mut config = Config::from_toml(&text).with_context(|| file.display().to_string())?;
        // The directory may have been moved since the file was written.
        config.node.data_dir = dir.join(format!("node{id}"));
        Ok(Self { config, file })
    }

    /// Its id.
    pub(super) fn id(&self) -> MemberId {
        self.config.node.id
    }
}

fn file(dir: &Path, id: u16) -> PathBuf {
    dir.join(format!("node{id}.toml"))
}

/// The addresses of every member: on fixed ports, or for base 0 on ports that are free now.
fn ports(base: u16) -> io::Result<Vec<Listen>> {
    let at = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    if base != 0 {
        return Ok((1..=MEMBERS)
            .map(|id| Listen {
                client: at(base + id),
                peer: at(base + 100 + id),
                metrics: at(base + 200 + id),
            })
            .collect());
    }
    // All are held until all are known, so that no port is given twice.
    let held: Vec<_> =
        (0..MEMBERS * 3).map(|_| TcpListener::bind(at(0))).collect::<io::Result<_>>()?;
    let free: Vec<_> = held.iter().map(TcpListener::local_addr).collect::<io::Result<_>>()?;
    Ok(free
        .chunks_exact(3)
        .map(|free| Listen { client: free[0], peer: free[1], metrics: free[2] })
        .collect())
}

/// The configuration file of one member.
fn text(id: u16, data_dir: &Path, listen: &Listen, all: &[Listen]) -> String {
    let data_dir = toml::Value::from(data_dir.display().to_string());
    let Listen { client, peer, metrics } = listen;
    let members: String = (1..)
        .zip(all)
        .map(|(id, listen): (u16, _)| {
            let Listen { client, peer, .. } = listen;
            format!("  {{ id = {id}, peer = \"{peer}\", client = \"{client}\" }},\n")
        })
        .collect();
    format!(
        "# Coordinator {id} of a local cluster, written by `quorate dev`.\n\n\
         [node]\nid = {id}\ndata_dir = {data_dir}\n\n\
         [listen]\nclient = \"{client}\"\npeer = \"{peer}\"\nmetrics = \"{metrics}\"\n\n\
         [cluster]\nname = \"dev\"\ninitial_members = [\n{members}]\n"
    )
}

fn check_same_ports(dir: &Path, base_port: Option<u16>) -> Result<()> {
    let listen = Member::load(dir, 1)?.config.listen;
    match base_port {
        Some(base) if base == 0 || base + 1 != listen.client.port() => {
            Err(Failure::usage(format!(
                "the cluster in {} has its ports already: clients at {}",
                dir.display(),
                listen.client
            ))
            .hint("start it without --base-port")
            .into())
        }
        _ => Ok(()),
    }
}

fn check_free(listen: &Listen) -> Result<()> {
    for address in [listen.client, listen.peer, listen.metrics] {
        match TcpListener::bind(address) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                return Err(Failure::rejected(format!("{address} is in use"))
                    .hint("is another cluster running here? `quorate status` shows it")
                    .hint("--base-port 8100 takes other ports, --base-port 0 free ones")
                    .into());
            }
            Err(error) => return Err(error).with_context(|| format!("cannot listen on {address}")),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_keeps_its_cluster() {
        let dir = tempfile::tempdir().unwrap();
        let first = Layout::open(Some(dir.path()), Some(0)).unwrap();
        assert_eq!(first.members.len(), 3);
        assert!(!first.is_temporary());
        let endpoints = first.endpoints();
        first.close().unwrap();
        assert!(dir.path().join("node1.toml").exists());

        let second = Layout::open(Some(dir.path()), None).unwrap();
        assert_eq!(second.endpoints(), endpoints);
        for member in &second.members {
            assert!(member.config.node.data_dir.ends_with(format!("node{}", member.id())));
            assert_eq!(member.config.cluster.initial_members.len(), 3);
        }
        let error = Layout::open(Some(dir.path()), Some(0)).unwrap_err();
        assert!(error.to_string().contains("has its ports already"), "{error}");
    }

    #[test]
    fn a_temporary_directory_goes_at_the_end() {
        let layout = Layout::open(None, Some(0)).unwrap();
        let dir = layout.dir.clone();
        assert!(dir.join("node3.toml").exists());
        layout.close().unwrap();
        assert!(!dir.exists());
    }

    #[test]
    fn a_port_in_use_is_a_clear_error() {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::open(Some(dir.path()), Some(0)).unwrap();
        let taken = layout.members[1].config.listen.peer;
        let _held = TcpListener::bind(taken).unwrap();
        let error = Layout::open(Some(dir.path()), None).unwrap_err();
        assert_eq!(error.to_string(), format!("{taken} is in use"));
    }
}
