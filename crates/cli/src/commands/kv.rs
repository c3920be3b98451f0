//! `kv`: keys and values.

use std::{
    fs,
    io::{self, Read},
    path::Path,
};

use anyhow::{Context as _, Result};
use bytes::Bytes;
use futures::TryStreamExt;
use quorate_client::{Page, Response, entries};
use quorate_core::{Key, KeyRange, Record};
use serde::{Serialize, Serializer, ser::SerializeMap};

use super::{Context, follow, txn};
use crate::{
    args::{KvCommand, KvDelete, KvGet, KvList, KvPut},
    failure::Failure,
    output::{records::EntryRow, text},
};

/// Runs a command of the group.
pub(super) async fn run(context: &Context, command: KvCommand) -> Result<()> {
    match command {
        KvCommand::Put(args) => put(context, args).await,
        KvCommand::Get(args) => get(context, args).await,
        KvCommand::List(args) => list(context, args).await,
        KvCommand::Delete(args) => delete(context, args).await,
        KvCommand::Txn(args) => txn::run(context, args).await,
    }
}

/// What `put` says.
struct PutRow {
    key: String,
    revision: u64,
    previous: Option<Bytes>,
}

impl Serialize for PutRow {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("key", &self.key)?;
        map.serialize_entry("revision", &self.revision)?;
        if let Some(previous) = &self.previous {
            text::PREVIOUS.serialize(&mut map, previous)?;
        }
        map.end()
    }
}

async fn put(context: &Context, args: KvPut) -> Result<()> {
    let value = match (&args.value, &args.file) {
        (_, Some(file)) => read_file(file)?,
        (Some(dash), None) if dash == "-" => read_stdin()?,
        (Some(value), None) => Bytes::from(value.clone()),
        (None, None) => return Err(Failure::usage("a value is missing").into()),
    };
    let mut call = context.client()?.put(args.key.as_str(), value);
    if args.previous {
        call = call.returning_previous();
    }
    let written = call.await.map_err(|error| context.explain(&error))?;
    let revision = written.revision().get();
    let previous = written.value.as_ref().and_then(|record| match &record.value {
        Record::Entry(entry) => Some(entry.value.clone()),
        _ => None,
    });
    let mut line = format!("written at revision {revision}");
    if let Some(previous) = &previous {
        line.push_str(&format!(" (was {})", text::short_cell(previous)));
    }
    context.output.one(&line, &PutRow { key: args.key, revision, previous })
}

async fn get(context: &Context, args: KvGet) -> Result<()> {
    let call = context.client()?.get(args.key.as_str()).consistency(args.consistency);
    let found = call.await.map_err(|error| context.explain(&error))?;
    let Some(record) = found.value else {
        return Err(Failure::not_found(format!("no key {:?}", args.key)).into());
    };
    let row = EntryRow::new(Bytes::from(args.key), &record);
    let value = row.value.clone().unwrap_or_default();
    if args.raw {
        return context.output.bytes(&value);
    }
    if context.output.is_json() {
        return context.output.one("", &row);
    }
    context.output.bytes(&[&value[..], b"\n"].concat())
}

async fn list(context: &Context, args: KvList) -> Result<()> {
    if args.follow.watch {
        let KvList { prefix, keys_only, .. } = args;
        return follow::follow(context, follow::Entries { prefix, keys_only }).await;
    }
    let rows =
        if args.keys_only { keys(context, &args).await? } else { values(context, &args).await? };
    context.output.rows(&rows)
}

/// Reads page after page, as far as the limit goes.
async fn values(context: &Context, args: &KvList) -> Result<Vec<EntryRow>> {
    let call = context.client()?.range(entries(args.prefix.clone())).consistency(args.consistency);
    let limit = Limit::new(args.limit);
    let mut rows = Vec::new();
    let mut pages = std::pin::pin!(call.limit(limit.page).pages());
    while let Some(page) = next(context, &mut pages).await? {
        let records = page.value.records.iter().take(limit.left(rows.len()));
        rows.extend(records.map(|(key, record)| EntryRow::new(key.bytes.clone(), record)));
        if limit.left(rows.len()) == 0 {
            break;
        }
    }
    Ok(rows)
}

async fn next(
    context: &Context,
    pages: &mut (impl futures::Stream<Item = Result<Response<Page>, quorate_client::Error>> + Unpin),
) -> Result<Option<Response<Page>>> {
    pages.try_next().await.map_err(|error| context.explain(&error))
}

/// Reads page after page of keys, as far as the limit goes.
async fn keys(context: &Context, args: &KvList) -> Result<Vec<EntryRow>> {
    let client = context.client()?;
    let (limit, prefix) = (Limit::new(args.limit), args.prefix.as_bytes());
    let mut rows: Vec<EntryRow> = Vec::new();
    let mut range = entries(args.prefix.clone());
    loop {
        let call = client.keys(range).limit(limit.page).consistency(args.consistency);
        let page = call.await.map_err(|error| context.explain(&error))?.value;
        let left = limit.left(rows.len());
        let matching = page.keys.iter().filter(|(key, _)| key.bytes.starts_with(prefix));
        rows.extend(matching.take(left).map(|(key, revisions)| EntryRow {
            key: key.bytes.clone(),
            value: None,
            created: revisions.created.get(),
            modified: revisions.modified.get(),
            version: revisions.version,
        }));
        let last = page.keys.last().filter(|(key, _)| key.bytes.starts_with(prefix));
        match last.filter(|_| page.more && limit.left(rows.len()) > 0) {
            Some((last, _)) => range = after(last),
            None => return Ok(rows),
        }
    }
}

/// Every entry after this one; where the prefix ends is for the caller to see.
fn after(last: &Key) -> KeyRange {
    let start = [&last.bytes[..], &[0]].concat().into();
    KeyRange::Bounds { kind: last.kind, start, end: Bytes::new() }
}

/// How many rows are wanted, and how many to ask for at a time.
struct Limit {
    total: Option<u64>,
    page: u32,
}

impl Limit {
    /// The largest page that is asked for; 0 would be the cluster's own limit.
    const PAGE_MAX: u64 = 1_000;

    fn new(total: Option<u64>) -> Self {
        let page = total.unwrap_or(Self::PAGE_MAX).min(Self::PAGE_MAX);
        Self { total, page: u32::try_from(page).unwrap_or(u32::MAX) }
    }

    fn left(&self, have: usize) -> usize {
        match self.total {
            Some(total) => usize::try_from(total).unwrap_or(usize::MAX).saturating_sub(have),
            None => usize::MAX,
        }
    }
}

#[derive(Serialize)]
struct DeleteRow {
    deleted: u64,
    revision: u64,
}

async fn delete(context: &Context, args: KvDelete) -> Result<()> {
    let client = context.client()?;
    let call = match (&args.key, &args.prefix) {
        (Some(key), _) => client.delete(key.as_str()),
        (None, Some(prefix)) => client.delete(entries(prefix.clone())),
        (None, None) => return Err(Failure::usage("a key is missing").into()),
    };
    let done = call.await.map_err(|error| context.explain(&error))?;
    let row = DeleteRow { deleted: done.value.deleted, revision: done.revision().get() };
    if let (Some(key), 0) = (&args.key, row.deleted) {
        return Err(Failure::not_found(format!("no key {key:?}")).into());
    }
    let line = format!("deleted {} at revision {}", row.deleted, row.revision);
    context.output.one(&line, &row)
}

fn read_file(file: &Path) -> Result<Bytes> {
    let bytes = fs::read(file)
        .map_err(|error| Failure::usage(format!("cannot read {}: {error}", file.display())))?;
    Ok(bytes.into())
}

fn read_stdin() -> Result<Bytes> {
    let mut bytes = Vec::new();
    io::stdin().lock().read_to_end(&mut bytes).context("cannot read standard input")?;
    Ok(bytes.into())
}
