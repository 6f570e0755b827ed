//! Naive random: at each action, any enabled thread with the same probability. The baseline.

use runtime::scheduled::{Action, Execution};

use super::Search;
use crate::causality::Causality;

/// Picks each enabled thread with the same probability, for ever.
#[derive(Debug)]
pub struct Random {
    random: fastrand::Rng,
}

impl Random {
    /// A search that is a function of its seed.
    pub fn new(seed: u64) -> Self {
        Self { random: fastrand::Rng::with_seed(seed) }
    }
}

impl Search for Random {
    fn name(&self) -> &'static str {
        "random"
    }

    fn begin(&mut self) -> Option<usize> {
        Some(0)
    }

    fn choose(&mut self, enabled: &[Action], _taken: &[Action]) -> Option<usize> {
        Some(self.random.usize(..enabled.len()))
    }

    fn end(&mut self, _execution: &Execution, _causality: &mut Causality) {}
}
