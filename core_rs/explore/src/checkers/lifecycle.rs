//! What the program says of an action or of the end of its executions, and panics.
//!
//! Guarantee: every [`Violation`] is harm; one whose rule is the name of a kind of harm, such as `leak`, is of
//! that kind.

use runtime::scheduled::{self, Outcome, Violation};

use super::{Checker, View};
use crate::finding::{Kind, Mark, Observed, Role};

/// Passes on what the program found.
#[derive(Debug)]
pub struct Lifecycle;

impl Checker for Lifecycle {
    fn check(&mut self, view: &View<'_>, found: &mut Vec<Observed>) {
        let execution = view.execution;
        let end = execution.actions.len();
        found.extend(view.violations.iter().map(|Violation { rule, object, what }| {
            let kind = Kind::of_rule(rule);
            let what = if kind == Kind::Lifecycle { format!("{rule}: {what}") } else { what.clone() };
            Observed { kind, object: object.clone(), what, at: end, steps: Vec::new() }
        }));
        for (at, action) in execution.actions.iter().enumerate() {
            if let scheduled::Kind::Violated { rule, object } = action.kind {
                found.push(Observed {
                    kind: Kind::of_rule(rule),
                    object: object.to_owned(),
                    what: format!("{rule}: {object}"),
                    at,
                    steps: vec![Mark::on(Role::Used, execution, at)],
                });
            }
        }
        if let Outcome::Panicked { thread, message } = &execution.outcome {
            let last = execution.actions.iter().rposition(|action| action.thread == *thread);
            found.push(Observed {
                kind: Kind::Panic,
                object: execution.threads[*thread].clone(),
                what: format!("{} panics: {message}", execution.threads[*thread]),
                at: end.saturating_sub(1),
                steps: last.map(|last| Mark::on(Role::Used, execution, last)).into_iter().collect(),
            });
        }
    }
}
