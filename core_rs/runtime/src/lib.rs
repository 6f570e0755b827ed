//! The actions of concurrent kernel code, and the runtimes that carry them out.
//!
//! The table and the life cycle are written once, against [`Runtime`]: it names everything that one
//! thread may do and another may observe. [`native::Native`] carries the actions out on real threads
//! with real atomics and instrumented locks; [`scheduled::Scheduled`] makes every action a scheduling
//! point of a coroutine, so that an order of events can be chosen, recorded and repeated.
//!
//! What is guaranteed: code that touches shared state only through a `Runtime` behaves the same on
//! both. What is not: a runtime does not check that a lock protects anything; checkers do, elsewhere.

mod site;
mod word;

pub mod native;
pub mod scheduled;

pub use site::{Site, SiteInfo};
pub use word::Word;

/// How a shared word is read or written, as the kernel's memory model distinguishes it.
///
/// Read-modify-write operations ([`Runtime::compare_exchange`], [`Runtime::fetch_add`],
/// [`Runtime::fetch_sub`]) are the third kind, *atomic*, and fully ordered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Access {
    /// An ordinary C access: the compiler may do what it likes, a race is a finding.
    Plain,
    /// `READ_ONCE` or `WRITE_ONCE`.
    Marked,
    /// `smp_load_acquire` or `smp_store_release`: marked, and ordered.
    Ordered,
}

/// Whether the holder of a lock spins or sleeps while it waits, and so what may happen under it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LockClass {
    /// `spinlock_t`: nothing under it may sleep.
    Spin,
    /// `struct mutex`: may sleep under it.
    Mutex,
}

/// Something that is allocated and freed, as a name and the words it consists of.
#[derive(Clone, Copy, Debug)]
pub struct Object<'a> {
    /// What it is, such as `stage2 table page` or `kvm.arch.split_page_cache.objects`.
    pub name: &'static str,
    /// Which one of its kind.
    pub index: u64,
    /// Its shared words: an access to one of them is an access to the object.
    pub words: &'a [Word],
}

/// Says while it lives that the running thread is inside a function, see [`Runtime::inside`].
#[derive(Debug)]
#[must_use = "the thread is inside only while this lives"]
pub struct Inside {
    /// Whose call is recorded, if it is.
    thread: Option<usize>,
}

impl Inside {
    pub(crate) fn of(thread: Option<usize>) -> Self {
        Self { thread }
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        if let Some(thread) = self.thread {
            scheduled::leave(thread);
        }
    }
}

/// What code under study may do that another thread can observe.
///
/// A runtime has no value: the code under study names it as a type parameter, and a runtime that
/// needs state keeps it with the locks it made or with the running thread. Each action carries a
/// [`Site`] so that counters, ladders and costs can speak of it.
pub trait Runtime: Copy + Default + Send + Sync + 'static {
    /// Whether memory that was freed may be allocated again. Where it may not, a use after free is always
    /// seen to be one, whatever else was allocated in between.
    const REUSES_MEMORY: bool;

    /// A lock of either [`LockClass`].
    type Lock: Send + Sync;
    /// A reader-writer spin lock (`rwlock_t`, as `mmu_lock` on arm64).
    type RwLock: Send + Sync;
    /// A sleepable-RCU domain (`struct srcu_struct`).
    type Srcu: Send + Sync;
    /// Holds a [`Runtime::Lock`]; dropping it unlocks.
    type LockGuard<'a>;
    /// Holds a [`Runtime::RwLock`] for read.
    type ReadGuard<'a>;
    /// Holds a [`Runtime::RwLock`] for write.
    type WriteGuard<'a>;
    /// A read section of a [`Runtime::Srcu`].
    type SrcuGuard<'a>;
    /// An RCU read section.
    type RcuGuard;

    /// Reads a shared word.
    fn load(word: &Word, access: Access, site: Site) -> u64;
    /// Writes a shared word.
    fn store(word: &Word, value: u64, access: Access, site: Site);
    /// Replaces `current` by `new`; answers what was there, as `Ok` when it was replaced.
    fn compare_exchange(word: &Word, current: u64, new: u64, site: Site) -> Result<u64, u64>;
    /// Adds to a counter (`atomic_add_return` and its like); answers the value before.
    fn fetch_add(word: &Word, n: u64, site: Site) -> u64;
    /// Subtracts from a counter; answers the value before.
    fn fetch_sub(word: &Word, n: u64, site: Site) -> u64;
    /// [`Runtime::fetch_add`] on a counter that a lock keeps everybody else from: real threads need no
    /// atomic instruction for it, to everyone else it is the same action.
    #[inline]
    fn add_exclusive(word: &Word, n: u64, site: Site) -> u64 {
        Self::fetch_add(word, n, site)
    }
    /// [`Runtime::fetch_sub`] on a counter that a lock keeps everybody else from.
    #[inline]
    fn sub_exclusive(word: &Word, n: u64, site: Site) -> u64 {
        Self::fetch_sub(word, n, site)
    }
    /// Waits, in a retry loop, until `word` may no longer hold `seen`.
    fn await_change(word: &Word, seen: u64, site: Site);

    /// Says that `object` begins to exist. Its words are private until they are published.
    fn allocated(object: Object<'_>, site: Site);
    /// Says that `object` ceases to exist: any later access to it is a use after free.
    fn freed(object: Object<'_>, site: Site);

    /// Makes a lock; `name` is its class name, as lockdep would print it.
    fn new_lock(name: &'static str, class: LockClass) -> Self::Lock;
    /// Takes a lock.
    fn lock(lock: &Self::Lock, site: Site) -> Self::LockGuard<'_>;
    /// Makes a reader-writer lock; `name` is its class name.
    fn new_rwlock(name: &'static str) -> Self::RwLock;
    /// Takes a reader-writer lock for read.
    fn read(lock: &Self::RwLock, site: Site) -> Self::ReadGuard<'_>;
    /// Takes a reader-writer lock for write.
    fn write(lock: &Self::RwLock, site: Site) -> Self::WriteGuard<'_>;
    /// [`Runtime::read`] by a caller that reaches only addresses in `[start, start + size)` through what the lock
    /// protects. A lock that tells addresses apart may let others in elsewhere; any other is taken whole.
    #[inline]
    fn read_range(lock: &Self::RwLock, start: u64, size: u64, site: Site) -> Self::ReadGuard<'_> {
        let _ = (start, size);
        Self::read(lock, site)
    }
    /// [`Runtime::write`] by a caller that reaches only addresses in `[start, start + size)`, likewise.
    #[inline]
    fn write_range(lock: &Self::RwLock, start: u64, size: u64, site: Site) -> Self::WriteGuard<'_> {
        let _ = (start, size);
        Self::write(lock, site)
    }
    /// A lock break (`cond_resched_rwlock_write`): drops the lock and takes it again when another
    /// thread waits for it or for the processor; answers whether it did.
    fn cond_resched_write(guard: &mut Self::WriteGuard<'_>, site: Site) -> bool;

    /// Makes a sleepable-RCU domain.
    fn new_srcu(name: &'static str) -> Self::Srcu;
    /// Enters a read section of `srcu`.
    fn srcu_read(srcu: &Self::Srcu, site: Site) -> Self::SrcuGuard<'_>;
    /// Waits until every read section that has begun is over.
    fn synchronize_srcu(srcu: &Self::Srcu, site: Site);

    /// Enters an RCU read section.
    fn rcu_read(site: Site) -> Self::RcuGuard;
    /// Runs `work` after every RCU read section that has begun is over.
    fn call_rcu(work: Box<dyn FnOnce() + Send>, site: Site);
    /// Waits until every RCU read section that has begun is over.
    fn synchronize_rcu(site: Site);
    /// Waits until all work handed to [`Runtime::call_rcu`] so far has run.
    fn rcu_barrier(site: Site);

    /// Says that the caller relies on holding `lock` (`lockdep_assert_held`).
    fn assert_held(lock: &Self::Lock, site: Site);
    /// Says that the caller relies on holding `lock` for write (`lockdep_assert_held_write`).
    fn assert_held_write(lock: &Self::RwLock, site: Site);

    /// Says that a rule is broken at this moment, for `object`: harm that the code under study itself can tell,
    /// such as a NULL dereference.
    fn violated(rule: &'static str, object: &'static str, site: Site);
    /// The running thread is inside `function` until the answer is dropped: no action, but what a call chain
    /// is made of where somebody records it ([`scheduled::record_calls`]).
    fn inside(function: &'static str) -> Inside {
        let _ = function;
        Inside::of(None)
    }
    /// A look at shared words that is no action of the running thread, and that nothing interrupts: for what
    /// a model knows and its threads do not.
    fn observe<T>(look: impl FnOnce() -> T) -> T;

    /// Marks a place that may sleep: a finding when a spinning lock is held.
    fn might_sleep(site: Site);
    /// A voluntary reschedule point.
    fn cond_resched(site: Site);
    /// A core has walked the table and caches that `[ipa, ipa + size)` lies at `pa`.
    fn tlb_insert(ipa: u64, size: u64, pa: u64, site: Site);
    /// A core uses a cached translation: where `ipa` lies, if that is cached. Real caches are out of
    /// reach: on real threads nothing ever is.
    fn tlb_lookup(ipa: u64, site: Site) -> Option<u64>;
    /// Invalidates cached translations of `[ipa, ipa + size)`, on all cores.
    fn tlb_invalidate(ipa: u64, size: u64, site: Site);
}
