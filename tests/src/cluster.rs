//! A cluster of real `quorate serve` processes on loopback.
//!
//! Owns the processes, their configuration files, data folders and logs. Only processes started
//! here are ever signalled, by their id; all are killed and reaped when the [`Cluster`] is dropped.
//! Each test process has a loopback address of its own (from its process id), so that clusters of
//! tests that run at the same time cannot meet, and a port is free again for the same member after
//! a kill. One cluster at a time in a process.

use std::{
    env,
    ffi::OsStr,
    fmt::Write as _,
    fs::{self, File, OpenOptions},
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use quorate_core::MemberId;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::sync::{Mutex, OwnedMutexGuard};

use crate::calls::{self, Coordinator, Status};

/// How long a healthy cluster may take to elect a leader and catch up, on a busy machine.
pub const HEALTHY_WITHIN: Duration = Duration::from_secs(60);
/// How often a condition is looked at.
pub const POLL: Duration = Duration::from_millis(25);
/// How much of a log is shown when something failed.
const LOG_LINES: usize = 15;

/// Sections added to every member's configuration, unless a test has its own: checkpoints and log
/// purges happen during a test.
const SETTINGS: &str = "\
[raft]
checkpoint_entries = 500
kept_entries = 200
purge_entries = 100
";

static TURN: std::sync::LazyLock<Arc<Mutex<()>>> = std::sync::LazyLock::new(Arc::default);

/// Coordinators as processes. See the module.
#[derive(Debug)]
pub struct Cluster {
    binary: PathBuf,
    folder: TempDir,
    members: Vec<Member>,
    settings: String,
    _turn: OwnedMutexGuard<()>,
}

#[derive(Debug)]
struct Member {
    id: MemberId,
    client: SocketAddr,
    peer: SocketAddr,
    metrics: SocketAddr,
    data_dir: PathBuf,
    config: PathBuf,
    log: PathBuf,
    process: Option<Child>,
    coordinator: Coordinator,
}

impl Cluster {
    /// Prepares `members` coordinators; starts none.
    ///
    /// # Errors
    /// When the binary is not there or files cannot be written.
    pub async fn prepare(members: u64) -> Result<Self> {
        Self::prepare_with(members, SETTINGS).await
    }

    /// The same with other sections in every member's configuration.
    ///
    /// # Errors
    /// When the binary is not there or files cannot be written.
    pub async fn prepare_with(members: u64, settings: &str) -> Result<Self> {
        let turn = Arc::clone(&TURN).lock_owned().await;
        let binary = binary()?;
        let folder = tempfile::Builder::new().prefix("quorate-cluster-").tempdir()?;
        let ids: Vec<MemberId> = (1..=members).map(MemberId).collect();
        let list = ids.iter().fold(String::new(), |mut list, id| {
            let (peer, client) = (address(7200, *id), address(7100, *id));
            let row = format!("{{ id = {id}, peer = \"{peer}\", client = \"{client}\" }}");
            let _ = writeln!(list, "  {row},");
            list
        });
        let list = format!("initial_members = [\n{list}]");
        let prepare = |id| Member::prepare(folder.path(), id, &list, settings);
        let members = ids.into_iter().map(prepare);
        let members = members.collect::<Result<_>>()?;
        let settings = settings.to_owned();
        Ok(Self { binary, folder, members, settings, _turn: turn })
    }

    /// Prepares a coordinator that is to be added to those that are there; starts it not.
    ///
    /// # Errors
    /// When its files cannot be written.
    pub fn newcomer(&mut self, id: MemberId) -> Result<()> {
        let others = self.members.iter().map(|member| format!("\"{}\"", member.peer));
        let join = format!("join = [{}]", others.collect::<Vec<_>>().join(", "));
        let newcomer = Member::prepare(self.folder.path(), id, &join, &self.settings)?;
        self.members.push(newcomer);
        Ok(())
    }

    /// Starts `members` coordinators and waits until they agree on a leader.
    ///
    /// # Errors
    /// When they do not in [`HEALTHY_WITHIN`].
    pub async fn start(members: u64) -> Result<Self> {
        Self::prepare(members).await?.started().await
    }

    /// The same with other sections in every member's configuration.
    ///
    /// # Errors
    /// When they do not in [`HEALTHY_WITHIN`].
    pub async fn start_with(members: u64, settings: &str) -> Result<Self> {
        Self::prepare_with(members, settings).await?.started().await
    }

    async fn started(mut self) -> Result<Self> {
        for id in self.ids() {
            self.spawn(id)?;
        }
        self.wait_healthy().await?;
        Ok(self)
    }

    /// All member ids.
    #[must_use]
    pub fn ids(&self) -> Vec<MemberId> {
        self.members.iter().map(|member| member.id).collect()
    }

    /// The address at which a member serves clients.
    #[must_use]
    pub fn endpoint(&self, id: MemberId) -> SocketAddr {
        self.member(id).client
    }

    /// The address at which a member serves its peers.
    #[must_use]
    pub fn peer(&self, id: MemberId) -> SocketAddr {
        self.member(id).peer
    }

    /// All client addresses, as the `--endpoints` flag takes them.
    #[must_use]
    pub fn endpoints(&self) -> String {
        let all: Vec<_> = self.members.iter().map(|member| member.client.to_string()).collect();
        all.join(",")
    }

    /// A connection to a member. It connects when it is used, again and again.
    #[must_use]
    pub fn coordinator(&self, id: MemberId) -> Coordinator {
        self.member(id).coordinator.clone()
    }

    /// Connections to all members.
    #[must_use]
    pub fn coordinators(&self) -> Vec<Coordinator> {
        self.members.iter().map(|member| member.coordinator.clone()).collect()
    }

    /// Connections to the members that run.
    #[must_use]
    pub fn running(&self) -> Vec<Coordinator> {
        let running = self.members.iter().filter(|member| member.process.is_some());
        running.map(|member| member.coordinator.clone()).collect()
    }

    /// A folder that lives as long as the cluster.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The `quorate` binary.
    #[must_use]
    pub fn binary(&self) -> &Path {
        &self.binary
    }

    /// Starts a member's process.
    ///
    /// # Errors
    /// When it runs already or cannot be started.
    pub fn spawn(&mut self, id: MemberId) -> Result<()> {
        self.spawn_under(id, &[])
    }

    /// Starts a member's process by a command that becomes it: `nsenter` and its like.
    ///
    /// # Errors
    /// When it runs already or cannot be started.
    pub fn spawn_under(&mut self, id: MemberId, wrapper: &[&str]) -> Result<()> {
        let binary = self.binary.clone();
        let member = self.member_mut(id);
        ensure!(member.process.is_none(), "member {id} runs already");
        let log = OpenOptions::new().create(true).append(true).open(&member.log)?;
        let mut words = wrapper.iter().map(OsStr::new).chain([binary.as_os_str()]);
        let mut command = Command::new(words.next().expect("the binary at least"));
        command.args(words);
        command.args(["serve", "--config"]).arg(&member.config);
        command.arg("--data-dir").arg(&member.data_dir);
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        // The environment would override the configuration file.
        for (name, _) in env::vars().filter(|(name, _)| name.starts_with("QUORATE_")) {
            command.env_remove(name);
        }
        let child = command.spawn();
        member.process = Some(child.with_context(|| format!("cannot start {}", binary.display()))?);
        Ok(())
    }

    /// Kills a member's process (SIGKILL) and reaps it.
    ///
    /// # Errors
    /// When it does not run.
    pub fn kill(&mut self, id: MemberId) -> Result<()> {
        let mut process = self.take(id)?;
        process.kill()?;
        process.wait()?;
        Ok(())
    }

    /// Kills all members that run (SIGKILL), as nearly at once as can be, and reaps them.
    ///
    /// # Errors
    /// When one cannot be killed.
    pub fn kill_all(&mut self) -> Result<()> {
        let running = self.members.iter_mut().filter_map(|member| member.process.take());
        let mut processes: Vec<Child> = running.collect();
        for process in &mut processes {
            process.kill()?;
        }
        for process in &mut processes {
            process.wait()?;
        }
        Ok(())
    }

    /// Asks a member's process to stop (SIGTERM) and waits for its end.
    ///
    /// # Errors
    /// When it does not run, or does not end within `patience`.
    pub fn stop(&mut self, id: MemberId, patience: Duration) -> Result<ExitStatus> {
        self.signal(id, Signal::TERM)?;
        self.wait_exit(id, patience)
    }

    /// Sends a member's process a signal that does not end it.
    ///
    /// # Errors
    /// When it does not run.
    pub fn signal(&self, id: MemberId, signal: Signal) -> Result<()> {
        let process = self.member(id).process.as_ref();
        let process = process.with_context(|| format!("member {id} does not run"))?;
        let pid = i32::try_from(process.id()).ok().and_then(Pid::from_raw);
        Ok(kill_process(pid.context("a child has a process id")?, signal)?)
    }

    /// Waits for the end of a member's process that ends by itself.
    ///
    /// # Errors
    /// When it does not run, or does not end within `patience`.
    pub fn wait_exit(&mut self, id: MemberId, patience: Duration) -> Result<ExitStatus> {
        let until = Instant::now() + patience;
        let mut process = self.take(id)?;
        loop {
            if let Some(status) = process.try_wait()? {
                return Ok(status);
            }
            if Instant::now() > until {
                self.member_mut(id).process = Some(process);
                bail!("member {id} still runs after {patience:?}\n{}", self.log(id));
            }
            thread::sleep(POLL);
        }
    }

    /// Deletes everything that a stopped member has on disk.
    ///
    /// # Errors
    /// When it runs, or the folder cannot be removed.
    pub fn wipe(&mut self, id: MemberId) -> Result<()> {
        let member = self.member(id);
        ensure!(member.process.is_none(), "member {id} runs");
        fs::remove_dir_all(&member.data_dir)?;
        Ok(())
    }

    /// Whether a member's process was started and not yet killed or waited for.
    #[must_use]
    pub fn runs(&self, id: MemberId) -> bool {
        self.member(id).process.is_some()
    }

    /// Waits until all running members agree on a leader and have applied the same entries.
    ///
    /// # Errors
    /// When they have not in [`HEALTHY_WITHIN`].
    pub async fn wait_healthy(&self) -> Result<MemberId> {
        let running = self.running();
        let until = Instant::now() + HEALTHY_WITHIN;
        loop {
            let mut statuses = Vec::new();
            for coordinator in &running {
                statuses.push(coordinator.status().await);
            }
            if let Some(leader) = agreed(&statuses) {
                return Ok(leader);
            }
            if Instant::now() > until {
                bail!("not healthy after {HEALTHY_WITHIN:?}: {statuses:?}\n{}", self.logs());
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// Waits until a running member leads, and says which: by the id that it has here, also when
    /// it came back under another one.
    ///
    /// # Errors
    /// When none does in [`HEALTHY_WITHIN`].
    pub async fn wait_leader(&self) -> Result<MemberId> {
        let until = Instant::now() + HEALTHY_WITHIN;
        loop {
            let mut best = None;
            for coordinator in self.running() {
                let status = coordinator.status().await.ok().filter(Status::leads);
                best = best.max(status.map(|status| (status.term, coordinator.id)));
            }
            if let Some((_, leader)) = best {
                return Ok(leader);
            }
            ensure!(Instant::now() < until, "no leader in {HEALTHY_WITHIN:?}\n{}", self.logs());
            tokio::time::sleep(POLL).await;
        }
    }

    /// Waits until a member has applied what the others have applied by now.
    ///
    /// # Errors
    /// When it has not in [`HEALTHY_WITHIN`].
    pub async fn wait_caught_up(&self, id: MemberId) -> Result<()> {
        let mut target = None;
        for member in self.members.iter().filter(|other| other.id != id) {
            target =
                target.max(member.coordinator.status().await.ok().map(|status| status.applied));
        }
        let until = Instant::now() + HEALTHY_WITHIN;
        loop {
            let status = self.member(id).coordinator.status().await.ok();
            if target.is_some() && status.map(|status| status.applied) >= target {
                return Ok(());
            }
            ensure!(Instant::now() < until, "member {id} stays behind {target:?}\n{}", self.logs());
            tokio::time::sleep(POLL).await;
        }
    }

    /// What a running member counts under a name at its metrics address.
    ///
    /// # Errors
    /// When it does not answer in time, or has no such metric.
    pub async fn metric(&self, id: MemberId, name: &str) -> Result<f64> {
        calls::metric(self.member(id).metrics, name).await
    }

    /// The configuration file of a member.
    #[must_use]
    pub fn config(&self, id: MemberId) -> &Path {
        &self.member(id).config
    }

    /// The folder of a member's data.
    #[must_use]
    pub fn data_dir(&self, id: MemberId) -> &Path {
        &self.member(id).data_dir
    }

    /// The end of a member's log, for a message.
    #[must_use]
    pub fn log(&self, id: MemberId) -> String {
        let text = fs::read_to_string(&self.member(id).log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        let end = lines[lines.len().saturating_sub(LOG_LINES)..].join("\n  ");
        format!("log of member {id}:\n  {end}\n")
    }

    /// The ends of all logs, for a message.
    #[must_use]
    pub fn logs(&self) -> String {
        self.members.iter().map(|member| self.log(member.id)).collect()
    }

    fn member(&self, id: MemberId) -> &Member {
        self.members.iter().find(|member| member.id == id).expect("an id from `ids`")
    }

    fn member_mut(&mut self, id: MemberId) -> &mut Member {
        self.members.iter_mut().find(|member| member.id == id).expect("an id from `ids`")
    }

    fn take(&mut self, id: MemberId) -> Result<Child> {
        let process = self.member_mut(id).process.take();
        process.with_context(|| format!("member {id} does not run"))
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("{}", self.logs());
        }
        for process in self.members.iter_mut().filter_map(|member| member.process.as_mut()) {
            // Nothing can be done about a child that has ended already.
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

impl Member {
    fn prepare(folder: &Path, id: MemberId, list: &str, settings: &str) -> Result<Self> {
        let config = folder.join(format!("node{id}.toml"));
        let [client, peer, metrics] = [7100, 7200, 7300].map(|base| address(base, id));
        let text = format!(
            "[node]\nid = {id}\n\n[listen]\nclient = \"{client}\"\npeer = \"{peer}\"\n\
             metrics = \"{metrics}\"\n\n[cluster]\nname = \"tests\"\n\
             {list}\n\n{settings}"
        );
        fs::write(&config, text)?;
        let log = folder.join(format!("node{id}.log"));
        File::create(&log)?;
        Ok(Self {
            id,
            client,
            peer,
            metrics,
            data_dir: folder.join(format!("data{id}")),
            config,
            log,
            process: None,
            coordinator: calls::connect(id, client)?,
        })
    }
}

/// The leader, when all statuses name the same one and the same last entry, which is applied.
fn agreed(statuses: &[Result<Status>]) -> Option<MemberId> {
    let first = statuses.first()?.as_ref().ok()?;
    let leader = first.leader?;
    let same = statuses.iter().all(|status| {
        status.as_ref().is_ok_and(|status| {
            status.leader == Some(leader)
                && status.term == first.term
                && status.applied == first.applied
                && status.applied == status.last_log
        })
    });
    same.then_some(leader)
}

/// A loopback address of this test process's own, at the member's usual port.
fn address(base: u16, id: MemberId) -> SocketAddr {
    let [_, a, b, c] = std::process::id().to_be_bytes();
    let port = base + u16::try_from(id.get()).expect("member ids of tests are small");
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(127, 1 + a % 250, b, c)), port)
}

/// `QUORATE_BIN`, or the binary that was built beside this test.
///
/// # Errors
/// When neither is there.
pub fn binary() -> Result<PathBuf> {
    if let Some(path) = env::var_os("QUORATE_BIN").map(PathBuf::from) {
        ensure!(path.is_file(), "QUORATE_BIN names no file: {}", path.display());
        return Ok(path);
    }
    let this = env::current_exe()?;
    let folders = this.ancestors().skip(1).take(2);
    let found = folders.map(|folder| folder.join("quorate")).find(|path| path.is_file());
    found.context("the quorate binary is not built: cargo build -p quorate, or set QUORATE_BIN")
}
