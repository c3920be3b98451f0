//! `member replace`: another machine takes the place of a member, which goes last.

use anyhow::Result;
use quorate_core::MemberId;

use super::{
    ChangedRow, removal,
    wait::{step, until_promoted},
};
use crate::{args::Replace, commands::Context, failure::Failure};

/// Adds, waits, promotes and removes; each step once, however often the command is run.
pub(super) async fn run(context: &Context, args: Replace) -> Result<()> {
    let (client, old) = (context.client()?, MemberId(args.old));
    let (peer, address) = (args.addresses.peer, args.addresses.client);
    let members = client.members().await.map_err(|error| context.explain(&error))?.value.members;
    let listed = |id: MemberId| members.iter().any(|member| member.id == id);
    // Not there and the new one is: an earlier run got as far as that.
    if !listed(old) && !members.iter().any(|member| member.peer_address == peer) {
        return Err(Failure::not_found(format!("there is no member {old}")).into());
    }
    let added = client.add_member(args.new.map(MemberId), &peer, &address).await;
    let id = added.map_err(|error| context.explain(&error))?.value.id;
    if !listed(id) {
        let others = members.iter().filter(|member| member.id != old);
        let join: Vec<&str> = others.map(|member| member.peer_address.as_str()).collect();
        step(&format!(
            "member {id} added; start it with node.id = {id} and cluster.join = {join:?}"
        ));
    }
    let member = until_promoted(context, &client, id).await?;
    step(&format!("member {id} votes"));
    let removed = client.remove_member(old, removal(args.force)).await;
    removed.map_err(|error| context.explain(&error))?;
    let line = format!("member {old} removed: member {id} is in its place");
    context.output.one(&line, &ChangedRow::from(member))
}
