//! Deadlocks: cycles of threads that wait for each other, and threads that wait when nobody can go on.
//!
//! Guarantee: a cycle is told at the action with which it closed, whatever others do then; who awaits a change
//! that never comes, when nobody can go on.

use runtime::scheduled::{Execution, Outcome, Waiting};

use super::{Checker, View};
use crate::finding::{Kind, Mark, Observed, Role};

/// Tells of deadlocks.
#[derive(Debug)]
pub struct Deadlock;

impl Checker for Deadlock {
    fn check(&mut self, view: &View<'_>, found: &mut Vec<Observed>) {
        let execution = view.execution;
        for deadlock in &execution.deadlocks {
            found.push(told(execution, &deadlock.cycle, deadlock.after, deadlock.after - 1));
        }
        if let (Outcome::Deadlock(waiting), true) = (&execution.outcome, execution.deadlocks.is_empty()) {
            let end = execution.actions.len();
            found.push(told(execution, waiting, end, end));
        }
    }
}

fn told(execution: &Execution, waiting: &[Waiting], after: usize, at: usize) -> Observed {
    let name =
        |wait: &Waiting| wait.action.target.map_or("?", |target| execution.objects[target.object].name);
    let mut names: Vec<_> = waiting.iter().map(name).collect();
    let what = waiting.iter().map(|wait| {
        let holders: Vec<_> = wait.holders.iter().map(|holder| execution.threads[*holder].as_str()).collect();
        let by = if holders.is_empty() {
            String::new()
        } else {
            format!(", which is up to {}", holders.join(", "))
        };
        format!("{} waits for {}{by}", execution.threads[wait.action.thread], name(wait))
    });
    let what = what.collect::<Vec<_>>().join("; ");
    let steps = waiting.iter().map(|wait| {
        let thread = wait.action.thread;
        let taken = execution.actions[..after].iter().rposition(|action| action.thread == thread);
        Mark { role: Role::Waits, thread, site: wait.action.site.name(), action: taken.unwrap_or(0) }
    });
    let steps = steps.collect();
    names.sort_unstable();
    names.dedup();
    Observed { kind: Kind::Deadlock, object: names.join(", "), what, at, steps }
}
