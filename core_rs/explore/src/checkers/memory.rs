//! Use after free, double free, leak, count underflow.
//!
//! Guarantee: every access to a word of an object after its `Free`, and every second `Free`, is found, the
//! first of each thread for each object. An object of the set-up counts as allocated. A leak is an object that
//! was allocated in the execution, is there at its end, and may not be (see
//! [`Program::lives_on`](runtime::scheduled::Program::lives_on)).

use runtime::scheduled::{Action, Effect, Execution, Kind, ObjectClass, Outcome};

use super::{Checker, View};
use crate::finding::{Kind as Found, Mark, Observed, Role};

/// Follows the life of objects.
#[derive(Debug, Default)]
pub struct Memory {
    lives: Vec<Life>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Life {
    /// The number of the action, and one more; 0 is none.
    allocated: usize,
    freed: usize,
    /// Threads whose use after free was told.
    told: u64,
}

impl Checker for Memory {
    fn check(&mut self, view: &View<'_>, found: &mut Vec<Observed>) {
        let execution = view.execution;
        self.lives.clear();
        self.lives.resize(execution.objects.len(), Life::default());
        for (at, action) in execution.actions.iter().enumerate() {
            let Some(target) = action.target else { continue };
            let life = &mut self.lives[target.object];
            match action.kind {
                Kind::Allocate => life.allocated = at + 1,
                Kind::Free if life.freed > 0 => {
                    found.push(told(Found::DoubleFree, execution, at, action, *life));
                }
                Kind::Free => life.freed = at + 1,
                _ if life.freed == 0 || execution.objects[target.object].class != ObjectClass::Allocation => {
                }
                _ if life.told & (1 << action.thread) == 0 => {
                    life.told |= 1 << action.thread;
                    found.push(told(Found::UseAfterFree, execution, at, action, *life));
                }
                _ => {}
            }
            if let (Kind::FetchSub, Effect::Wrote { before, now }) = (action.kind, action.effect)
                && now > before
            {
                found.push(underflow(execution, at, action, before));
            }
        }
        if execution.outcome == Outcome::Finished {
            self.leaks(view, found);
        }
    }
}

impl Memory {
    fn leaks(&self, view: &View<'_>, found: &mut Vec<Observed>) {
        let execution = view.execution;
        for (life, object) in self.lives.iter().zip(&execution.objects) {
            if life.allocated > 0 && life.freed == 0 && !view.program.lives_on(object) {
                found.push(Observed {
                    kind: Found::Leak,
                    object: object.name.to_owned(),
                    what: format!("{} is never freed", object.name),
                    at: execution.actions.len(),
                    steps: vec![Mark::on(Role::Allocated, execution, life.allocated - 1)],
                });
            }
        }
    }
}

fn told(kind: Found, execution: &Execution, at: usize, action: &Action, life: Life) -> Observed {
    let name = action.target.map_or("?", |target| execution.objects[target.object].name);
    let mut steps = vec![Mark::on(Role::Used, execution, at)];
    if let Some(allocated) = life.allocated.checked_sub(1) {
        steps.push(Mark::on(Role::Allocated, execution, allocated));
    }
    steps.push(Mark::on(Role::Freed, execution, life.freed - 1));
    let done = match (kind, action.kind) {
        (Found::DoubleFree, _) => "freed again",
        (_, Kind::Load(_)) => "read after it was freed",
        _ => "written after it was freed",
    };
    Observed { kind, object: name.to_owned(), what: format!("{name} is {done}"), at, steps }
}

fn underflow(execution: &Execution, at: usize, action: &Action, before: u64) -> Observed {
    let name = action.target.map_or("?", |target| execution.objects[target.object].name);
    Observed {
        kind: Found::CountUnderflow,
        object: name.to_owned(),
        what: format!("a count in {name} that is {before} is lowered below zero"),
        at,
        steps: vec![Mark::on(Role::Used, execution, at)],
    }
}
