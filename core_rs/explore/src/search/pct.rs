//! Probabilistic concurrency testing.
//!
//! S. Burckhardt, P. Kothari, M. Musuvathi, S. Nagarakatte: *A Randomized Scheduler with Probabilistic
//! Guarantees of Finding Bugs* (ASPLOS 2010). Guarantee: a bug of depth `d` in a program of `n` threads and at
//! most `k` actions is found by one execution with a probability of at least `1 / (n * k^(d - 1))`.
//! Deviation: `k` is the longest execution so far, so the first one, of which nothing is known, has no change
//! points. A thread's priority is drawn when it can first go on.

use runtime::scheduled::{Action, Execution};

use super::Search;
use crate::causality::Causality;

/// Threads run by random priorities, which change at a few random actions.
#[derive(Debug)]
pub struct Pct {
    random: fastrand::Rng,
    depth: usize,
    /// The most actions and threads that an execution had.
    longest: usize,
    threads: usize,
    /// By thread; the highest goes first.
    priorities: Vec<u64>,
    /// Actions after which the thread that took them falls behind all others.
    changes: Vec<usize>,
}

impl Pct {
    /// A search for bugs of this depth: with so many actions in the right order, the bug shows.
    pub fn new(seed: u64, depth: usize) -> Self {
        Self {
            random: fastrand::Rng::with_seed(seed),
            depth: depth.max(1),
            longest: 0,
            threads: 0,
            priorities: Vec::new(),
            changes: Vec::new(),
        }
    }

    fn high(&mut self) -> u64 {
        // Below are the priorities of those that fell behind.
        self.random.u64(self.depth as u64 + 1..)
    }
}

impl Search for Pct {
    fn name(&self) -> &'static str {
        "pct"
    }

    fn begin(&mut self) -> Option<usize> {
        self.priorities.clear();
        self.changes.clear();
        if self.longest > 0 {
            for _ in 1..self.depth {
                self.changes.push(self.random.usize(1..=self.longest));
            }
        }
        Some(0)
    }

    fn choose(&mut self, enabled: &[Action], taken: &[Action]) -> Option<usize> {
        if let Some(last) = taken.last() {
            for (change, at) in self.changes.iter().enumerate() {
                if *at == taken.len() {
                    self.priorities[last.thread] = (self.depth - 1 - change) as u64;
                }
            }
        }
        while enabled.iter().any(|action| action.thread >= self.priorities.len()) {
            let priority = self.high();
            self.priorities.push(priority);
        }
        (0..enabled.len()).max_by_key(|at| self.priorities[enabled[*at].thread])
    }

    fn says(&self, executions: u64) -> Option<String> {
        // 1 / (n * k^(d - 1)) each, independently.
        let (threads, depth) = (self.threads.max(1), self.depth);
        let (n, k) = (threads as f64, self.longest.max(1) as f64);
        let one = 1.0 / (n * k.powi(depth as i32 - 1));
        let missed = (executions as f64 * (-one).ln_1p()).exp();
        Some(format!(
            "a bug of depth {depth} among {threads} threads and {} actions would have been missed with a probability \
             of at most {missed:.3}",
            self.longest
        ))
    }

    fn end(&mut self, execution: &Execution, _causality: &mut Causality) {
        self.longest = self.longest.max(execution.actions.len());
        self.threads = self.threads.max(execution.threads.len());
    }
}
