//! A coordinator whose consensus has ended does not stay up, and one that is asked to stop does.

use quorate_core::MemberId;
use tokio::{net::TcpStream, time::timeout};

use super::*;

/// How long it may take to notice and to stop, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

async fn node(dir: &tempfile::TempDir) -> Node {
    let listeners = Listeners::local().await.unwrap();
    let members = [listeners.member(MemberId(1)).unwrap()];
    let config = Config::local(MemberId(1), &members, dir.path().join("data"));
    Node::start_on(config, listeners).await.unwrap()
}

/// It says that it failed, lets nobody in any more, and can be stopped.
async fn fails(node: Node) {
    let failed = timeout(PATIENCE, node.failed()).await.expect("it notices");
    assert!(failed.to_string().contains("consensus ended"), "{failed}");
    let (client, peer) = (node.client_address(), node.peer_address());
    timeout(PATIENCE, node.shutdown()).await.expect("it stops");
    for address in [client, peer] {
        assert!(TcpStream::connect(address).await.is_err(), "{address} is still served");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn consensus_that_panicked_is_a_failure() {
    let dir = tempfile::tempdir().unwrap();
    let node = node(&dir).await;
    let sent = node.replica.raft().external_request(|_| panic!("a mistake")).await;
    assert!(sent.is_ok(), "{sent:?}");
    fails(node).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn consensus_that_ended_by_itself_is_a_failure() {
    let dir = tempfile::tempdir().unwrap();
    let node = node(&dir).await;
    node.replica.raft().shutdown().await.unwrap();
    fails(node).await;
}

/// Whatever hangs, a stop ends, and the data can be opened again.
#[tokio::test(flavor = "multi_thread")]
async fn a_stop_does_not_wait_for_what_hangs() {
    let dir = tempfile::tempdir().unwrap();
    let hanging = node(&dir).await;
    hanging.replica.hang();
    timeout(PATIENCE, hanging.shutdown()).await.expect("it stops");
    timeout(PATIENCE, node(&dir).await.shutdown()).await.expect("it stops, too");
}
