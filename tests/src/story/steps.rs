//! A story as it stands in a document: blocks of what is typed and what is shown.
//!
//! It is one section, from its heading to the next one of the same kind. A block is fenced with ```` ```console TERMINAL ````. A line that begins with `$ ` is typed, `^C` is
//! Ctrl-C, and everything else is shown. Pure.

/// How a heading begins.
const HEADING: &str = "## ";
/// What opens a block, before the name of its terminal.
const FENCE: &str = "```console ";

/// What happens at one terminal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Step {
    /// Where it stands in the document, from 1.
    pub(crate) line: usize,
    pub(crate) terminal: String,
    /// None: what is shown comes of a command that was typed before.
    pub(crate) typed: Option<Typed>,
    pub(crate) shown: Vec<String>,
    /// Whether the command ends by itself, and this is all that it shows.
    pub(crate) last: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Typed {
    Command(String),
    /// Ctrl-C.
    Interrupt,
}

/// The headings of the sections that tell a story.
pub(crate) fn headings(document: &str) -> Vec<&str> {
    let mut headings = Vec::new();
    let mut heading = None;
    for line in document.lines() {
        heading = line.strip_prefix(HEADING).or(heading);
        if line.starts_with(FENCE) {
            headings.extend(heading.take());
        }
    }
    headings
}

/// The steps of a section in order. A block of another kind would be one that nobody tries: it panics.
pub(crate) fn steps(document: &str, heading: &str) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut terminal = None;
    let lines = document.lines().enumerate();
    let lines = lines.skip_while(|(_, line)| line.strip_prefix(HEADING) != Some(heading));
    for (index, line) in lines.skip(1).take_while(|(_, line)| !line.starts_with(HEADING)) {
        terminal = match terminal.take() {
            None if line.starts_with("```") => {
                let name = line.strip_prefix(FENCE);
                let name = name.unwrap_or_else(|| panic!("line {}: no terminal", index + 1));
                steps.push(Step::new(index + 1, name, None));
                Some(name)
            }
            Some(_) if line == "```" => None,
            Some(name) => {
                read(&mut steps, index + 1, name, line);
                Some(name)
            }
            None => None,
        };
    }
    steps.retain(|step| step.typed.is_some() || !step.shown.is_empty());
    for index in 0..steps.len() {
        let next = steps[index + 1..].iter().find(|next| next.terminal == steps[index].terminal);
        let ends = next.is_some_and(|next| matches!(next.typed, Some(Typed::Command(_))));
        steps[index].last = ends && steps[index].typed.is_some();
    }
    steps
}

fn read(steps: &mut Vec<Step>, number: usize, terminal: &str, line: &str) {
    let typed = match line.strip_prefix("$ ") {
        Some(command) => Some(Typed::Command(command.to_owned())),
        None if line == "^C" => Some(Typed::Interrupt),
        None => None,
    };
    match (typed, steps.last_mut()) {
        (None, Some(step)) => step.shown.push(line.to_owned()),
        (typed, _) => steps.push(Step::new(number, terminal, typed)),
    }
}

impl Step {
    fn new(line: usize, terminal: &str, typed: Option<Typed>) -> Self {
        Self { line, terminal: terminal.to_owned(), typed, shown: Vec::new(), last: false }
    }
}

#[test]
fn blocks_are_read_in_order() {
    let readme = "\
before
```
$ not this
```
## A tour
text
```console one
$ a 'b c'
first
second
```
```console two
$ d
```
```console one
third
^C
$ e
```
## After
```
$ not this
```
";
    assert_eq!(headings(readme), ["A tour"]);
    let read: Vec<_> = steps(readme, "A tour")
        .into_iter()
        .map(|step| (step.line, step.terminal, step.typed, step.shown.join(","), step.last))
        .collect();
    let typed = |text: &str| Some(Typed::Command(text.to_owned()));
    let step = |line, terminal: &str, typed, shown: &str, last| {
        (line, terminal.to_owned(), typed, shown.to_owned(), last)
    };
    assert_eq!(
        read,
        [
            step(8, "one", typed("a 'b c'"), "first,second", false),
            step(13, "two", typed("d"), "", false),
            step(15, "one", None, "third", false),
            step(17, "one", Some(Typed::Interrupt), "", true),
            step(18, "one", typed("e"), "", false),
        ]
    );
}
