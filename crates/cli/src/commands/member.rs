//! `member`: who the coordinators are, and who leads.

use anyhow::Result;
use quorate_core::MemberId;
use serde::Serialize;

use super::Context;
use crate::{args::MemberCommand, output::cluster::MemberRow};

#[derive(Serialize)]
struct TransferRow {
    leader_id: u64,
    term: u64,
}

/// Runs a command of the group.
pub(super) async fn run(context: &Context, command: MemberCommand) -> Result<()> {
    match command {
        MemberCommand::List => list(context).await,
        MemberCommand::Transfer { id } => transfer(context, id.map(MemberId)).await,
    }
}

async fn list(context: &Context) -> Result<()> {
    let answer = context.client()?.members().await.map_err(|error| context.explain(&error))?.value;
    let row = |member: quorate_client::Member| MemberRow {
        member_id: member.id.get(),
        leader: answer.leader == Some(member.id),
        client_address: member.client_address,
        peer_address: member.peer_address,
        voter: member.voter,
    };
    context.output.rows(&answer.members.into_iter().map(row).collect::<Vec<_>>())
}

async fn transfer(context: &Context, target: Option<MemberId>) -> Result<()> {
    let call = context.client()?.transfer_leader(target);
    let answer = call.await.map_err(|error| context.explain(&error))?;
    let row = TransferRow { leader_id: answer.value.get(), term: answer.header.term.get() };
    context.output.one(&format!("member {} leads", row.leader_id), &row)
}
