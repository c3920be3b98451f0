//! Transactions: tests, then one of two lists of operations.
//!
//! Must not know about kinds beyond what [`super::validate`] let through.

use std::sync::Arc;

use super::{
    draft::Draft,
    ownership, session,
    validate::{self, Path},
};
use crate::{
    command::{Guard, Operation, Precondition, Test, Transaction},
    key::{Key, KeyRange},
    mutation::{Mutation, planted},
    record::{Record, Versioned},
    rejection::Rejection,
    reply::{KeyedRecord, OperationReply, TransactionReply},
    setting::Settings,
    size,
};

pub(super) fn run(
    draft: &mut Draft<'_>,
    transaction: &Transaction,
) -> Result<TransactionReply, Rejection> {
    validate::transaction(draft.settings(), transaction)?;
    for guard in &transaction.guards {
        match guard {
            Guard::Session(id) => session::require(draft, *id)?,
            Guard::Partition { .. } if planted(Mutation::NoFencing) => {}
            Guard::Partition { id, epoch } => ownership::guard(draft, id, *epoch)?,
        }
    }
    let mut meter = Meter { settings: draft.settings(), reads: 0, reply_bytes: 0 };
    let succeeded = all_hold(draft, &mut meter, &transaction.preconditions)?;
    let (list, operations) = if succeeded {
        ("success", &transaction.success)
    } else {
        ("failure", &transaction.failure)
    };
    let mut results = Vec::with_capacity(operations.len());
    for (index, operation) in operations.iter().enumerate() {
        let path = Path { list, index, step: validate::step(operation) };
        results.push(execute(draft, &mut meter, path, operation)?);
    }
    Ok(TransactionReply { succeeded, results })
}

/// Counts what a transaction costs against its limits.
struct Meter<'a> {
    settings: &'a Settings,
    reads: u64,
    reply_bytes: u64,
}

impl Meter<'_> {
    /// A record was looked at.
    fn read(&mut self, path: Path) -> Result<(), Rejection> {
        self.reads += 1;
        let max = self.settings.transaction_reads_max;
        if self.reads <= max {
            return Ok(());
        }
        Err(Rejection::limit(path.to_string(), "transaction_reads_max", self.reads, max))
    }

    /// A record is part of the reply.
    fn reply(
        &mut self,
        path: Path,
        key: &Key,
        record: &Versioned<Record>,
    ) -> Result<(), Rejection> {
        self.reply_bytes += size::keyed(key, &record.value);
        let max = self.settings.reply_bytes_max;
        if self.reply_bytes <= max {
            return Ok(());
        }
        Err(Rejection::limit(path.to_string(), "reply_bytes_max", self.reply_bytes, max))
    }
}

fn all_hold(
    draft: &Draft<'_>,
    meter: &mut Meter<'_>,
    preconditions: &[Precondition],
) -> Result<bool, Rejection> {
    for (index, condition) in preconditions.iter().enumerate() {
        let path = Path { list: "preconditions", index, step: "target" };
        if !holds(draft, meter, path, condition)? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn holds(
    draft: &Draft<'_>,
    meter: &mut Meter<'_>,
    path: Path,
    condition: &Precondition,
) -> Result<bool, Rejection> {
    let mut records = draft.range(&condition.target).map(|(_, record)| record).peekable();
    let wanted = |record: &Versioned<Record>| match (&condition.test, &record.value) {
        (Test::ModifiedAt(revision), _) => record.modified == *revision,
        (Test::Value(bytes), Record::Entry(entry)) => entry.value == bytes,
        (Test::Value(bytes), Record::Setting(text)) => text.as_bytes() == bytes,
        _ => false,
    };
    match condition.test {
        Test::Exists => Ok(records.peek().is_some()),
        Test::Absent => Ok(records.peek().is_none()),
        Test::ModifiedAt(_) | Test::Value(_) => {
            let any = records.peek().is_some();
            for record in records {
                meter.read(path)?;
                if !wanted(record) {
                    return Ok(false);
                }
            }
            Ok(any)
        }
    }
}

fn execute(
    draft: &mut Draft<'_>,
    meter: &mut Meter<'_>,
    path: Path,
    operation: &Operation,
) -> Result<OperationReply, Rejection> {
    match operation {
        Operation::Get { range, limit } => get(draft, meter, path, range, *limit),
        Operation::Put { key, record, return_previous } => {
            if let Some(id) = record.session() {
                session::require(draft, id)?;
            }
            let previous = return_previous.then(|| draft.get(key).cloned()).flatten();
            if let Some(previous) = &previous {
                meter.reply(path, key, previous)?;
            }
            draft.put(key, record.clone());
            Ok(OperationReply::Put { previous })
        }
        Operation::Delete { range, return_previous } => {
            for (key, record) in draft.range(range) {
                meter.read(path)?;
                if *return_previous {
                    meter.reply(path, key, record)?;
                }
            }
            let previous = draft.delete_range(range);
            let deleted = previous.len() as u64;
            let previous = if *return_previous { previous } else { Vec::new() };
            Ok(OperationReply::Delete { deleted, previous })
        }
    }
}

fn get(
    draft: &Draft<'_>,
    meter: &mut Meter<'_>,
    path: Path,
    range: &KeyRange,
    limit: u32,
) -> Result<OperationReply, Rejection> {
    let limit_max = meter.settings.range_records_max;
    let limit = if limit == 0 { limit_max } else { limit_max.min(u64::from(limit)) };
    let mut records: Vec<KeyedRecord> = Vec::new();
    let found = draft.range(range);
    let mut more = false;
    for (key, record) in found {
        if records.len() as u64 == limit {
            more = true;
            break;
        }
        meter.read(path)?;
        meter.reply(path, key, record)?;
        records.push((key.clone(), Arc::clone(record)));
    }
    Ok(OperationReply::Get { records, more })
}
