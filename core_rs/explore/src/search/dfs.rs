//! Depth-first through every interleaving, without reduction: what the others are compared with.
//!
//! Guarantee: within its limit, every sequence of choices is seen, once. A limit makes the claim smaller, and
//! not wrong: coming to the end is a proof for what is within it.

use runtime::scheduled::{Action, Execution};

use super::{Search, bit, index_of, mask, prefer_last};
use crate::causality::Causality;

/// What a depth-first search leaves out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// Nothing.
    None,
    /// More than so many preemptions: switches away from a thread that could go on
    /// (M. Musuvathi, S. Qadeer: *Iterative context bounding*, PLDI 2007).
    Preemptions(usize),
    /// More than so many switches of any kind.
    Switches(usize),
}

/// Depth-first without reduction.
#[derive(Debug)]
pub struct Dfs {
    path: Vec<Node>,
    begun: bool,
    limit: Limit,
}

#[derive(Clone, Copy, Debug)]
struct Node {
    /// Still to be tried.
    open: u64,
    chosen: usize,
    /// What the limit counts, up to here.
    cost: usize,
    enabled: u64,
}

impl Dfs {
    /// A search within a limit.
    pub fn new(limit: Limit) -> Self {
        Self { path: Vec::new(), begun: false, limit }
    }

    /// What it costs to let `thread` go on after `before`.
    fn cost(&self, enabled: u64, before: Option<usize>, thread: usize) -> usize {
        usize::from(before.is_some_and(|before| {
            before != thread
                && match self.limit {
                    Limit::None => false,
                    Limit::Preemptions(_) => enabled & bit(before) != 0,
                    Limit::Switches(_) => true,
                }
        }))
    }
}

impl Search for Dfs {
    fn name(&self) -> &'static str {
        "dfs"
    }

    fn begin(&mut self) -> Option<usize> {
        if !self.begun {
            self.begun = true;
            return Some(0);
        }
        while let Some(node) = self.path.last_mut() {
            if node.open != 0 {
                node.chosen = node.open.trailing_zeros() as usize;
                node.open &= !bit(node.chosen);
                return Some(self.path.len() - 1);
            }
            self.path.pop();
        }
        None
    }

    fn choose(&mut self, enabled: &[Action], taken: &[Action]) -> Option<usize> {
        if let Some(node) = self.path.get(taken.len()) {
            return index_of(enabled, node.chosen);
        }
        let before = taken.last().map(|last| last.thread);
        let cost = self.path.last().map_or(0, |node| {
            let earlier = taken.len().checked_sub(2).map(|at| taken[at].thread);
            node.cost + self.cost(node.enabled, earlier, node.chosen)
        });
        let enabled_mask = mask(enabled);
        let left = match self.limit {
            Limit::None => usize::MAX,
            Limit::Preemptions(limit) | Limit::Switches(limit) => limit.checked_sub(cost)?,
        };
        let allowed = enabled
            .iter()
            .filter(|action| self.cost(enabled_mask, before, action.thread) <= left)
            .fold(0, |allowed, action| allowed | bit(action.thread));
        let chosen = prefer_last(allowed, taken)?;
        self.path.push(Node { open: allowed & !bit(chosen), chosen, cost, enabled: enabled_mask });
        index_of(enabled, chosen)
    }

    fn end(&mut self, _execution: &Execution, _causality: &mut Causality) {}

    fn proves(&self) -> bool {
        true
    }

    fn frontier(&self) -> usize {
        self.path.iter().map(|node| node.open.count_ones() as usize).sum()
    }
}
