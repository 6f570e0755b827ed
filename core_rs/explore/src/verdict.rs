//! What an exploration says: a proof, a bug, or that the budget ended; never more than was seen.

use std::fmt;
use std::time::Duration;

use crate::bounds::Bounds;
use crate::checkers::Name;
use crate::finding::{Finding, Kind};

/// What an exploration says.
#[derive(Clone, Debug)]
pub struct Verdict {
    /// The answer.
    pub answer: Answer,
    /// What was found wrong, harm first; data races and broken rules decide nothing.
    pub findings: Vec<Finding>,
    /// The kinds of harm that can come first in an execution. Complete when the answer is a proof, or a bug of a
    /// search that came to its end.
    pub first_kinds: Vec<Kind>,
    /// Whether the search came to its end, and so saw every execution up to equivalence.
    pub complete: bool,
    /// How much was seen.
    pub counts: Counts,
    /// What all this holds for.
    pub scope: Scope,
}

/// The answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// No execution within the scope does harm.
    Proved,
    /// Some execution does harm: the first finding of the verdict.
    Bug,
    /// No harm was seen, and not everything was seen.
    Exhausted(Exhausted),
}

/// What ended an exploration that is no proof.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Exhausted {
    /// The bound on executions.
    Executions,
    /// The bound on time.
    Time,
    /// Somebody asked to stop.
    Stopped,
    /// Executions were cut at the bound on actions.
    Actions {
        /// How many.
        executions: u64,
    },
    /// The bound on preemptions cut what sleep sets may hide.
    Preemptions,
}

/// How much was seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Executions that were begun.
    pub executions: u64,
    /// Those that came to an end. A search with reduction sees one of each equivalence class: this is their number.
    pub complete: u64,
    /// Those that were given up because they are equivalent to others.
    pub redundant: u64,
    /// Those that were cut at a bound.
    pub cut: u64,
    /// Actions of all of them.
    pub actions: u64,
    /// The most actions of one.
    pub longest: usize,
    /// The time it took. Not part of the answer.
    pub elapsed: Duration,
}

impl Counts {
    /// Executions a second.
    pub fn rate(&self) -> f64 {
        self.executions as f64 / self.elapsed.as_secs_f64().max(1e-9)
    }
}

/// What a verdict holds for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scope {
    /// The program, with all that distinguishes it.
    pub program: String,
    /// The threads.
    pub threads: Vec<String>,
    /// The search.
    pub search: &'static str,
    /// The bounds.
    pub bounds: Bounds,
    /// The checkers that looked.
    pub checkers: Vec<Name>,
    /// The memory model: the only one there is.
    pub memory: &'static str,
}

impl Verdict {
    /// The finding that decides, if one does.
    pub fn bug(&self) -> Option<&Finding> {
        self.findings.first().filter(|finding| finding.kind.is_harm())
    }

    /// `Proved`, `Bug` or `Exhausted`.
    pub fn name(&self) -> &'static str {
        match self.answer {
            Answer::Proved => "Proved",
            Answer::Bug => "Bug",
            Answer::Exhausted(_) => "Exhausted",
        }
    }
}

impl fmt::Display for Exhausted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Executions => f.write_str("the bound on executions"),
            Self::Time => f.write_str("the bound on time"),
            Self::Stopped => f.write_str("stopped"),
            Self::Actions { executions } => write!(f, "{executions} executions cut at the bound on actions"),
            Self::Preemptions => f.write_str("the bound on preemptions"),
        }
    }
}

/// The verdict in a few lines.
impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Counts { executions, complete, redundant, actions, .. } = self.counts;
        match (&self.answer, self.bug()) {
            (Answer::Exhausted(why), _) => write!(f, "Exhausted ({why})")?,
            (Answer::Bug, Some(bug)) => write!(f, "Bug: {}: {}", bug.kind, bug.what)?,
            _ => f.write_str(self.name())?,
        }
        write!(
            f,
            "\n{executions} executions ({complete} complete, {redundant} redundant), {actions} actions"
        )?;
        write!(f, "\n{}", self.scope)
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let checkers: Vec<_> = self.checkers.iter().map(|name| name.as_str()).collect();
        write!(f, "{}; threads {}; search {}", self.program, self.threads.join(", "), self.search)?;
        write!(f, "; bounds: {}; checkers {}; {}", self.bounds, checkers.join(", "), self.memory)
    }
}
