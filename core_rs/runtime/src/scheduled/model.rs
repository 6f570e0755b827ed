//! The state of an execution: what each thread is about to do, who holds what, who may go on.

use std::collections::VecDeque;

use super::objects::{ObjectKey, Objects};
use super::{Action, Execution, Kind, ObjectClass, Outcome, Target, Waiting};

/// Work handed to `call_rcu`.
pub(super) type Work = Box<dyn FnOnce() + Send>;

/// An execution that is under way.
pub(super) struct Model {
    pub(super) threads: Vec<Thread>,
    /// The thread whose turn it is.
    pub(super) running: usize,
    pub(super) objects: Objects,
    pub(super) taken: Vec<Action>,
    /// What is held and which sections are open, by object.
    held: Vec<Held>,
    rcu: Option<Target>,
    tlb: Option<Target>,
    queue: VecDeque<Queued>,
    /// Work handed over, and work done.
    queued: u64,
    done: u64,
}

/// A thread of the execution.
#[derive(Default)]
pub(super) struct Thread {
    pub(super) name: String,
    /// What it is about to do; none once it has ended.
    pub(super) pending: Option<Pending>,
    /// The section, or hold of a lock for read, that its last action began.
    pub(super) section: u64,
    /// Runs what was handed to `call_rcu`, and need not end.
    pub(super) runs_work: bool,
}

/// The next action of a thread, and what decides whether it can be taken.
pub(super) struct Pending {
    pub(super) action: Action,
    pub(super) detail: Detail,
}

/// What an action needs beside its target.
#[derive(Clone, Copy)]
pub(super) enum Detail {
    None,
    /// `AwaitChange`: the value that was seen, and whether the word still holds it.
    Await {
        seen: u64,
        unchanged: bool,
    },
    /// `Allocate`.
    Object(ObjectKey),
    /// The end of a hold for read, or of a section.
    Section(u64),
    /// `Synchronized`: sections below this number must be over. `RcuBarrierOver`: so much work done.
    Limit(u64),
}

/// Who holds an object.
#[derive(Default)]
struct Held {
    writer: Option<usize>,
    /// Holds for read, and open sections: their numbers and threads.
    sections: Vec<(u64, usize)>,
    /// The number of the next.
    next: u64,
}

struct Queued {
    /// RCU sections below this number must be over first.
    limit: u64,
    work: Work,
}

impl Model {
    pub(super) fn new(names: impl Iterator<Item = String>, objects: Objects) -> Self {
        let thread = |name| Thread { name, ..Thread::default() };
        Self {
            threads: names.map(thread).collect(),
            running: 0,
            objects,
            taken: Vec::new(),
            held: Vec::new(),
            rcu: None,
            tlb: None,
            queue: VecDeque::new(),
            queued: 0,
            done: 0,
        }
    }

    /// The pseudo-object that RCU actions target.
    pub(super) fn rcu(&mut self) -> Target {
        let objects = &mut self.objects;
        *self.rcu.get_or_insert_with(|| objects.single("rcu", ObjectClass::Rcu))
    }

    /// The pseudo-object that TLB invalidations target.
    pub(super) fn tlb(&mut self) -> Target {
        let objects = &mut self.objects;
        *self.tlb.get_or_insert_with(|| objects.single("tlb", ObjectClass::Tlb))
    }

    /// Whether work was handed over that nobody has run.
    pub(super) fn has_work(&self) -> bool {
        !self.queue.is_empty()
    }

    /// The thread that runs such work, once there has been some.
    pub(super) fn worker(&self) -> Option<usize> {
        self.threads.iter().position(|thread| thread.runs_work)
    }

    /// Puts the next actions of the threads that can go on into `enabled`.
    pub(super) fn enabled(&self, enabled: &mut Vec<Action>) {
        enabled.clear();
        let pending = self.threads.iter().filter_map(|thread| thread.pending.as_ref());
        enabled.extend(pending.filter(|pending| self.can_go_on(pending)).map(|pending| pending.action));
    }

    fn can_go_on(&self, pending: &Pending) -> bool {
        let held = self.held_at(pending);
        let nobody_writes = || held.is_none_or(|held| held.writer.is_none());
        let over = |limit| held.is_none_or(|held| held.over(limit));
        match (pending.action.kind, pending.detail) {
            (Kind::Lock | Kind::Read, _) => nobody_writes(),
            (Kind::Write, _) => nobody_writes() && over(u64::MAX),
            (Kind::AwaitChange, Detail::Await { unchanged, .. }) => !unchanged,
            (Kind::Synchronized, Detail::Limit(limit)) => over(limit),
            (Kind::RcuBarrierOver, Detail::Limit(work)) => self.done >= work,
            (Kind::RcuWork, _) => self.queue.front().is_some_and(|first| over(first.limit)),
            _ => true,
        }
    }

    /// Who holds what `pending` is about; none when nobody ever did.
    fn held_at(&self, pending: &Pending) -> Option<&Held> {
        self.held.get(pending.action.target?.object)
    }

    /// Takes the next action of `thread`, as far as the model goes; the rest follows in its coroutine.
    pub(super) fn take(&mut self, thread: usize) {
        let pending = self.threads[thread].pending.take().expect("a thread that has not ended");
        self.running = thread;
        self.apply(&pending);
    }

    /// Takes an action of the running thread.
    pub(super) fn apply(&mut self, pending: &Pending) {
        let Action { kind, target, thread, .. } = pending.action;
        self.taken.push(pending.action);
        self.held.resize_with(self.objects.len(), Held::default);
        let Some(target) = target else { return };
        let held = &mut self.held[target.object];
        match (kind, pending.detail) {
            (Kind::Lock | Kind::Write, _) => held.writer = Some(thread),
            (Kind::Unlock | Kind::WriteUnlock, _) => held.writer = None,
            (Kind::Read | Kind::Section, _) => {
                held.sections.push((held.next, thread));
                self.threads[thread].section = held.next;
                held.next += 1;
            }
            (Kind::ReadUnlock | Kind::SectionEnd, Detail::Section(section)) => {
                held.sections.retain(|(open, _)| *open != section);
            }
            (Kind::Allocate, Detail::Object(key)) => self.objects.allocated(key, Some(target.object)),
            _ => {}
        }
    }

    /// The sections of `target` that are open now have numbers below this.
    pub(super) fn sections(&self, target: Target) -> u64 {
        self.held.get(target.object).map_or(0, |held| held.next)
    }

    /// The action taken last has left `value` in its word: who awaits a change of it may go on.
    pub(super) fn wrote(&mut self, value: u64) {
        let target = self.taken.last().and_then(|action| action.target);
        for pending in self.threads.iter_mut().filter_map(|thread| thread.pending.as_mut()) {
            if let Detail::Await { seen, unchanged } = &mut pending.detail
                && pending.action.target == target
            {
                *unchanged = value == *seen;
            }
        }
    }

    pub(super) fn hand_over(&mut self, work: Work) {
        let rcu = self.rcu();
        self.queue.push_back(Queued { limit: self.sections(rcu), work });
        self.queued += 1;
    }

    /// How much work was handed over so far.
    pub(super) fn handed_over(&self) -> u64 {
        self.queued
    }

    pub(super) fn oldest_work(&mut self) -> Option<Work> {
        self.queue.pop_front().map(|first| first.work)
    }

    pub(super) fn work_done(&mut self) {
        self.done += 1;
    }

    /// What it means that no thread can go on.
    pub(super) fn settled(&self) -> Outcome {
        let unfinished = |thread: &&Thread| !thread.runs_work || self.has_work();
        let stuck = self.threads.iter().filter(unfinished).filter_map(|thread| thread.pending.as_ref());
        let waiting: Vec<_> = stuck.map(|pending| self.waiting(pending)).collect();
        if waiting.is_empty() { Outcome::Finished } else { Outcome::Deadlock(waiting) }
    }

    fn waiting(&self, pending: &Pending) -> Waiting {
        let holders = self.held_at(pending).map_or_else(Vec::new, |held| {
            let sections = held.sections.iter().map(|(_, thread)| *thread);
            let mut holders: Vec<_> = held.writer.into_iter().chain(sections).collect();
            holders.sort_unstable();
            holders.dedup();
            holders
        });
        Waiting { action: pending.action, holders }
    }

    pub(super) fn into_execution(mut self, outcome: Outcome) -> Execution {
        Execution {
            threads: self.threads.into_iter().map(|thread| thread.name).collect(),
            objects: self.objects.end(),
            actions: self.taken,
            outcome,
        }
    }
}

impl Held {
    /// Whether all sections below `limit` are over.
    fn over(&self, limit: u64) -> bool {
        self.sections.iter().all(|(section, _)| *section >= limit)
    }
}
