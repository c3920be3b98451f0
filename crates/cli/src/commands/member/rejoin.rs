//! `member rejoin`: a machine whose member lost its data comes back as a new member.
//!
//! Each step is done once, however often the command is run: what was done is read from the
//! cluster and from the note in the data directory. Nothing is deleted.

use std::{
    collections::BTreeSet,
    path::PathBuf,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context as _, Result};
use quorate_client::{Client, ClientConfig, Member, MemberState};
use quorate_core::MemberId;
use quorate_node::{config::Config, rejoin::Rejoin as Note, storage};
use serde::Serialize;

use super::{
    removal,
    wait::{step, until_promoted},
};
use crate::{args::Rejoin, commands::Context, failure::Failure};

/// How long a member that is taken for lost has to say that it lives.
const LIVES_MAX: Duration = Duration::from_secs(1);

#[derive(Serialize)]
struct RejoinedRow {
    member_id: u64,
    replaces: u64,
    state: &'static str,
    client_address: String,
    peer_address: String,
    set_aside: Option<PathBuf>,
}

/// The machine that comes back.
struct Machine {
    dir: PathBuf,
    /// The member that it was.
    lost: MemberId,
    peer: String,
    client: String,
    /// Whether an earlier run has made it another member.
    noted: Option<Note>,
}

/// Removes the lost member, sets its data aside, adds a new one, waits and promotes.
pub(super) async fn run(context: &Context, args: Rejoin) -> Result<()> {
    let machine = Machine::read(&args)?;
    let client = context.client()?;
    let members = client.members().await.map_err(|error| context.explain(&error))?.value.members;
    let known = members.iter().find(|member| member.id == machine.lost);
    let begun = machine.noted.as_ref().filter(|_| {
        known.is_some_and(|member| {
            matches!(member.state, MemberState::Joining | MemberState::Learner)
        })
    });
    let (note, set_aside) = match begun {
        Some(note) => (note.clone(), None),
        None => machine.begin(context, &client, &members, args.force).await?,
    };
    let config = args.config.display();
    step(&format!("start it as ever, if it does not run: quorate serve --config {config}"));
    let member = until_promoted(context, &client, note.id).await?;
    let line = format!("member {} is back as member {}, and votes", note.replaces, note.id);
    let row = RejoinedRow {
        member_id: note.id.get(),
        replaces: note.replaces.get(),
        state: member.state.as_str(),
        client_address: member.client_address,
        peer_address: member.peer_address,
        set_aside,
    };
    context.output.one(&line, &row)
}

impl Machine {
    fn read(args: &Rejoin) -> Result<Self> {
        let usage = |error: &dyn std::fmt::Display| {
            Failure::usage(format!("{}: {error}", args.config.display()))
        };
        let mut config = Config::load(&args.config).map_err(|error| usage(&error))?;
        if let Some(dir) = &args.data_dir {
            config.node.data_dir.clone_from(dir);
        }
        let dir = config.node.data_dir.clone();
        let noted = Note::read(&dir).map_err(|error| usage(&error))?;
        if let Some(note) = noted.clone() {
            config = note.of(config);
        }
        let (peer, client) = (config.peer_address(), config.client_address());
        for (field, address) in [("peer", &peer), ("client", &client)] {
            if address.starts_with("0.0.0.0:") || address.starts_with("[::]:") {
                let rule = "set it to where others reach this machine";
                return Err(usage(&format!("advertise.{field} = {address:?}: {rule}")).into());
            }
        }
        Ok(Self { dir, lost: config.node.id, peer, client, noted })
    }

    /// Everything up to the point where the member can be started.
    async fn begin(
        &self,
        context: &Context,
        client: &Client,
        members: &[Member],
        force: bool,
    ) -> Result<(Note, Option<PathBuf>)> {
        let lost = self.lost;
        let elsewhere = |member: &&Member| member.id == lost && member.peer_address != self.peer;
        if let Some(other) = members.iter().find(elsewhere) {
            let (at, here) = (&other.peer_address, &self.peer);
            let line = format!("member {lost} is at {at}, this configuration is of {here}");
            return Err(Failure::usage(line).into());
        }
        // Should an earlier run have lost its note, there is another one at this address.
        let mut here: BTreeSet<MemberId> = BTreeSet::from([lost]);
        for member in members.iter().filter(|member| member.peer_address == self.peer) {
            is_stopped(member).await?;
            here.insert(member.id);
        }
        storage::check_unused(&self.dir).map_err(|error| self.in_use(&error))?;

        for id in here {
            let removed = client.remove_member(id, removal(force)).await;
            removed.map_err(|error| context.explain(&error))?;
            step(&format!("member {id} removed"));
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let aside = storage::set_aside(&self.dir, &format!(".member-{lost}-{now}"));
        let aside = aside.map_err(|error| self.in_use(&error))?;
        if let Some(aside) = &aside {
            step(&format!("its data was set aside in {}", aside.display()));
        }
        let added = client.add_member(None, &self.peer, &self.client).await;
        let id = added.map_err(|error| context.explain(&error))?.value.id;
        let others = members.iter().filter(|member| member.peer_address != self.peer);
        let note = Note {
            id,
            replaces: lost,
            peer: self.peer.clone(),
            client: self.client.clone(),
            join: others.map(|member| member.peer_address.clone()).collect(),
        };
        note.write(&self.dir).with_context(|| format!("cannot write to {}", self.dir.display()))?;
        step(&format!("member {id} added in its place"));
        Ok((note, aside))
    }

    fn in_use(&self, error: &storage::OpenError) -> Failure {
        let line = format!("the data of member {} is not touched: {error}", self.lost);
        match error {
            storage::OpenError::Locked { .. } => Failure::rejected(line).hint("stop it first"),
            _ => Failure::rejected(line),
        }
    }
}

/// Whatever is in the directory, a member that answers has not lost its data.
async fn is_stopped(member: &Member) -> Result<()> {
    let address = &member.client_address;
    let Ok(alone) = Client::new(ClientConfig::new([address])) else { return Ok(()) };
    let Some(endpoint) = alone.endpoints().first() else { return Ok(()) };
    let answer = alone.status(endpoint).timeout(LIVES_MAX).await;
    if answer.is_ok_and(|status| status.header.member_id == member.id) {
        let line = format!("member {} answers at {address}", member.id);
        return Err(Failure::rejected(line).hint("stop it first").into());
    }
    Ok(())
}
