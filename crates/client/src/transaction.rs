//! Transactions: preconditions, and what to do when they hold and when they do not.

use bytes::Bytes;
use quorate_core::{
    Entry, Epoch, Guard, Key, KeyRange, Kind, Operation as Step, PartitionId, Precondition, Record,
    Revision, SessionId, Test, Transaction, TransactionReply,
};
use quorate_proto::{ConvertError, convert::transaction::transaction_reply, v1};

use crate::{
    call::{Call, Carried, Operation, Write, rpc},
    client::Client,
    records::{IntoKey, IntoRange},
};

impl Client {
    /// Starts a transaction: all of it happens at one revision, or nothing does.
    ///
    /// ```no_run
    /// # async fn example(client: quorate_client::Client) -> Result<(), quorate_client::Error> {
    /// let reply = client
    ///     .transaction()
    ///     .when_value("leader", "alice")
    ///     .put("leader", "bob")
    ///     .or_else()
    ///     .get("leader")
    ///     .commit()
    ///     .await?;
    /// println!("taken over: {}", reply.value.succeeded);
    /// # Ok(())
    /// # }
    /// ```
    pub fn transaction(&self) -> TransactionBuilder {
        self.transaction_of(Transaction::default())
    }

    /// Continues a transaction that was put together elsewhere.
    pub fn transaction_of(&self, transaction: Transaction) -> TransactionBuilder {
        TransactionBuilder { client: self.clone(), transaction, branch: Branch::Success }
    }
}

/// Puts a transaction together.
#[derive(Debug, Clone)]
#[must_use = "a transaction happens when it is committed"]
pub struct TransactionBuilder {
    client: Client,
    transaction: Transaction,
    branch: Branch,
}

#[derive(Debug, Clone, Copy)]
enum Branch {
    Success,
    Failure,
}

/// Whether an operation returns what was there before.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Previous {
    /// It does not.
    #[default]
    Omit,
    /// It does.
    Return,
}

impl TransactionBuilder {
    /// Requires that this holds.
    pub fn when(mut self, target: impl IntoRange, test: Test) -> Self {
        self.transaction.preconditions.push(Precondition { target: target.into_range(), test });
        self
    }

    /// Requires that at least one such record exists.
    pub fn when_exists(self, target: impl IntoRange) -> Self {
        self.when(target, Test::Exists)
    }

    /// Requires that no such record exists.
    pub fn when_absent(self, target: impl IntoRange) -> Self {
        self.when(target, Test::Absent)
    }

    /// Requires that it exists and was changed last at this revision.
    pub fn when_modified_at(self, target: impl IntoRange, revision: Revision) -> Self {
        self.when(target, Test::ModifiedAt(revision))
    }

    /// Requires that it exists and has this value.
    pub fn when_value(self, target: impl IntoRange, value: impl Into<Bytes>) -> Self {
        self.when(target, Test::Value(value.into()))
    }

    /// Requires that a session is alive; else nothing is done and the error is `SESSION_EXPIRED`.
    pub fn guard_session(mut self, session: impl Into<SessionId>) -> Self {
        self.transaction.guards.push(Guard::Session(session.into()));
        self
    }

    /// Requires that a partition is owned in this epoch; else nothing is done and the error is
    /// `STALE_EPOCH`.
    pub fn guard_partition(mut self, id: PartitionId, epoch: Epoch) -> Self {
        self.transaction.guards.push(Guard::Partition { id, epoch });
        self
    }

    /// Reads records, as they are after the operations before this one.
    pub fn get(self, range: impl IntoRange) -> Self {
        self.step(Step::Get { range: range.into_range(), limit: 0 })
    }

    /// Writes an entry.
    pub fn put(self, key: impl IntoKey, value: impl Into<Bytes>) -> Self {
        self.put_with(key, value, Previous::Omit)
    }

    /// Writes an entry, or a setting, and says whether to return what was there.
    pub fn put_with(self, key: impl IntoKey, value: impl Into<Bytes>, previous: Previous) -> Self {
        let (key, value) = (key.into_key(), value.into());
        let record = put_record(&key, value);
        self.step(Step::Put { key, record, return_previous: previous == Previous::Return })
    }

    /// Writes an entry that is deleted at the revision at which the session ends.
    pub fn put_bound(
        self,
        key: impl IntoKey,
        value: impl Into<Bytes>,
        session: impl Into<SessionId>,
    ) -> Self {
        let entry = Entry { value: value.into(), session: Some(session.into()) };
        let (key, record) = (key.into_key(), Record::Entry(entry));
        self.step(Step::Put { key, record, return_previous: false })
    }

    /// Deletes entries.
    pub fn delete(self, range: impl IntoRange) -> Self {
        self.delete_with(range, Previous::Omit)
    }

    /// Deletes entries, or settings, and says whether to return what was there.
    pub fn delete_with(self, range: impl IntoRange, previous: Previous) -> Self {
        let return_previous = previous == Previous::Return;
        self.step(Step::Delete { range: range.into_range(), return_previous })
    }

    /// What follows is done when the preconditions do not hold.
    pub fn or_else(mut self) -> Self {
        self.branch = Branch::Failure;
        self
    }

    /// Commits it. The answer says which branch ran and has a result for each of its operations.
    pub fn commit(self) -> Call<Commit> {
        Call::new(&self.client, Commit { transaction: self.transaction })
    }

    fn step(mut self, step: Step) -> Self {
        match self.branch {
            Branch::Success => self.transaction.success.push(step),
            Branch::Failure => self.transaction.failure.push(step),
        }
        self
    }
}

/// A setting's value that is no text is sent as it is: the coordinator refuses it, and says which
/// field it was.
fn put_record(key: &Key, value: Bytes) -> Record {
    match (key.kind, std::str::from_utf8(&value)) {
        (Kind::Setting, Ok(text)) => Record::Setting(text.into()),
        _ => Record::Entry(value.into()),
    }
}

/// Commits a transaction.
#[derive(Debug, Clone)]
pub struct Commit {
    transaction: Transaction,
}

impl Write for Commit {}

impl Operation for Commit {
    type Output = TransactionReply;
    rpc!(
        Write,
        store_service_client::StoreServiceClient.transaction(TransactionRequest)
            -> TransactionResponse
    );

    fn request(&self, carried: Carried) -> v1::TransactionRequest {
        let request = v1::TransactionRequest::from(self.transaction.clone());
        v1::TransactionRequest { context: carried.context, ..request }
    }

    fn read(&self, answer: v1::TransactionResponse) -> Result<TransactionReply, ConvertError> {
        transaction_reply(answer)
    }
}

/// Every entry whose key begins with these bytes.
#[must_use]
pub fn entries(prefix: impl Into<Bytes>) -> KeyRange {
    KeyRange::Prefix(Kind::Entry, prefix.into())
}
