//! What was decided about a process and why, for programs and for people.

use std::fmt;

use quorate_core::Name;

/// How many instances of a process there should be. Its text is a line for a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScaleDecision {
    /// The process.
    pub process: Name,
    /// How many instances run now.
    pub parallelism: u32,
    /// How many there should be by the rule, within the bounds of the process. As many as run now, within
    /// the bounds, when nothing was observed.
    pub recommended: u32,
    /// How many there should be now.
    pub wanted: u32,
    /// What the rule found.
    pub finding: Finding,
    /// Why another rule than the policy's was used.
    pub fallback: Option<Fallback>,
    /// What changed the rule's answer, in the order in which it was changed.
    pub limits: Vec<Limit>,
}

/// What a rule found. Loads are in parts per million of capacity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finding {
    /// More instances are needed.
    AboveTarget {
        /// The mean load.
        load_ppm: u64,
        /// The target.
        target_ppm: u32,
    },
    /// Half as many are enough.
    BelowHalf {
        /// The mean load.
        load_ppm: u64,
        /// The target.
        target_ppm: u32,
    },
    /// Between half of the target and the target.
    OnTarget {
        /// The mean load.
        load_ppm: u64,
        /// The target.
        target_ppm: u32,
    },
    /// Beyond a bound by so little that nothing is changed.
    WithinTolerance {
        /// The mean load, or that at the rate offered.
        load_ppm: u64,
        /// The target.
        target_ppm: u32,
    },
    /// How many are needed follows from the rate that is offered and the rate of an instance.
    Rate {
        /// The load that the present instances would have if they could process what is offered.
        load_ppm: u64,
        /// The target.
        target_ppm: u32,
    },
    /// There is no observation of the present parallelism within the window.
    NoObservation,
}

/// Why a process was scaled by its load although the policy asks for true rates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fallback {
    /// It is on a cycle, and the policy says so.
    OnCycle,
    /// Its cycle sends itself as much as it processes, so what leaves it does not tell what enters.
    ClosedCycle,
    /// It is not known how fast `process` (itself, one before it or one on its cycle) is.
    RatesUnknown {
        /// The process.
        process: Name,
    },
}

/// What changed a rule's answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// The process has at least so many instances.
    Least {
        /// The bound.
        min: u32,
    },
    /// The process has at most so many instances.
    Most {
        /// The bound.
        max: u32,
    },
    /// As many were recommended not long ago.
    HeldByStabilisation {
        /// As many as this are kept.
        at: u32,
        /// Until then, in milliseconds of the caller's clock.
        until_ms: u64,
    },
    /// It may not grow faster.
    UpLimit {
        /// To this.
        to: u32,
    },
}

/// Parts per million as percent, without a digit that says nothing.
struct Percent(u64);

impl fmt::Display for Percent {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}", self.0 / 10_000)?;
        let (mut rest, mut digits) = (self.0 % 10_000, 4);
        while rest > 0 && rest % 10 == 0 {
            (rest, digits) = (rest / 10, digits - 1);
        }
        if rest > 0 { write!(out, ".{rest:0digits$}%") } else { out.write_str("%") }
    }
}

impl fmt::Display for ScaleDecision {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.wanted == self.parallelism {
            write!(out, "{} stays at {}: ", self.process, self.wanted)?;
        } else {
            write!(out, "{} {} -> {}: ", self.process, self.parallelism, self.wanted)?;
        }
        write!(out, "{}", self.finding)?;
        if let Some(fallback) = &self.fallback {
            write!(out, " (by load: {fallback})")?;
        }
        self.limits.iter().try_for_each(|limit| write!(out, "; {limit}"))
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (before, load_ppm, after, target_ppm) = match self {
            Self::AboveTarget { load_ppm, target_ppm } => {
                ("load", load_ppm, "is above the target", target_ppm)
            }
            Self::BelowHalf { load_ppm, target_ppm } => {
                ("load", load_ppm, "is below half of the target", target_ppm)
            }
            Self::OnTarget { load_ppm, target_ppm } => {
                ("load", load_ppm, "is between half of the target and the target", target_ppm)
            }
            Self::WithinTolerance { load_ppm, target_ppm } => {
                ("load", load_ppm, "is within tolerance of the target", target_ppm)
            }
            Self::Rate { load_ppm, target_ppm } => {
                ("all that is offered is a load of", load_ppm, "for the target", target_ppm)
            }
            Self::NoObservation => return out.write_str("nothing was observed"),
        };
        let (load, target) = (Percent(*load_ppm), Percent(u64::from(*target_ppm)));
        write!(out, "{before} {load} {after} {target}")
    }
}

impl fmt::Display for Fallback {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OnCycle => out.write_str("it is on a cycle"),
            Self::ClosedCycle => out.write_str("its cycle sends itself all that it processes"),
            Self::RatesUnknown { process } => write!(out, "the rates of {process} are not known"),
        }
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Least { min } => write!(out, "it has at least {min}"),
            Self::Most { max } => write!(out, "it has at most {max}"),
            Self::HeldByStabilisation { at, until_ms } => {
                write!(out, "held at {at} by what was recommended, until {until_ms} ms")
            }
            Self::UpLimit { to } => write!(out, "the up limit allows {to}"),
        }
    }
}
