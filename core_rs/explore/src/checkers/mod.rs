//! What is wrong in an execution: a small trait, a file for each family of findings.
//!
//! Guarantee: a checker's answer is a function of the executions it has seen; but for `lockdep`, which learns
//! the order of locks over all of them, of the one at hand. What a checker finds in one execution, it finds in
//! every equivalent one, but that two of several findings may come in another order.

mod deadlock;
mod lifecycle;
mod lockdep;
mod memory;
mod race;
mod stall;
mod tlb;

use std::fmt;

use runtime::scheduled::{Execution, Program, Violation};

use crate::finding::Sink;

pub use deadlock::Deadlock;
pub use lifecycle::Lifecycle;
pub use lockdep::Lockdep;
pub use memory::Memory;
pub use race::Race;
pub use stall::Stall;
pub use tlb::Tlb;

/// Looks at executions.
pub trait Checker {
    /// Tells what is wrong in an execution.
    fn check(&mut self, view: &View<'_>, found: &mut dyn Sink);
}

/// An execution as checkers see it.
pub struct View<'a> {
    /// Whose execution it is.
    pub program: &'a dyn Program,
    /// What happened.
    pub execution: &'a Execution,
    /// What the program says of its end, if it came to one.
    pub violations: &'a [Violation],
}

/// The checkers by name, and what they need to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checks {
    /// Those that look.
    pub checkers: Vec<Name>,
    /// The most table entries visited between two points where the scheduler may run.
    pub stall_bound: usize,
}

impl Default for Checks {
    /// All of them; a stall is more entries than one step of a walk visits in any small scenario.
    fn default() -> Self {
        Self { checkers: Name::ALL.into(), stall_bound: 128 }
    }
}

/// The checkers there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Name {
    /// [`Memory`].
    Memory,
    /// [`Race`].
    Race,
    /// [`Lockdep`].
    Lockdep,
    /// [`Deadlock`].
    Deadlock,
    /// [`Stall`].
    Stall,
    /// [`Tlb`].
    Tlb,
    /// [`Lifecycle`].
    Lifecycle,
}

impl Name {
    /// Every checker.
    pub const ALL: [Self; 7] =
        [Self::Memory, Self::Race, Self::Lockdep, Self::Deadlock, Self::Stall, Self::Tlb, Self::Lifecycle];

    /// As people write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Race => "race",
            Self::Lockdep => "lockdep",
            Self::Deadlock => "deadlock",
            Self::Stall => "stall",
            Self::Tlb => "tlb",
            Self::Lifecycle => "lifecycle",
        }
    }

    fn checker(self, checks: &Checks, program: &dyn Program) -> Box<dyn Checker> {
        match self {
            Self::Memory => Box::new(Memory::default()),
            Self::Race => Box::new(Race::default()),
            Self::Lockdep => Box::new(Lockdep::new(program.lock_order())),
            Self::Deadlock => Box::new(Deadlock),
            Self::Stall => Box::new(Stall::new(checks.stall_bound)),
            Self::Tlb => Box::new(Tlb::default()),
            Self::Lifecycle => Box::new(Lifecycle),
        }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Checks {
    pub(crate) fn make(&self, program: &dyn Program) -> Vec<Box<dyn Checker>> {
        self.checkers.iter().map(|name| name.checker(self, program)).collect()
    }
}
