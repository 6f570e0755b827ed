//! Deadlocks: cycles of threads that wait for each other, and threads that wait when nobody can go on.
//!
//! Guarantee: a cycle is told at the action with which it closed, whatever others do then; who awaits a change
//! that never comes, when nobody can go on.

use runtime::scheduled::{Execution, Outcome, Waiting};

use super::{Checker, View};
use crate::finding::{Kind, Mark, Role, Seen, Sink};

/// Tells of deadlocks.
#[derive(Debug)]
pub struct Deadlock;

impl Checker for Deadlock {
    fn check(&mut self, view: &View<'_>, found: &mut dyn Sink) {
        let execution = view.execution;
        for deadlock in &execution.deadlocks {
            tell(found, execution, &deadlock.cycle, deadlock.after, deadlock.after - 1);
        }
        if let (Outcome::Deadlock(waiting), true) = (&execution.outcome, execution.deadlocks.is_empty()) {
            let end = execution.actions.len();
            tell(found, execution, waiting, end, end);
        }
    }
}

fn tell(found: &mut dyn Sink, execution: &Execution, waiting: &[Waiting], after: usize, at: usize) {
    let name =
        |wait: &Waiting| wait.action.target.map_or("?", |target| execution.objects[target.object].name);
    let mut names: Vec<_> = waiting.iter().map(name).collect();
    names.sort_unstable();
    names.dedup();
    let steps = waiting.iter().map(|wait| {
        let thread = wait.action.thread;
        let taken = execution.actions[..after].iter().rposition(|action| action.thread == thread);
        Mark { role: Role::Waits, thread, site: wait.action.site.name(), action: taken.unwrap_or(0) }
    });
    let steps: Vec<_> = steps.collect();
    found.tell(Seen { kind: Kind::Deadlock, object: &names.join(", "), at, steps: &steps }, &|| {
        let waits = waiting.iter().map(|wait| {
            let holders: Vec<_> =
                wait.holders.iter().map(|holder| execution.threads[*holder].as_str()).collect();
            let by = if holders.is_empty() { "" } else { ", which is up to " };
            format!(
                "{} waits for {}{by}{}",
                execution.threads[wait.action.thread],
                name(wait),
                holders.join(", ")
            )
        });
        waits.collect::<Vec<_>>().join("; ")
    });
}
