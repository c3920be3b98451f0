//! The conversions: what was encoded decodes to the same value, what is wrong is named, and
//! nothing panics.

mod arbitrary;
mod encoded;
mod errors;
mod fuzz;
mod hostile;
mod plans;
mod rejected;
mod round_trip;
