//! Plain generated clients, and the few calls that the tests make.

use std::time::Duration;

use quorate_core::Revision;
use quorate_node::Node;
use quorate_proto::{
    ErrorDetails, Reason,
    convert::{ResumeToken, Start, WatchEvent, WatchSpec, WatchedChange},
    v1::{
        self, cluster_service_client::ClusterServiceClient,
        network_service_client::NetworkServiceClient, session_service_client::SessionServiceClient,
        store_service_client::StoreServiceClient, watch_service_client::WatchServiceClient,
    },
};
use tonic::{Code, Status, Streaming, transport::Channel};

use crate::common::PATIENCE;

pub(crate) const MESSAGE_BYTES_MAX: usize = 64 << 20;

/// Clients of one coordinator.
#[derive(Clone)]
pub(crate) struct Clients {
    pub(crate) channel: Channel,
    pub(crate) store: StoreServiceClient<Channel>,
    pub(crate) watch: WatchServiceClient<Channel>,
    pub(crate) cluster: ClusterServiceClient<Channel>,
    pub(crate) network: NetworkServiceClient<Channel>,
    pub(crate) session: SessionServiceClient<Channel>,
}

impl Clients {
    pub(crate) async fn of(node: &Node) -> Self {
        let endpoint =
            format!("http://{}", node.client_address()).parse::<tonic::transport::Endpoint>();
        let channel = endpoint.unwrap().connect().await.unwrap();
        Self {
            store: StoreServiceClient::new(channel.clone())
                .max_decoding_message_size(MESSAGE_BYTES_MAX),
            watch: WatchServiceClient::new(channel.clone())
                .max_decoding_message_size(MESSAGE_BYTES_MAX),
            cluster: ClusterServiceClient::new(channel.clone()),
            network: NetworkServiceClient::new(channel.clone()),
            session: SessionServiceClient::new(channel.clone()),
            channel,
        }
    }

    pub(crate) async fn all(nodes: impl Iterator<Item = &Node>) -> Vec<Self> {
        futures::future::join_all(nodes.map(Self::of)).await
    }

    /// Writes an entry; its revision.
    pub(crate) async fn put(&self, key: &str, value: &str) -> Result<Revision, Status> {
        let response = self.store.clone().put(put_request(entry(key), value)).await?;
        Ok(Revision(response.into_inner().header.unwrap().revision))
    }

    /// Changes a setting.
    pub(crate) async fn set(&self, setting: &str, value: u64) -> Revision {
        let key = v1::Key { kind: v1::Kind::Setting.into(), key: setting.to_owned().into() };
        let response = self.store.clone().put(put_request(key, &value.to_string())).await.unwrap();
        Revision(response.into_inner().header.unwrap().revision)
    }

    /// Deletes every entry that begins with a prefix.
    pub(crate) async fn delete(&self, prefix: &str) -> Result<u64, Status> {
        let request = v1::DeleteRequest {
            selector: Some(prefixed(prefix)),
            return_previous: false,
            ..v1::DeleteRequest::default()
        };
        Ok(self.store.clone().delete(request).await?.into_inner().deleted)
    }

    /// Reads the entries that begin with a prefix.
    pub(crate) async fn range(
        &self,
        prefix: &str,
        read: Option<v1::ReadOptions>,
    ) -> Result<v1::RangeResponse, Status> {
        let selector = Some(prefixed(prefix));
        let request = v1::RangeRequest { selector, read, ..v1::RangeRequest::default() };
        Ok(self.store.clone().range(request).await?.into_inner())
    }

    /// Reads one entry: its value, and the revision of the answer.
    pub(crate) async fn get(
        &self,
        key: &str,
        read: Option<v1::ReadOptions>,
    ) -> Result<(Option<String>, Revision), Status> {
        let target = Some(v1::selector::Target::Key(key.to_owned().into()));
        let selector = Some(v1::Selector { kind: v1::Kind::Entry.into(), target });
        let request = v1::RangeRequest { selector, read, ..v1::RangeRequest::default() };
        let response = self.store.clone().range(request).await?.into_inner();
        let value = response.records.first().map(|record| match record.value.as_ref().unwrap() {
            v1::record::Value::Entry(bytes) => String::from_utf8(bytes.to_vec()).unwrap(),
            other => panic!("{other:?}"),
        });
        Ok((value, Revision(response.header.unwrap().revision)))
    }

    /// The revision of a linearizable read.
    pub(crate) async fn revision(&self) -> Revision {
        self.get("no such key", None).await.unwrap().1
    }

    /// The oldest revision from which a watch can start, once this revision is applied here.
    pub(crate) async fn oldest_at(&self, applied: Revision) -> Revision {
        assert!(self.revision().await >= applied);
        let status = self.cluster.clone().status(v1::StatusRequest {}).await.unwrap();
        Revision(status.into_inner().oldest_revision)
    }

    pub(crate) async fn watch(&self, spec: WatchSpec) -> Result<Watched, Status> {
        let request = v1::WatchRequest::from(spec);
        let stream = self.watch.clone().watch(request).await?.into_inner();
        Ok(Watched { stream, waiting: Vec::new().into_iter(), resume: None })
    }

    pub(crate) async fn watch_from(&self, revision: Revision) -> Result<Watched, Status> {
        self.watch(WatchSpec { start: Start::From(revision), ..WatchSpec::default() }).await
    }
}

pub(crate) fn entry(key: &str) -> v1::Key {
    v1::Key { kind: v1::Kind::Entry.into(), key: key.to_owned().into() }
}

pub(crate) fn put_request(key: v1::Key, value: &str) -> v1::PutRequest {
    v1::PutRequest {
        key: Some(key),
        value: value.to_owned().into(),
        return_previous: false,
        ..v1::PutRequest::default()
    }
}

pub(crate) fn prefixed(prefix: &str) -> v1::Selector {
    let target = Some(v1::selector::Target::Prefix(prefix.to_owned().into()));
    v1::Selector { kind: v1::Kind::Entry.into(), target }
}

pub(crate) fn at_least(revision: Revision) -> Option<v1::ReadOptions> {
    let consistency = v1::Consistency::AtLeast.into();
    Some(v1::ReadOptions { consistency, min_revision: revision.get() })
}

pub(crate) fn local() -> Option<v1::ReadOptions> {
    Some(v1::ReadOptions { consistency: v1::Consistency::Local.into(), min_revision: 0 })
}

/// A change stream, taken apart into its steps.
pub(crate) struct Watched {
    stream: Streaming<v1::WatchResponse>,
    waiting: std::vec::IntoIter<WatchEvent>,
    pub(crate) resume: Option<ResumeToken>,
}

/// One revision: for each change its key, what is there now, whether it was created.
pub(crate) type Story = Vec<(Revision, Vec<WatchedChange>)>;

impl Watched {
    /// The next step; an error when the stream ends or nothing comes in time.
    pub(crate) async fn next(&mut self) -> Result<WatchEvent, Status> {
        loop {
            if let Some(event) = self.waiting.next() {
                return Ok(event);
            }
            let message = tokio::time::timeout(PATIENCE, self.stream.message()).await;
            let message = message.map_err(|_| Status::aborted("nothing came in time"))??;
            let message =
                message.ok_or_else(|| Status::aborted("the stream ended without a word"))?;
            self.resume = message.resume.map(ResumeToken::from);
            let events: Vec<_> =
                message.events.into_iter().map(|event| event.try_into().unwrap()).collect();
            self.waiting = events.into_iter();
        }
    }

    /// Every change until everything up to `revision` was delivered. Panics on anything that is
    /// neither a change nor a progress notice, or is out of order.
    pub(crate) async fn story(&mut self, revision: Revision) -> Story {
        let mut story = Story::new();
        loop {
            let at = match self.next().await.unwrap() {
                WatchEvent::Changes { revision, changes, .. } => {
                    assert!(
                        story.last().is_none_or(|(last, _)| *last < revision),
                        "in order, once"
                    );
                    story.push((revision, changes));
                    revision
                }
                WatchEvent::Progress { revision } => {
                    assert!(story.last().is_none_or(|(last, _)| *last <= revision));
                    revision
                }
                other => panic!("{other:?}"),
            };
            if at >= revision && self.waiting.len() == 0 {
                return story;
            }
        }
    }

    /// The status that the stream ends with.
    pub(crate) async fn end(&mut self) -> Status {
        loop {
            if let Err(status) = self.next().await {
                return status;
            }
        }
    }
}

/// Asserts what an error says.
#[track_caller]
pub(crate) fn assert_error(status: &Status, code: Code, reason: Reason) -> ErrorDetails {
    let details = ErrorDetails::from_status(status);
    let details = details.unwrap_or_else(|| panic!("no details: {status:?}"));
    assert_eq!((status.code(), details.reason), (code, Some(reason)), "{status:?}");
    details
}

pub(crate) fn within(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}
