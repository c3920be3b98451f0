//! What an administrator asks of the cluster: who leads, who is a member.
//!
//! Owns the requests. Each is one call to one coordinator, without retries: whoever asks decides
//! what an error means, and all of them can be asked again. Must not know why the cluster changes.

use std::time::Duration;

use quorate_core::MemberId;
use quorate_proto::v1::{
    AddMemberRequest, PromoteMemberRequest, RemoveMemberRequest, TransferLeaderRequest,
    cluster_service_client::ClusterServiceClient,
};
use tokio::time::timeout;
use tonic::transport::{Channel, Endpoint};

use crate::net::{Port, endpoint};

/// How long a connection may take to come about.
const CONNECT_WITHIN: Duration = Duration::from_secs(1);

/// How long an answer may take.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// What is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ask {
    /// Leadership for this member.
    Transfer(MemberId),
    /// This new member, on this host.
    Add(MemberId, MemberId),
    /// A vote for this learner.
    Promote(MemberId),
    /// This member out, for good.
    Remove(MemberId),
}

/// Asks the coordinator on a host; tells how it refused.
pub(crate) async fn ask(host: MemberId, what: Ask) -> Result<(), String> {
    match timeout(ANSWER_WITHIN, send(host, what)).await {
        Ok(answer) => answer,
        Err(_) => Err("timeout".to_owned()),
    }
}

async fn send(host: MemberId, what: Ask) -> Result<(), String> {
    let mut client = connect(host).await.map_err(|error| error.to_string())?;
    let told = match what {
        Ask::Transfer(to) => {
            let request = TransferLeaderRequest { target_id: to.get() };
            client.transfer_leader(request).await.map(drop)
        }
        Ask::Add(member, at) => {
            let request = AddMemberRequest {
                id: member.get(),
                peer_address: endpoint(at, Port::Peer),
                client_address: endpoint(at, Port::Client),
                context: None,
            };
            client.add_member(request).await.map(drop)
        }
        Ask::Promote(member) => client
            .promote_member(PromoteMemberRequest { id: member.get(), context: None })
            .await
            .map(drop),
        Ask::Remove(member) => {
            let request = RemoveMemberRequest { id: member.get(), force: false, context: None };
            client.remove_member(request).await.map(drop)
        }
    };
    told.map_err(|status| format!("{:?}: {}", status.code(), status.message()))
}

async fn connect(host: MemberId) -> Result<ClusterServiceClient<Channel>, tonic::transport::Error> {
    let uri = format!("http://{}", endpoint(host, Port::Client));
    let channel = Endpoint::from_shared(uri)?.connect_timeout(CONNECT_WITHIN).connect().await?;
    Ok(ClusterServiceClient::new(channel))
}
