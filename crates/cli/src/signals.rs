//! When the process is asked to stop.

use std::{
    io::{self, Read},
    process, thread,
    time::Duration,
};

use anyhow::{Context as _, Result};
use tokio::{
    runtime::Builder,
    signal::unix::{Signal, SignalKind, signal},
    sync::oneshot,
};

/// How long what was asked to stop may go on: it may wait for a reader that does not read.
const GRACE: Duration = Duration::from_secs(1);

/// Runs what ends by itself only when it fails, until the process is asked to stop: that is its success. It
/// ends a second later at the latest, whatever it waits for.
///
/// # Errors
/// Those of the work, and when the operating system refuses to tell of signals.
pub(crate) async fn until_stopped(work: impl Future<Output = Result<()>>) -> Result<()> {
    let mut stop = StopSignal::install().context("cannot handle signals")?;
    end_when_stopped().context("cannot handle signals")?;
    tokio::select! {
        biased;
        _ = stop.requested() => Ok(()),
        ended = work => ended,
    }
}

/// Ends the process a while after it was asked to stop. Work that writes to a full pipe hears of nothing, so
/// this has a thread of its own.
fn end_when_stopped() -> io::Result<()> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let mut stop = {
        let _entered = runtime.enter();
        StopSignal::install()?
    };
    let wait = move || {
        runtime.block_on(stop.requested());
        thread::sleep(GRACE);
        process::exit(0);
    };
    thread::Builder::new().name("stop".to_owned()).spawn(wait).map(drop)
}

/// Waits for Ctrl-C, SIGTERM or, where asked for, the end of standard input.
#[derive(Debug)]
pub(crate) struct StopSignal {
    interrupt: Signal,
    terminate: Signal,
    stdin_ended: Option<oneshot::Receiver<()>>,
}

impl StopSignal {
    /// Takes the signals over from now on, so that none ends the process by itself.
    ///
    /// # Errors
    /// When the operating system refuses.
    pub(crate) fn install() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            stdin_ended: None,
        })
    }

    /// Stops at the end of standard input, too. Whoever holds the other end of that pipe takes
    /// this process along when it ends, however it ends.
    ///
    /// # Errors
    /// When no thread can be started.
    pub(crate) fn with_stdin(mut self) -> io::Result<Self> {
        let (ended, receiver) = oneshot::channel();
        // A blocking read cannot be cancelled, so it has a thread of its own, which ends with the
        // process.
        thread::Builder::new().name("stdin".to_owned()).spawn(move || {
            let mut ignored = [0; 256];
            while matches!(io::stdin().read(&mut ignored), Ok(1..)) {}
            // Nobody listens any more when the process is stopping already.
            let _ = ended.send(());
        })?;
        self.stdin_ended = Some(receiver);
        Ok(self)
    }

    /// Waits until the process is asked to stop.
    pub(crate) async fn requested(&mut self) -> &'static str {
        let stdin_ended = async {
            match &mut self.stdin_ended {
                Some(receiver) => {
                    // An error means that the thread is gone, and standard input with it.
                    let _ = receiver.await;
                }
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = self.interrupt.recv() => "SIGINT",
            _ = self.terminate.recv() => "SIGTERM",
            () = stdin_ended => "end of standard input",
        }
    }
}
