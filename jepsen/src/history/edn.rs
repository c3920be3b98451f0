//! Writes a history as Jepsen's EDN, for outside checkers (Knossos, Elle, Porcupine's reader).
//!
//! Owns the mapping: registers become `[key value]` tuples as `jepsen.independent` has them, a
//! compare-and-swap's value is `[expected new]`, one that did not swap is a `:fail`. Faults are
//! lines of the process `:nemesis`. Must not know where the text goes.

use std::fmt::Write as _;

use super::{Answer, Call, KeyId, Line, OpEvent, Seen, Step, What};

/// The whole history, one operation a line.
pub(crate) fn render(lines: &[Line]) -> String {
    let mut text = String::new();
    let mut index = 0_u64;
    for line in lines {
        let time = line.time.0;
        let body = match &line.what {
            What::Op(event) => operation(event),
            What::Fault(event) => format!(
                ":process :nemesis, :type :info, :f :start, :value {:?}",
                format!("{} {}", event.fault, event.detail)
            ),
            What::Heal | What::Healed => {
                ":process :nemesis, :type :info, :f :stop, :value nil".to_owned()
            }
            _ => continue,
        };
        writeln!(text, "{{:index {index}, :time {time}, {body}}}")
            .expect("writing to a String never fails");
        index += 1;
    }
    text
}

fn operation(event: &OpEvent) -> String {
    let (kind, value) = match (&event.step, &event.call) {
        (Step::Ok { answer: Answer::Read { seen }, .. }, _) => ("ok", number(seen_value(*seen))),
        (Step::Ok { answer: Answer::Mismatch { .. }, .. }, call) => ("fail", argument(call)),
        (Step::Ok { .. }, call) => ("ok", argument(call)),
        (Step::Invoke, call) => ("invoke", argument(call)),
        (Step::Fail { .. }, call) => ("fail", argument(call)),
        (Step::Info { .. }, call) => ("info", argument(call)),
    };
    let f = match event.call {
        Call::Read => "read",
        Call::Write { .. } => "write",
        Call::Cas { .. } => "cas",
    };
    let (KeyId(key), process) = (event.key, event.process.0);
    format!(":process {process}, :type :{kind}, :f :{f}, :value [{key} {value}]")
}

fn argument(call: &Call) -> String {
    match call {
        Call::Read => "nil".to_owned(),
        Call::Write { value } => value.to_string(),
        Call::Cas { expected, value } => {
            format!("[{} {value}]", number(expected.map(|expected| expected.0)))
        }
    }
}

fn seen_value(seen: Option<Seen>) -> Option<u64> {
    seen.map(|seen| seen.value.0)
}

fn number(value: Option<u64>) -> String {
    value.map_or_else(|| "nil".to_owned(), |value| value.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        check::sample::{History, absent, mismatch, ok_read, seen, written},
        history::Value,
    };

    #[test]
    fn every_kind_of_operation_has_its_form() {
        let mut history = History::new();
        history.run(1, 7, Call::Read, ok_read(absent()), 0);
        history.run(1, 7, Call::Write { value: Value(5) }, written(), 1);
        let cas = Call::Cas { expected: None, value: Value(6) };
        history.run(1, 7, cas, mismatch(seen(5, 1, 1)), 1);
        let text = render(&history.lines);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(
            lines,
            [
                "{:index 0, :time 0, :process 1, :type :invoke, :f :read, :value [7 nil]}",
                "{:index 1, :time 1000, :process 1, :type :ok, :f :read, :value [7 nil]}",
                "{:index 2, :time 2000, :process 1, :type :invoke, :f :write, :value [7 5]}",
                "{:index 3, :time 3000, :process 1, :type :ok, :f :write, :value [7 5]}",
                "{:index 4, :time 4000, :process 1, :type :invoke, :f :cas, :value [7 [nil 6]]}",
                "{:index 5, :time 5000, :process 1, :type :fail, :f :cas, :value [7 [nil 6]]}",
            ]
        );
    }
}
