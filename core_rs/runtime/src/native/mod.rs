//! The actions on real threads: std's atomics, crossbeam's epochs, and locks: `parking_lot`'s, or, for the
//! reader-writer lock that `mmu_lock` is, any of the [kinds](LockKind).
//!
//! Guarantee: with [`Off`] every action compiles to the plain operation. With [`Counts`] and
//! [`Times`] each lock counts, for read and write apart and exactly, what [`LockStats`] lists.
//! A *plain* access is a relaxed atomic here: a race is not undefined behaviour, and not detected.
//!
//! Who may wait for whom: a lock waits for its holders; [`Runtime::synchronize_srcu`] for the readers
//! of its own domain; [`Runtime::synchronize_rcu`] and [`Runtime::rcu_barrier`] for all RCU readers.
//! Whoever waits for readers while being one waits for ever, as in the kernel.

mod backoff;
mod counters;
mod delay;
mod flip;
mod kinds;
mod locks;
mod rcu;
mod srcu;
mod stats;
mod stretch;
mod threads;

/// What [`flip`] and the locks of our own synchronise with; their loom tests put loom's own here.
mod sync {
    pub(super) use std::hint::spin_loop;
    pub(super) use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence};
    pub(super) use std::thread::yield_now;
}

use std::fmt;
use std::marker::PhantomData;
use std::sync::atomic::Ordering;

use backoff::until;

use crate::{Access, LockClass, Object, Runtime, Site, Word};

pub use delay::Delay;
pub use kinds::{
    AnyLock, BigReader, LockKind, MadeAs, Mcs, Mutex, ParkingLot, Qrwlock, Range, RwLockKind, Std, Ticket,
    UnknownLock,
};
pub use locks::{Lock, LockGuard, ReadGuard, RwLock, WriteGuard};
pub use rcu::RcuGuard;
pub use srcu::{Srcu, SrcuGuard};
pub use stats::{LockStats, SideStats, SiteStats, Spent, TimeStats};

/// What the locks of a [`Native`] runtime record.
pub trait Counting: Copy + Default + fmt::Debug + Send + Sync + 'static {
    /// Acquisitions and contentions, by site.
    const COUNT: bool;
    /// Wait and hold times too: two time stamps for an uncontended pair of lock and unlock.
    const TIME: bool;
}

/// Locks record nothing, and cost what `parking_lot`'s cost.
#[derive(Clone, Copy, Debug, Default)]
pub struct Off;

/// Locks count acquisitions and contentions.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts;

/// Locks count, and measure how long they are waited for and held.
#[derive(Clone, Copy, Debug, Default)]
pub struct Times;

impl Counting for Off {
    const COUNT: bool = false;
    const TIME: bool = false;
}

impl Counting for Counts {
    const COUNT: bool = true;
    const TIME: bool = false;
}

impl Counting for Times {
    const COUNT: bool = true;
    const TIME: bool = true;
}

/// Real threads.
///
/// ```
/// use runtime::native::{Counts, Native};
/// use runtime::{Runtime, site};
///
/// let mmu_lock = Native::<Counts>::new_rwlock("mmu_lock");
/// drop(Native::read(&mmu_lock, site!("fault")));
/// drop(Native::write(&mmu_lock, site!("teardown")));
/// let stats = Native::stats(&mmu_lock);
/// assert_eq!((stats.read.acquisitions, stats.write.acquisitions), (1, 1));
/// assert_eq!(stats.read.sites[0].site.name(), "fault");
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Native<C: Counting = Off, K: RwLockKind = ParkingLot>(PhantomData<(C, K)>);

impl<C: Counting> Native<C, AnyLock> {
    /// Makes a reader-writer lock of a kind; `name` is its class name.
    pub fn new_rwlock_of(kind: LockKind, name: &'static str) -> RwLock<C, AnyLock> {
        RwLock::of(kind, name)
    }

    /// Of which kind a lock is.
    pub fn kind(lock: &RwLock<C, AnyLock>) -> LockKind {
        lock.kind()
    }
}

impl<C: Counting, K: RwLockKind> Native<C, K> {
    /// What a reader-writer lock has recorded so far: exact for what happened before the call, and
    /// all zero with [`Off`].
    pub fn stats(lock: &RwLock<C, K>) -> LockStats {
        lock.stats()
    }

    /// Makes room for what the running thread will record of `lock`, so that the first acquisition does not:
    /// for code that is timed.
    pub fn prepare(lock: &RwLock<C, K>) {
        lock.prepare();
    }

    /// Runs `work`, and answers, with [`Times`], the longest time in nanoseconds that the running thread went without a
    /// point at which the kernel would let another task run: `cond_resched`, a lock break, or whatever may sleep.
    ///
    /// ```
    /// use runtime::native::{Native, Off, Times};
    /// use runtime::{Runtime, site};
    ///
    /// let work = || {
    ///     for _ in 0..10 {
    ///         std::thread::sleep(std::time::Duration::from_micros(100));
    ///         Native::<Times>::cond_resched(site!("between"));
    ///     }
    /// };
    /// let ((), longest) = Native::<Times>::longest_stretch(work);
    /// assert!(longest.is_some_and(|ns| ns >= 100_000));
    /// assert_eq!(Native::<Off>::longest_stretch(|| ()), ((), None));
    /// ```
    pub fn longest_stretch<T>(work: impl FnOnce() -> T) -> (T, Option<u64>) {
        if C::TIME {
            let (done, ns) = stretch::longest(work);
            (done, Some(ns))
        } else {
            (work(), None)
        }
    }

    /// A place where another task may run.
    #[inline]
    fn reschedule_point() {
        if C::TIME {
            stretch::point();
        }
    }

    /// Runs what may sleep.
    #[inline]
    fn asleep<T>(sleep: impl FnOnce() -> T) -> T {
        if C::TIME { stretch::asleep(sleep) } else { sleep() }
    }

    /// What a lock has recorded so far; a plain lock has no read side, its `read` is all zero.
    pub fn lock_stats(lock: &Lock<C>) -> LockStats {
        lock.stats()
    }
}

impl<C: Counting, K: RwLockKind> Runtime for Native<C, K> {
    type Lock = Lock<C>;
    type RwLock = RwLock<C, K>;
    type Srcu = Srcu;
    type LockGuard<'a> = LockGuard<'a, C>;
    type ReadGuard<'a> = ReadGuard<'a, C, K>;
    type WriteGuard<'a> = WriteGuard<'a, C, K>;
    type SrcuGuard<'a> = SrcuGuard<'a>;
    type RcuGuard = RcuGuard;

    const REUSES_MEMORY: bool = true;

    /// A marked load acquires: `READ_ONCE` heads an address dependency, which Rust has no weaker
    /// ordering for.
    #[inline]
    fn load(word: &Word, access: Access, _site: Site) -> u64 {
        match access {
            Access::Plain => word.cell().load(Ordering::Relaxed),
            Access::Marked | Access::Ordered => word.cell().load(Ordering::Acquire),
        }
    }

    #[inline]
    fn store(word: &Word, value: u64, access: Access, _site: Site) {
        match access {
            Access::Plain | Access::Marked => word.cell().store(value, Ordering::Relaxed),
            Access::Ordered => word.cell().store(value, Ordering::Release),
        }
    }

    #[inline]
    fn compare_exchange(word: &Word, current: u64, new: u64, _site: Site) -> Result<u64, u64> {
        word.cell().compare_exchange(current, new, Ordering::SeqCst, Ordering::SeqCst)
    }

    #[inline]
    fn fetch_add(word: &Word, n: u64, _site: Site) -> u64 {
        word.cell().fetch_add(n, Ordering::SeqCst)
    }

    #[inline]
    fn fetch_sub(word: &Word, n: u64, _site: Site) -> u64 {
        word.cell().fetch_sub(n, Ordering::SeqCst)
    }

    #[inline]
    fn add_exclusive(word: &Word, n: u64, _site: Site) -> u64 {
        let before = word.cell().load(Ordering::Relaxed);
        word.cell().store(before.wrapping_add(n), Ordering::Relaxed);
        before
    }

    #[inline]
    fn sub_exclusive(word: &Word, n: u64, _site: Site) -> u64 {
        let before = word.cell().load(Ordering::Relaxed);
        word.cell().store(before.wrapping_sub(n), Ordering::Relaxed);
        before
    }

    /// Spins for about as long as another core needs for a critical section, then yields.
    #[inline]
    fn await_change(word: &Word, seen: u64, _site: Site) {
        Self::asleep(|| until(|| word.cell().load(Ordering::Acquire) != seen));
    }

    #[inline]
    fn allocated(_object: Object<'_>, _site: Site) {}

    #[inline]
    fn freed(_object: Object<'_>, _site: Site) {}

    fn new_lock(name: &'static str, class: LockClass) -> Lock<C> {
        Lock::new(name, class)
    }

    #[inline]
    fn lock(lock: &Lock<C>, site: Site) -> LockGuard<'_, C> {
        lock.lock(site)
    }

    fn new_rwlock(name: &'static str) -> RwLock<C, K> {
        RwLock::new(name)
    }

    #[inline]
    fn read(lock: &RwLock<C, K>, site: Site) -> ReadGuard<'_, C, K> {
        lock.read(K::whole(), site)
    }

    #[inline]
    fn write(lock: &RwLock<C, K>, site: Site) -> WriteGuard<'_, C, K> {
        lock.write(K::whole(), site)
    }

    #[inline]
    fn read_range(lock: &RwLock<C, K>, start: u64, size: u64, site: Site) -> ReadGuard<'_, C, K> {
        lock.read(K::span(start, size), site)
    }

    #[inline]
    fn write_range(lock: &RwLock<C, K>, start: u64, size: u64, site: Site) -> WriteGuard<'_, C, K> {
        lock.write(K::span(start, size), site)
    }

    /// Breaks the lock only when another thread waits for it.
    #[inline]
    fn cond_resched_write(guard: &mut WriteGuard<'_, C, K>, site: Site) -> bool {
        Self::reschedule_point();
        guard.break_if_awaited(site)
    }

    fn new_srcu(_name: &'static str) -> Srcu {
        Srcu::new()
    }

    #[inline]
    fn srcu_read(srcu: &Srcu, _site: Site) -> SrcuGuard<'_> {
        srcu.read()
    }

    fn synchronize_srcu(srcu: &Srcu, _site: Site) {
        Self::asleep(|| srcu.synchronize());
    }

    #[inline]
    fn rcu_read(_site: Site) -> RcuGuard {
        rcu::read()
    }

    fn call_rcu(work: Box<dyn FnOnce() + Send>, _site: Site) {
        rcu::call(work);
    }

    fn synchronize_rcu(_site: Site) {
        Self::asleep(rcu::synchronize);
    }

    fn rcu_barrier(_site: Site) {
        Self::asleep(rcu::barrier);
    }

    #[inline]
    fn assert_held(_lock: &Lock<C>, _site: Site) {}

    #[inline]
    fn assert_held_write(_lock: &RwLock<C, K>, _site: Site) {}

    #[inline]
    fn violated(_rule: &'static str, _object: &'static str, _site: Site) {}

    /// Others go on meanwhile.
    #[inline]
    fn observe<T>(look: impl FnOnce() -> T) -> T {
        look()
    }

    #[inline]
    fn might_sleep(_site: Site) {
        Self::reschedule_point();
    }

    /// Nothing but a mark for [`Native::longest_stretch`]: the threads of this runtime are preempted by the host's
    /// kernel.
    #[inline]
    fn cond_resched(_site: Site) {
        Self::reschedule_point();
    }

    #[inline]
    fn tlb_insert(_ipa: u64, _size: u64, _pa: u64, _site: Site) {}

    #[inline]
    fn tlb_lookup(_ipa: u64, _site: Site) -> Option<u64> {
        None
    }

    #[inline]
    fn tlb_invalidate(_ipa: u64, _size: u64, _site: Site) {}
}

#[cfg(test)]
mod tests;
