//! Every request is applied exactly once, and answered with what came of it, while replies are
//! lost, leaders are killed, and members come back by an installed checkpoint: real processes, a
//! thousand requests in flight, and a checker over what was answered and told.

mod load;
mod repeats;
mod story;
mod verdict;

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use quorate_client::{Client, ClientConfig, SessionOptions};
use quorate_core::{LogIndex, MemberId, SessionId};
use quorate_testkit::{Faults, Proxy};
use quorate_tests::cluster::{Cluster, HEALTHY_WITHIN, POLL};
use tokio::{
    sync::watch,
    time::{Instant, sleep, timeout},
};

use self::{load::Load, repeats::Repeats};

const REQUESTS: u64 = 10_000;
const KILLS: u64 = 5;
const INSTALLS_MIN: u64 = 3;
const DROPPED_MIN: u64 = 200;
/// A checkpoint every few entries, of a few requests each, so that a member that was away for
/// [`ENTRIES_AWAY`] finds the log purged.
const SETTINGS: &str = "\
[raft]
checkpoint_entries = 60
kept_entries = 10
purge_entries = 1
batch_commands_max = 16
";
const ENTRIES_AWAY: u64 = 100;
/// Longer than the whole test takes, so that no session ends by the way.
const TTL: Duration = Duration::from_secs(60);
const PHASE: Duration = Duration::from_secs(120);

/// What was done to the cluster.
#[derive(Debug, Default)]
struct Done {
    kills: u64,
    installs: u64,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_is_applied_twice_and_none_is_lost() -> Result<()> {
    let mut cluster = Cluster::start_with(3, SETTINGS).await?;
    let direct = client(cluster.endpoints().split(','))?;
    let session = direct.open_session(SessionOptions::new(TTL)).await?;
    let ended = ended_session(&direct).await?;
    let by_hand = direct.open_session(SessionOptions::new(TTL)).await?;
    let mut repeats = Repeats::new(by_hand.id(), ended);
    let (finish, finished) = watch::channel(None);
    let story = tokio::spawn(story::follow(direct.clone(), finished));

    let mut proxies = Vec::new();
    for id in cluster.ids() {
        proxies.push(Proxy::start(cluster.endpoint(id).to_string()).await?);
    }
    let client = client(proxies.iter().map(Proxy::endpoint))?;
    client.put("warm", "up").await?;
    proxies.iter().for_each(|proxy| proxy.set(Faults::LoseReplies));
    let load = Load::start(client.clone(), session.clone(), ended);

    let (mut done, began) = (Done::default(), Instant::now());
    for kill in 0..KILLS {
        reach(load.answered(), REQUESTS * kill / KILLS, &cluster).await?;
        repeats.round(&cluster.coordinator(cluster.wait_leader().await?)).await?;
        kill_leader(&mut cluster, &mut done, &mut repeats)
            .await
            .with_context(|| format!("kill {kill}\n{}", cluster.logs()))?;
        let answered = *load.answered().borrow();
        println!("kill {kill} is over after {:?}: {answered} requests", began.elapsed());
    }
    reach(load.answered(), REQUESTS, &cluster).await?;
    proxies.iter().for_each(|proxy| proxy.set(Faults::None));
    let answers = timeout(PHASE, load.end()).await.context("requests without an answer")?;

    cluster.wait_healthy().await?;
    repeats.acknowledge(&cluster.coordinators()).await?;
    let (last, _) = cluster.coordinators()[0].entries(load::PREFIX).await?;
    finish.send_replace(Some(last));
    let story = timeout(PHASE, story).await.context("the stream stands still")???;
    let mut members = Vec::new();
    for coordinator in cluster.coordinators() {
        let (_, records) = coordinator.entries(load::PREFIX).await?;
        members.push((coordinator.id, story::entries(&records)?));
    }
    let verdict = verdict::judge(&answers, &story, &members);
    let dropped: u64 = proxies.iter().map(Proxy::lost).sum();
    let Done { kills, installs } = done;
    println!(
        "requests={} kills={kills} installs={installs} dropped_replies={dropped} repeats={} \
         {verdict}",
        answers.len(),
        repeats.repeated,
    );
    assert!(verdict.is_clean(), "{verdict}\n{}", verdict.details.join("\n"));
    assert!(
        answers.len() as u64 >= REQUESTS && kills >= KILLS && installs >= INSTALLS_MIN,
        "too little was done"
    );
    assert!(dropped >= DROPPED_MIN && repeats.repeated > 100, "too little was done");
    bound_entries_end(&cluster, session).await
}

fn client(endpoints: impl IntoIterator<Item = impl Into<String>>) -> Result<Client> {
    let mut config = ClientConfig::new(endpoints).with_timeout(PHASE);
    config.exactly_once_ttl = TTL;
    // What is lost is noticed at once, by its connection; what waits among so many is not lost.
    config.attempt_timeout = Duration::from_secs(20);
    Ok(Client::new(config)?)
}

async fn ended_session(client: &Client) -> Result<SessionId> {
    let session = client.open_session(SessionOptions::new(TTL)).await?;
    session.close().await?;
    Ok(session.id())
}

async fn reach(mut answered: watch::Receiver<u64>, requests: u64, cluster: &Cluster) -> Result<()> {
    let reached = timeout(PHASE, answered.wait_for(|count| *count >= requests)).await;
    let reached = reached.is_ok_and(|reached| reached.is_ok());
    let count = *answered.borrow();
    ensure!(reached, "{count} of {requests} requests in {PHASE:?}\n{}", cluster.logs());
    Ok(())
}

/// Kills the leader, starts it again when the others have purged what it lacks, sees a checkpoint
/// installed, and repeats what was sent before: to a member that was there all the time, and with
/// the one that was not in the lead.
async fn kill_leader(cluster: &mut Cluster, done: &mut Done, repeats: &mut Repeats) -> Result<()> {
    let victim = cluster.wait_leader().await?;
    cluster.kill(victim)?;
    done.kills += 1;
    let leader = cluster.wait_leader().await?;
    // A busy one does not always say in time.
    let until = Instant::now() + HEALTHY_WITHIN;
    let mut purged_at = None;
    loop {
        if let Ok(LogIndex(at)) = applied(cluster, leader).await
            && at >= *purged_at.get_or_insert(at + ENTRIES_AWAY)
        {
            break;
        }
        ensure!(Instant::now() < until, "no progress after the kill of {victim}");
        sleep(POLL).await;
    }
    cluster.spawn(victim)?;
    cluster.wait_caught_up(victim).await?;
    let installed = cluster.metric(victim, "quorate_storage_installs_total").await?;
    done.installs += u64::from(installed >= 1.0);
    repeats.again(&cluster.coordinator(leader)).await?;
    lead(cluster, victim).await?;
    repeats.again(&cluster.coordinator(victim)).await
}

async fn applied(cluster: &Cluster, id: MemberId) -> Result<LogIndex> {
    Ok(cluster.coordinator(id).status().await?.applied)
}

/// Makes a member the leader, however often it must be asked.
async fn lead(cluster: &Cluster, id: MemberId) -> Result<()> {
    let until = Instant::now() + HEALTHY_WITHIN;
    while cluster.wait_leader().await? != id {
        ensure!(Instant::now() < until, "member {id} does not lead");
        // Whatever it says, whether it leads is asked next.
        let _ = cluster.coordinator(id).lead().await;
    }
    Ok(())
}

/// What is bound to a session goes with it, all at one revision.
async fn bound_entries_end(cluster: &Cluster, session: quorate_client::Session) -> Result<()> {
    let any = &cluster.coordinators()[0];
    let prefix = format!("{}bound/", load::PREFIX);
    ensure!(any.entries(&prefix).await?.1.len() as u64 == load::KEYS, "all are there");
    session.close().await?;
    ensure!(any.entries(&prefix).await?.1.is_empty(), "they outlive their session");
    Ok(())
}
