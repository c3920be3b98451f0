//! `config`: files, without a cluster.

use std::path::Path;

use anyhow::Result;
use quorate_node::config::Config;
use serde_json::json;

use super::Context;
use crate::{args::ConfigCommand, failure::Failure};

/// A complete file, in which everything is explained.
const DEFAULT: &str = include_str!("../../../../config/full.toml");

/// Runs a command on configuration files.
pub(super) fn run(context: &Context, command: ConfigCommand) -> Result<()> {
    match command {
        ConfigCommand::Check { files } => files.iter().try_for_each(|file| check(context, file)),
        ConfigCommand::Default => context.output.text(DEFAULT),
    }
}

fn check(context: &Context, file: &Path) -> Result<()> {
    let name = file.display();
    let config = Config::load(file).map_err(|error| Failure::usage(format!("{name}: {error}")))?;
    let (member, cluster) = (config.node.id, &config.cluster.name);
    let line = format!("{name}: valid, for member {member} of cluster {cluster}");
    let row = json!({
        "file": name.to_string(), "member_id": member.get(), "cluster": cluster.to_string(),
    });
    context.output.one(&line, &row)
}
