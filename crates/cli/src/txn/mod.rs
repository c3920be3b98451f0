//! The text form of a transaction, as `kv txn` takes it.
//!
//! ```text
//! transaction = { line }
//! line        = "require" guard | "if" test | ("then" | "else") operation | "#" ... | nothing
//! guard       = "session" ID | "partition" ID "epoch" EPOCH
//! test        = "exists" range | "absent" range | "value" range "=" VALUE | "modified" range "=" REV
//! operation   = "put" KEY VALUE | "delete" range | "get" range
//! range       = KEY | "prefix" KEY
//! ```
//!
//! Words are separated by spaces; see [`words`] for quotes. Pure: text in, transaction out. Must
//! not know clients or files.

mod words;

use bytes::Bytes;
use quorate_core::{
    Epoch, Guard, Key, KeyRange, Kind, Operation, PartitionId, Precondition, Record, Revision,
    SessionId, Test, Transaction,
};

use self::words::{Word, split};

/// A line that is no part of a transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SyntaxError {
    /// Its number, from 1.
    pub(crate) line: usize,
    /// What is wrong with it.
    pub(crate) message: String,
}

/// Reads a transaction.
pub(crate) fn parse<'a>(
    lines: impl IntoIterator<Item = &'a str>,
) -> Result<Transaction, SyntaxError> {
    let mut transaction = Transaction::default();
    for (index, line) in lines.into_iter().enumerate() {
        add_line(&mut transaction, line)
            .map_err(|message| SyntaxError { line: index + 1, message })?;
    }
    if transaction.success.is_empty() && transaction.failure.is_empty() {
        let message = "a transaction needs at least one `then` or `else`".to_owned();
        return Err(SyntaxError { line: 1, message });
    }
    Ok(transaction)
}

fn add_line(transaction: &mut Transaction, line: &str) -> Result<(), String> {
    let words = split(line)?;
    let Some((first, rest)) = words.split_first() else { return Ok(()) };
    let mut words = Words { rest };
    match first.plain() {
        Some("require") => transaction.guards.push(words.guard()?),
        Some("if") => transaction.preconditions.push(words.precondition()?),
        Some("then") => transaction.success.push(words.operation()?),
        Some("else") => transaction.failure.push(words.operation()?),
        _ => return Err(format!("expected require, if, then or else, not {first}")),
    }
    words.end()
}

/// The words that are left of a line.
struct Words<'a> {
    rest: &'a [Word],
}

impl<'a> Words<'a> {
    fn next(&mut self, expected: &str) -> Result<&'a Word, String> {
        let (word, rest) =
            self.rest.split_first().ok_or_else(|| format!("expected {expected} at the end"))?;
        self.rest = rest;
        Ok(word)
    }

    fn end(&self) -> Result<(), String> {
        match self.rest.first() {
            Some(word) => {
                Err(format!("{word} is too much: a word with spaces needs double quotes"))
            }
            None => Ok(()),
        }
    }

    fn guard(&mut self) -> Result<Guard, String> {
        const GUARDS: &str = "session or partition";
        let guard = self.next(GUARDS)?;
        match guard.plain() {
            Some("session") => self.read("a session", SessionId::parse).map(Guard::Session),
            Some("partition") => {
                let id = self.read("a partition", PartitionId::parse)?;
                let word = self.next("epoch")?;
                if word.plain() != Some("epoch") {
                    return Err(format!("expected epoch, not {word}"));
                }
                Ok(Guard::Partition { id, epoch: self.read("an epoch", Epoch::parse)? })
            }
            _ => Err(format!("expected {GUARDS}, not {guard}")),
        }
    }

    fn precondition(&mut self) -> Result<Precondition, String> {
        const TESTS: &str = "exists, absent, value or modified";
        let test = self.next(TESTS)?;
        match test.plain() {
            Some("exists") => Ok(Precondition { target: self.range()?, test: Test::Exists }),
            Some("absent") => Ok(Precondition { target: self.range()?, test: Test::Absent }),
            Some("value") => {
                let target = self.range()?;
                self.equals()?;
                Ok(Precondition { target, test: Test::Value(self.bytes("a value")?) })
            }
            Some("modified") => {
                let target = self.range()?;
                self.equals()?;
                let revision = self.read("a revision", |text| text.parse().ok().map(Revision))?;
                Ok(Precondition { target, test: Test::ModifiedAt(revision) })
            }
            _ => Err(format!("expected {TESTS}, not {test}")),
        }
    }

    fn operation(&mut self) -> Result<Operation, String> {
        const OPERATIONS: &str = "put, get or delete";
        let operation = self.next(OPERATIONS)?;
        match operation.plain() {
            Some("put") => Ok(Operation::Put {
                key: Key::entry(self.bytes("a key")?),
                record: Record::Entry(self.bytes("a value")?.into()),
                return_previous: false,
            }),
            Some("get") => Ok(Operation::Get { range: self.range()?, limit: 0 }),
            Some("delete") => {
                Ok(Operation::Delete { range: self.range()?, return_previous: false })
            }
            _ => Err(format!("expected {OPERATIONS}, not {operation}")),
        }
    }

    /// `KEY`, or `prefix KEY`. A key that is called prefix is written in quotes.
    fn range(&mut self) -> Result<KeyRange, String> {
        let word = self.next("a key")?;
        if word.plain() == Some("prefix") {
            return Ok(KeyRange::Prefix(Kind::Entry, self.bytes("a prefix")?));
        }
        Ok(KeyRange::Single(Key::entry(word.bytes())))
    }

    fn equals(&mut self) -> Result<(), String> {
        let word = self.next("=")?;
        match word.plain() {
            Some("=" | "==") => Ok(()),
            _ => Err(format!("expected =, not {word}")),
        }
    }

    fn read<T>(
        &mut self,
        expected: &str,
        read: impl FnOnce(&str) -> Option<T>,
    ) -> Result<T, String> {
        let word = self.next(expected)?;
        word.plain().and_then(read).ok_or_else(|| format!("expected {expected}, not {word}"))
    }

    fn bytes(&mut self, expected: &str) -> Result<Bytes, String> {
        Ok(self.next(expected)?.bytes())
    }
}

#[cfg(test)]
mod tests {
    use quorate_core::RestoreEpoch;

    use super::*;

    fn single(key: &'static str) -> KeyRange {
        KeyRange::Single(Key::entry(key))
    }

    #[test]
    fn every_form_is_read() {
        let text = r#"
            # swap the mode
            require partition net/0 epoch 1.7
            require session 1.3
            if exists a
            if absent prefix b/
            if value mode = "very slow"
            if modified "prefix" = 42

            then put mode fast
            then delete prefix cache/
            then get mode
            else get mode
        "#;
        let transaction = parse(text.lines()).unwrap();
        let at = |revision| SessionId { restore: RestoreEpoch(1), revision: Revision(revision) };
        let SessionId { restore, revision } = at(7);
        assert_eq!(
            transaction.guards,
            [
                Guard::Partition {
                    id: PartitionId::parse("net/0").unwrap(),
                    epoch: Epoch { restore, revision }
                },
                Guard::Session(at(3)),
            ]
        );
        assert_eq!(
            transaction.preconditions,
            [
                Precondition { target: single("a"), test: Test::Exists },
                Precondition {
                    target: KeyRange::Prefix(Kind::Entry, "b/".into()),
                    test: Test::Absent
                },
                Precondition { target: single("mode"), test: Test::Value("very slow".into()) },
                Precondition { target: single("prefix"), test: Test::ModifiedAt(Revision(42)) },
            ]
        );
        assert_eq!(
            transaction.success,
            [
                Operation::Put {
                    key: Key::entry("mode"),
                    record: Record::Entry("fast".into()),
                    return_previous: false
                },
                Operation::Delete {
                    range: KeyRange::Prefix(Kind::Entry, "cache/".into()),
                    return_previous: false
                },
                Operation::Get { range: single("mode"), limit: 0 },
            ]
        );
        assert_eq!(transaction.failure, [Operation::Get { range: single("mode"), limit: 0 }]);
    }

    #[test]
    fn errors_name_line_and_rule() {
        for (text, line, message) in [
            ("then put a 1\nwhen x", 2, "expected require, if, then or else, not `when`"),
            ("if", 1, "expected exists, absent, value or modified at the end"),
            ("if present a", 1, "expected exists, absent, value or modified, not `present`"),
            ("if value a b", 1, "expected =, not `b`"),
            ("require x", 1, "expected session or partition, not `x`"),
            ("require session 7", 1, "expected a session, not `7`"),
            ("require partition net/0 1.7", 1, "expected epoch, not `1.7`"),
            ("require partition net/0 epoch", 1, "expected an epoch at the end"),
            ("if modified a = x", 1, "expected a revision, not `x`"),
            ("then put a", 1, "expected a value at the end"),
            ("then put a b c", 1, "`c` is too much: a word with spaces needs double quotes"),
            ("then move a", 1, "expected put, get or delete, not `move`"),
            ("then put a \"b", 1, "a double quote is not closed"),
            ("if exists a", 1, "a transaction needs at least one `then` or `else`"),
            ("", 1, "a transaction needs at least one `then` or `else`"),
        ] {
            let error = parse(text.lines()).unwrap_err();
            assert_eq!((error.line, error.message.as_str()), (line, message), "{text}");
        }
    }
}
