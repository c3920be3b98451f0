//! Writes a history as Jepsen's EDN, for outside checkers (Knossos, Elle, Porcupine's reader).
//!
//! Owns the mapping: registers become `[key value]` tuples as `jepsen.independent` has them, a
//! compare-and-swap's value is `[expected new]`, one that did not swap is a `:fail`. Transactions
//! over lists become Elle's list-append transactions: `:f :txn` with `[:append key value]` and
//! `[:r key values]`; with them nothing else is written but faults, because Elle takes no other
//! operations. Faults are lines of the process `:nemesis`. Must not know where the text goes.

use std::fmt::Write as _;

use super::{
    Answer, Call, KeyId, Line, OpEvent, Seen, Step, Value, What,
    append::{AppendEvent, AppendStep},
};

/// The whole history, one operation a line.
pub(crate) fn render(lines: &[Line]) -> String {
    let lists = lines.iter().any(|line| matches!(line.what, What::Append(_)));
    let mut text = String::new();
    let mut index = 0_u64;
    for line in lines {
        let time = line.time.0;
        let body = match &line.what {
            What::Op(event) if !lists => operation(event),
            What::Append(event) => transaction(event),
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

fn transaction(event: &AppendEvent) -> String {
    let (kind, mut reads) = match &event.step {
        Step::Invoke => ("invoke", [].iter()),
        Step::Ok { answer, .. } => ("ok", answer.reads().iter()),
        Step::Fail { .. } => ("fail", [].iter()),
        Step::Info { .. } => ("info", [].iter()),
    };
    let steps = event.call.steps().iter().map(|step| match step {
        AppendStep::Append { key, value } => format!("[:append {} {value}]", key.0),
        AppendStep::Read { key } => {
            let list = reads.next().map(|list| values(&list.values));
            format!("[:r {} {}]", key.0, list.unwrap_or_else(|| "nil".to_owned()))
        }
    });
    let steps: Vec<String> = steps.collect();
    let process = event.process.0;
    format!(":process {process}, :type :{kind}, :f :txn, :value [{}]", steps.join(" "))
}

fn values(values: &[Value]) -> String {
    let values: Vec<String> = values.iter().map(ToString::to_string).collect();
    format!("[{}]", values.join(" "))
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
        check::sample::{History, absent, mismatch, ok, ok_read, seen, unknown, written},
        history::append::{AppendAnswer, AppendCall, List},
    };

    #[test]
    fn transactions_over_lists_have_the_form_that_elle_reads() {
        let key = KeyId(7);
        let steps = vec![AppendStep::Append { key, value: Value(5) }, AppendStep::Read { key }];
        let call = AppendCall::Txn { steps };
        let list = List { values: vec![Value(4), Value(5)], modified: quorate_core::Revision(2) };
        let mut history = History::new();
        let committed = ok(AppendAnswer::Committed { reads: vec![list] }, 2);
        history.operate(1, What::Append, call.clone(), committed);
        history.operate(2, What::Append, call, unknown());
        history.run(3, 7, Call::Read, ok_read(absent()), 0);
        let (text, process) = (render(&history.lines), ":process");
        let lines: Vec<&str> = text.lines().collect();
        let asked = ":f :txn, :value [[:append 7 5] [:r 7 nil]]}";
        assert_eq!(
            lines,
            [
                format!("{{:index 0, :time 0, {process} 1, :type :invoke, {asked}"),
                format!(
                    "{{:index 1, :time 1000, {process} 1, :type :ok, \
                     :f :txn, :value [[:append 7 5] [:r 7 [4 5]]]}}"
                ),
                format!("{{:index 2, :time 2000, {process} 2, :type :invoke, {asked}"),
                format!("{{:index 3, :time 3000, {process} 2, :type :info, {asked}"),
            ]
        );
    }

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
