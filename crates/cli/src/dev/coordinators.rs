//! The running coordinators of a local cluster: in this process, or as processes.

use anyhow::Result;
use quorate_core::MemberId;
use quorate_node::Node;
use tokio::{sync::oneshot, task::JoinSet};

use super::{layout::Layout, processes::Processes};
use crate::{
    args::{Dev, LogFormat},
    failure::Failure,
};

/// The running coordinators.
#[derive(Debug)]
pub(super) enum Coordinators {
    /// In this process.
    Here(Tasks),
    /// As processes of their own.
    Processes(Processes),
}

/// Coordinators in this process: a task each.
#[derive(Debug)]
pub(super) struct Tasks {
    /// A task ends when it was told to stop, or with why its coordinator cannot go on.
    tasks: JoinSet<Result<(), Failure>>,
    /// Dropped, they tell the tasks to stop.
    stops: Vec<oneshot::Sender<()>>,
}

impl Coordinators {
    /// Starts them. They form or join their cluster in the background.
    ///
    /// # Errors
    /// When a process cannot be started.
    pub(super) fn start(layout: &Layout, args: &Dev) -> Result<Self> {
        if args.processes {
            return Ok(Self::Processes(Processes::start(layout, &log_arguments(args))?));
        }
        let (mut tasks, mut stops) = (JoinSet::new(), Vec::new());
        for member in &layout.members {
            let (stop, stopped) = oneshot::channel();
            stops.push(stop);
            tasks.spawn(run(member.id(), member.config.clone(), stopped));
        }
        Ok(Self::Here(Tasks { tasks, stops }))
    }

    /// Their process ids, when they are processes.
    pub(super) fn pids(&self) -> &[(MemberId, u32)] {
        match self {
            Self::Here(_) => &[],
            Self::Processes(processes) => &processes.pids,
        }
    }

    /// Waits until the cluster cannot go on: a coordinator in this process failed, or the last
    /// process ended. Processes may be killed at will.
    pub(super) async fn failed(&mut self) -> Failure {
        match self {
            Self::Here(Tasks { tasks, .. }) => match tasks.join_next().await {
                Some(Ok(Err(failure))) => failure,
                Some(Err(error)) => Failure::rejected(format!("a coordinator failed: {error}")),
                Some(Ok(Ok(()))) | None => std::future::pending().await,
            },
            Self::Processes(processes) => loop {
                let (id, status) = processes.ended().await;
                tracing::info!(member = %id, %status, "a coordinator's process has ended");
                if processes.running() == 0 {
                    return Failure::rejected(format!(
                        "no coordinator is left: the last one, {id}, ended with {status}"
                    ));
                }
            },
        }
    }

    /// Stops them all and waits for it.
    pub(super) async fn stop(self) {
        match self {
            Self::Here(Tasks { mut tasks, stops }) => {
                drop(stops);
                while let Some(ended) = tasks.join_next().await {
                    if let Ok(Err(error)) = ended {
                        tracing::warn!(%error, "a coordinator did not stop cleanly");
                    }
                }
            }
            Self::Processes(processes) => processes.stop().await,
        }
    }
}

/// One coordinator's life.
async fn run(
    id: MemberId,
    config: quorate_node::config::Config,
    mut stopped: oneshot::Receiver<()>,
) -> Result<(), Failure> {
    let node = tokio::select! {
        started = Node::start(config) => started
            .map_err(|error| Failure::rejected(format!("coordinator {id} cannot start: {error}")))?,
        _ = &mut stopped => return Ok(()),
    };
    let failed = tokio::select! {
        fatal = node.failed() => Err(Failure::rejected(format!("coordinator {id} failed: {fatal}"))),
        _ = &mut stopped => Ok(()),
    };
    node.shutdown().await;
    failed
}

/// How the children are told what to log: as this process was.
fn log_arguments(args: &Dev) -> Vec<String> {
    let format = match args.logging.log_format.unwrap_or(LogFormat::Text) {
        LogFormat::Text => "text",
        LogFormat::Json => "json",
    };
    let filter = args.logging.log.as_deref().unwrap_or(super::LOG_DEFAULT);
    ["--log", filter, "--log-format", format].map(str::to_owned).into()
}
