//! What each command does: one file per group of commands.
//!
//! A command asks the client library and hands what it gets to the output layer. It owns neither
//! parsing nor formatting.

mod balance;
mod bench;
mod completions;
mod config;
mod connection;
mod context;
mod events;
pub(crate) mod explain;
mod follow;
mod health;
mod history;
mod kv;
mod lock;
mod member;
mod network;
mod plan;
mod pool;
mod reshape;
mod scale;
mod serve;
mod session;
mod settings;
mod snapshot;
pub(crate) mod status;
mod txn;
mod watch;
mod worker;

use std::process::ExitCode;

use anyhow::Result;

pub(crate) use self::context::Context;
use crate::{
    args::{Cli, Command},
    dev,
    signals::until_stopped,
};

/// Runs the command, to the exit code of its success.
///
/// # Errors
/// A [`Failure`](crate::failure::Failure) with its exit code, or anything local that failed.
pub(crate) async fn run(cli: Cli) -> Result<ExitCode> {
    let context = Context::new(cli.global);
    let result = dispatch(&context, cli.command).await;
    context.close().await;
    result
}

async fn dispatch(context: &Context, command: Command) -> Result<ExitCode> {
    let done = match command {
        // Ends as the command that it runs.
        Command::Lock(args) => return lock::run(context, args).await,
        // Ends with 1 when something is critical.
        Command::Health => return health::run(context).await,
        Command::Dev(args) => dev::run(context, args).await,
        Command::Serve(args) => serve::run(args).await,
        Command::Config(command) => config::run(context, command),
        Command::Status => status::run(context).await,
        Command::Member(command) => member::run(context, command).await,
        Command::Kv(command) => kv::run(context, command).await,
        Command::Watch(args) => until_stopped(watch::run(context, args)).await,
        Command::History(args) => history::run(context, args).await,
        Command::Events(args) if args.follow => until_stopped(events::run(context, args)).await,
        Command::Events(args) => events::run(context, args).await,
        Command::Network(command) => network::run(context, command).await,
        Command::Partition(command) => network::run_partition(context, command).await,
        Command::Connection(command) => connection::run(context, command).await,
        Command::Worker(command) => worker::run(context, command).await,
        Command::Pool(command) => pool::run(context, command).await,
        Command::Allocation(command) => pool::run_allocation(context, command).await,
        Command::Balance(args) => balance::run(context, args).await,
        Command::Settings(command) => settings::run(context, command).await,
        Command::Maintenance { switch } => settings::maintenance(context, switch).await,
        Command::Snapshot(command) => snapshot::run(context, command).await,
        Command::Session(command) => session::run(context, command).await,
        Command::Bench(command) => bench::run(context, command).await,
        Command::Completions { shell } => completions::run(context, shell),
    };
    done.map(|()| ExitCode::SUCCESS)
}
