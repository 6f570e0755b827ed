//! Which execution comes next: a small trait, a file for each way.
//!
//! Guarantee: a search is a function of its parameters, its seed and the program. One that says of itself
//! that it [proves](Search::proves) and comes to its end has seen an execution of every equivalence class.

mod dfs;
mod dpor;
mod pct;
mod random;
mod replay;
mod subtrees;
mod surw;

use runtime::scheduled::{Action, Execution};

use crate::causality::Causality;

pub use dfs::{Dfs, Limit};
pub use dpor::Dpor;
pub use pct::Pct;
pub use random::Random;
pub use replay::Follow;
pub use subtrees::subtrees;
pub use surw::Surw;

/// A way through the executions of a program.
pub trait Search {
    /// Its name, as people ask for it.
    fn name(&self) -> &'static str;

    /// Begins another execution; answers how many actions it has in common with the one before, or nothing when
    /// there is no other.
    fn begin(&mut self) -> Option<usize>;

    /// Picks one of `enabled`, by index, as a [`Policy`](runtime::scheduled::Policy) does; nothing abandons the
    /// execution, because it is equivalent to others, or beyond a bound.
    fn choose(&mut self, enabled: &[Action], taken: &[Action]) -> Option<usize>;

    /// Learns from an execution. `causality` has ordered its actions, if this search [needs](Search::ordered) that.
    fn end(&mut self, execution: &Execution, causality: &mut Causality);

    /// Whether to order actions by [`Causality`].
    fn ordered(&self) -> bool {
        false
    }

    /// Whether coming to the end is a proof.
    fn proves(&self) -> bool {
        false
    }

    /// What so many executions without harm say, beyond themselves; nothing for most searches.
    fn says(&self, _executions: u64) -> Option<String> {
        None
    }

    /// The action, and its thread, at which an order that was asked for could not be followed.
    fn misfit(&self) -> Option<(usize, usize)> {
        None
    }

    /// How many choices are still open.
    fn frontier(&self) -> usize {
        0
    }
}

/// What decides how an execution goes on from some state, as far as a bit mask can tell it.
pub(crate) fn mask(actions: &[Action]) -> u64 {
    actions.iter().fold(0, |mask, action| mask | bit(action.thread))
}

/// The bit of a thread in a mask.
pub(crate) fn bit(thread: usize) -> u64 {
    1 << thread
}

/// The index of the action of a thread.
pub(crate) fn index_of(actions: &[Action], thread: usize) -> Option<usize> {
    actions.iter().position(|action| action.thread == thread)
}

/// Goes on with the thread that went last where that is possible: executions that people read have few
/// switches.
pub(crate) fn prefer_last(allowed: u64, taken: &[Action]) -> Option<usize> {
    let last = taken.last().map(|action| action.thread).filter(|last| allowed & bit(*last) != 0);
    last.or_else(|| (allowed != 0).then(|| allowed.trailing_zeros() as usize))
}
