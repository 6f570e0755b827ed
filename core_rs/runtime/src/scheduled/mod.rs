//! The actions as scheduling points of coroutines, so that an order of events can be chosen,
//! recorded and repeated.
//!
//! Guarantee: [`run`] carries out one execution of some threads, in which every action of
//! [`Scheduled`] happens at a moment that a [`Policy`] chose, one after the other. An [`Execution`] is
//! a function of the choices: the same choices give the same actions on the same object numbers.
//! Memory is sequentially consistent: weaker orders are not explored. Code between two actions runs
//! undivided, so what threads share beside the runtime's words is not explored either.
//!
//! # Waiting
//! A thread stops before each action; who cannot take it is not offered to the policy: a lock that is
//! held, a grace period or barrier that is not over, and [`await_change`](crate::Runtime::await_change)
//! while its word holds the value that was seen. So a retry loop that awaits the word it lost on makes
//! no endless executions. When nobody can go on, the execution is over: [`Outcome::Finished`] if all
//! have ended, else [`Outcome::Deadlock`]. A reader does not wait behind a waiting writer, so a
//! recursive read lock is not by itself a deadlock here. A lock break always drops the lock: any
//! thread of the host may wait for the processor.
//!
//! # Grace periods
//! `Synchronize` notes which sections are open; `Synchronized` can be taken when they are over. Work
//! handed over by `CallRcu` runs on a thread of its own, named `rcu`, oldest first, each after the
//! sections that were open when it was handed over. An execution is finished when no work is left.
//!
//! # What depends on what
//! Two actions of different threads depend on each other, so that their order matters, when they
//! - access one word, unless both only read (`Load`, `AwaitChange`, a `CompareExchange` that fails);
//! - access a word of an object that the other frees or allocates, or both free it;
//! - take, drop or break one lock, unless both take or drop it for read;
//! - begin a section (`Section`) and, on the same domain, `Synchronize` or `CallRcu`; or end one
//!   (`SectionEnd`) and go on after waiting for it (`Synchronized`, `RcuWork`);
//! - `CallRcu` and another, an `RcuBarrier`, or the `RcuWork` that it handed over: the work is a queue;
//!   `RcuWorkDone` and an `RcuBarrierOver` that waited for it;
//! - cache, use or invalidate overlapping translations, unless both use or both invalidate them;
//! - use a translation, and free or allocate the guest page that it leads to.
//!
//! `AssertHeld`, `Violated`, `MightSleep` and `CondResched` depend on nothing. [`dependent`] is this list as code.
//!
//! # Objects
//! An object that was freed goes on to be the target of accesses to its words, and of a second `Free`, until
//! something is allocated over them or, if it has no words, by its name and index. Code that allocates memory
//! anew within an execution (see [`Runtime::REUSES_MEMORY`]) hides uses after free from whoever explores.
//!
//! # Translations
//! There is one cache for all cores, and it forgets nothing by itself: a look-up answers the oldest
//! translation that was not invalidated, since some core may have kept that one. Using it is an access to the
//! guest page there: an object named [`GUEST_PAGE`], without words, whose index is its physical address in
//! units of 4 KiB, whatever the granule.
//!
//! # Deadlocks
//! When a thread comes to wait, whoever it waits for is looked at: a lock's holders, the sections that a
//! grace period waits for, the thread `rcu` for a barrier. A cycle is a [`Deadlock`], whether or not other
//! threads can go on. Who awaits a change waits for nobody in particular, and is found when nobody can go on.
//!
//! # How an execution is abandoned
//! When the policy gives up, at a deadlock and at a panic, the coroutines are unwound: their drops
//! run, with the runtime muted. Muted actions, like those outside any run (the set-up of a scenario
//! and the look at its end), are carried out at once, and nothing waits. A thread that panics goes on
//! to take its actions while it unwinds, but without giving way to others.

// Where an action is put together in another place and copied, that takes a third of its whole time.
#![allow(clippy::inline_always)]

mod action;
mod calls;
mod coroutine;
mod dependence;
mod driver;
mod execution;
mod model;
mod objects;
mod policy;
mod program;
mod sync;

use std::sync::atomic::{AtomicU64, Ordering};

use crate::{Access, Inside, LockClass, Object, Runtime, Site, Word};

use driver::{in_a_run, muted, scheduling, set_up};
use model::Model;
use objects::ObjectKey;

pub(crate) use calls::leave;

pub use action::{Action, Effect, Kind, ObjectClass, ObjectInfo, Target};
pub use calls::{Calls, record_calls};
pub use dependence::{dependent, may_be_co_enabled, page_used, writes};
pub use execution::{Deadlock, Execution, NamedThread, Outcome, Waiting, run, run_again, run_into};
pub use policy::{Policy, RandomWalk, Replay};
pub use program::{Instance, Program, Violation};
pub use sync::{Lock, LockGuard, RcuGuard, ReadGuard, RwLock, Srcu, SrcuGuard, WriteGuard};

/// The name of the guest's own pages, as objects.
pub const GUEST_PAGE: &str = "guest page";

/// Coroutines whose every action is a scheduling point.
///
/// ```
/// use runtime::scheduled::{Outcome, Replay, Scheduled, run};
/// use runtime::{Runtime, Word, site};
/// use std::rc::Rc;
///
/// let count = Rc::new(Word::new(0));
/// let thread = |name: &str| {
///     let count = Rc::clone(&count);
///     let work = move || {
///         Scheduled::fetch_add(&count, 1, site!("get"));
///     };
///     (name.to_string(), Box::new(work) as Box<dyn FnOnce()>)
/// };
/// let execution = run(vec![thread("T1"), thread("T2")], &mut Replay(vec![1, 0]));
/// assert_eq!(execution.outcome, Outcome::Finished);
/// assert_eq!(execution.actions.iter().map(|action| action.thread).collect::<Vec<_>>(), [1, 0]);
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Scheduled;

impl Runtime for Scheduled {
    type Lock = Lock;
    type RwLock = RwLock;
    type Srcu = Srcu;
    type LockGuard<'a> = LockGuard<'a>;
    type ReadGuard<'a> = ReadGuard<'a>;
    type WriteGuard<'a> = WriteGuard<'a>;
    type SrcuGuard<'a> = SrcuGuard<'a>;
    type RcuGuard = RcuGuard;

    /// Memory that was freed is not allocated again within an execution.
    const REUSES_MEMORY: bool = false;

    fn load(word: &Word, access: Access, site: Site) -> u64 {
        on_word(word, Kind::Load(access), site, |cell| {
            let value = cell.load(Ordering::Relaxed);
            (value, Effect::Read(value))
        })
    }

    fn store(word: &Word, value: u64, access: Access, site: Site) {
        on_word(word, Kind::Store(access), site, |cell| {
            let before = cell.load(Ordering::Relaxed);
            cell.store(value, Ordering::Relaxed);
            ((), Effect::Wrote { before, now: value })
        });
    }

    fn compare_exchange(word: &Word, current: u64, new: u64, site: Site) -> Result<u64, u64> {
        on_word(word, Kind::CompareExchange, site, |cell| {
            let before = cell.load(Ordering::Relaxed);
            if before != current {
                return (Err(before), Effect::Read(before));
            }
            cell.store(new, Ordering::Relaxed);
            (Ok(before), Effect::Wrote { before, now: new })
        })
    }

    fn fetch_add(word: &Word, n: u64, site: Site) -> u64 {
        on_word(word, Kind::FetchAdd, site, |cell| replace(cell, |before| before.wrapping_add(n)))
    }

    fn fetch_sub(word: &Word, n: u64, site: Site) -> u64 {
        on_word(word, Kind::FetchSub, site, |cell| replace(cell, |before| before.wrapping_sub(n)))
    }

    fn await_change(word: &Word, seen: u64, site: Site) {
        let unchanged = word.cell().load(Ordering::Relaxed) == seen;
        if let Some(run) = scheduling() {
            let awaits = |model: &mut Model| {
                model.threads[model.running].unchanged = unchanged;
                (Some(model.objects.of_word(word)), Effect::Seen(seen))
            };
            run.act(Kind::AwaitChange, site, awaits, |_| ());
        } else {
            assert!(
                !unchanged || in_a_run(),
                "{site:?} awaits a change of {seen:#x} outside a run, where nobody else writes"
            );
        }
    }

    fn allocated(object: Object<'_>, site: Site) {
        let key = ObjectKey::new(object);
        if let Some(run) = scheduling() {
            let appears = |model: &mut Model| {
                model.threads[model.running].allocates = Some(key);
                (Some(model.objects.fresh(object)), Effect::None)
            };
            run.act(Kind::Allocate, site, appears, |_| ());
        } else {
            set_up(|objects| objects.allocated(key, None));
        }
    }

    fn freed(object: Object<'_>, site: Site) {
        if let Some(run) = scheduling() {
            let target = |model: &mut Model| (Some(model.objects.of_object(object)), Effect::None);
            run.act(Kind::Free, site, target, |_| ());
        } else {
            set_up(|objects| objects.gone(&ObjectKey::new(object)));
        }
    }

    fn new_lock(name: &'static str, class: LockClass) -> Lock {
        Lock::new(name, class)
    }

    fn lock(lock: &Lock, site: Site) -> LockGuard<'_> {
        lock.lock(site)
    }

    fn new_rwlock(name: &'static str) -> RwLock {
        RwLock::new(name)
    }

    fn read(lock: &RwLock, site: Site) -> ReadGuard<'_> {
        lock.read(site)
    }

    fn write(lock: &RwLock, site: Site) -> WriteGuard<'_> {
        lock.write(site)
    }

    /// Always breaks the lock, in a run.
    fn cond_resched_write(guard: &mut WriteGuard<'_>, site: Site) -> bool {
        guard.break_lock(site)
    }

    fn new_srcu(name: &'static str) -> Srcu {
        Srcu::new(name)
    }

    fn srcu_read(srcu: &Srcu, site: Site) -> SrcuGuard<'_> {
        srcu.read(site)
    }

    fn synchronize_srcu(srcu: &Srcu, site: Site) {
        srcu.synchronize(site);
    }

    fn rcu_read(site: Site) -> RcuGuard {
        RcuGuard::enter(site)
    }

    fn call_rcu(work: Box<dyn FnOnce() + Send>, site: Site) {
        sync::call_rcu(work, site);
    }

    fn synchronize_rcu(site: Site) {
        sync::synchronize_rcu(site);
    }

    fn rcu_barrier(site: Site) {
        sync::rcu_barrier(site);
    }

    fn assert_held(lock: &Lock, site: Site) {
        lock.assert_held(site);
    }

    fn assert_held_write(lock: &RwLock, site: Site) {
        lock.assert_held_write(site);
    }

    fn violated(rule: &'static str, object: &'static str, site: Site) {
        if let Some(run) = scheduling() {
            let broken = |model: &mut Model| {
                (Some(model.objects.single(object, ObjectClass::Word)), Effect::Broken { rule })
            };
            run.act(Kind::Violated, site, broken, |_| ());
        }
    }

    fn inside(function: &'static str) -> Inside {
        Inside::of(calls::enter(function))
    }

    fn observe<T>(look: impl FnOnce() -> T) -> T {
        muted(look)
    }

    fn might_sleep(site: Site) {
        pass(Kind::MightSleep, site);
    }

    fn cond_resched(site: Site) {
        pass(Kind::CondResched, site);
    }

    fn tlb_insert(ipa: u64, size: u64, pa: u64, site: Site) {
        let inserts = |model: &mut Model| model.cache_translation(ipa, size, pa);
        translate(Kind::TlbInsert, ipa, size, site, inserts);
    }

    fn tlb_lookup(ipa: u64, site: Site) -> Option<u64> {
        let finds = |model: &mut Model| {
            let pa = model.cached_translation(ipa)?;
            let page = model.objects.guest_page(pa);
            model.did(Effect::Cached { ipa, pa, page });
            Some(pa)
        };
        translate(Kind::TlbLookup, ipa, 1, site, finds).flatten()
    }

    fn tlb_invalidate(ipa: u64, size: u64, site: Site) {
        let drops = |model: &mut Model| model.invalidate_translations(ipa, size);
        translate(Kind::TlbInvalidate, ipa, size, site, drops);
    }
}

/// An action on a word: `does` carries it out, and answers its effect too.
///
/// Inside a run nobody else is at the word between two actions, and outside nobody is at all, so that one load and
/// one store are enough.
#[inline(always)]
fn on_word<T>(word: &Word, kind: Kind, site: Site, does: impl FnOnce(&AtomicU64) -> (T, Effect)) -> T {
    let Some(run) = scheduling() else { return does(word.cell()).0 };
    let target = |model: &mut Model| (Some(model.objects.of_word(word)), Effect::None);
    run.act(kind, site, target, |model| {
        let (result, effect) = does(word.cell());
        model.did(effect);
        result
    })
}

/// Writes what `now` makes of the content; answers what was there.
#[inline(always)]
fn replace(cell: &AtomicU64, now: impl FnOnce(u64) -> u64) -> (u64, Effect) {
    let before = cell.load(Ordering::Relaxed);
    let now = now(before);
    cell.store(now, Ordering::Relaxed);
    (before, Effect::Wrote { before, now })
}

/// An action on translations, inside a run.
fn translate<T>(
    kind: Kind,
    ipa: u64,
    size: u64,
    site: Site,
    does: impl FnOnce(&mut Model) -> T,
) -> Option<T> {
    let known = |model: &mut Model| (Some(model.tlb()), Effect::Addresses { ipa, size });
    scheduling().map(|run| run.act(kind, site, known, does))
}

fn pass(kind: Kind, site: Site) {
    if let Some(run) = scheduling() {
        run.act(kind, site, |_| (None, Effect::None), |_| ());
    }
}

#[cfg(test)]
mod tests;
