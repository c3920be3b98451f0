//! Examples of `status`.

pub(super) const STATUS_EXAMPLES: &str = "\
Asks every endpoint by itself; one that does not answer is shown as such. Needs no quorum.
Exit code 4 when none answers.

Examples:
  quorate status
  quorate status --endpoints 10.0.0.1:7101 --output json";
