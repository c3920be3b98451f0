//! The crash programme, short enough for every run. `leader_kills` runs all of it.

use anyhow::Result;
use quorate_tests::{
    cluster::Cluster,
    crash::{Settings, leader_kills, outage},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_acknowledged_write_is_lost_when_leaders_are_killed() -> Result<()> {
    let mut cluster = Cluster::start(3).await?;
    let settings = Settings { kills: 3, writes: 2_000, clients: 8 };
    let report = leader_kills(&mut cluster, settings).await?;
    println!("{report}");
    assert!(report.is_clean(), "{report}\n{}", report.details.join("\n"));
    assert!(report.acked >= 2_000 && report.kills == 3, "too little was done: {report}");
    Ok(())
}

#[tokio::test]
async fn without_a_majority_nothing_is_answered_and_nothing_is_lost() -> Result<()> {
    println!("{}", outage::majority_gone(&mut Cluster::start(3).await?).await?);
    Ok(())
}

#[tokio::test]
async fn everything_is_there_after_all_members_were_killed() -> Result<()> {
    println!("{}", outage::all_gone(&mut Cluster::start(3).await?).await?);
    Ok(())
}

#[tokio::test]
async fn wiped_members_do_not_form_a_second_cluster() -> Result<()> {
    println!("{}", outage::disks_gone(&mut Cluster::start(3).await?).await?);
    Ok(())
}
