//! Cuts the executions of a program into parts that can be searched apart, and at the same time.
//!
//! Guarantee: each part is a sequence of first choices; [`Dpor::within`](super::Dpor::within) all of them, every
//! equivalence class is seen. At the first choices there is no reduction but by sleep sets, so the parts together
//! may be more work than the whole, and a class may be seen by more than one part where what an action will do
//! is not known before.

use runtime::scheduled::{Action, Execution, Policy, Program, dependent, run_into};

use super::{bit, index_of, mask};

/// The first `depth` choices of every part; fewer where an execution is shorter.
pub fn subtrees(program: &dyn Program, depth: usize) -> Vec<Vec<usize>> {
    let mut cut = Cut { path: Vec::new(), depth };
    let mut execution = Execution::default();
    let mut parts = Vec::new();
    loop {
        run_into(program.start().threads, &mut cut, &mut execution);
        let prefix: Vec<_> = execution.actions.iter().map(|action| action.thread).collect();
        if cut.path.iter().all(|node| node.open & bit(node.chosen) != 0) {
            parts.push(prefix);
        }
        if !cut.next() {
            return parts;
        }
    }
}

/// Goes through all sequences of first choices.
struct Cut {
    path: Vec<Node>,
    depth: usize,
}

struct Node {
    enabled: Vec<Action>,
    sleep: Vec<Action>,
    /// Threads to be tried: all that can go on and do not sleep.
    open: u64,
    chosen: usize,
}

impl Cut {
    /// Goes on to the next sequence, if there is one.
    fn next(&mut self) -> bool {
        while let Some(node) = self.path.last_mut() {
            let later = node.open & !(bit(node.chosen) | (bit(node.chosen) - 1));
            if later != 0 {
                node.chosen = later.trailing_zeros() as usize;
                return true;
            }
            self.path.pop();
        }
        false
    }
}

impl Policy for Cut {
    fn choose(&mut self, enabled: &[Action], taken: &[Action]) -> Option<usize> {
        if taken.len() == self.depth {
            return None;
        }
        if taken.len() == self.path.len() {
            let sleep = match (self.path.last(), taken.last()) {
                (Some(parent), Some(last)) => {
                    let before = parent.enabled.iter().filter(|action| {
                        action.thread < last.thread && parent.open & bit(action.thread) != 0
                    });
                    let sleepers = parent.sleep.iter().chain(before);
                    sleepers.filter(|sleeper| !dependent(sleeper, last)).copied().collect()
                }
                _ => Vec::new(),
            };
            let open = mask(enabled) & !mask(&sleep);
            let chosen = if open == 0 { enabled[0].thread } else { open.trailing_zeros() as usize };
            self.path.push(Node { enabled: enabled.to_vec(), sleep, open, chosen });
        }
        let node = &self.path[taken.len()];
        // Where all sleep, the part is covered by others.
        if node.open == 0 { None } else { index_of(enabled, node.chosen) }
    }
}
