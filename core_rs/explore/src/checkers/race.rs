//! Data races: two accesses to one word, not both reads, at least one of them plain, that nothing orders.
//!
//! What orders is what the kernel's memory model says does: a lock's drop before its next taking, a store with
//! release or an atomic operation before what reads it (marked loads count as acquires: they head an address
//! dependency), sections before the end of a grace period that waits for them and its begin before later
//! sections, work before the barrier that waits for it. Plain and marked stores order nothing.
//!
//! Guarantee: per word, each access is compared with the last read and the last write of every other thread;
//! what is told is a race. A race is missed where an execution happens to order the two by something that is
//! over-stated here: every section of a domain is taken to be before the end of every later wait.

use runtime::Access;
use runtime::scheduled::{Action, Execution, Kind, writes};

use super::{Checker, View};
use crate::finding::{Kind as Found, Mark, Role, Seen, Sink};

/// Compares accesses by the clocks of what orders them.
#[derive(Debug, Default)]
pub struct Race {
    stride: usize,
    /// A clock for each thread.
    threads: Vec<u32>,
    /// By object: two clocks, of what its next user and its next waiter come after.
    objects: Vec<u32>,
    words: Vec<Word>,
    /// By object: where its words begin in `index`.
    index: Vec<(u32, u32, u32)>,
}

/// What is known of a word.
#[derive(Debug, Default, Clone)]
struct Word {
    /// A clock: what a read of it comes after.
    released: Vec<u32>,
    /// By thread: the number of its last read and write, and the action, from 1 up; 0 is none.
    reads: Vec<(u32, usize)>,
    writes: Vec<(u32, usize)>,
}

impl Checker for Race {
    fn check(&mut self, view: &View<'_>, found: &mut dyn Sink) {
        let execution = view.execution;
        let plain =
            |action: &Action| matches!(action.kind, Kind::Load(Access::Plain) | Kind::Store(Access::Plain));
        if !execution.actions.iter().any(plain) {
            return;
        }
        self.begin(execution);
        for (at, action) in execution.actions.iter().enumerate() {
            let mine = action.thread * self.stride;
            self.threads[mine + action.thread] += 1;
            let Some(target) = action.target else { continue };
            match action.kind {
                Kind::Load(_)
                | Kind::Store(_)
                | Kind::CompareExchange
                | Kind::FetchAdd
                | Kind::FetchSub
                | Kind::AwaitChange => self.access(view, at, action, found),
                // Sections come after the begins of grace periods, and their ends after sections.
                Kind::Lock | Kind::Read | Kind::Write | Kind::Section => {
                    self.acquire(mine, 2 * target.object);
                }
                Kind::Unlock | Kind::ReadUnlock | Kind::WriteUnlock | Kind::Synchronize => {
                    self.release(mine, 2 * target.object);
                }
                Kind::SectionEnd | Kind::RcuWorkDone => self.release(mine, 2 * target.object + 1),
                Kind::CallRcu => {
                    self.release(mine, 2 * target.object);
                    self.release(mine, 2 * target.object + 1);
                }
                Kind::Synchronized | Kind::RcuBarrierOver | Kind::RcuWork => {
                    self.acquire(mine, 2 * target.object + 1);
                }
                _ => {}
            }
        }
    }
}

impl Race {
    fn begin(&mut self, execution: &Execution) {
        self.stride = execution.threads.len();
        self.threads.clear();
        self.threads.resize(self.stride * self.stride, 0);
        self.objects.clear();
        self.objects.resize(2 * execution.objects.len() * self.stride, 0);
        self.index.clear();
    }

    fn acquire(&mut self, mine: usize, slot: usize) {
        let from = slot * self.stride;
        join(&mut self.threads[mine..mine + self.stride], &self.objects[from..from + self.stride]);
    }

    fn release(&mut self, mine: usize, slot: usize) {
        let to = slot * self.stride;
        join(&mut self.objects[to..to + self.stride], &self.threads[mine..mine + self.stride]);
    }

    fn access(&mut self, view: &View<'_>, at: usize, action: &Action, found: &mut dyn Sink) {
        let stride = self.stride;
        let word = self.word(action);
        let mine = action.thread * stride;
        let word = &mut self.words[word];
        let clock = &mut self.threads[mine..mine + stride];
        let acquires = !matches!(action.kind, Kind::Load(Access::Plain) | Kind::Store(_));
        if acquires {
            join(clock, &word.released);
        }
        let write = writes(action);
        for (other, known) in clock.iter().enumerate().filter(|(other, _)| *other != action.thread) {
            let reads = if write { word.reads[other] } else { (0, 0) };
            for (number, earlier) in [word.writes[other], reads] {
                if number > *known && (is_plain(action) || is_plain(&view.execution.actions[earlier])) {
                    tell(found, view, earlier, at);
                }
            }
        }
        let number = clock[action.thread];
        if write {
            word.writes[action.thread] = (number, at);
            match action.kind {
                Kind::Store(Access::Ordered) => word.released.copy_from_slice(clock),
                Kind::Store(_) => word.released.fill(0),
                _ => join(&mut word.released, clock),
            }
        } else {
            word.reads[action.thread] = (number, at);
        }
    }

    /// The number of an action's word.
    fn word(&mut self, action: &Action) -> usize {
        let (object, word) =
            action.target.map_or((0, 0), |target| (target.object as u32, target.word as u32));
        let known = self.index.iter().find(|known| (known.0, known.1) == (object, word));
        if let Some((_, _, number)) = known {
            return *number as usize;
        }
        let number = self.index.len();
        self.index.push((object, word, number as u32));
        if self.words.len() == number {
            self.words.push(Word::default());
        }
        let fresh = &mut self.words[number];
        fresh.released.clear();
        fresh.released.resize(self.stride, 0);
        fresh.reads.clear();
        fresh.reads.resize(self.stride, (0, 0));
        fresh.writes.clear();
        fresh.writes.resize(self.stride, (0, 0));
        number
    }
}

fn is_plain(action: &Action) -> bool {
    matches!(action.kind, Kind::Load(Access::Plain) | Kind::Store(Access::Plain))
}

fn join(into: &mut [u32], from: &[u32]) {
    into.iter_mut().zip(from).for_each(|(into, from)| *into = (*into).max(*from));
}

fn tell(found: &mut dyn Sink, view: &View<'_>, earlier: usize, at: usize) {
    let execution = view.execution;
    let object = execution.actions[at].target.map_or("?", |target| {
        let object = &execution.objects[target.object];
        view.program.word_name(object, target.word).unwrap_or(object.name)
    });
    let does = |at: usize| {
        let action = &execution.actions[at];
        format!("the {} at {}", if writes(action) { "write" } else { "read" }, action.site.name())
    };
    let steps = [Mark::on(Role::Used, execution, at), Mark::on(Role::Used, execution, earlier)];
    found.tell(Seen { kind: Found::DataRace, object, at, steps: &steps }, &|| {
        format!("nothing orders {} and {} of {object}", does(earlier), does(at))
    });
}
