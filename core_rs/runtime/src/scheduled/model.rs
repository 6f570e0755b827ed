//! The state of an execution: what each thread is about to do, who holds what, who may go on.

use std::collections::VecDeque;

use super::objects::{ObjectKey, Objects};
use super::{Action, Deadlock, Effect, Execution, Kind, ObjectClass, Outcome, Target, Waiting};
use crate::Site;

/// Work handed to `call_rcu`.
pub(super) type Work = Box<dyn FnOnce() + Send>;

/// An execution that is under way.
#[derive(Default)]
pub(super) struct Model {
    pub(super) threads: Vec<Thread>,
    /// The thread whose turn it is.
    pub(super) running: usize,
    pub(super) objects: Objects,
    pub(super) taken: Vec<Action>,
    /// The next actions of the threads that have not ended, in the order of threads; their effects are what is
    /// known of them before. That of the running thread is out of date.
    pending: Vec<Action>,
    /// Those of `pending` that can be taken, unless that is all of them.
    able: Vec<Action>,
    all_able: bool,
    /// What is held and which sections are open, by object; beyond the last that ever was, nothing is.
    held: Vec<Held>,
    rcu: Option<Target>,
    tlb: Option<Target>,
    /// Translations that are cached, oldest first: address, size, where it lies.
    translations: Vec<(u64, u64, u64)>,
    queue: VecDeque<Queued>,
    /// Work handed over, and work done.
    queued: u64,
    done: u64,
    /// Threads that are about to do what must wait at times, and those of them that await a change.
    conditional: usize,
    awaiting: usize,
    deadlocks: Vec<Deadlock>,
}

/// A thread of the execution.
#[derive(Default)]
pub(super) struct Thread {
    pub(super) name: String,
    /// Where in [`Model::pending`] its next action is; nowhere once it has ended.
    pub(super) slot: Option<usize>,
    /// Of `AwaitChange`: whether the word still holds what was seen.
    pub(super) unchanged: bool,
    /// Of `Allocate`: the object.
    pub(super) allocates: Option<ObjectKey>,
    /// The section, or hold of a lock for read, that its last action began.
    pub(super) section: u64,
    /// Runs what was handed to `call_rcu`, and need not end.
    pub(super) runs_work: bool,
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
    /// A new execution begins, of threads of these names.
    pub(super) fn begin(&mut self, names: impl Iterator<Item = String>, set_up: &mut Objects) {
        self.objects.begin(set_up);
        self.threads.clear();
        self.threads.extend(names.map(|name| Thread { name, ..Thread::default() }));
        self.running = 0;
        self.taken.clear();
        self.held.iter_mut().for_each(Held::clear);
        (self.rcu, self.tlb) = (None, None);
        self.translations.clear();
        self.queue.clear();
        (self.queued, self.done) = (0, 0);
        (self.conditional, self.awaiting) = (0, 0);
        self.pending.clear();
        self.deadlocks.clear();
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

    /// Finds out which threads can go on. Notes a deadlock if that of which the turn was cannot, and waits for
    /// itself by way of others: a cycle closes when the last of its threads comes to wait.
    #[inline]
    pub(super) fn find_enabled(&mut self) {
        self.all_able = self.conditional == 0;
        if !self.all_able {
            self.find_able();
        }
    }

    fn find_able(&mut self) {
        let mut able = std::mem::take(&mut self.able);
        able.clear();
        let mut waits = false;
        for pending in &self.pending {
            if self.can_go_on(pending) {
                able.push(*pending);
            } else {
                waits |= pending.thread == self.running;
            }
        }
        self.able = able;
        if waits {
            self.note_deadlock(self.running);
        }
    }

    /// The next actions of the threads that can go on, in the order of threads, and what was done so far.
    #[inline]
    pub(super) fn enabled(&self) -> (&[Action], &[Action]) {
        (if self.all_able { &self.pending } else { &self.able }, &self.taken)
    }

    fn can_go_on(&self, pending: &Action) -> bool {
        let held = || self.held_at(pending);
        let nobody_writes = |held: Option<&Held>| held.is_none_or(|held| held.writer.is_none());
        let over = |held: Option<&Held>, limit| held.is_none_or(|held| held.over(limit));
        match (pending.kind, pending.effect) {
            (Kind::Lock | Kind::Read, _) => nobody_writes(held()),
            (Kind::Write, _) => nobody_writes(held()) && over(held(), u64::MAX),
            (Kind::AwaitChange, _) => !self.threads[pending.thread].unchanged,
            (Kind::Synchronized, Effect::SectionsBelow(limit)) => over(held(), limit),
            (Kind::RcuBarrierOver, Effect::WorkBelow(work)) => self.done >= work,
            (Kind::RcuWork, _) => self.queue.front().is_some_and(|first| over(held(), first.limit)),
            _ => true,
        }
    }

    /// Who holds what `pending` is about; none when nobody ever did.
    fn held_at(&self, pending: &Action) -> Option<&Held> {
        self.held.get(pending.target?.object)
    }

    /// The running thread is about to do this.
    #[inline(always)]
    pub(super) fn offer(&mut self, kind: Kind, target: Option<Target>, effect: Effect, site: Site) {
        if is_conditional(kind) {
            self.conditional += 1;
            self.awaiting += usize::from(kind == Kind::AwaitChange);
        }
        let thread = self.running;
        if let Some(pending) = self.threads[thread].slot.and_then(|slot| self.pending.get_mut(slot)) {
            pending.thread = thread;
            pending.kind = kind;
            pending.target = target;
            pending.site = site;
            pending.effect = effect;
        } else {
            // Threads come to their first actions in their order.
            self.threads[thread].slot = Some(self.pending.len());
            self.pending.push(Action { thread, kind, target, site, effect });
        }
    }

    /// A thread has ended.
    pub(super) fn ended(&mut self, thread: usize) {
        if let Some(slot) = self.threads[thread].slot.take() {
            self.pending.remove(slot);
            let later = self.threads[thread + 1..].iter_mut().filter_map(|thread| thread.slot.as_mut());
            later.for_each(|slot| *slot -= 1);
        }
    }

    /// Takes the next action of an enabled thread, as far as the model goes; the rest follows in its coroutine.
    #[inline]
    pub(super) fn take(&mut self, choice: usize) -> usize {
        let action = &self.enabled().0[choice];
        let (thread, kind, action) = (action.thread, action.kind, *action);
        if is_conditional(kind) {
            self.conditional -= 1;
            self.awaiting -= usize::from(kind == Kind::AwaitChange);
        }
        self.running = thread;
        self.apply(action);
        thread
    }

    /// Takes an action of the running thread.
    pub(super) fn apply(&mut self, action: Action) {
        self.taken.push(action);
        if !matches!(
            action.kind,
            Kind::Load(_)
                | Kind::Store(_)
                | Kind::CompareExchange
                | Kind::FetchAdd
                | Kind::FetchSub
                | Kind::Free
        ) {
            self.apply_to_model(action);
        }
    }

    /// What taking an action changes here.
    fn apply_to_model(&mut self, action: Action) {
        let Action { kind, target, thread, effect, .. } = action;
        let Some(target) = target else { return };
        match (kind, effect) {
            (Kind::Lock | Kind::Write, _) => self.held(target).writer = Some(thread),
            (Kind::Unlock | Kind::WriteUnlock, _) => self.held(target).writer = None,
            (Kind::Read | Kind::Section, _) => {
                let held = self.held(target);
                let section = held.next;
                held.sections.push((section, thread));
                held.next += 1;
                self.threads[thread].section = section;
                self.did(Effect::Section(section));
            }
            (Kind::ReadUnlock | Kind::SectionEnd, Effect::Section(section)) => {
                self.held(target).sections.retain(|(open, _)| *open != section);
            }
            (Kind::AssertHeld, _) => {
                let held = self.held(target).writer == Some(thread);
                self.did(Effect::Held(held));
            }
            (Kind::Allocate, _) => {
                if let Some(key) = self.threads[thread].allocates.take() {
                    self.objects.allocated(key, Some(target.object));
                }
            }
            (Kind::CallRcu, _) => {
                let effect = Effect::Work { number: self.queued, sections_below: self.sections(target) };
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

    /// Who holds an object, to be changed.
    fn held(&mut self, target: Target) -> &mut Held {
        if self.held.len() <= target.object {
            self.held.resize_with(target.object + 1, Held::default);
        }
        &mut self.held[target.object]
    }

    /// The action taken last had this effect. Who awaits a change of the word it wrote may go on.
    #[inline(always)]
    pub(super) fn did(&mut self, effect: Effect) {
        if let Some(taken) = self.taken.last_mut() {
            taken.effect = effect;
        }
        if let (1.., Effect::Wrote { now, .. }) = (self.awaiting, effect) {
            self.tell_awaiting(now);
        }
    }

    /// The word that the action taken last wrote holds `now`.
    #[cold]
    fn tell_awaiting(&mut self, now: u64) {
        let target = self.taken.last().and_then(|taken| taken.target);
        for pending in &self.pending {
            if let Action { kind: Kind::AwaitChange, target: awaited, effect: Effect::Seen(seen), .. } =
                *pending
                && awaited == target
            {
                self.threads[pending.thread].unchanged = now == seen;
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
    fn unfinished(&self) -> impl Iterator<Item = &Action> {
        let idle = |pending: &&Action| pending.kind == Kind::RcuWork && self.queue.is_empty();
        self.pending.iter().filter(move |pending| !idle(pending))
    }

    fn waiting(&self, pending: &Action) -> Waiting {
        let mut holders = Vec::new();
        self.holders(pending, &mut |thread| holders.push(thread));
        holders.sort_unstable();
        holders.dedup();
        Waiting { action: *pending, holders }
    }

    /// The threads that must do something before `pending` can be taken, perhaps more than once each.
    fn holders(&self, pending: &Action, found: &mut dyn FnMut(usize)) {
        if let Kind::RcuBarrierOver = pending.kind {
            self.worker().into_iter().for_each(found);
            return;
        }
        let Some(held) = self.held_at(pending) else { return };
        let below = match (pending.kind, pending.effect) {
            (Kind::Write, _) => u64::MAX,
            (Kind::Synchronized, Effect::SectionsBelow(limit)) => limit,
            (Kind::RcuWork, _) => self.queue.front().map_or(0, |first| first.limit),
            _ => 0,
        };
        let sections = held.sections.iter().filter(|(section, _)| *section < below);
        held.writer.into_iter().chain(sections.map(|(_, thread)| *thread)).for_each(found);
    }

    /// Notes a deadlock when `thread`, which cannot go on, waits for itself.
    #[cold]
    fn note_deadlock(&mut self, thread: usize) {
        let blocked = |thread: usize| -> Option<&Action> {
            let slot = self.threads[thread].slot?;
            Some(&self.pending[slot]).filter(|pending| !self.can_go_on(pending))
        };
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

    /// Puts what happened into `execution`, and takes its memory for the next.
    pub(super) fn end(&mut self, outcome: Outcome, execution: &mut Execution) {
        execution.pending.clear();
        execution.pending.extend(self.unfinished().copied());
        execution.threads.clear();
        execution.threads.extend(self.threads.drain(..).map(|thread| thread.name));
        std::mem::swap(&mut execution.objects, &mut self.objects.infos);
        std::mem::swap(&mut execution.actions, &mut self.taken);
        std::mem::swap(&mut execution.deadlocks, &mut self.deadlocks);
        execution.outcome = outcome;
    }
}

impl Queued {
    fn effect(&self) -> Effect {
        Effect::Work { number: self.number, sections_below: self.limit }
    }
}

/// Whether an action of this kind must wait at times.
fn is_conditional(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::Lock
            | Kind::Read
            | Kind::Write
            | Kind::AwaitChange
            | Kind::Synchronized
            | Kind::RcuWork
            | Kind::RcuBarrierOver
    )
}

impl Held {
    fn clear(&mut self) {
        self.writer = None;
        self.sections.clear();
        self.next = 0;
    }

    /// Whether all sections below `limit` are over.
    fn over(&self, limit: u64) -> bool {
        self.sections.iter().all(|(section, _)| *section >= limit)
    }
}
