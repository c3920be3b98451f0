//! Waits until a learner has caught up, and tells how far it is.

use std::{
    io::{self, Write},
    time::Duration,
};

use anyhow::Result;
use quorate_client::{Client, Error, ErrorKind, Member};
use quorate_core::MemberId;
use quorate_proto::Reason;
use tokio::time::Instant;

use crate::{
    commands::Context,
    failure::{Exit, Failure},
};

/// How often to ask.
const ASK_EVERY: Duration = Duration::from_millis(250);
/// How often to say the same, with other numbers, at most.
const SAY_EVERY: Duration = Duration::from_secs(2);

/// Makes a learner a voter as soon as it has caught up.
pub(super) async fn until_promoted(
    context: &Context,
    client: &Client,
    id: MemberId,
) -> Result<Member> {
    let patience = context.global.patience();
    let until = Instant::now() + patience;
    let mut said: Option<(Instant, String)> = None;
    loop {
        let error = match client.promote_member(id).await {
            Ok(answer) => return Ok(answer.value),
            Err(error) if passes(&error) => error,
            Err(error) => return Err(context.explain(&error)),
        };
        let message = error.message().to_owned();
        if Instant::now() + ASK_EVERY >= until {
            let line = format!("member {id} is no voter yet after {patience:?}: {message}");
            return Err(Failure::new(Exit::Unavailable, line)
                .hint("repeat the command to go on, with a longer --timeout")
                .into());
        }
        let due =
            |(at, before): &(Instant, String)| at.elapsed() >= SAY_EVERY && *before != message;
        if said.as_ref().is_none_or(due) {
            step(&format!("waiting: {message}"));
            said = Some((Instant::now(), message));
        }
        tokio::time::sleep(ASK_EVERY).await;
    }
}

/// Whether asking again may help. A promotion that was made is made.
fn passes(error: &Error) -> bool {
    error.reason() == Some(Reason::PreconditionFailed)
        || matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::OutcomeUnknown)
}

/// Tells of a step, to standard error: standard output has the result.
pub(super) fn step(line: &str) {
    // Nobody may be listening.
    let _ = writeln!(io::stderr(), "{line}");
}
