//! What the program says of an action or of the end of its executions, and panics.
//!
//! Guarantee: every [`Violation`] and every `Violated` action is harm; one whose rule is the name of a kind of harm, such as `leak`, is of
//! that kind.

use runtime::scheduled::{Effect, Outcome, Violation};

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
            if let (Effect::Broken { rule }, Some(target)) = (action.effect, action.target) {
                let object = execution.objects[target.object].name;
                let (kind, steps) = (Kind::of_rule(rule), [Mark::on(Role::Used, execution, at)]);
                found.tell(Seen { kind, object, at, steps: &steps }, &|| sentence(kind, rule, object));
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

fn sentence(kind: Kind, rule: &str, object: &str) -> String {
    match kind {
        Kind::BadFree => format!("{object} is freed, and is no allocation"),
        Kind::NullDereference => "a NULL pointer is followed".to_owned(),
        Kind::WildPointer => "a pointer to nothing that ever was is followed".to_owned(),
        Kind::OutOfBounds => format!("{object} is accessed beyond its end"),
        Kind::LeafReachesFreedMemory => format!("a stage-2 leaf reaches a {object} that was given back"),
        Kind::CapacityChanged => format!("the capacity of {object} is changed while it has one"),
        _ => format!("{rule}: {object}"),
    }
}
