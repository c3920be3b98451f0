//! Clients that make one call after the other, each at a coordinator of its own.
//!
//! Owns their loop: draw, call, write it down, rest. Must not know what is called.

use std::{future::Future, sync::Arc};

use rand::rngs::StdRng;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::{
    bench::{Actor, Bench, Habit},
    client::Client,
};
use crate::history::Step;

/// What the clients of a workload call.
pub(crate) trait Caller: Send + Sync + 'static {
    /// A call.
    type Call: Send;
    /// What comes of one.
    type Answer: Send;

    /// What all clients share.
    fn bench(&self) -> &Bench;

    /// The next call.
    fn draw(&self, rng: &mut StdRng) -> Self::Call;

    /// Makes a call and writes down its beginning and its end.
    fn call(
        &self,
        client: &mut Client,
        actor: &Actor,
        call: Self::Call,
    ) -> impl Future<Output = Step<Self::Answer>> + Send;
}

/// Starts a client for each habit; they end when they are told to stop and have finished a call.
pub(crate) fn spawn<C: Caller>(
    caller: &Arc<C>,
    clients: &mut JoinSet<()>,
    stop: &CancellationToken,
) {
    for habit in &caller.bench().habits {
        clients.spawn(keep_calling(caller.clone(), *habit, stop.clone()));
    }
}

async fn keep_calling<C: Caller>(caller: Arc<C>, habit: Habit, stop: CancellationToken) {
    let mut actor = Actor::new(caller.bench(), &habit, Some(habit.node));
    let mut client = Client::new(habit.node, habit.reads, habit.answer_within);
    while !stop.is_cancelled() {
        let call = caller.draw(&mut actor.rng);
        let step = caller.call(&mut client, &actor, call).await;
        actor.rest(caller.bench(), step.stage(), &stop).await;
    }
}
