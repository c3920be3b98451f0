//! `member list`: shown once, or followed.
//!
//! Who leads and who votes is in no record, so a list that is followed is asked for again and again,
//! and what differs is shown. Whatever begins and ends between two questions is not seen.

use std::{collections::BTreeMap, time::Duration};

use anyhow::Result;
use quorate_client::{Client, Member};
use quorate_core::Revision;

use crate::{
    commands::Context,
    output::{
        cluster::MemberRow,
        followed::{Mark, Shown},
    },
    signals::until_stopped,
};

/// How often a list that is followed is asked for.
const ASK_EVERY: Duration = Duration::from_millis(250);

/// Shows the members.
pub(super) async fn list(context: &Context) -> Result<()> {
    let (_, rows) = ask(context, &context.client()?).await?;
    context.output.rows(&rows)
}

/// Shows them, and then each that differs, until it is told to stop.
///
/// # Errors
/// When no coordinator answered for as long as `--timeout` says.
pub(super) async fn follow(context: &Context) -> Result<()> {
    until_stopped(show(context)).await
}

async fn show(context: &Context) -> Result<()> {
    let client = context.client()?;
    let (revision, rows) = ask(context, &client).await?;
    let mut output = Shown::list(context.output, revision, &rows)?;
    let mut shown = by_id(rows);
    loop {
        tokio::time::sleep(ASK_EVERY).await;
        let (revision, rows) = ask(context, &client).await?;
        let rows = by_id(rows);
        output.changes(context.output, revision, &differing(&shown, &rows))?;
        shown = rows;
    }
}

/// The members, as of a revision.
async fn ask(context: &Context, client: &Client) -> Result<(Revision, Vec<MemberRow>)> {
    let answer = client.members().await.map_err(|error| context.explain(&error))?;
    let (revision, answer) = (answer.revision(), answer.value);
    let row = |member: Member| MemberRow {
        member_id: member.id.get(),
        leader: answer.leader == Some(member.id),
        client_address: member.client_address,
        peer_address: member.peer_address,
        voter: member.voter,
        state: member.state.as_str(),
    };
    Ok((revision, answer.members.into_iter().map(row).collect()))
}

type Rows = BTreeMap<u64, MemberRow>;

fn by_id(rows: Vec<MemberRow>) -> Rows {
    rows.into_iter().map(|row| (row.member_id, row)).collect()
}

/// What has come, changed and gone, by id.
fn differing(before: &Rows, now: &Rows) -> Vec<(Mark, MemberRow)> {
    let gone = before.iter().filter(|(id, _)| !now.contains_key(id));
    let gone = gone.map(|(_, row)| (Mark::Gone, row));
    let there = now.iter().filter_map(|(id, row)| match before.get(id) {
        None => Some((Mark::New, row)),
        Some(before) if before != row => Some((Mark::Changed, row)),
        Some(_) => None,
    });
    let mut all: Vec<_> = gone.chain(there).map(|(mark, row)| (mark, row.clone())).collect();
    all.sort_by_key(|(_, row)| row.member_id);
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(member_id: u64, leader: bool) -> MemberRow {
        MemberRow {
            member_id,
            client_address: "c:1".into(),
            peer_address: "p:1".into(),
            voter: true,
            leader,
            state: "voter",
        }
    }

    #[test]
    fn what_differs_is_marked() {
        let before = by_id(vec![row(1, true), row(2, false), row(3, false)]);
        let now = by_id(vec![row(2, true), row(3, false), row(4, false)]);
        let marks: Vec<_> =
            differing(&before, &now).iter().map(|(mark, row)| (*mark, row.member_id)).collect();
        assert_eq!(marks, [(Mark::Gone, 1), (Mark::Changed, 2), (Mark::New, 4)]);
        assert_eq!(differing(&now, &now).len(), 0);
    }
}
