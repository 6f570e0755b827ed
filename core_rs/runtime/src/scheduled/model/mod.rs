//! The state of an execution: what each thread is about to do, who holds what, who may go on.

mod translations;
mod waiting;
mod work;

use std::collections::VecDeque;

use super::objects::{ObjectKey, Objects};
use super::{Action, Deadlock, Effect, Execution, Kind, ObjectClass, Outcome, Target};
use work::Queued;

pub(super) use work::Work;

/// An execution that is under way.
#[derive(Default)]
pub(super) struct Model {
    pub(super) threads: Vec<Thread>,
    /// The thread whose turn it is.
    pub(super) running: usize,
    pub(super) objects: Objects,
    pub(super) taken: Vec<Action>,
    /// What the execution begins with, as it is known from the one before.
    known: Vec<Action>,
    /// How many of those are to be followed; none while threads are to be started.
    follow: usize,
    /// The next actions of the threads that have not ended; their effects are what is known of them before. First
    /// those that can be taken, in the order of threads, then the others, in the same order. That of the running
    /// thread is out of date until it is offered.
    pending: Vec<Action>,
    /// How many of them can be taken.
    able: usize,
    /// Where the running thread's is; nowhere before its first, and when it has ended.
    slot: Option<usize>,
    /// How many threads were started.
    started: usize,
    /// Whether there may be more to be known than the above.
    pub(super) changed: bool,
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

impl Model {
    /// A new execution begins, of threads of these names.
    pub(super) fn begin(
        &mut self,
        names: impl Iterator<Item = String>,
        set_up: &mut Objects,
        before: &mut Execution,
        shared: usize,
    ) {
        std::mem::swap(&mut self.known, &mut before.actions);
        self.known.truncate(shared);
        self.follow = 0;
        std::mem::swap(&mut self.deadlocks, &mut before.deadlocks);
        self.deadlocks.retain(|deadlock| deadlock.after < self.known.len());
        self.objects.begin(set_up);
        self.threads.clear();
        for name in names {
            self.threads.push(Thread { name, ..Thread::default() });
        }
        (self.running, self.slot, self.started) = (0, None, 0);
        (self.able, self.changed) = (0, true);
        self.taken.clear();
        self.held.iter_mut().for_each(Held::clear);
        (self.rcu, self.tlb) = (None, None);
        self.translations.clear();
        self.queue.clear();
        (self.queued, self.done) = (0, 0);
        (self.conditional, self.awaiting) = (0, 0);
        self.pending.clear();
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

    /// The next thread that is to come to its first action.
    pub(super) fn start_next(&mut self) -> Option<usize> {
        let next = self.started;
        (next < self.threads.len()).then(|| {
            (self.running, self.slot, self.started) = (next, None, next + 1);
            next
        })
    }

    /// All threads have come to their first actions. Finds out what can be done now, where it is not known.
    pub(super) fn all_started(&mut self) {
        self.follow = self.known.len();
        if !self.follows() {
            self.find_enabled();
        }
    }

    /// Whether it is known that this action of the running thread is the next.
    #[inline(always)]
    pub(super) fn goes_on_as_known(&self, action: &Action) -> bool {
        let at = self.taken.len();
        at < self.follow && is_known_as(&self.known[at], action)
    }

    /// Whether it is known which action is the next.
    #[inline]
    pub(super) fn follows(&self) -> bool {
        self.taken.len() < self.follow
    }

    /// The place of that action among those to come; nowhere if its thread has come to another.
    pub(super) fn known_next(&self) -> Option<usize> {
        let known = &self.known[self.taken.len()];
        self.pending.iter().position(|next| is_known_as(known, next))
    }

    /// Finds out which threads can go on. Notes a deadlock if that of which the turn was cannot, and waits for
    /// itself by way of others: a cycle closes when the last of its threads comes to wait.
    fn find_enabled(&mut self) {
        self.changed = false;
        let all = self.pending.len();
        // By insertion, each at its place: the able ones first, both in the order of threads.
        self.able = 0;
        for next in 0..all {
            let (thread, able) = (self.pending[next].thread, self.can_go_on(&self.pending[next]));
            let first = if able { 0 } else { self.able };
            let mut to = if able { self.able } else { next };
            while to > first && self.pending[to - 1].thread > thread {
                to -= 1;
            }
            if to < next {
                self.pending[to..=next].rotate_right(1);
            }
            self.able += usize::from(able);
        }
        if self.slot.is_some() {
            self.slot = self.pending.iter().position(|next| next.thread == self.running);
            if self.slot.is_some_and(|slot| slot >= self.able) {
                self.note_deadlock(self.running);
            }
        }
    }

    /// The next actions of the threads that can go on, in the order of threads, and what was done so far.
    #[inline]
    pub(super) fn enabled(&self) -> (&[Action], &[Action]) {
        (&self.pending[..self.able], &self.taken)
    }

    /// Whether a choice among those is the running thread's.
    #[inline]
    pub(super) fn is_of_running(&self, choice: usize) -> bool {
        self.slot == Some(choice)
    }

    #[inline]
    fn can_go_on(&self, pending: &Action) -> bool {
        !is_conditional(pending.kind) || self.condition_holds(pending)
    }

    fn condition_holds(&self, pending: &Action) -> bool {
        let held = self.held_at(pending);
        let nobody_writes = held.is_none_or(|held| held.writer.is_none());
        let over = |limit| held.is_none_or(|held| held.over(limit));
        match (pending.kind, pending.effect) {
            (Kind::Lock | Kind::Read, _) => nobody_writes,
            (Kind::Write, _) => nobody_writes && over(u64::MAX),
            (Kind::AwaitChange, _) => !self.threads[pending.thread].unchanged,
            (Kind::Synchronized, Effect::SectionsBelow(limit)) => over(limit),
            (Kind::RcuBarrierOver, Effect::WorkBelow(work)) => self.done >= work,
            (Kind::RcuWork, _) => self.queue.front().is_some_and(|first| over(first.limit)),
            _ => true,
        }
    }

    /// Who holds what `pending` is about; none when nobody ever did.
    fn held_at(&self, pending: &Action) -> Option<&Held> {
        self.held.get(pending.target?.object)
    }

    /// The running thread is about to do this.
    #[inline(always)]
    pub(super) fn offer(&mut self, action: Action) {
        match self.slot.and_then(|slot| self.pending.get_mut(slot)) {
            Some(pending) => *pending = action,
            None => self.offer_first(action),
        }
        if is_conditional(action.kind) {
            self.offer_conditional(&action);
        }
    }

    #[inline(never)]
    fn offer_first(&mut self, action: Action) {
        self.slot = Some(self.pending.len());
        self.pending.push(action);
        self.changed = true;
    }

    fn offer_conditional(&mut self, action: &Action) {
        self.conditional += 1;
        self.awaiting += usize::from(action.kind == Kind::AwaitChange);
        self.changed |= !self.condition_holds(action);
    }

    /// The running thread has ended.
    pub(super) fn ended(&mut self) {
        if let Some(slot) = self.slot.take() {
            self.pending.remove(slot);
            self.able -= usize::from(slot < self.able);
        }
    }

    /// Takes the next action of an enabled thread, as far as the model goes; the rest follows in its coroutine.
    #[inline]
    pub(super) fn take(&mut self, choice: usize) -> usize {
        let Action { thread, kind, target, effect, .. } = self.pending[choice];
        // As a whole: field by field takes longer.
        self.taken.extend_from_slice(&self.pending[choice..=choice]);
        (self.running, self.slot) = (thread, Some(choice));
        if !is_simple(kind) {
            self.apply_to_model(kind, target, thread, effect, true);
        }
        thread
    }

    /// Takes the next action of the running thread, which is this and was offered or not.
    #[inline(always)]
    pub(super) fn take_own(&mut self, action: Action, offered: bool) {
        let Action { kind, target, thread, effect, .. } = action;
        self.taken.push(action);
        if !is_simple(kind) {
            self.apply_to_model(kind, target, thread, effect, offered);
        }
    }

    /// What taking an action changes here.
    #[inline(never)]
    fn apply_to_model(
        &mut self,
        kind: Kind,
        target: Option<Target>,
        thread: usize,
        effect: Effect,
        offered: bool,
    ) {
        if offered && is_conditional(kind) {
            self.conditional -= 1;
            self.awaiting -= usize::from(kind == Kind::AwaitChange);
        }
        self.changed |= self.conditional > 0;
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
        self.changed = true;
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

    /// The sections of `target` that are open now have numbers below this.
    pub(super) fn sections(&self, target: Target) -> u64 {
        self.held.get(target.object).map_or(0, |held| held.next)
    }

    /// Puts what happened into `execution`, and takes its memory for the next.
    pub(super) fn end(&mut self, outcome: Outcome, execution: &mut Execution) {
        execution.pending.clear();
        execution.pending.extend(self.unfinished().copied());
        execution.pending.sort_unstable_by_key(|pending| pending.thread);
        execution.threads.clear();
        execution.threads.extend(self.threads.drain(..).map(|thread| thread.name));
        std::mem::swap(&mut execution.objects, &mut self.objects.infos);
        std::mem::swap(&mut execution.actions, &mut self.taken);
        std::mem::swap(&mut execution.deadlocks, &mut self.deadlocks);
        execution.outcome = outcome;
    }
}

/// Whether an action is the one that is known, as far as that can be told before it is taken.
#[inline(always)]
fn is_known_as(known: &Action, next: &Action) -> bool {
    known.thread == next.thread
        && known.kind == next.kind
        && known.target == next.target
        && std::ptr::eq(known.site, next.site)
}

/// Whether an action of this kind changes nothing here.
#[inline]
fn is_simple(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::Load(_) | Kind::Store(_) | Kind::CompareExchange | Kind::FetchAdd | Kind::FetchSub | Kind::Free
    )
}

/// Whether an action of this kind must wait at times.
#[inline]
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
