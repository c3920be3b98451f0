//! Arguments of `kv`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use quorate_client::Consistency;

use super::{Follow, values};

/// What to do with keys and values.
#[derive(Debug, Subcommand)]
pub(crate) enum KvCommand {
    /// Write a value
    Put(KvPut),
    /// Read a value
    Get(KvGet),
    /// List the keys that begin with a prefix
    List(KvList),
    /// Delete a key, or all keys that begin with a prefix
    Delete(KvDelete),
    /// Run an atomic transaction with preconditions
    Txn(KvTxn),
}

/// Writes a value.
#[derive(Debug, Args)]
#[command(after_help = PUT_EXAMPLES, group = clap::ArgGroup::new("source").required(true))]
pub(crate) struct KvPut {
    /// The key
    #[arg(value_name = "KEY")]
    pub(crate) key: String,
    /// The value; - reads it from standard input
    #[arg(value_name = "VALUE", group = "source", allow_hyphen_values = true)]
    pub(crate) value: Option<String>,
    /// Read the value from a file, byte for byte
    #[arg(long, value_name = "FILE", group = "source")]
    pub(crate) file: Option<PathBuf>,
    /// Show the value that was there before
    #[arg(long)]
    pub(crate) previous: bool,
}

const PUT_EXAMPLES: &str = "\
Examples:
  quorate kv put greeting hello
  date | quorate kv put now -
  quorate kv put logo --file logo.png";

/// Reads a value.
#[derive(Debug, Args)]
#[command(after_help = GET_EXAMPLES)]
pub(crate) struct KvGet {
    /// The key
    #[arg(value_name = "KEY")]
    pub(crate) key: String,
    /// How fresh: linearizable, local, or at-least=REV
    #[arg(long, value_name = "LEVEL", default_value = "linearizable", value_parser = values::consistency)]
    pub(crate) consistency: Consistency,
    /// Print the value byte for byte, without a newline after it
    #[arg(long)]
    pub(crate) raw: bool,
}

const GET_EXAMPLES: &str = "\
Exit code 3 when the key is absent.

Examples:
  quorate kv get greeting
  quorate kv get greeting --output json
  quorate kv get greeting --consistency local         what this coordinator has now
  quorate kv get greeting --consistency at-least=42   waits for revision 42
  quorate kv get logo --raw > logo.png";

/// Lists keys.
#[derive(Debug, Args)]
#[command(after_help = LIST_EXAMPLES)]
pub(crate) struct KvList {
    /// Only keys that begin with this; without it, all keys
    #[arg(value_name = "PREFIX", default_value = "", hide_default_value = true)]
    pub(crate) prefix: String,
    /// At most so many
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..),
        conflicts_with = "watch")]
    pub(crate) limit: Option<u64>,
    /// Leave the values out
    #[arg(long)]
    pub(crate) keys_only: bool,
    /// How fresh: linearizable, local, or at-least=REV
    #[arg(long, value_name = "LEVEL", default_value = "linearizable", value_parser = values::consistency)]
    pub(crate) consistency: Consistency,
    /// Follow changes
    #[command(flatten)]
    pub(crate) follow: Follow,
}

const LIST_EXAMPLES: &str = "\
Long lists are read page by page; a later page may be from a later revision.

Examples:
  quorate kv list
  quorate kv list config/ --keys-only
  quorate kv list config/ --limit 10 --output json
  quorate kv list config/ --watch";

/// Deletes keys.
#[derive(Debug, Args)]
#[command(after_help = DELETE_EXAMPLES, group = clap::ArgGroup::new("target").required(true))]
pub(crate) struct KvDelete {
    /// The key
    #[arg(value_name = "KEY", group = "target")]
    pub(crate) key: Option<String>,
    /// Delete every key that begins with this
    #[arg(long, value_name = "PREFIX", group = "target")]
    pub(crate) prefix: Option<String>,
}

const DELETE_EXAMPLES: &str = "\
Exit code 3 when the key is absent; a prefix without keys is no error.

Examples:
  quorate kv delete greeting
  quorate kv delete --prefix config/";

/// Runs a transaction.
#[derive(Debug, Args)]
#[command(after_help = TXN_EXAMPLES)]
pub(crate) struct KvTxn {
    /// The transaction's lines; none or - reads them from standard input
    #[arg(value_name = "LINE", conflicts_with = "file")]
    pub(crate) lines: Vec<String>,
    /// Read the lines from a file
    #[arg(long, value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
}

const TXN_EXAMPLES: &str = r#"If all `if` lines hold, runs the `then` lines, else the `else` lines, at one revision.

  if exists KEY            then put KEY VALUE         else put KEY VALUE
  if absent KEY            then get KEY               else get KEY
  if value KEY = VALUE     then delete KEY            else delete KEY
  if modified KEY = REV

  require partition ID epoch EPOCH     fails unless the partition is owned in this epoch
  require session ID                   fails unless the session is alive

A word with spaces is written in double quotes, where \" \\ \n \t and \xHH stand for themselves.
`prefix KEY` in place of KEY names every key that begins with it (not in put). Empty lines and
lines that begin with # do not count. Exit code 1 when an `if` did not hold and there is no `else`,
or a `require` did not hold: then nothing is done.

Examples:
  quorate kv txn 'if absent lock' 'then put lock "held by me"' 'else get lock'
  quorate kv txn 'if value mode = slow' 'then put mode fast' 'then delete prefix cache/'
  quorate kv txn 'require partition clickstream/0 epoch 0.6' 'then put offset/0 1700'
  quorate kv txn --file swap.txn"#;
