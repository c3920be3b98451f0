//! Writes: every one is a transaction, a single put or delete is one with one operation.

use quorate_core::{
    Entry, Key, KeyRange, Kind, Operation, OperationReply, Precondition, Record, Revision, Test,
    Transaction, TransactionReply,
};

use super::{
    ConvertError, Within, each,
    header::Header,
    key::{required_key, required_range},
    record::{keyed_record, keyed_records, record, records},
    required,
};
use crate::v1;

/// The keys of a transaction's puts, kept by whoever answers its caller: a put's reply has the
/// record before it, but not the key.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PutKeys {
    success: Vec<Option<Key>>,
    failure: Vec<Option<Key>>,
}

impl PutKeys {
    /// The keys of the puts that return the record as it was before.
    #[must_use]
    pub fn of(transaction: &Transaction) -> Self {
        let key = |operation: &Operation| match operation {
            Operation::Put { key, return_previous: true, .. } => Some(key.clone()),
            _ => None,
        };
        Self {
            success: transaction.success.iter().map(key).collect(),
            failure: transaction.failure.iter().map(key).collect(),
        }
    }
}

impl From<Transaction> for v1::TransactionRequest {
    fn from(transaction: Transaction) -> Self {
        Self {
            preconditions: transaction.preconditions.into_iter().map(Into::into).collect(),
            success: transaction.success.into_iter().map(Into::into).collect(),
            failure: transaction.failure.into_iter().map(Into::into).collect(),
            guards: transaction.guards.into_iter().map(Into::into).collect(),
            context: None,
        }
    }
}

impl TryFrom<v1::TransactionRequest> for Transaction {
    type Error = ConvertError;

    fn try_from(request: v1::TransactionRequest) -> Result<Self, ConvertError> {
        Ok(Self {
            preconditions: each(request.preconditions, "preconditions", TryInto::try_into)?,
            success: each(request.success, "success", TryInto::try_into)?,
            failure: each(request.failure, "failure", TryInto::try_into)?,
            guards: each(request.guards, "guards", TryInto::try_into)?,
        })
    }
}

impl TryFrom<v1::PutRequest> for Transaction {
    type Error = ConvertError;

    fn try_from(request: v1::PutRequest) -> Result<Self, ConvertError> {
        let put = put(request.key, request.value, request.session, request.return_previous)?;
        Ok(Self { success: vec![put], ..Self::default() })
    }
}

impl TryFrom<v1::DeleteRequest> for Transaction {
    type Error = ConvertError;

    fn try_from(request: v1::DeleteRequest) -> Result<Self, ConvertError> {
        let range = required_range(request.selector, "selector")?;
        let delete = Operation::Delete { range, return_previous: request.return_previous };
        Ok(Self { success: vec![delete], ..Self::default() })
    }
}

fn put(
    key: Option<v1::Key>,
    value: bytes::Bytes,
    session: Option<v1::SessionId>,
    return_previous: bool,
) -> Result<Operation, ConvertError> {
    let key = required_key(key)?;
    if session.is_some() && key.kind != Kind::Entry {
        return Err(ConvertError::new("session", "only an entry is bound to a session"));
    }
    let record = match key.kind {
        Kind::Entry => Record::Entry(Entry { value, session: session.map(Into::into) }),
        Kind::Setting => {
            let text = std::str::from_utf8(&value)
                .map_err(|_| ConvertError::new("value", "a setting's value must be UTF-8 text"))?;
            Record::Setting(text.into())
        }
        _ => {
            return Err(ConvertError::new("key.kind", "must be KIND_ENTRY or KIND_SETTING"));
        }
    };
    Ok(Operation::Put { key, record, return_previous })
}

impl From<Operation> for v1::Operation {
    fn from(operation: Operation) -> Self {
        use v1::operation::Operation as Op;
        let operation = match operation {
            Operation::Get { range, limit } => {
                Op::Get(v1::GetOperation { selector: Some(range.into()), limit })
            }
            Operation::Put { key, record, return_previous } => Op::Put(v1::PutOperation {
                key: Some(key.into()),
                session: record.session().map(Into::into),
                value: record_bytes(record),
                return_previous,
            }),
            Operation::Delete { range, return_previous } => {
                Op::Delete(v1::DeleteOperation { selector: Some(range.into()), return_previous })
            }
        };
        Self { operation: Some(operation) }
    }
}

/// What a put carries. Only entries and settings can be put; a put of another kind has no value
/// and is refused by whoever reads it, for its key's kind.
fn record_bytes(record: Record) -> bytes::Bytes {
    match record {
        Record::Entry(entry) => entry.value,
        Record::Setting(text) => bytes::Bytes::copy_from_slice(text.as_bytes()),
        _ => bytes::Bytes::new(),
    }
}

impl TryFrom<v1::Operation> for Operation {
    type Error = ConvertError;

    fn try_from(operation: v1::Operation) -> Result<Self, ConvertError> {
        use v1::operation::Operation as Op;
        match operation.operation {
            None => Err(ConvertError::new("", "one of get, put and delete must be set")),
            Some(Op::Get(get)) => {
                let range = required_range(get.selector, "selector").within("get")?;
                Ok(Self::Get { range, limit: get.limit })
            }
            Some(Op::Put(message)) => {
                put(message.key, message.value, message.session, message.return_previous)
                    .within("put")
            }
            Some(Op::Delete(delete)) => {
                let range = required_range(delete.selector, "selector").within("delete")?;
                Ok(Self::Delete { range, return_previous: delete.return_previous })
            }
        }
    }
}

impl From<Precondition> for v1::Precondition {
    fn from(precondition: Precondition) -> Self {
        let test = match precondition.test {
            Test::Exists => v1::precondition::Test::Exists(true),
            Test::Absent => v1::precondition::Test::Absent(true),
            Test::ModifiedAt(revision) => v1::precondition::Test::ModifiedAt(revision.get()),
            Test::Value(bytes) => v1::precondition::Test::Value(bytes),
        };
        Self { target: Some(precondition.target.into()), test: Some(test) }
    }
}

impl TryFrom<v1::Precondition> for Precondition {
    type Error = ConvertError;

    fn try_from(precondition: v1::Precondition) -> Result<Self, ConvertError> {
        let target: KeyRange = required_range(precondition.target, "target")?;
        let test = match precondition.test {
            None => {
                let rule = "one of exists, absent, modified_at and value must be set";
                return Err(ConvertError::new("", rule));
            }
            Some(v1::precondition::Test::Exists(true)) => Test::Exists,
            Some(v1::precondition::Test::Absent(true)) => Test::Absent,
            Some(v1::precondition::Test::Exists(false)) => {
                return Err(ConvertError::new(
                    "exists",
                    "must be true; use absent for the opposite",
                ));
            }
            Some(v1::precondition::Test::Absent(false)) => {
                return Err(ConvertError::new(
                    "absent",
                    "must be true; use exists for the opposite",
                ));
            }
            Some(v1::precondition::Test::ModifiedAt(revision)) => {
                Test::ModifiedAt(Revision(revision))
            }
            Some(v1::precondition::Test::Value(bytes)) => Test::Value(bytes),
        };
        Ok(Self { target, test })
    }
}

/// The answer to a put: the reply of its transaction.
#[must_use]
pub fn put_response(header: Header, keys: &PutKeys, reply: &TransactionReply) -> v1::PutResponse {
    let previous = match (reply.results.first(), keys.success.first()) {
        (Some(OperationReply::Put { previous: Some(previous) }), Some(Some(key))) => {
            Some(record(key, previous))
        }
        _ => None,
    };
    v1::PutResponse { header: Some(header.into()), previous }
}

/// The answer to a delete: the reply of its transaction.
#[must_use]
pub fn delete_response(header: Header, reply: &TransactionReply) -> v1::DeleteResponse {
    let (deleted, previous) = match reply.results.first() {
        Some(OperationReply::Delete { deleted, previous }) => (*deleted, records(previous)),
        _ => (0, Vec::new()),
    };
    v1::DeleteResponse { header: Some(header.into()), deleted, previous }
}

/// The answer to a transaction.
#[must_use]
pub fn transaction_response(
    header: Header,
    keys: &PutKeys,
    reply: &TransactionReply,
) -> v1::TransactionResponse {
    let keys = if reply.succeeded { &keys.success } else { &keys.failure };
    let keys = keys.iter().map(Option::as_ref).chain(std::iter::repeat(None));
    v1::TransactionResponse {
        header: Some(header.into()),
        succeeded: reply.succeeded,
        results: reply.results.iter().zip(keys).map(|(one, key)| result(one, key)).collect(),
    }
}

fn result(reply: &OperationReply, key: Option<&Key>) -> v1::OperationResult {
    use v1::operation_result::Result;
    let result = match reply {
        OperationReply::Get { records: found, more } => {
            Result::Get(v1::GetResult { records: records(found), more: *more })
        }
        OperationReply::Put { previous } => {
            let previous = previous.as_deref().zip(key).map(|(record, key)| (key, record));
            Result::Put(v1::PutResult { previous: previous.map(|(key, one)| record(key, one)) })
        }
        OperationReply::Delete { deleted, previous } => {
            Result::Delete(v1::DeleteResult { deleted: *deleted, previous: records(previous) })
        }
    };
    v1::OperationResult { result: Some(result) }
}

/// Reads the answer to a transaction, without its header.
///
/// # Errors
/// [`ConvertError`] when a field is missing or wrong.
pub fn transaction_reply(
    response: v1::TransactionResponse,
) -> Result<TransactionReply, ConvertError> {
    let results = each(response.results, "results", read_result)?;
    Ok(TransactionReply { succeeded: response.succeeded, results })
}

fn read_result(message: v1::OperationResult) -> Result<OperationReply, ConvertError> {
    use v1::operation_result::Result;
    match required(message.result, "result")? {
        Result::Get(get) => Ok(OperationReply::Get {
            records: keyed_records(get.records, "records").within("get")?,
            more: get.more,
        }),
        Result::Put(put) => {
            let previous = put.previous.map(keyed_record).transpose().within("put.previous")?;
            Ok(OperationReply::Put { previous: previous.map(|(_, record)| record) })
        }
        Result::Delete(delete) => Ok(OperationReply::Delete {
            deleted: delete.deleted,
            previous: keyed_records(delete.previous, "previous").within("delete")?,
        }),
    }
}
