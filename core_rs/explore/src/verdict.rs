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
    /// What an exhausted budget says beyond what was seen, such as PCT's bound.
    pub says: Option<String>,
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
    /// Both together, one after the other.
    fn add(&mut self, other: &Self) {
        self.executions += other.executions;
        self.complete += other.complete;
        self.redundant += other.redundant;
        self.cut += other.cut;
        self.actions += other.actions;
        self.longest = self.longest.max(other.longest);
        self.elapsed += other.elapsed;
    }

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
    /// The first choices, if only a part of the executions was searched.
    pub within: Vec<usize>,
    /// The bounds.
    pub bounds: Bounds,
    /// The checkers that looked.
    pub checkers: Vec<Name>,
    /// The memory model: the only one there is.
    pub memory: &'static str,
}

impl Verdict {
    /// One verdict of those on all parts of a program's executions ([`subtrees`](crate::search::subtrees)), in
    /// their order. A finding that several parts have is kept from the first. `None` without any part.
    pub fn merge(parts: impl IntoIterator<Item = Self>) -> Option<Self> {
        let mut parts = parts.into_iter();
        let mut whole = parts.next()?;
        for part in parts {
            whole.add(part);
        }
        whole.scope.within.clear();
        whole.findings.sort_by_key(|finding| !finding.kind.is_harm());
        Some(whole)
    }

    fn add(&mut self, part: Self) {
        self.answer = match (self.answer.clone(), part.answer) {
            (Answer::Bug, _) | (_, Answer::Bug) => Answer::Bug,
            (Answer::Proved, other) | (other, _) => other,
        };
        for mut finding in part.findings {
            if let Some(known) = self.findings.iter_mut().find(|known| known.is_same(&finding)) {
                known.executions += finding.executions;
            } else {
                finding.first_execution += self.counts.executions;
                self.findings.push(finding);
            }
        }
        self.first_kinds.extend(part.first_kinds);
        self.first_kinds.sort_unstable();
        self.first_kinds.dedup();
        self.complete &= part.complete;
        self.counts.add(&part.counts);
        if self.scope.threads.len() < part.scope.threads.len() {
            self.scope.threads = part.scope.threads;
        }
    }

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
        if let Some(says) = &self.says {
            write!(f, "\n{says}")?;
        }
        write!(f, "\n{}", self.scope)
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let checkers: Vec<_> = self.checkers.iter().map(|name| name.as_str()).collect();
        write!(f, "{}; threads {}; search {}", self.program, self.threads.join(", "), self.search)?;
        if !self.within.is_empty() {
            write!(f, "; only executions that begin with threads {:?}", self.within)?;
        }
        write!(f, "; bounds: {}; checkers {}; {}", self.bounds, checkers.join(", "), self.memory)
    }
}
