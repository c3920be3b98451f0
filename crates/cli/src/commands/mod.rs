//! What each command does: one file per group of commands.
//!
//! A command asks the client library and hands what it gets to the output layer. It owns neither
//! parsing nor formatting.

mod bench;
mod completions;
mod context;
pub(crate) mod explain;
mod kv;
mod member;
mod network;
mod serve;
mod snapshot;
pub(crate) mod status;
mod txn;
mod watch;

use anyhow::Result;

pub(crate) use self::context::Context;
use crate::{
    args::{Cli, Command},
    dev,
};

/// Runs the command.
///
/// # Errors
/// A [`Failure`](crate::failure::Failure) with its exit code, or anything local that failed.
pub(crate) async fn run(cli: Cli) -> Result<()> {
    let context = Context::new(cli.global);
    match cli.command {
        Command::Dev(args) => dev::run(context, args).await,
        Command::Serve(args) => serve::run(args).await,
        Command::Status => status::run(&context).await,
        Command::Member(command) => member::run(&context, command).await,
        Command::Kv(command) => kv::run(&context, command).await,
        Command::Watch(args) => watch::run(&context, args).await,
        Command::Network(command) => network::run(&context, command).await,
        Command::Partition(command) => network::run_partition(&context, command).await,
        Command::Connection(command) => network::run_connection(&context, command).await,
        Command::Snapshot(command) => snapshot::run(&context, command).await,
        Command::Bench(command) => bench::run(&context, command).await,
        Command::Completions { shell } => completions::run(&context, shell),
    }
}
