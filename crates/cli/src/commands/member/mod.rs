//! `member`: who the coordinators are, who leads, and who comes and goes.

mod list;
mod rejoin;
mod replace;
mod wait;

use anyhow::Result;
use quorate_client::{Member, MemberState, Removal};
use quorate_core::MemberId;
use serde::Serialize;

use super::Context;
use crate::args::{Follow, MemberCommand};

#[derive(Serialize)]
struct TransferRow {
    leader_id: u64,
    term: u64,
}

/// A member that was changed.
#[derive(Serialize)]
struct ChangedRow {
    member_id: u64,
    state: &'static str,
    client_address: String,
    peer_address: String,
}

impl From<Member> for ChangedRow {
    fn from(member: Member) -> Self {
        Self {
            member_id: member.id.get(),
            state: member.state.as_str(),
            client_address: member.client_address,
            peer_address: member.peer_address,
        }
    }
}

/// Runs a command of the group.
pub(super) async fn run(context: &Context, command: MemberCommand) -> Result<()> {
    match command {
        MemberCommand::List(Follow { watch: true }) => list::follow(context).await,
        MemberCommand::List(_) => list::list(context).await,
        MemberCommand::Transfer { id } => transfer(context, id.map(MemberId)).await,
        MemberCommand::Add { id, addresses } => {
            let call =
                context.client()?.add_member(id.map(MemberId), addresses.peer, addresses.client);
            let member = call.await.map_err(|error| context.explain(&error))?.value;
            let line = match member.state {
                MemberState::Joining => format!(
                    "member {} added: start it with node.id = {0} and cluster.join; it learns until \
                     it is promoted",
                    member.id
                ),
                state => format!("member {} is there already: {}", member.id, state.as_str()),
            };
            context.output.one(&line, &ChangedRow::from(member))
        }
        MemberCommand::Promote { id, wait } => {
            let (client, id) = (context.client()?, MemberId(id));
            let member = if wait {
                wait::until_promoted(context, &client, id).await?
            } else {
                let call = client.promote_member(id);
                call.await.map_err(|error| context.explain(&error))?.value
            };
            context.output.one(&format!("member {id} votes"), &ChangedRow::from(member))
        }
        MemberCommand::Remove { id, force } => {
            let call = context.client()?.remove_member(MemberId(id), removal(force));
            let member = call.await.map_err(|error| context.explain(&error))?.value;
            context.output.one(&format!("member {id} removed"), &ChangedRow::from(member))
        }
        MemberCommand::Replace(args) => replace::run(context, args).await,
        MemberCommand::Rejoin(args) => rejoin::run(context, args).await,
    }
}

fn removal(force: bool) -> Removal {
    if force { Removal::Forced } else { Removal::KeepingQuorum }
}

async fn transfer(context: &Context, target: Option<MemberId>) -> Result<()> {
    let call = context.client()?.transfer_leader(target);
    let answer = call.await.map_err(|error| context.explain(&error))?;
    let row = TransferRow { leader_id: answer.value.get(), term: answer.header.term.get() };
    context.output.one(&format!("member {} leads", row.leader_id), &row)
}
