//! Reading and writing records: entries and settings, and reading of every other kind.

use std::sync::Arc;

use bytes::Bytes;
use futures::Stream;
use quorate_core::{
    Key, KeyRange, KeyedRecord, Kind, Name, Record, Revision, SessionId, Versioned,
};
use quorate_proto::{
    ConvertError,
    convert::{
        Consistency,
        record::{keyed_record, keyed_records, keyed_revisions},
    },
    v1,
};

use crate::{
    call::{Call, Carried, Operation, Read, Response, Write, rpc},
    client::Client,
    error::Error,
};

/// A record that was found.
pub type FoundRecord = Arc<Versioned<Record>>;

/// What names a record: a [`Key`], or an entry's bytes or text.
pub trait IntoKey {
    /// The key.
    fn into_key(self) -> Key;
}

impl IntoKey for Key {
    fn into_key(self) -> Key {
        self
    }
}

impl IntoKey for &Key {
    fn into_key(self) -> Key {
        self.clone()
    }
}

macro_rules! entry_key {
    ($($type:ty),*) => {
        $(impl IntoKey for $type {
            fn into_key(self) -> Key {
                Key::entry(Bytes::from(self))
            }
        })*
    };
}
entry_key!(Bytes, Vec<u8>, String);

impl IntoKey for &str {
    fn into_key(self) -> Key {
        Key::entry(Bytes::copy_from_slice(self.as_bytes()))
    }
}

impl IntoKey for &[u8] {
    fn into_key(self) -> Key {
        Key::entry(Bytes::copy_from_slice(self))
    }
}

/// What names a range of records: a [`KeyRange`], or whatever names a single one.
pub trait IntoRange {
    /// The range.
    fn into_range(self) -> KeyRange;
}

impl IntoRange for KeyRange {
    fn into_range(self) -> KeyRange {
        self
    }
}

impl<K: IntoKey> IntoRange for K {
    fn into_range(self) -> KeyRange {
        KeyRange::Single(self.into_key())
    }
}

impl Client {
    /// Writes an entry (or, with a setting's [`Key`], a setting). See [`Call<Put>`].
    ///
    /// ```no_run
    /// # async fn example(client: quorate_client::Client) -> Result<(), quorate_client::Error> {
    /// let written = client.put("color", "blue").returning_previous().await?;
    /// println!("revision {}, before: {:?}", written.revision(), written.value);
    /// # Ok(())
    /// # }
    /// ```
    pub fn put(&self, key: impl IntoKey, value: impl Into<Bytes>) -> Call<Put> {
        let (key, value) = (key.into_key(), value.into());
        Call::new(self, Put { key, value, return_previous: false, session: None })
    }

    /// Reads one record of any kind; None when it does not exist.
    ///
    /// ```no_run
    /// # async fn example(client: quorate_client::Client) -> Result<(), quorate_client::Error> {
    /// use quorate_core::Record;
    ///
    /// if let Some(found) = client.get("color").local().await?.value {
    ///     let Record::Entry(entry) = &found.value else { unreachable!("an entry's key") };
    ///     println!("{:?}, written at revision {}", entry.value, found.modified);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn get(&self, key: impl IntoKey) -> Call<Get> {
        Call::new(self, Get { key: key.into_key() })
    }

    /// Reads records of one kind, in key order: one page of them. See [`Call<Range>`].
    pub fn range(&self, range: impl IntoRange) -> Call<Range> {
        Call::new(self, Range { range: range.into_range(), limit: 0 })
    }

    /// Reads the keys and revisions of records, without their values: one page of them.
    pub fn keys(&self, range: impl IntoRange) -> Call<Keys> {
        Call::new(self, Keys { range: range.into_range(), limit: 0 })
    }

    /// Counts records.
    pub fn count(&self, range: impl IntoRange) -> Call<Count> {
        Call::new(self, Count { range: range.into_range() })
    }

    /// Deletes entries (or settings, which are then back at their defaults).
    pub fn delete(&self, range: impl IntoRange) -> Call<Delete> {
        Call::new(self, Delete { range: range.into_range(), return_previous: false })
    }

    /// Sets a setting.
    pub fn put_setting(&self, name: &Name, value: impl Into<String>) -> Call<Put> {
        self.put(Key::setting(name), value.into())
    }

    /// Sets a setting back to its default.
    pub fn reset_setting(&self, name: &Name) -> Call<Delete> {
        self.delete(Key::setting(name))
    }

    /// The settings that are not at their defaults, by name.
    pub fn settings(&self) -> Call<Range> {
        self.range(KeyRange::Prefix(Kind::Setting, Bytes::new()))
    }
}

/// Writes one record. The answer is the record before, if that was asked for.
#[derive(Debug, Clone)]
pub struct Put {
    key: Key,
    value: Bytes,
    return_previous: bool,
    session: Option<SessionId>,
}

impl Write for Put {}

impl Operation for Put {
    type Output = Option<FoundRecord>;
    rpc!(Write, store_service_client::StoreServiceClient.put(PutRequest) -> PutResponse);

    fn request(&self, carried: Carried) -> v1::PutRequest {
        let Self { key, value, return_previous, session } = self.clone();
        let (key, session) = (Some(key.into()), session.map(Into::into));
        v1::PutRequest { key, value, return_previous, session, context: carried.context }
    }

    fn read(&self, answer: v1::PutResponse) -> Result<Self::Output, ConvertError> {
        let previous = answer.previous.map(keyed_record).transpose();
        Ok(previous.map_err(|error| error.within("previous"))?.map(|(_, record)| record))
    }
}

impl Call<Put> {
    /// Asks for the record as it was before, if there was one.
    pub fn returning_previous(mut self) -> Self {
        self.operation.return_previous = true;
        self
    }

    /// Binds the entry to a session: it is deleted at the revision at which the session ends.
    pub fn bound_to(mut self, session: impl Into<SessionId>) -> Self {
        self.operation.session = Some(session.into());
        self
    }
}

/// Reads one record.
#[derive(Debug, Clone)]
pub struct Get {
    key: Key,
}

impl Read for Get {}

impl Operation for Get {
    type Output = Option<FoundRecord>;
    rpc!(Read, store_service_client::StoreServiceClient.range(RangeRequest) -> RangeResponse);

    fn request(&self, carried: Carried) -> v1::RangeRequest {
        range_request(&KeyRange::Single(self.key.clone()), carried.read)
    }

    fn read(&self, answer: v1::RangeResponse) -> Result<Self::Output, ConvertError> {
        let records = keyed_records(answer.records, "records")?;
        Ok(records.into_iter().next().map(|(_, record)| record))
    }
}

/// Reads records.
#[derive(Debug, Clone)]
pub struct Range {
    range: KeyRange,
    limit: u32,
}

/// Some of the records of a range.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// The records, in key order.
    pub records: Vec<KeyedRecord>,
    /// Whether the limit left records out, after the last one here.
    pub more: bool,
    /// How many records are in the range, whatever the limit.
    pub count: u64,
}

impl Read for Range {}

impl Operation for Range {
    type Output = Page;
    rpc!(Read, store_service_client::StoreServiceClient.range(RangeRequest) -> RangeResponse);

    fn request(&self, carried: Carried) -> v1::RangeRequest {
        v1::RangeRequest { limit: self.limit, ..range_request(&self.range, carried.read) }
    }

    fn read(&self, answer: v1::RangeResponse) -> Result<Page, ConvertError> {
        let records = keyed_records(answer.records, "records")?;
        Ok(Page { records, more: answer.more, count: answer.count })
    }
}

impl Call<Range> {
    /// At most so many records; 0: the cluster's limit (setting `range_records_max`).
    pub fn limit(mut self, records: u32) -> Self {
        self.operation.limit = records;
        self
    }

    /// All records of the range, page by page; [`Self::limit`] is the page's size.
    ///
    /// Not a snapshot: every page is as of a revision at or after that of the page before, so a
    /// record that changes meanwhile shows as it is when its page is read. Use a watch that starts
    /// with a snapshot when all must be as of one revision.
    ///
    /// ```no_run
    /// # async fn example(client: quorate_client::Client) -> Result<(), quorate_client::Error> {
    /// use futures::TryStreamExt as _;
    /// use quorate_core::{KeyRange, Kind};
    ///
    /// let users = KeyRange::Prefix(Kind::Entry, "user/".into());
    /// let mut pages = std::pin::pin!(client.range(users).limit(100).pages());
    /// while let Some(page) = pages.try_next().await? {
    ///     println!("{} records at revision {}", page.value.records.len(), page.revision());
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn pages(self) -> impl Stream<Item = Result<Response<Page>, Error>> + Send {
        futures::stream::try_unfold(Some(self), |call| async {
            let Some(call) = call else { return Ok(None) };
            let page = call.clone().await?;
            let last = page.value.records.last().map(|(key, _)| key.clone());
            let next =
                last.filter(|_| page.value.more).map(|last| call.after(&last, page.revision()));
            Ok(Some((page, next)))
        })
    }

    /// The page after the one that ended with `last` at `revision`.
    fn after(mut self, last: &Key, revision: Revision) -> Self {
        self.operation.range = rest(&self.operation.range, last);
        self.at_least(revision)
    }
}

/// What is left of a range after a key in it.
fn rest(range: &KeyRange, last: &Key) -> KeyRange {
    let kind = range.kind();
    let start = Bytes::from([&last.bytes[..], &[0]].concat());
    let end = match range {
        KeyRange::Single(_) => start.clone(),
        KeyRange::Prefix(_, prefix) => prefix_end(prefix),
        KeyRange::Bounds { end, .. } => end.clone(),
    };
    KeyRange::Bounds { kind, start, end }
}

/// The first key after all that begin with a prefix; empty when there is none.
fn prefix_end(prefix: &[u8]) -> Bytes {
    let kept = prefix.iter().rposition(|byte| *byte != u8::MAX).map_or(0, |at| at + 1);
    let mut end = prefix[..kept].to_vec();
    if let Some(last) = end.last_mut() {
        *last += 1;
    }
    end.into()
}

/// Reads the keys and revisions of records.
#[derive(Debug, Clone)]
pub struct Keys {
    range: KeyRange,
    limit: u32,
}

/// Some of the keys of a range.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyPage {
    /// The keys with the revisions of their records, in order.
    pub keys: Vec<(Key, Versioned<()>)>,
    /// Whether the limit left keys out, after the last one here.
    pub more: bool,
    /// How many keys are in the range, whatever the limit.
    pub count: u64,
}

impl Read for Keys {}

impl Operation for Keys {
    type Output = KeyPage;
    rpc!(Read, store_service_client::StoreServiceClient.range(RangeRequest) -> RangeResponse);

    fn request(&self, carried: Carried) -> v1::RangeRequest {
        let request = range_request(&self.range, carried.read);
        v1::RangeRequest { limit: self.limit, keys_only: true, ..request }
    }

    fn read(&self, answer: v1::RangeResponse) -> Result<KeyPage, ConvertError> {
        let keys = answer.records.into_iter().map(keyed_revisions).collect::<Result<_, _>>();
        let keys = keys.map_err(|error| error.within("records"))?;
        Ok(KeyPage { keys, more: answer.more, count: answer.count })
    }
}

impl Call<Keys> {
    /// At most so many keys; 0: the cluster's limit (setting `range_records_max`).
    pub fn limit(mut self, keys: u32) -> Self {
        self.operation.limit = keys;
        self
    }
}

/// Counts records.
#[derive(Debug, Clone)]
pub struct Count {
    range: KeyRange,
}

impl Read for Count {}

impl Operation for Count {
    type Output = u64;
    rpc!(Read, store_service_client::StoreServiceClient.range(RangeRequest) -> RangeResponse);

    fn request(&self, carried: Carried) -> v1::RangeRequest {
        v1::RangeRequest { count_only: true, ..range_request(&self.range, carried.read) }
    }

    fn read(&self, answer: v1::RangeResponse) -> Result<u64, ConvertError> {
        Ok(answer.count)
    }
}

fn range_request(range: &KeyRange, read: Consistency) -> v1::RangeRequest {
    v1::RangeRequest {
        selector: Some(range.clone().into()),
        read: Some(read.into()),
        ..v1::RangeRequest::default()
    }
}

/// Deletes records.
#[derive(Debug, Clone)]
pub struct Delete {
    range: KeyRange,
    return_previous: bool,
}

/// What was deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deleted {
    /// How many records.
    pub deleted: u64,
    /// The records as they were before, if that was asked for.
    pub previous: Vec<KeyedRecord>,
}

impl Write for Delete {}

impl Operation for Delete {
    type Output = Deleted;
    rpc!(Write, store_service_client::StoreServiceClient.delete(DeleteRequest) -> DeleteResponse);

    fn request(&self, carried: Carried) -> v1::DeleteRequest {
        let Self { range, return_previous } = self.clone();
        let (selector, context) = (Some(range.into()), carried.context);
        v1::DeleteRequest { selector, return_previous, context }
    }

    fn read(&self, answer: v1::DeleteResponse) -> Result<Deleted, ConvertError> {
        let previous = keyed_records(answer.previous, "previous")?;
        Ok(Deleted { deleted: answer.deleted, previous })
    }
}

impl Call<Delete> {
    /// Asks for the records as they were before.
    pub fn returning_previous(mut self) -> Self {
        self.operation.return_previous = true;
        self
    }
}
