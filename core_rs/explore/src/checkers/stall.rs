//! Stalls: too many table entries visited between two points where the scheduler may run.
//!
//! The model is a kernel that is not preemptible: the scheduler runs at `cond_resched`, in a lock break, and
//! where a thread sleeps. Guarantee: the first stall of each thread is found.

use runtime::LockClass;
use runtime::scheduled::{Action, Execution, Kind, ObjectClass};

use super::{Checker, View};
use crate::finding::{Kind as Found, Mark, Role, Seen, Sink};

/// The read with which a walk visits an entry.
const VISIT: &str = "kvm_pgtable_visit:read";

/// Counts entries visited.
#[derive(Debug)]
pub struct Stall {
    bound: usize,
    visited: Vec<usize>,
    /// Each thread's last action.
    last: Vec<Option<usize>>,
}

impl Stall {
    /// A stall is more than `bound` entries.
    pub fn new(bound: usize) -> Self {
        Self { bound, visited: Vec::new(), last: Vec::new() }
    }
}

impl Checker for Stall {
    fn check(&mut self, view: &View<'_>, found: &mut dyn Sink) {
        let execution = view.execution;
        if execution.actions.len() <= self.bound {
            return;
        }
        self.visited.clear();
        self.visited.resize(execution.threads.len(), 0);
        self.last.clear();
        self.last.resize(execution.threads.len(), None);
        for (at, action) in execution.actions.iter().enumerate() {
            let before = self.last[action.thread].replace(at).map(|at| &execution.actions[at]);
            let visited = &mut self.visited[action.thread];
            if reschedules(execution, action, before) {
                *visited = 0;
            } else if matches!(action.kind, Kind::Load(_)) && action.site.name() == VISIT {
                *visited += 1;
                if *visited == self.bound + 1 {
                    tell(found, execution, at, self.bound);
                }
            }
        }
    }
}

/// Whether the scheduler may run at an action, of a thread that did `before` before it.
fn reschedules(execution: &Execution, action: &Action, before: Option<&Action>) -> bool {
    let class = action.target.map(|target| execution.objects[target.object].class);
    match action.kind {
        Kind::CondResched
        | Kind::MightSleep
        | Kind::Synchronize
        | Kind::Synchronized
        | Kind::RcuBarrier
        | Kind::RcuBarrierOver
        | Kind::RcuWork => true,
        Kind::Lock => class == Some(ObjectClass::Lock(LockClass::Mutex)),
        // A lock break is an unlock and a lock at one place.
        Kind::Write => before.is_some_and(|before| {
            before.kind == Kind::WriteUnlock
                && before.target == action.target
                && before.site.name() == action.site.name()
        }),
        _ => false,
    }
}

fn tell(found: &mut dyn Sink, execution: &Execution, at: usize, bound: usize) {
    let thread = &execution.threads[execution.actions[at].thread];
    let steps = [Mark::on(Role::Used, execution, at)];
    found.tell(Seen { kind: Found::Stall, object: thread, at, steps: &steps }, &|| {
        format!("{thread} visits more than {bound} table entries without a point where the scheduler may run")
    });
}
