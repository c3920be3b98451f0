//! The report of a run as a page: one file that needs nothing else.
//!
//! Owns the page's text and its looks. Pure: data in, HTML out. Must not know how the verdict came
//! about, nor where the page goes.
//!
//! ```text
//!  series: history -> bars and points
//!     '-- timeline, plots: bars and points -> drawings, on the time axis of frame, with svg
//!            '-- here: drawings and findings -> page
//! ```

mod frame;
mod plots;
pub(crate) mod series;
mod svg;
mod timeline;

use std::{collections::BTreeMap, fmt::Write as _};

use crate::check::progress::Counts;
use series::{MarkKind, Series};
use svg::escape;

const STYLE: &str = include_str!("style.css");

/// The most faults that are listed one by one.
const FAULTS_LISTED: usize = 500;

/// The most findings that are told in full.
const FINDINGS_LISTED: usize = 50;

/// What a page tells besides its drawings.
pub(crate) struct Content<'a> {
    /// valid, unknown or invalid.
    pub(crate) verdict: String,
    /// What was run, in a line.
    pub(crate) title: String,
    /// The command that runs it again.
    pub(crate) command: String,
    /// How much was done.
    pub(crate) counts: &'a Counts,
    /// What keeps the run from being valid: how bad, who found it, what.
    pub(crate) findings: Vec<[String; 3]>,
    /// The shortest evidence, a line each.
    pub(crate) evidence: &'a [String],
    /// Worth telling, but no finding.
    pub(crate) notes: &'a [String],
}

/// The whole page.
pub(crate) fn render(content: &Content<'_>, series: &Series) -> String {
    let title = escape(&content.title);
    let (summary, verdict) = (summary(content, series), verdict(content));
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width\">\n\
         <title>{title}: {}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n\
         <h1>{title}</h1>\n{summary}{verdict}\
         <h2>Timeline</h2>\n{}{}\
         <h2>Operations a second</h2>\n{}{}\
         <h2>Latency of answers</h2>\n{}{}{}\
         </body>\n</html>\n",
        escape(&content.verdict),
        legend(&timeline_legend(series)),
        timeline::draw(series),
        legend(&RATES),
        plots::rates(series),
        legend(&LATENCIES),
        plots::latencies(series),
        tables(content, series),
    )
}

/// A colour and what it stands for.
type Key = (&'static str, &'static str);

const RATES: [Key; 4] =
    [("ok", "answered"), ("fail", "failed"), ("info", "unknown"), ("shade", "a fault is at work")];

const LATENCIES: [Key; 4] = [
    ("k-p50", "half took no longer"),
    ("k-p99", "99 % took no longer"),
    ("k-max", "the longest"),
    ("shade", "a fault is at work"),
];

fn timeline_legend(series: &Series) -> Vec<Key> {
    let mut keys: Vec<Key> = Vec::new();
    for fault in &series.faults {
        let key = (timeline::fault_class(fault.class), fault.class);
        if !keys.contains(&key) {
            keys.push(key);
        }
    }
    keys.sort_by_key(|(_, name)| *name);
    keys.push(("leads", "leads"));
    keys.extend(&RATES[..3]);
    let marks = [
        (MarkKind::Ended, ("ended", "▲ ended, as a fault must make it")),
        (MarkKind::Crash, ("crash", "▲ must not happen")),
    ];
    let seen = |kind| series.marks.iter().any(|mark| mark.what == kind);
    keys.extend(marks.into_iter().filter(|(kind, _)| seen(*kind)).map(|(_, key)| key));
    keys
}

fn legend(keys: &[Key]) -> String {
    let entries: String = keys
        .iter()
        .map(|(class, name)| {
            let swatch = format!("<svg viewBox=\"0 0 10 10\"><rect class=\"{class}\" width=\"10\" height=\"10\"/></svg>");
            format!("<li>{swatch}{}</li>\n", escape(name))
        })
        .collect();
    format!("<ul class=\"legend\">\n{entries}</ul>\n")
}

fn summary(content: &Content<'_>, series: &Series) -> String {
    let (counts, numbers) = (content.counts, series.numbers());
    let ms = |value: Option<f64>| {
        value.map_or_else(|| "none".to_owned(), |ms| format!("{} ms", svg::short(ms)))
    };
    let facts = [
        ("verdict", content.verdict.clone()),
        ("operations", counts.ops().to_string()),
        (
            "answered / failed / unknown",
            format!("{} / {} / {}", counts.ok, counts.fail, counts.info),
        ),
        ("answers a second", svg::short(numbers.ok_per_second)),
        ("faults", counts.faults.to_string()),
        ("leader changes", counts.leader_changes.to_string()),
        ("checkpoints made / installed", format!("{} / {}", counts.checkpoints, counts.installs)),
        (
            "latency, half / 99 %",
            format!("{} / {}", ms(numbers.latency_ms_p50), ms(numbers.latency_ms_p99)),
        ),
    ];
    let mut text = String::from("<dl class=\"facts\">\n");
    for (number, (name, value)) in facts.iter().enumerate() {
        let class = if number == 0 { escape(&content.verdict) } else { String::new() };
        writeln!(text, "<div class=\"{class}\"><dt>{name}</dt><dd>{}</dd></div>", escape(value))
            .expect("writing to a String never fails");
    }
    text.push_str("</dl>\n");
    text
}

fn verdict(content: &Content<'_>) -> String {
    let mut text = String::new();
    if content.findings.is_empty() {
        text.push_str("<p>Everything that was checked held, and enough was done for that to mean something.</p>\n");
    } else {
        let shown = content.findings.iter().take(FINDINGS_LISTED);
        let items: String = shown
            .map(|[how_bad, who, what]| {
                let (how_bad, who) = (escape(how_bad), escape(who));
                format!(
                    "<li><b class=\"{how_bad}\">{how_bad}</b> ({who}) <pre>{}</pre></li>\n",
                    escape(what)
                )
            })
            .collect();
        let more = content.findings.len().saturating_sub(FINDINGS_LISTED);
        let more = if more > 0 { format!("<p>and {more} more</p>\n") } else { String::new() };
        write!(text, "<h2>Findings</h2>\n<ul class=\"findings\">\n{items}</ul>\n{more}")
            .expect("writing to a String never fails");
    }
    if !content.evidence.is_empty() {
        write!(
            text,
            "<h2>Shortest evidence</h2>\n<pre>{}</pre>\n",
            escape(&content.evidence.join("\n"))
        )
        .expect("writing to a String never fails");
    }
    text
}

fn tables(content: &Content<'_>, series: &Series) -> String {
    let mut seconds: BTreeMap<&str, f64> = BTreeMap::new();
    for fault in &series.faults {
        *seconds.entry(fault.kind.as_str()).or_default() += fault.until - fault.from;
    }
    let kinds = content.counts.faults_by_kind.iter().map(|(kind, count)| {
        let seconds = seconds.get(kind.as_str()).copied().unwrap_or_default();
        vec![kind.clone(), count.to_string(), svg::short(seconds)]
    });
    let errors =
        content.counts.errors.iter().map(|(why, count)| vec![why.clone(), count.to_string()]);
    let listed = series.faults.iter().take(FAULTS_LISTED).map(|fault| {
        let [from, until] = [fault.from, fault.until].map(|at| format!("{at:.1}"));
        vec![fault.kind.clone(), from, until, fault.detail.clone()]
    });
    let notes: String =
        content.notes.iter().map(|note| format!("<li>{}</li>\n", escape(note))).collect();
    let mut text = format!(
        "<div class=\"tables\">\n{}{}</div>\n<details><summary>The first {} faults</summary>\n{}</details>\n",
        table("Faults by kind", &["kind", "times", "seconds"], kinds),
        table("Operations without an answer", &["why", "times"], errors),
        series.faults.len().min(FAULTS_LISTED),
        table("Faults", &["kind", "from, s", "until, s", "whom"], listed),
    );
    write!(text, "<h2>Again</h2>\n<pre>{}</pre>\n<ul>\n{notes}</ul>\n", escape(&content.command))
        .expect("writing to a String never fails");
    text
}

fn table(name: &str, head: &[&str], rows: impl Iterator<Item = Vec<String>>) -> String {
    let head: String = head.iter().map(|cell| format!("<th>{cell}</th>")).collect();
    let rows: String = rows
        .map(|row| {
            let cells: String =
                row.iter().map(|cell| format!("<td>{}</td>", escape(cell))).collect();
            format!("<tr>{cells}</tr>\n")
        })
        .collect();
    if rows.is_empty() {
        return String::new();
    }
    format!("<table><caption>{name}</caption><tr>{head}</tr>\n{rows}</table>\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        check::{progress, sample::History},
        nemesis::fault::{FaultKind, Target},
    };

    fn page(findings: Vec<[String; 3]>, evidence: &[String]) -> String {
        let mut history = History::started(0, 0, 0);
        history.fault(FaultKind::Kill(Target::Leader));
        history.fail(1, 1, crate::history::Call::Read);
        history.converge();
        let content = Content {
            verdict: if findings.is_empty() { "valid" } else { "invalid" }.to_owned(),
            title: "register under kill".to_owned(),
            command: "quorate-jepsen run".to_owned(),
            counts: &progress::count(&history.lines),
            findings,
            evidence,
            notes: &["a <note>".to_owned()],
        };
        render(&content, &series::read(&history.lines))
    }

    #[test]
    fn a_page_needs_nothing_else() {
        let page = page(Vec::new(), &[]);
        let outside = page.replace("http://www.w3.org/2000/svg", "");
        for link in ["http://", "https://", "src=", "href=", "url(", "@import", "<script"] {
            assert!(!outside.contains(link), "{link}");
        }
        assert_eq!(page.matches("<svg viewBox=\"0 0 1200").count(), 3);
        assert!(page.contains("kill:leader") && page.contains("a &lt;note&gt;"), "{page}");
        assert!(page.contains("<div class=\"valid\">"), "{page}");
    }

    #[test]
    fn findings_and_evidence_are_told() {
        let finding = ["invalid", "linearizability", "no <order>"].map(String::from);
        let page = page(vec![finding], &["read 5".to_owned()]);
        assert!(page.contains("no &lt;order&gt;") && page.contains("<pre>read 5</pre>"), "{page}");
        assert!(!page.contains("Everything that was checked held"), "{page}");
    }

    #[test]
    fn every_colour_of_a_drawing_is_in_the_style() {
        for class in crate::nemesis::fault::FaultClass::ALL {
            let colour = timeline::fault_class(class.name());
            assert!(STYLE.contains(&format!(".{colour} ")), "{colour}");
        }
        for (class, _) in RATES.iter().chain(&LATENCIES) {
            assert!(STYLE.contains(&format!(".{class} ")), "{class}");
        }
    }
}
