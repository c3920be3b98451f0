//! `session`.

use anyhow::Result;

use super::{Context, follow};
use crate::{
    args::{Follow, SessionCommand},
    output::sessions::SessionRow,
};

/// Runs a command on sessions.
pub(super) async fn run(context: &Context, command: SessionCommand) -> Result<()> {
    let SessionCommand::List(Follow { watch }) = command;
    if watch {
        return follow::follow(context, follow::Sessions::default()).await;
    }
    let listed = context.client()?.list_sessions().await;
    let found = listed.map_err(|error| context.explain(&error))?.value;
    context.output.rows(&found.iter().map(SessionRow::new).collect::<Vec<_>>())
}
