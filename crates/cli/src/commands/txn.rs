//! `kv txn`: reads a transaction as text, commits it, shows what came of it.

use std::{
    fs,
    io::{self, Read},
};

use anyhow::{Context as _, Result};
use quorate_core::{OperationReply, TransactionReply};
use serde::Serialize;

use super::Context;
use crate::{
    args::KvTxn,
    failure::Failure,
    output::{records::EntryRow, text},
    txn,
};

/// What a transaction did.
#[derive(Serialize)]
struct TxnRow {
    succeeded: bool,
    revision: u64,
    results: Vec<ResultRow>,
}

/// What one operation did.
#[derive(Serialize)]
#[serde(tag = "op", rename_all = "snake_case")]
enum ResultRow {
    /// Records that were read.
    Get { records: Vec<EntryRow>, more: bool },
    /// A record was written.
    Put,
    /// Records were deleted.
    Delete { deleted: u64 },
}

/// Runs it.
pub(super) async fn run(context: &Context, args: KvTxn) -> Result<()> {
    let source = read(&args)?;
    let transaction = txn::parse(source.iter().flat_map(|text| text.lines())).map_err(|error| {
        Failure::usage(format!("line {}: {}", error.line, error.message))
            .hint("`quorate kv txn --help` shows what a line may be")
    })?;
    let has_else = !transaction.failure.is_empty();
    let call = context.client()?.transaction_of(transaction).commit();
    let done = call.await.map_err(|error| context.explain(&error))?;
    let row = row(done.revision().get(), done.value);
    context.output.one(lines(&row).trim_end(), &row)?;
    if row.succeeded || has_else {
        return Ok(());
    }
    Err(Failure::rejected("a precondition did not hold, nothing was changed [PRECONDITION_FAILED]")
        .into())
}

/// The texts to read lines from: each argument, standard input, or a file.
fn read(args: &KvTxn) -> Result<Vec<String>> {
    if let Some(file) = &args.file {
        let text = fs::read_to_string(file)
            .map_err(|error| Failure::usage(format!("cannot read {}: {error}", file.display())))?;
        return Ok(vec![text]);
    }
    if !args.lines.is_empty() && args.lines != ["-"] {
        return Ok(args.lines.clone());
    }
    let mut text = String::new();
    io::stdin().lock().read_to_string(&mut text).context("cannot read standard input")?;
    Ok(vec![text])
}

fn row(revision: u64, reply: TransactionReply) -> TxnRow {
    let result = |result| match result {
        OperationReply::Get { records, more } => ResultRow::Get {
            records: records.iter().map(|(key, r)| EntryRow::new(key.bytes.clone(), r)).collect(),
            more,
        },
        OperationReply::Put { .. } => ResultRow::Put,
        OperationReply::Delete { deleted, .. } => ResultRow::Delete { deleted },
    };
    let results = reply.results.into_iter().map(result).collect();
    TxnRow { succeeded: reply.succeeded, revision, results }
}

/// For people: which branch ran, then a line per result.
fn lines(row: &TxnRow) -> String {
    let branch = if row.succeeded { "then" } else { "else" };
    let mut lines = format!("{branch}, at revision {}\n", row.revision);
    for result in &row.results {
        match result {
            ResultRow::Put => lines.push_str("put     done\n"),
            ResultRow::Delete { deleted } => lines.push_str(&format!("delete  {deleted}\n")),
            ResultRow::Get { records, .. } if records.is_empty() => {
                lines.push_str("get     nothing\n");
            }
            ResultRow::Get { records, more } => {
                for record in records {
                    let value = record.value.as_deref().map(text::short_cell).unwrap_or_default();
                    lines.push_str(&format!("get     {} = {value}\n", text::cell(&record.key)));
                }
                if *more {
                    lines.push_str("get     ... and more\n");
                }
            }
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    #[test]
    fn results_are_shown_in_order() {
        let entry = EntryRow {
            key: Bytes::from_static(b"k"),
            value: Some(Bytes::from_static(b"v")),
            created: 1,
            modified: 2,
            version: 2,
        };
        let row = TxnRow {
            succeeded: true,
            revision: 7,
            results: vec![
                ResultRow::Put,
                ResultRow::Get { records: vec![entry], more: false },
                ResultRow::Get { records: vec![], more: false },
                ResultRow::Delete { deleted: 3 },
            ],
        };
        assert_eq!(
            lines(&row),
            "then, at revision 7\nput     done\nget     k = v\nget     nothing\ndelete  3\n"
        );
        assert_eq!(
            serde_json::to_string(&row).unwrap(),
            concat!(
                r#"{"succeeded":true,"revision":7,"results":[{"op":"put"},"#,
                r#"{"op":"get","records":[{"key":"k","value":"v","created":1,"modified":2,"version":2}],"more":false},"#,
                r#"{"op":"get","records":[],"more":false},{"op":"delete","deleted":3}]}"#
            )
        );
    }
}
