//! What may differ between a story as it is told and as it runs.
//!
//! ```text
//!   pid 4711, revision 7, epoch 0.7    any other number, but the same one wherever it is told again
//!   16 hex digits                      any others: a hash, an id
//!   a line with such a hash            roles of members, and any numbers behind the first: a status
//!   member 3 leads, in term 2          any member, any term
//!   columns                            any width
//!   ten digits that begin with 17, 18  any others: seconds since 1970
//!   a line that ends with ...          any rest
//! ```
//!
//! Everything else is to be the same, word for word. Pure.

use std::collections::BTreeMap;

/// What numbers of the story stand for in this run.
#[derive(Debug, Default)]
pub(crate) struct Names(BTreeMap<(Sort, String), String>);

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Sort {
    Process,
    Revision,
}

impl Names {
    /// Whether all lines are as they are told, and then what they name is known from then on.
    pub(crate) fn same(&mut self, told: &[String], shown: &[String]) -> bool {
        let mut names = Self(self.0.clone());
        let same = told.len() == shown.len()
            && told.iter().zip(shown).all(|(told, shown)| names.same_line(told, shown));
        if same {
            *self = names;
        }
        same
    }

    /// Whether a line is as it is told. What it names may be known even if it is not.
    fn same_line(&mut self, told: &str, shown: &str) -> bool {
        let (told, shown) = (words(told), words(shown));
        let (told, shown) = match told.strip_suffix(&["..."]) {
            Some(told) if shown.len() >= told.len() => (told, &shown[..told.len()]),
            _ => (&told[..], &shown[..]),
        };
        let is_status = told.iter().any(|word| is_hash(word));
        let leads = told.get(2).is_some_and(|word| *word == "leads,");
        let mut before = "";
        told.len() == shown.len()
            && told.iter().zip(shown.iter().copied()).enumerate().all(|(index, (told, shown))| {
                let name = std::mem::replace(&mut before, told);
                let free = (is_status && index > 0) || leads;
                *told == shown && !is_named(name, told)
                    || is_hash(told) && is_hash(shown)
                    || without_times(told).is_some_and(|it| without_times(shown) == Some(it))
                    || free
                        && (is_number(told) && is_number(shown) || is_role(told) && is_role(shown))
                    || self.same_name(name, index, told, shown)
            })
    }

    /// Whether two words are the same number of a process or a revision.
    fn same_name(&mut self, before: &str, index: usize, told: &str, shown: &str) -> bool {
        let (told, told_end) = split_end(told);
        let (shown, shown_end) = split_end(shown);
        if told_end != shown_end {
            return false;
        }
        match (told.split_once('.'), shown.split_once('.')) {
            (Some((told_restore, told)), Some((restore, shown))) => {
                told_restore == restore && self.name(Sort::Revision, told, shown)
            }
            (None, None) if before == "pid" => self.name(Sort::Process, told, shown),
            // A change stream begins its lines with it.
            (None, None) if before == "revision" || index == 0 => {
                self.name(Sort::Revision, told, shown)
            }
            _ => false,
        }
    }

    fn name(&mut self, sort: Sort, told: &str, shown: &str) -> bool {
        is_number(told)
            && is_number(shown)
            && *self.0.entry((sort, told.to_owned())).or_insert_with(|| shown.to_owned()) == shown
    }

    /// A command of the story, with what its numbers stand for.
    pub(crate) fn command(&self, told: &str) -> String {
        let kills = told.starts_with("kill ");
        let words = told.split(' ').map(|word| {
            let bare = word.trim_matches('\'');
            let sort = if kills { Sort::Process } else { Sort::Revision };
            let (prefix, number) = match bare.split_once('.') {
                Some(("0", number)) => ("0.", number),
                _ if kills => ("", bare),
                _ => return word.to_owned(),
            };
            match self.0.get(&(sort, number.to_owned())) {
                Some(known) => word.replace(bare, &format!("{prefix}{known}")),
                None => word.to_owned(),
            }
        });
        words.collect::<Vec<_>>().join(" ")
    }
}

fn words(line: &str) -> Vec<&str> {
    line.split_whitespace().collect()
}

/// Whether a word stands for a process or a revision, so that being equal is not enough.
fn is_named(before: &str, word: &str) -> bool {
    let (word, _) = split_end(word);
    let epoch =
        word.split_once('.').is_some_and(|(restore, rest)| restore == "0" && is_number(rest));
    epoch || is_number(word) && matches!(before, "pid" | "revision")
}

/// A word, and the punctuation behind it.
fn split_end(word: &str) -> (&str, &str) {
    word.split_at(word.trim_end_matches([',', ':', ';']).len())
}

fn is_number(word: &str) -> bool {
    !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_role(word: &str) -> bool {
    matches!(word, "leader" | "follower")
}

/// A word with every number of seconds since 1970 left out. None: there is none.
fn without_times(word: &str) -> Option<String> {
    let is_time = |part: &&str| {
        part.len() == 10 && is_number(part) && (part.starts_with("17") || part.starts_with("18"))
    };
    let parts = word.split_inclusive(|at: char| !at.is_ascii_digit());
    let parts = parts.map(|part| part.trim_end_matches(|at: char| !at.is_ascii_digit()));
    let time = parts.into_iter().find(is_time)?;
    Some(word.replace(time, ""))
}

fn is_hash(word: &str) -> bool {
    let (word, _) = split_end(word);
    word.len() == 16 && word.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn same(names: &mut Names, told: &str, shown: &str) -> bool {
        names.same(&[told.to_owned()], &[shown.to_owned()])
    }

    #[test]
    fn numbers_stand_for_the_same_wherever_they_are_told() {
        let mut names = Names::default();
        assert!(same(&mut names, "moved, as of revision 7", "moved, as of revision 9"));
        assert!(!same(&mut names, "written at revision 7", "written at revision 7"));
        assert!(same(&mut names, "assigned net/0 epoch 0.7", "assigned net/0 epoch 0.9"));
        assert!(!same(&mut names, "assigned net/0 epoch 0.7", "assigned net/0 epoch 1.9"));
        assert!(same(&mut names, "   7  + entry  mode", "  9 + entry mode"));
        assert!(same(
            &mut names,
            "session 0.4, TTL 10 ms, pid 11",
            "session 0.4, TTL 10 ms, pid 22"
        ));
        assert!(!same(
            &mut names,
            "session 0.4, TTL 10 ms, pid 11",
            "session 0.4, TTL 9 ms, pid 22"
        ));
        assert_eq!(names.command("kill -9 11"), "kill -9 22");
        assert_eq!(names.command("txn 'epoch 0.7' 'put 7 0.70'"), "txn 'epoch 0.9' 'put 7 0.70'");
    }

    #[test]
    fn what_differs_unseen_names_nothing() {
        let mut names = Names::default();
        assert!(!same(&mut names, "at revision 7 and 3", "at revision 9 and 4"));
        assert!(same(&mut names, "at revision 7", "at revision 8"));
    }

    #[test]
    fn a_status_has_its_roles_numbers_and_hashes() {
        let mut names = Names::default();
        let told = "2  127.0.0.1:7102  follower  1  1  9  0123456789abcdef";
        let other = "2  127.0.0.1:7102  leader  2  2  10  fedcba9876543210";
        assert!(same(&mut names, told, other));
        assert!(!same(&mut names, told, &other.replace("7102", "7103")));
        assert!(!same(&mut names, told, &other.replace("leader", "unreachable")));
        assert!(same(&mut names, "member 3 leads, in term 2", "member 2 leads, in term 5"));
        assert!(!same(&mut names, "1 partition", "2 partitions"));
        assert!(same(&mut names, "kept in 3.member-3-1764000000", "kept in 3.member-3-1800000000"));
        assert!(!same(
            &mut names,
            "kept in 3.member-3-1764000000",
            "kept in 3.member-4-1800000000"
        ));
        assert!(!same(&mut names, "bytes=3019898880", "bytes=3019898881"));
        assert!(same(&mut names, "error: lost ...", "error: lost by member 2"));
        assert!(!same(&mut names, "error: lost ...", "error: found by member 2"));
        assert!(!same(&mut names, "load 26.3%", "load 26.4%"));
    }
}
