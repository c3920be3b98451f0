//! All traces under all option sets.

use crate::{
    course::{self, Course, Failed},
    traces::{OptionSet, TRACES, Trace, option_sets},
};

/// One trace under one option set.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) trace: &'static Trace,
    pub(crate) set: OptionSet,
    pub(crate) course: Course,
}

impl Outcome {
    pub(crate) fn of(trace: &'static Trace, set: OptionSet) -> Result<Self, Failed> {
        Ok(Self { trace, course: course::run(trace, &set)?, set })
    }
}

/// By trace, in it by option set.
pub(crate) fn outcomes() -> Result<Vec<Outcome>, Failed> {
    let of_trace = |trace| option_sets().into_iter().map(move |set| Outcome::of(trace, set));
    TRACES.iter().flat_map(of_trace).collect()
}
