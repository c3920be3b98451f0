//! Prometheus's text format, read strictly: whatever a scraper may refuse is refused here.

use std::collections::{BTreeMap, BTreeSet};

/// The labels of a series.
pub(crate) type Labels = BTreeMap<String, String>;

/// What one scrape showed.
#[derive(Debug, Default)]
pub(crate) struct Scrape {
    /// What each family is.
    kinds: BTreeMap<String, String>,
    /// The series by name: those of a histogram by its three.
    series: BTreeMap<String, BTreeMap<Labels, f64>>,
}

impl Scrape {
    /// Reads a text. The error says which line and what is wrong with it.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        if !text.ends_with('\n') {
            return Err("the last line has no end".into());
        }
        let (mut scrape, mut described, mut current) = (Self::default(), BTreeSet::new(), None);
        for line in text.lines() {
            let wrong = |what: &str| format!("{what}: {line}");
            if let Some(help) = line.strip_prefix("# HELP ") {
                let (name, text) = help.split_once(' ').ok_or_else(|| wrong("no text"))?;
                if text.is_empty() || !described.insert(name.to_owned()) {
                    return Err(wrong("described twice, or with nothing"));
                }
            } else if let Some(kind) = line.strip_prefix("# TYPE ") {
                let (name, kind) = kind.split_once(' ').ok_or_else(|| wrong("no type"))?;
                let known = ["counter", "gauge", "histogram"].contains(&kind);
                let new = scrape.kinds.insert(name.to_owned(), kind.to_owned()).is_none();
                if !known || !new || !described.contains(name) || !is_name(name) {
                    return Err(wrong("of no known type, typed twice, not described, or no name"));
                }
                current = Some((name.to_owned(), kind.to_owned()));
            } else {
                let (family, kind) = current.as_ref().ok_or_else(|| wrong("not typed"))?;
                let (name, labels, value) = sample(line).ok_or_else(|| wrong("no sample"))?;
                let part = name.strip_prefix(family.as_str()).ok_or_else(|| wrong("elsewhere"))?;
                let parts: &[&str] =
                    if kind == "histogram" { &["_bucket", "_sum", "_count"] } else { &[""] };
                if !parts.contains(&part) || (kind == "counter" && (value < 0.0 || value.is_nan()))
                {
                    return Err(wrong("not of its family, or a counter below 0"));
                }
                if scrape.series.entry(name).or_default().insert(labels, value).is_some() {
                    return Err(wrong("twice"));
                }
            }
        }
        scrape.check_histograms()?;
        Ok(scrape)
    }

    /// The series of a name, with their values. Empty: there are none.
    pub(crate) fn series(&self, name: &str) -> impl Iterator<Item = (&Labels, f64)> {
        self.series.get(name).into_iter().flatten().map(|(labels, value)| (labels, *value))
    }

    /// The names of all series.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.series.keys().map(String::as_str)
    }

    /// Buckets grow, and the last one has what is counted.
    fn check_histograms(&self) -> Result<(), String> {
        let histograms = self.kinds.iter().filter(|(_, kind)| *kind == "histogram");
        for (family, _) in histograms {
            let mut buckets: BTreeMap<Labels, Vec<(f64, f64)>> = BTreeMap::new();
            for (labels, count) in self.series(&format!("{family}_bucket")) {
                let mut labels = labels.clone();
                let bound = labels.remove("le").and_then(|bound| bound.parse::<f64>().ok());
                let bound = bound.ok_or_else(|| format!("a bucket of {family} without a bound"))?;
                buckets.entry(labels).or_default().push((bound, count));
            }
            for (labels, counted) in self.series(&format!("{family}_count")) {
                let mut own = buckets.remove(labels).unwrap_or_default();
                own.sort_by(|(one, _), (other, _)| one.total_cmp(other));
                let grow = own.windows(2).all(|pair| pair[0].1 <= pair[1].1);
                if !grow || own.last() != Some(&(f64::INFINITY, counted)) {
                    return Err(format!("{family} {labels:?}: {own:?}, {counted} in all"));
                }
            }
            if !buckets.is_empty() {
                return Err(format!("{family}: buckets of which nothing is counted: {buckets:?}"));
            }
        }
        Ok(())
    }
}

fn is_name(text: &str) -> bool {
    !text.is_empty()
        && !text.starts_with(|c: char| c.is_ascii_digit())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// `name{label="value"} 1`: without a time, since nothing here writes one.
fn sample(line: &str) -> Option<(String, Labels, f64)> {
    let end = line.find(['{', ' '])?;
    let (name, mut rest) = line.split_at(end);
    let mut labels = Labels::new();
    if let Some(inner) = rest.strip_prefix('{') {
        rest = inner;
        loop {
            let (label, value) = rest.split_once("=\"")?;
            let (value, after) = quoted(value)?;
            if !is_name(label) || labels.insert(label.to_owned(), value).is_some() {
                return None;
            }
            match after.strip_prefix(',') {
                Some(more) => rest = more,
                None => {
                    rest = after.strip_prefix('}')?;
                    break;
                }
            }
        }
    }
    let value = rest.strip_prefix(' ')?.parse().ok()?;
    is_name(name).then(|| (name.to_owned(), labels, value))
}

/// A value up to its closing quote, and what follows that.
fn quoted(text: &str) -> Option<(String, &str)> {
    let (mut value, mut chars) = (String::new(), text.char_indices());
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((value, &text[at + 1..])),
            '\\' => value.push(match chars.next()?.1 {
                'n' => '\n',
                c @ ('"' | '\\') => c,
                _ => return None,
            }),
            c => value.push(c),
        }
    }
    None
}

#[test]
fn a_good_text_is_read() {
    let text = "# HELP a help\n# TYPE a gauge\na{x=\"1\",y=\"a \\\"b\\\" \\\\ }\"} 2\na 3\n\
                # HELP h help\n# TYPE h histogram\nh_bucket{le=\"1\"} 1\nh_bucket{le=\"+Inf\"} 4\n\
                h_sum 1.5\nh_count 4\n";
    let scrape = Scrape::parse(text).unwrap();
    let labels = |pairs: &[(&str, &str)]| -> Labels {
        pairs.iter().map(|(label, value)| ((*label).into(), (*value).into())).collect()
    };
    let (none, two) = (labels(&[]), labels(&[("x", "1"), ("y", "a \"b\" \\ }")]));
    assert_eq!(scrape.series("a").collect::<Vec<_>>(), [(&none, 3.0), (&two, 2.0)]);
    assert_eq!(scrape.names().collect::<Vec<_>>(), ["a", "h_bucket", "h_count", "h_sum"]);
}

#[test]
fn a_bad_text_is_refused() {
    let head = "# HELP a help\n# TYPE a counter\n";
    for bad in
        ["a 1", "a -1\n", "a x\n", "b 1\n", "a 1\na 1\n", "a{x=1} 1\n", "a{x=\"1} 1\n", "a{} 1\n"]
    {
        assert!(Scrape::parse(&format!("{head}{bad}")).is_err(), "{bad}");
    }
    let others = [
        "a 1\n",
        "# TYPE a gauge\na 1\n",
        "# HELP a help\n# TYPE a summary\na 1\n",
        "# HELP h help\n# TYPE h histogram\nh_bucket{le=\"1\"} 5\nh_bucket{le=\"+Inf\"} 4\nh_sum 1\nh_count 4\n",
        "# HELP h help\n# TYPE h histogram\nh_bucket{le=\"1\"} 1\nh_sum 1\nh_count 4\n",
    ];
    for bad in others {
        assert!(Scrape::parse(bad).is_err(), "{bad}");
    }
}
