//! How an error of the client library is told to a person: exit code, one line, hints.

use quorate_client::{Error, ErrorKind};
use quorate_proto::Reason;

use crate::failure::{Exit, Failure};

/// Explains an error.
pub(crate) fn explain(error: &Error, endpoints: &[String]) -> Failure {
    let exit = match error.kind() {
        ErrorKind::Rejected => Exit::Rejected,
        ErrorKind::NotFound => Exit::NotFound,
        ErrorKind::Unavailable => Exit::Unavailable,
        ErrorKind::OutcomeUnknown => Exit::Unknown,
    };
    let mut failure = Failure::new(exit, line(error));
    match error.kind() {
        ErrorKind::Unavailable => {
            failure = failure
                .hint(format!("tried {}", endpoints.join(", ")))
                .hint("`quorate status` shows who is there; nothing was applied");
        }
        ErrorKind::OutcomeUnknown => {
            failure = failure
                .hint(format!("tried {}", endpoints.join(", ")))
                .hint("the write may have been applied, or may yet be: read before writing again");
        }
        ErrorKind::Rejected | ErrorKind::NotFound => {}
    }
    match (error.reason(), error.oldest()) {
        (Some(Reason::Compacted), Some(oldest)) => failure.hint(format!(
            "the oldest revision that is kept is {oldest}: --from {oldest}, --snapshot or --resync"
        )),
        (Some(Reason::Overloaded), _) => failure.hint("too much at once: try again in a moment"),
        _ => failure,
    }
}

/// The message, and behind it what it does not say yet of reason, field and rule.
fn line(error: &Error) -> String {
    let text = error.to_string();
    let mut more = Vec::new();
    more.extend(error.reason().map(|reason| reason.as_str().to_owned()));
    for (name, value) in [("field", error.field()), ("rule", error.rule())] {
        if !value.is_empty() && !text.contains(value) {
            more.push(format!("{name} {value}"));
        }
    }
    if more.is_empty() { text } else { format!("{text} [{}]", more.join(", ")) }
}
