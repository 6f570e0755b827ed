//! The state of an execution: what each thread is about to do, who holds what, who may go on.

use std::collections::VecDeque;

use super::objects::{ObjectKey, Objects};
use super::{Action, Deadlock, Effect, Execution, Kind, ObjectClass, Outcome, Target, Waiting};

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
    /// Translations that are cached, oldest first: address, size, where it lies.
    translations: Vec<(u64, u64, u64)>,
    queue: VecDeque<Queued>,
    /// Work handed over, and work done.
    queued: u64,
    done: u64,
    deadlocks: Vec<Deadlock>,
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
    /// `Synchronized`: sections below this number must be over.
    Sections(u64),
    /// `RcuBarrierOver`: so much work done.
    Barrier(u64),
    /// `RcuWorkDone`: which.
    Work(Effect),
}

impl Detail {
    /// What an action's effect will be, as far as that is known before.
    pub(super) fn effect(self) -> Effect {
        match self {
            Self::Section(section) => Effect::Section(section),
            Self::Sections(limit) => Effect::SectionsBelow(limit),
            Self::Barrier(work) => Effect::WorkBelow(work),
            Self::Work(effect) => effect,
            Self::Await { seen, .. } => Effect::Seen(seen),
            Self::None | Self::Object(_) => Effect::None,
        }
    }
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
    number: u64,
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
            translations: Vec::new(),
            queue: VecDeque::new(),
            queued: 0,
            done: 0,
            deadlocks: Vec::new(),
        }
    }

    /// The pseudo-object that RCU actions target.
    pub(super) fn rcu(&mut self) -> Target {
        let objects = &mut self.objects;
        *self.rcu.get_or_insert_with(|| objects.single("rcu", ObjectClass::Rcu))
    }

    /// The pseudo-object that TLB actions target.
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
            (Kind::Synchronized, Detail::Sections(limit)) => over(limit),
            (Kind::RcuBarrierOver, Detail::Barrier(work)) => self.done >= work,
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
                let section = held.next;
                held.sections.push((section, thread));
                held.next += 1;
                self.threads[thread].section = section;
                self.did(Effect::Section(section));
            }
            (Kind::ReadUnlock | Kind::SectionEnd, Detail::Section(section)) => {
                held.sections.retain(|(open, _)| *open != section);
            }
            (Kind::AssertHeld, _) => {
                let held = held.writer == Some(thread);
                self.did(Effect::Held(held));
            }
            (Kind::Allocate, Detail::Object(key)) => self.objects.allocated(key, Some(target.object)),
            (Kind::CallRcu, _) => {
                let effect = Effect::Work { number: self.queued, sections_below: held.next };
                self.did(effect);
            }
            (Kind::RcuWorkDone, _) => self.done += 1,
            (Kind::RcuWork, _) => {
                if let Some(effect) = self.queue.front().map(Queued::effect) {
                    self.did(effect);
                }
            }
            _ => {}
        }
    }

    /// The action taken last had this effect. Who awaits a change of the word it wrote may go on.
    pub(super) fn did(&mut self, effect: Effect) {
        let Some(taken) = self.taken.last_mut() else { return };
        taken.effect = effect;
        let (target, Effect::Wrote { now, .. }) = (taken.target, effect) else { return };
        for pending in self.threads.iter_mut().filter_map(|thread| thread.pending.as_mut()) {
            if let Detail::Await { seen, unchanged } = &mut pending.detail
                && pending.action.target == target
            {
                *unchanged = now == *seen;
            }
        }
    }

    /// A core caches that `[ipa, ipa + size)` lies at `pa`.
    pub(super) fn cache_translation(&mut self, ipa: u64, size: u64, pa: u64) {
        if !self.translations.contains(&(ipa, size, pa)) {
            self.translations.push((ipa, size, pa));
        }
    }

    /// Where the oldest cached translation says that `ipa` lies.
    pub(super) fn cached_translation(&self, ipa: u64) -> Option<u64> {
        let covers = |(start, size, _): &&(u64, u64, u64)| *start <= ipa && ipa - start < *size;
        self.translations.iter().find(covers).map(|(start, _, pa)| pa + (ipa - start))
    }

    pub(super) fn invalidate_translations(&mut self, ipa: u64, size: u64) {
        let end = ipa.saturating_add(size);
        self.translations.retain(|(start, size, _)| end <= *start || start.saturating_add(*size) <= ipa);
    }

    /// The sections of `target` that are open now have numbers below this.
    pub(super) fn sections(&self, target: Target) -> u64 {
        self.held.get(target.object).map_or(0, |held| held.next)
    }

    pub(super) fn hand_over(&mut self, work: Work) {
        let rcu = self.rcu();
        self.queue.push_back(Queued { number: self.queued, limit: self.sections(rcu), work });
        self.queued += 1;
    }

    /// How much work was handed over so far.
    pub(super) fn handed_over(&self) -> u64 {
        self.queued
    }

    /// Takes the oldest work out of the queue; answers what it is, too.
    pub(super) fn oldest_work(&mut self) -> Option<(Effect, Work)> {
        self.queue.pop_front().map(|first| (first.effect(), first.work))
    }

    /// What it means that no thread can go on.
    pub(super) fn settled(&self) -> Outcome {
        let waiting: Vec<_> = self.unfinished().map(|pending| self.waiting(pending)).collect();
        if waiting.is_empty() { Outcome::Finished } else { Outcome::Deadlock(waiting) }
    }

    /// What is still to be done: all but to look for work where there is none.
    fn unfinished(&self) -> impl Iterator<Item = &Pending> {
        let idle = |pending: &&Pending| pending.action.kind == Kind::RcuWork && self.queue.is_empty();
        self.threads.iter().filter_map(|thread| thread.pending.as_ref()).filter(move |pending| !idle(pending))
    }

    fn waiting(&self, pending: &Pending) -> Waiting {
        let mut holders = Vec::new();
        self.holders(pending, &mut |thread| holders.push(thread));
        holders.sort_unstable();
        holders.dedup();
        Waiting { action: pending.action, holders }
    }

    /// The threads that must do something before `pending` can be taken, perhaps more than once each.
    fn holders(&self, pending: &Pending, found: &mut dyn FnMut(usize)) {
        if let Kind::RcuBarrierOver = pending.action.kind {
            self.worker().into_iter().for_each(found);
            return;
        }
        let Some(held) = self.held_at(pending) else { return };
        let below = match (pending.action.kind, pending.detail) {
            (Kind::Write, _) => u64::MAX,
            (Kind::Synchronized, Detail::Sections(limit)) => limit,
            (Kind::RcuWork, _) => self.queue.front().map_or(0, |first| first.limit),
            _ => 0,
        };
        let sections = held.sections.iter().filter(|(section, _)| *section < below);
        held.writer.into_iter().chain(sections.map(|(_, thread)| *thread)).for_each(found);
    }

    /// Notes a deadlock when `thread`, which has just come to its next action, waits for itself by way of
    /// others. A cycle closes when the last of its threads comes to wait, so nobody else need be looked at.
    pub(super) fn note_deadlock(&mut self, thread: usize) {
        let blocked =
            |thread: usize| self.threads[thread].pending.as_ref().filter(|pending| !self.can_go_on(pending));
        if blocked(thread).is_none() {
            return;
        }
        // Breadth first: `before` leads from each thread that is reached back to `thread`, by a shortest way.
        let mut before = vec![None; self.threads.len()];
        let mut reached = VecDeque::from([thread]);
        while let Some(waiter) = reached.pop_front() {
            let Some(pending) = blocked(waiter) else { continue };
            self.holders(pending, &mut |holder| {
                if before[holder].is_none() {
                    before[holder] = Some(waiter);
                    reached.push_back(holder);
                }
            });
        }
        let Some(mut waiter) = before[thread] else { return };
        let mut cycle = vec![waiter];
        while waiter != thread {
            waiter = before[waiter].expect("reached from `thread`");
            cycle.push(waiter);
        }
        cycle.reverse();
        let cycle = cycle.into_iter().filter_map(blocked).map(|pending| self.waiting(pending)).collect();
        self.deadlocks.push(Deadlock { after: self.taken.len(), cycle });
    }

    /// Puts what happened into `execution`.
    pub(super) fn end(mut self, outcome: Outcome, execution: &mut Execution) {
        execution.pending.clear();
        execution.pending.extend(self.unfinished().map(|pending| pending.action));
        execution.threads = self.threads.into_iter().map(|thread| thread.name).collect();
        execution.objects = self.objects.end();
        execution.actions = self.taken;
        execution.deadlocks = self.deadlocks;
        execution.outcome = outcome;
    }
}

impl Queued {
    fn effect(&self) -> Effect {
        Effect::Work { number: self.number, sections_below: self.limit }
    }
}

impl Held {
    /// Whether all sections below `limit` are over.
    fn over(&self, limit: u64) -> bool {
        self.sections.iter().all(|(section, _)| *section >= limit)
    }
}
