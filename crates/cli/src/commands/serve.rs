//! `serve`: one coordinator in this process.

use anyhow::Result;
use quorate_node::{
    Node,
    config::{self, Config},
};

use crate::{
    args::{LogFormat, Serve},
    failure::Failure,
    logging,
    signals::StopSignal,
};

/// Runs a coordinator until it is asked to stop, or cannot go on.
pub(super) async fn run(args: Serve) -> Result<()> {
    let mut config = Config::load(&args.config)
        .map_err(|error| Failure::usage(format!("{}: {error}", args.config.display())))?;
    if let Some(dir) = args.data_dir {
        config.node.data_dir = dir;
    }
    let format = args.logging.log_format.unwrap_or(match config.log.format {
        config::LogFormat::Text => LogFormat::Text,
        config::LogFormat::Json => LogFormat::Json,
    });
    logging::install(args.logging.log.as_ref().unwrap_or(&config.log.filter), format)?;

    let mut stop = StopSignal::install()?;
    if args.stop_with_stdin {
        stop = stop.with_stdin()?;
    }
    let dir = config.node.data_dir.display().to_string();
    let node = tokio::select! {
        started = Node::start(config) => started.map_err(|error| {
            Failure::rejected(format!("this coordinator cannot start: {error}"))
                .hint(format!("its data is in {dir}"))
        })?,
        why = stop.requested() => {
            tracing::info!(why, "stopped before it was part of a cluster");
            return Ok(());
        }
    };
    let failed = tokio::select! {
        fatal = node.failed() => Some(fatal),
        why = stop.requested() => {
            tracing::info!(why, "asked to stop");
            None
        }
    };
    node.shutdown().await;
    match failed {
        None => Ok(()),
        Some(fatal) => Err(Failure::rejected(format!("this coordinator has stopped: {fatal}"))
            .hint(format!("its data is in {dir}"))
            .into()),
    }
}
