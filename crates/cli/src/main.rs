//! The `quorate` command: run and operate a cluster.
//!
//! ```text
//! args -> commands -> (client library | node) -> output -> exit code
//! ```
//!
//! Thin: reads the command line, runs the command, turns its end into an exit code. Started by
//! itself as the [guard] of a command, it is nothing else.

mod args;
mod bench;
mod commands;
mod dev;
mod failure;
mod guard;
mod logging;
mod output;
mod progress;
mod signals;
mod txn;
mod worker_file;

use std::{
    env,
    io::{self, Write},
    process::ExitCode,
    time::Duration,
};

use anyhow::{Context as _, Result};
use clap::Parser;
use tokio::runtime::{Builder, Runtime};

use crate::args::{Cli, GUARD, Guard};

/// How long what is left of the runtime may take at the end.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(1);

/// Thousands of small messages a second: glibc's spends a sixth of the time, and gives memory back
/// to the system only to ask for it again.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let guards = env::args_os().nth(1).is_some_and(|first| first == GUARD);
    let ran = if guards { run_guard() } else { run(Cli::parse()) };
    match ran {
        Ok(code) => code,
        Err(error) if failure::is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            let (exit, text) = failure::render(&error);
            // Nobody may be reading, and there is nobody else to tell.
            let _ = io::stderr().lock().write_all(text.as_bytes());
            exit.into()
        }
    }
}

fn run(cli: Cli) -> Result<ExitCode> {
    let runtime = runtime().context("cannot start the runtime")?;
    let result = runtime.block_on(commands::run(cli));
    runtime.shutdown_timeout(LEAVE_TIMEOUT);
    result
}

/// Many threads. Who is woken waits behind those that were woken before: when a log entry is answered,
/// all replies on a connection are there before the connection's task runs, and leave in one write.
fn runtime() -> io::Result<Runtime> {
    let mut builder = Builder::new_multi_thread();
    #[cfg(tokio_unstable)]
    builder.disable_lifo_slot();
    builder.enable_all().build()
}

/// In one thread: it waits for few things, and there may be many of it.
fn run_guard() -> Result<ExitCode> {
    let args = Guard::parse_from(env::args_os().skip(1));
    let runtime = Builder::new_current_thread().enable_all().build();
    runtime.context("cannot start the runtime")?.block_on(guard::run(args))?;
    Ok(ExitCode::SUCCESS)
}
