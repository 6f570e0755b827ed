//! What the program says of an action or of the end of its executions, and panics.
//!
//! Guarantee: every [`Violation`] is harm; one whose rule is the name of a kind of harm, such as `leak`, is of
//! that kind.

use runtime::scheduled::{self, Outcome, Violation};

use super::{Checker, View};
use crate::finding::{Kind, Mark, Role, Seen, Sink};

/// Passes on what the program found.
#[derive(Debug)]
pub struct Lifecycle;

impl Checker for Lifecycle {
    fn check(&mut self, view: &View<'_>, found: &mut dyn Sink) {
        let execution = view.execution;
        let end = execution.actions.len();
        for Violation { rule, object, what } in view.violations {
            let kind = Kind::of_rule(rule);
            found.tell(Seen { kind, object, at: end, steps: &[] }, &|| {
                if kind == Kind::Lifecycle { format!("{rule}: {what}") } else { what.clone() }
            });
        }
        for (at, action) in execution.actions.iter().enumerate() {
            if let scheduled::Kind::Violated { rule, object } = action.kind {
                let steps = [Mark::on(Role::Used, execution, at)];
                let seen = Seen { kind: Kind::of_rule(rule), object, at, steps: &steps };
                found.tell(seen, &|| format!("{rule}: {object}"));
            }
        }
        if let Outcome::Panicked { thread, message } = &execution.outcome {
            let last = execution.actions.iter().rposition(|action| action.thread == *thread);
            let steps: Vec<_> = last.map(|last| Mark::on(Role::Used, execution, last)).into_iter().collect();
            let object = &execution.threads[*thread];
            let seen = Seen { kind: Kind::Panic, object, at: end.saturating_sub(1), steps: &steps };
            found.tell(seen, &|| format!("{object} panics: {message}"));
        }
    }
}
