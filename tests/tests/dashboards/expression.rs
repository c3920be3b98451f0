//! What an expression of Prometheus's language asks for, as much of it as the shipped files use, and
//! whether a scrape has it.

use std::collections::BTreeSet;

use crate::exposition::{Labels, Scrape};

/// What Prometheus adds to every series.
const ADDED: &str = "instance";

/// A metric as an expression picks it.
#[derive(Debug, PartialEq, Eq)]
struct Selector {
    name: String,
    /// Label, operator, value.
    matchers: Vec<(String, String, String)>,
}

/// The selectors of an expression.
fn selectors(expression: &str) -> Vec<Selector> {
    let (mut found, mut rest) = (Vec::new(), expression);
    while let Some(at) = rest.find("quorate_") {
        rest = &rest[at..];
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
        let (name, after) = rest.split_at(end);
        rest = after;
        let inner =
            after.strip_prefix('{').map(|inner| inner.split_once('}').expect("a closing }"));
        let matchers = inner.map_or("", |(matchers, _)| matchers).split(',');
        let matchers = matchers.filter(|matcher| !matcher.is_empty()).map(matcher).collect();
        found.push(Selector { name: name.to_owned(), matchers });
    }
    found
}

fn matcher(text: &str) -> (String, String, String) {
    let (head, value) = text.split_once('"').unwrap_or_else(|| panic!("no matcher: {text}"));
    let at = head.find(['=', '!']).unwrap_or_else(|| panic!("no operator: {text}"));
    let (label, operator) = head.split_at(at);
    assert!(["=", "!=", "=~", "!~"].contains(&operator), "{text}");
    (label.trim().into(), operator.into(), value.strip_suffix('"').expect("a quote").into())
}

/// The labels that an expression groups by. None: it does not.
fn grouped(expression: &str) -> Option<BTreeSet<&str>> {
    let groups = expression.split("by (").skip(1);
    let groups = groups.map(|rest| rest.split_once(')').expect("a closing )").0);
    let labels: BTreeSet<&str> = groups.flat_map(|group| group.split(", ")).collect();
    Some(labels).filter(|labels| !labels.is_empty())
}

/// Checks that a scrape has what an expression asks for, with the labels that a text about its result names.
#[track_caller]
pub(crate) fn check(expression: &str, named: &BTreeSet<String>, scrape: &Scrape) {
    let count = |c| expression.matches(c).count();
    assert_eq!((count('('), count('{'), count('[')), (count(')'), count('}'), count(']')));
    let selectors = selectors(expression);
    assert!(!selectors.is_empty(), "no metric in {expression}");
    let grouped = grouped(expression);
    for selector in &selectors {
        let series: Vec<&Labels> =
            scrape.series(&selector.name).map(|(labels, _)| labels).collect();
        let name = &selector.name;
        assert!(!series.is_empty(), "no {name}: {expression}");
        let has = |label: &str| label == ADDED || series.iter().any(|it| it.contains_key(label));
        for (label, ..) in &selector.matchers {
            assert!(has(label), "{name} has no label {label}: {expression}");
        }
        let equal = selector.matchers.iter().filter(|(_, operator, _)| operator == "=");
        let equal: Vec<_> = equal.map(|(label, _, value)| (label, value)).collect();
        let is = |it: &Labels| equal.iter().all(|(label, value)| it.get(*label) == Some(*value));
        assert!(series.iter().any(|it| is(it)), "{name} has none with {equal:?}: {expression}");
        for label in grouped.iter().flatten() {
            assert!(has(label), "{name} has no label {label}: {expression}");
        }
        for label in named {
            let there = grouped.as_ref().map_or_else(|| has(label), |it| it.contains(&**label));
            assert!(there, "the result has no label {label}: {expression}");
        }
    }
}

/// The labels that a text names: `{{x}}` or `{{ $labels.x }}`.
pub(crate) fn named(text: &str) -> BTreeSet<String> {
    let inner = text.split("{{").skip(1).map(|rest| rest.split_once("}}").expect("a closing }}").0);
    inner.map(|label| label.trim().trim_start_matches("$labels.").to_owned()).collect()
}

#[test]
fn selectors_are_found_with_their_labels() {
    let found =
        selectors("sum by (a, le) (rate(quorate_x_total{a=\"1\",b!=\"\"}[5m])) / quorate_y");
    let matcher =
        |label: &str, operator: &str, value: &str| (label.into(), operator.into(), value.into());
    let x = vec![matcher("a", "=", "1"), matcher("b", "!=", "")];
    let selector = |name: &str, matchers| Selector { name: name.into(), matchers };
    assert_eq!(found, [selector("quorate_x_total", x), selector("quorate_y", Vec::new())]);
    assert_eq!(grouped("sum by (a, le) (x)"), Some(BTreeSet::from(["a", "le"])));
    assert_eq!(grouped("sum(x)"), None);
    assert_eq!(named("{{a}} of {{ $labels.b }}"), BTreeSet::from(["a".into(), "b".into()]));
}

#[test]
fn what_a_scrape_does_not_have_is_found() {
    let text = "# HELP quorate_a help\n# TYPE quorate_a gauge\nquorate_a{x=\"1\"} 2\n";
    let scrape = Scrape::parse(text).unwrap();
    let bad = |expression: &'static str, label: &'static str| {
        let scrape = Scrape::parse(text).unwrap();
        let check = move || check(expression, &named(label), &scrape);
        std::panic::catch_unwind(check).is_err()
    };
    check("max by (x) (quorate_a{x=\"1\",instance=~\"i\"})", &named("{{x}}"), &scrape);
    for (expression, label) in [
        ("quorate_b", ""),
        ("quorate_a{y=\"1\"}", ""),
        ("quorate_a{x=\"2\"}", ""),
        ("max by (y) (quorate_a)", ""),
        ("max by (x) (quorate_a)", "{{y}}"),
        ("quorate_a", "{{y}}"),
        ("1", ""),
    ] {
        assert!(bad(expression, label), "{expression} {label}");
    }
}
