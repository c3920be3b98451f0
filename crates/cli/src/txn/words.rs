//! Splits a line into words.
//!
//! A word ends at a space, or stands in double quotes, where `\"`, `\\`, `\n`, `\t` and `\xHH` (a
//! byte) are escapes. Outside quotes nothing is special but a leading `#`, which begins a comment.

use std::{fmt, iter::Peekable, str::Chars};

use bytes::Bytes;

/// One word of a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Word {
    bytes: Vec<u8>,
    quoted: bool,
}

impl Word {
    /// The text, if it was not quoted: only such a word is a keyword.
    pub(super) fn plain(&self) -> Option<&str> {
        if self.quoted { None } else { std::str::from_utf8(&self.bytes).ok() }
    }

    /// What it stands for.
    pub(super) fn bytes(&self) -> Bytes {
        Bytes::copy_from_slice(&self.bytes)
    }
}

impl fmt::Display for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`", String::from_utf8_lossy(&self.bytes))
    }
}

/// The words of a line; none when it is empty or a comment.
pub(super) fn split(line: &str) -> Result<Vec<Word>, String> {
    let mut words = Vec::new();
    let mut chars = line.trim().chars().peekable();
    if chars.peek() == Some(&'#') {
        return Ok(words);
    }
    while let Some(first) = chars.next() {
        match first {
            c if c.is_whitespace() => {}
            '"' => words.push(quoted(&mut chars)?),
            c => words.push(plain(c, &mut chars)),
        }
    }
    Ok(words)
}

fn plain(first: char, chars: &mut Peekable<Chars<'_>>) -> Word {
    let mut text = String::from(first);
    while let Some(c) = chars.next_if(|c| !c.is_whitespace()) {
        text.push(c);
    }
    Word { bytes: text.into_bytes(), quoted: false }
}

fn quoted(chars: &mut Peekable<Chars<'_>>) -> Result<Word, String> {
    let mut bytes = Vec::new();
    loop {
        match chars.next().ok_or("a double quote is not closed")? {
            '"' => break,
            '\\' => bytes.push(escape(chars)?),
            c => bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    match chars.peek() {
        Some(c) if !c.is_whitespace() => Err(format!("expected a space after a quote, not `{c}`")),
        _ => Ok(Word { bytes, quoted: true }),
    }
}

fn escape(chars: &mut Peekable<Chars<'_>>) -> Result<u8, String> {
    match chars.next() {
        Some('"') => Ok(b'"'),
        Some('\\') => Ok(b'\\'),
        Some('n') => Ok(b'\n'),
        Some('t') => Ok(b'\t'),
        Some('x') => {
            let digits: String = chars.by_ref().take(2).collect();
            u8::from_str_radix(&digits, 16)
                .ok()
                .filter(|_| digits.len() == 2 && digits.bytes().all(|b| b.is_ascii_hexdigit()))
                .ok_or_else(|| format!("\\x takes two hex digits, not `{digits}`"))
        }
        Some(c) => Err(format!("\\{c} is no escape: use \\\" \\\\ \\n \\t or \\xHH")),
        None => Err("a double quote is not closed".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<Vec<u8>> {
        split(line).unwrap().into_iter().map(|word| word.bytes).collect()
    }

    #[test]
    fn words_and_quotes() {
        assert_eq!(words(r#"  put  a  "b c"  "#), [&b"put"[..], b"a", b"b c"]);
        assert_eq!(words(r#""" "\"\\\n\t\xff""#), [&b""[..], b"\"\\\n\t\xff"]);
        assert_eq!(words("a=b #c \u{fc}"), ["a=b".as_bytes(), b"#c", "\u{fc}".as_bytes()]);
        assert!(words("# a comment").is_empty());
        assert!(words("").is_empty());
    }

    #[test]
    fn only_unquoted_words_are_keywords() {
        let words = split(r#"then "then""#).unwrap();
        assert_eq!(words[0].plain(), Some("then"));
        assert_eq!(words[1].plain(), None);
    }

    #[test]
    fn broken_quotes_are_errors() {
        for line in [r#"""#, r#""a"#, r#""a\"#, r#""\q""#, r#""\x1""#, r#""\xzz""#, r#""a"b"#] {
            assert!(split(line).is_err(), "{line}");
        }
    }
}
