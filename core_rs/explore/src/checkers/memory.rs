//! Use after free, double free, leak, count underflow.
//!
//! Guarantee: every access to a word of an object after its `Free`, and every second `Free`, is found, the
//! first of each thread for each object. An object of the set-up counts as allocated. A leak is an object that
//! was allocated in the execution, is there at its end, and may not be (see
//! [`Program::lives_on`](runtime::scheduled::Program::lives_on)).

use runtime::scheduled::{Effect, Execution, Kind, ObjectClass, Outcome};

use super::{Checker, View};
use crate::finding::{Kind as Found, Mark, Role, Seen, Sink};

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
    fn check(&mut self, view: &View<'_>, found: &mut dyn Sink) {
        let execution = view.execution;
        self.lives.clear();
        self.lives.resize(execution.objects.len(), Life::default());
        for (at, action) in execution.actions.iter().enumerate() {
            let Some(target) = action.target else { continue };
            let life = &mut self.lives[target.object];
            match action.kind {
                Kind::Allocate => life.allocated = at + 1,
                Kind::Free if life.freed > 0 => tell(found, Found::DoubleFree, execution, at, *life),
                Kind::Free => life.freed = at + 1,
                _ if life.freed == 0 || execution.objects[target.object].class != ObjectClass::Allocation => {
                }
                _ if life.told & (1 << action.thread) == 0 => {
                    life.told |= 1 << action.thread;
                    tell(found, Found::UseAfterFree, execution, at, *life);
                }
                _ => {}
            }
            if let (Kind::FetchSub, Effect::Wrote { before, now }) = (action.kind, action.effect)
                && now > before
            {
                underflow(found, execution, at, before);
            }
        }
        if execution.outcome == Outcome::Finished {
            self.leaks(view, found);
        }
    }
}

impl Memory {
    fn leaks(&self, view: &View<'_>, found: &mut dyn Sink) {
        let execution = view.execution;
        for (life, object) in self.lives.iter().zip(&execution.objects) {
            if life.allocated > 0 && life.freed == 0 && !view.program.lives_on(object) {
                let object = object.name;
                let at = execution.actions.len();
                let steps = [Mark::on(Role::Allocated, execution, life.allocated - 1)];
                let seen = Seen { kind: Found::Leak, object, at, steps: &steps };
                found.tell(seen, &|| format!("{object} is never freed"));
            }
        }
    }
}

fn tell(found: &mut dyn Sink, kind: Found, execution: &Execution, at: usize, life: Life) {
    let object = name(execution, at);
    let used = Mark::on(Role::Used, execution, at);
    let freed = Mark::on(Role::Freed, execution, life.freed - 1);
    let done = match (kind, execution.actions[at].kind) {
        (Found::DoubleFree, _) => "freed again",
        (_, Kind::Load(_)) => "read after it was freed",
        _ => "written after it was freed",
    };
    let what = || format!("{object} is {done}");
    match life.allocated.checked_sub(1) {
        Some(allocated) => {
            let steps = [used, Mark::on(Role::Allocated, execution, allocated), freed];
            found.tell(Seen { kind, object, at, steps: &steps }, &what);
        }
        None => found.tell(Seen { kind, object, at, steps: &[used, freed] }, &what),
    }
}

fn underflow(found: &mut dyn Sink, execution: &Execution, at: usize, before: u64) {
    let object = name(execution, at);
    let seen =
        Seen { kind: Found::CountUnderflow, object, at, steps: &[Mark::on(Role::Used, execution, at)] };
    found.tell(seen, &|| format!("a count in {object} that is {before} is lowered below zero"));
}

fn name(execution: &Execution, at: usize) -> &'static str {
    execution.actions[at].target.map_or("?", |target| execution.objects[target.object].name)
}
