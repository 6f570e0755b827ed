//! Selectively uniform random walk.
//!
//! H. Zhao, D. Wolff, U. Mathur, A. Roychoudhury: *Selectively Uniform Concurrency Testing* (ASPLOS 2025).
//! Interesting events, here all actions on one object that more than one thread uses, chosen anew for each
//! execution, are interleaved uniformly: the thread whose interesting event comes next is drawn with a
//! probability proportional to how many of them it has left, and others wait before theirs. All other actions
//! go at random. Guarantee, as the paper's: uniform over the orders of interesting events, where each thread
//! has as many of them in every execution and none of them waits.
//! Deviations: the numbers come from the executions so far (the most of each thread on each object), not from
//! one profiling run; where the drawn thread cannot go on and all others wait before interesting events, another
//! is drawn among those that can.

use runtime::scheduled::{Action, Execution};

use super::{Search, index_of};
use crate::causality::Causality;

/// Random, and uniform over the orders of the actions on one object.
#[derive(Debug)]
pub struct Surw {
    random: fastrand::Rng,
    /// By object and thread: the most actions seen.
    counts: Vec<Vec<usize>>,
    /// The object whose actions are interesting now.
    object: Option<usize>,
    /// How many interesting actions each thread has left.
    left: Vec<usize>,
    /// Whose interesting action is the next.
    intended: Option<usize>,
    seen: usize,
}

impl Surw {
    /// A search that is a function of its seed.
    pub fn new(seed: u64) -> Self {
        Self {
            random: fastrand::Rng::with_seed(seed),
            counts: Vec::new(),
            object: None,
            left: Vec::new(),
            intended: None,
            seen: 0,
        }
    }

    fn interesting(&self, action: &Action) -> bool {
        self.object.is_some() && action.target.map(|target| target.object) == self.object
    }

    /// Draws a thread by the weights; any of those that have some weight.
    fn draw(&mut self, weight: impl Fn(usize) -> usize) -> Option<usize> {
        let total: usize = (0..self.left.len()).map(&weight).sum();
        let mut at = (total > 0).then(|| self.random.usize(..total))?;
        (0..self.left.len()).find(|thread| {
            let here = weight(*thread);
            let found = at < here;
            at = at.wrapping_sub(here);
            found
        })
    }

    fn draw_intended(&mut self) {
        let left = self.left.clone();
        self.intended = self.draw(|thread| left[thread]);
    }
}

impl Search for Surw {
    fn name(&self) -> &'static str {
        "surw"
    }

    fn begin(&mut self) -> Option<usize> {
        let shared: Vec<_> = (0..self.counts.len())
            .filter(|object| self.counts[*object].iter().filter(|count| **count > 0).count() > 1)
            .collect();
        self.object = self.random.choice(shared);
        self.left = self.object.map_or_else(Vec::new, |object| self.counts[object].clone());
        self.seen = 0;
        self.draw_intended();
        Some(0)
    }

    fn choose(&mut self, enabled: &[Action], taken: &[Action]) -> Option<usize> {
        if let Some(most) = enabled.last().map(|action| action.thread + 1) {
            self.left.resize(most.max(self.left.len()), 0);
        }
        for action in &taken[self.seen..] {
            if self.interesting(action) {
                if action.thread < self.left.len() {
                    self.left[action.thread] = self.left[action.thread].saturating_sub(1);
                }
                self.draw_intended();
            }
        }
        self.seen = taken.len();
        let waits = |search: &Self, action: &Action| {
            search.interesting(action) && search.intended.is_some_and(|intended| intended != action.thread)
        };
        let free: Vec<_> =
            enabled.iter().filter(|action| !waits(self, action)).map(|action| action.thread).collect();
        let thread = self.random.choice(free).unwrap_or_else(|| {
            let left = self.left.clone();
            let able = |thread: usize| enabled.iter().any(|action| action.thread == thread);
            let weight = |thread: usize| if able(thread) { left[thread].max(1) } else { 0 };
            self.draw(weight).unwrap_or(enabled[0].thread)
        });
        index_of(enabled, thread)
    }

    fn end(&mut self, execution: &Execution, _causality: &mut Causality) {
        let threads = execution.threads.len();
        let mut counts = vec![vec![0; threads]; execution.objects.len()];
        for action in &execution.actions {
            if let Some(target) = action.target {
                counts[target.object][action.thread] += 1;
            }
        }
        self.counts.resize(self.counts.len().max(counts.len()), Vec::new());
        for (known, new) in self.counts.iter_mut().zip(counts) {
            known.resize(known.len().max(new.len()), 0);
            known.iter_mut().zip(new).for_each(|(known, new)| *known = (*known).max(new));
        }
    }
}
