//! What an execution consists of: actions on objects, as plain data.

use std::num::NonZeroU32;

use crate::{Access, LockClass, Site};

/// One visible action of one thread.
///
/// Small, because every one is copied several times.
#[derive(Clone, Copy, Debug)]
pub struct Action {
    /// Whose it is, an index into [`Execution::threads`](super::Execution::threads).
    pub thread: usize,
    /// What is done.
    pub kind: Kind,
    /// To what; nothing for actions that concern their thread alone.
    pub target: Option<Target>,
    /// Where in the code under study.
    pub site: Site,
    /// What it did. Most of it is not known before the action is taken.
    pub effect: Effect,
}

/// Two actions are the same when their sites have the same name.
impl PartialEq for Action {
    fn eq(&self, other: &Self) -> bool {
        let key =
            |action: &Self| (action.thread, action.kind, action.target, action.effect, action.site.name());
        key(self) == key(other)
    }
}

impl Eq for Action {}

/// What an action does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Reads a word.
    Load(Access),
    /// Writes a word.
    Store(Access),
    /// Reads a word and, if it is as expected, writes it.
    CompareExchange,
    /// Reads and writes a word.
    FetchAdd,
    /// Reads and writes a word.
    FetchSub,
    /// Reads a word, once it differs from what was seen.
    AwaitChange,
    /// An object begins to exist.
    Allocate,
    /// An object ceases to exist.
    Free,
    /// Takes a lock.
    Lock,
    /// Drops a lock.
    Unlock,
    /// Takes a reader-writer lock for read.
    Read,
    /// Drops a reader-writer lock that was held for read.
    ReadUnlock,
    /// Takes a reader-writer lock for write.
    Write,
    /// Drops a reader-writer lock that was held for write.
    WriteUnlock,
    /// Begins a read section of RCU or of an SRCU domain.
    Section,
    /// Ends a read section.
    SectionEnd,
    /// Begins to wait for the read sections that are open now.
    Synchronize,
    /// Goes on after they are over.
    Synchronized,
    /// Hands work over, to be run after the RCU read sections that are open now.
    CallRcu,
    /// Takes up the oldest work handed over; its own actions follow.
    RcuWork,
    /// Has done that work.
    RcuWorkDone,
    /// Begins to wait for all work handed over so far.
    RcuBarrier,
    /// Goes on after it has run.
    RcuBarrierOver,
    /// Says that a lock is held; the [`Effect`] tells whether it is.
    AssertHeld,
    /// Says that a rule is broken, which is harm.
    Violated,
    /// Passes a place that may sleep.
    MightSleep,
    /// Passes a voluntary reschedule point.
    CondResched,
    /// Caches a translation.
    TlbInsert,
    /// Uses a cached translation, if there is one.
    TlbLookup,
    /// Invalidates cached translations.
    TlbInvalidate,
}

/// What an action did, as far as its kind does not say it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Nothing, or nothing yet.
    None,
    /// Read this value, and left it: loads, and a `CompareExchange` that fails.
    Read(u64),
    /// `AwaitChange`: the value that was seen before. Known before it is taken.
    Seen(u64),
    /// Wrote a word.
    Wrote {
        /// What it held.
        before: u64,
        /// What it holds now.
        now: u64,
    },
    /// `Section`, `SectionEnd`: the section's number in its domain, from 0 up. Holds of a reader-writer
    /// lock for read have such numbers too. Known before a `SectionEnd` is taken.
    Section(u64),
    /// `Synchronized` waits for sections below this number. Known before it is taken.
    SectionsBelow(u64),
    /// `CallRcu`, `RcuWork` and `RcuWorkDone`: which work, from 0 up.
    Work {
        /// Its number.
        number: u64,
        /// It waits for sections below this number.
        sections_below: u64,
    },
    /// `RcuBarrierOver` waits for work below this number. Known before it is taken.
    WorkBelow(u64),
    /// `TlbInsert`, `TlbInvalidate`, and `TlbLookup` of what is not cached: the addresses, known before.
    Addresses {
        /// The first.
        ipa: u64,
        /// How many bytes.
        size: u64,
    },
    /// `TlbLookup` of what is cached.
    Cached {
        /// The address.
        ipa: u64,
        /// Where it lies.
        pa: u64,
        /// The [guest page](super::GUEST_PAGE) that it leads to: one more than a [`Target::object`]. See
        /// [`page_used`](super::page_used).
        page: Option<NonZeroU32>,
    },
    /// `Violated`: the rule, by a short name such as `null-dereference`. The target stands for what it is broken
    /// for. Known before.
    Broken {
        /// Its name.
        rule: &'static str,
    },
    /// `AssertHeld`: whether the thread holds the lock.
    Held(bool),
}

/// What an action is done to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Target {
    /// Index into [`Execution::objects`](super::Execution::objects).
    pub object: usize,
    /// Which of its words; 0 when the whole object is meant.
    pub word: usize,
}

/// What a [`Target`] stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ObjectInfo {
    /// The object's, lock's or domain's name.
    pub name: &'static str,
    /// Which one of its kind, for an allocated object.
    pub index: u64,
    /// What it is.
    pub class: ObjectClass,
}

/// The classes of objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ObjectClass {
    /// Something that is allocated and freed. A new allocation at the same place is a new object.
    Allocation,
    /// A word outside any allocation.
    Word,
    /// A lock.
    Lock(LockClass),
    /// A reader-writer spin lock.
    RwLock,
    /// A sleepable-RCU domain.
    Srcu,
    /// RCU.
    Rcu,
    /// The translation caches of all cores.
    Tlb,
}
