//! What an exploration is asked to do.

use std::str::FromStr;

use crate::bounds::Bounds;
use crate::checkers::{Checks, Name};
use crate::error::Error;
use crate::search::{Dfs, Dpor, Limit, Pct, Random, Search, Surw};

/// What an exploration is asked to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The way through the executions.
    pub how: How,
    /// The part of the executions to be seen, as [`subtrees`](crate::search::subtrees) gives it; all of them when it
    /// is empty. For DPOR only.
    pub within: Vec<usize>,
    /// How far.
    pub bounds: Bounds,
    /// What looks at them.
    pub checks: Checks,
    /// Whether to end at the first harm; else all executions are seen, and with them all kinds of harm that can
    /// come first.
    pub stop_at_first: bool,
    /// Executions that may be spent on a shorter schedule for the bug; 0 leaves it as it was found.
    pub minimise: u64,
}

impl Default for Settings {
    /// A proof by DPOR, or the first bug, minimised.
    fn default() -> Self {
        Self {
            how: How::Dpor,
            within: Vec::new(),
            bounds: Bounds::default(),
            checks: Checks::default(),
            stop_at_first: true,
            minimise: 20_000,
        }
    }
}

/// The searches by name, with what they need.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum How {
    /// [`Dpor`].
    Dpor,
    /// [`Dfs`].
    Dfs,
    /// [`Random`].
    Random {
        /// What it is a function of.
        seed: u64,
    },
    /// [`Pct`].
    Pct {
        /// What it is a function of.
        seed: u64,
        /// The depth of the bugs it looks for.
        depth: usize,
    },
    /// [`Surw`].
    Surw {
        /// What it is a function of.
        seed: u64,
    },
}

impl Settings {
    /// The search that is asked for.
    pub fn search(&self) -> Box<dyn Search> {
        match self.how {
            How::Dpor => Box::new(Dpor::within(self.within.clone(), self.bounds.preemptions)),
            how => how.search(&self.bounds),
        }
    }
}

impl How {
    /// By name, with a seed for those that have one; PCT looks for bugs of depth 3 unless its depth is set.
    pub fn named(name: &str, seed: u64) -> Result<Self, Error> {
        Ok(match name {
            "dpor" => Self::Dpor,
            "dfs" => Self::Dfs,
            "random" => Self::Random { seed },
            "pct" => Self::Pct { seed, depth: 3 },
            "surw" => Self::Surw { seed },
            _ => return Err(Error::NoSearch { name: name.to_owned() }),
        })
    }

    /// The search itself.
    pub fn search(self, bounds: &Bounds) -> Box<dyn Search> {
        match self {
            Self::Dpor => Box::new(Dpor::bounded(bounds.preemptions)),
            Self::Dfs => Box::new(Dfs::new(bounds.preemptions.map_or(Limit::None, Limit::Preemptions))),
            Self::Random { seed } => Box::new(Random::new(seed)),
            Self::Pct { seed, depth } => Box::new(Pct::new(seed, depth)),
            Self::Surw { seed } => Box::new(Surw::new(seed)),
        }
    }
}

impl FromStr for Name {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        let known = Self::ALL.into_iter().find(|known| known.as_str() == name);
        known.ok_or_else(|| Error::NoChecker { name: name.to_owned() })
    }
}
