//! One kind that is any of them: which, is chosen when the lock is made.

use std::cell::Cell;
use std::fmt;
use std::marker::PhantomData;
use std::str::FromStr;
use std::sync::atomic::AtomicU32;

use super::raw::Span;
use super::{BigReader, Mcs, Mutex, ParkingLot, Qrwlock, Range, RwLockKind, Std, Ticket};

macro_rules! kinds {
    ($($kind:ident = $name:literal,)*) => {
        /// Which lock plays `mmu_lock`. Its text is its name in a sweep.
        ///
        /// ```
        /// use runtime::native::LockKind;
        ///
        /// let kind: LockKind = "big_reader".parse()?;
        /// assert_eq!((kind, kind.to_string()), (LockKind::BigReader, "big_reader".to_owned()));
        /// assert!("spinlock".parse::<LockKind>().is_err());
        /// # Ok::<(), runtime::native::UnknownLock>(())
        /// ```
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
        pub enum LockKind {
            #[default]
            $(#[doc = concat!("[`", stringify!($kind), "`](struct@", stringify!($kind), ")")] $kind,)*
        }

        impl LockKind {
            /// Every kind.
            pub const ALL: &[Self] = &[$(Self::$kind),*];

            /// The name of the kind.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$kind => $name,)*
                }
            }
        }

        /// A lock of a kind that was chosen.
        pub enum Lock {
            $($kind(<$kind as RwLockKind>::Lock),)*
        }

        /// Holds it for read.
        pub enum ReadGuard<'a> {
            $($kind(<$kind as RwLockKind>::ReadGuard<'a>),)*
        }

        /// Holds it for write.
        pub enum WriteGuard<'a> {
            $($kind(<$kind as RwLockKind>::WriteGuard<'a>),)*
        }

        impl AnyLock {
            /// Makes a lock of this kind.
            pub(in super::super) fn of(kind: LockKind) -> Lock {
                match kind {
                    $(LockKind::$kind => Lock::$kind($kind::make()),)*
                }
            }

            /// Of which kind it is.
            pub(in super::super) fn kind(lock: &Lock) -> LockKind {
                match lock {
                    $(Lock::$kind(_) => LockKind::$kind,)*
                }
            }
        }

        impl RwLockKind for AnyLock {
            type Lock = Lock;
            type ReadGuard<'a> = ReadGuard<'a>;
            type WriteGuard<'a> = WriteGuard<'a>;
            type Span = Span;

            fn make() -> Lock {
                Self::of(CHOSEN.get())
            }

            #[inline]
            fn span(start: u64, size: u64) -> Span {
                Span { start, size }
            }

            #[inline]
            fn try_read(lock: &Lock, Span { start, size }: Span) -> Option<ReadGuard<'_>> {
                match lock {
                    $(Lock::$kind(lock) => {
                        $kind::try_read(lock, $kind::span(start, size)).map(ReadGuard::$kind)
                    })*
                }
            }

            fn read(lock: &Lock, Span { start, size }: Span) -> ReadGuard<'_> {
                match lock {
                    $(Lock::$kind(lock) => ReadGuard::$kind($kind::read(lock, $kind::span(start, size))),)*
                }
            }

            #[inline]
            fn try_write(lock: &Lock, Span { start, size }: Span) -> Option<WriteGuard<'_>> {
                match lock {
                    $(Lock::$kind(lock) => {
                        $kind::try_write(lock, $kind::span(start, size)).map(WriteGuard::$kind)
                    })*
                }
            }

            fn write(lock: &Lock, Span { start, size }: Span) -> WriteGuard<'_> {
                match lock {
                    $(Lock::$kind(lock) => WriteGuard::$kind($kind::write(lock, $kind::span(start, size))),)*
                }
            }

            #[inline]
            fn last(lock: &Lock, writes: bool, Span { start, size }: Span) -> Option<&AtomicU32> {
                match lock {
                    $(Lock::$kind(lock) => $kind::last(lock, writes, $kind::span(start, size)),)*
                }
            }

            fn hand_over(guard: WriteGuard<'_>) -> bool {
                match guard {
                    $(WriteGuard::$kind(guard) => $kind::hand_over(guard),)*
                }
            }
        }
    };
}

kinds! {
    ParkingLot = "parking_lot",
    Qrwlock = "qrwlock",
    Std = "std",
    Ticket = "ticket",
    Mcs = "mcs",
    Mutex = "mutex",
    Range = "range",
    BigReader = "big_reader",
}

/// Any kind of lock, chosen when it is made: by [`Native::new_rwlock_of`](super::super::Native::new_rwlock_of), or by
/// [`LockKind::for_new_locks`] for code that knows nothing of kinds. A pair of lock and unlock costs some nanoseconds more
/// than with the kind as the parameter: `benches/locks.rs`.
#[derive(Clone, Copy, Debug, Default)]
pub struct AnyLock;

thread_local! {
    static CHOSEN: Cell<LockKind> = const { Cell::new(LockKind::ParkingLot) };
}

impl LockKind {
    /// Whether readers share it.
    pub const fn has_read_side(self) -> bool {
        !matches!(self, Self::Ticket | Self::Mcs | Self::Mutex)
    }

    /// Whether it tells addresses apart.
    pub const fn has_ranges(self) -> bool {
        matches!(self, Self::Range)
    }

    /// While the answer lives, each [`AnyLock`] that the running thread makes is of this kind; without one,
    /// of the first kind, `parking_lot`.
    ///
    /// ```
    /// use runtime::Runtime;
    /// use runtime::native::{AnyLock, LockKind, Native, Off};
    ///
    /// type Threads = Native<Off, AnyLock>;
    /// let chosen = LockKind::Qrwlock.for_new_locks();
    /// let mmu_lock = Threads::new_rwlock("kvm->mmu_lock");
    /// drop(chosen);
    /// assert_eq!(Threads::kind(&mmu_lock), LockKind::Qrwlock);
    /// ```
    pub fn for_new_locks(self) -> MadeAs {
        MadeAs { before: CHOSEN.replace(self), not_send: PhantomData }
    }
}

/// See [`LockKind::for_new_locks`].
#[derive(Debug)]
#[must_use = "the kind is chosen only while this lives"]
pub struct MadeAs {
    before: LockKind,
    not_send: PhantomData<*const ()>,
}

impl Drop for MadeAs {
    fn drop(&mut self) {
        CHOSEN.set(self.before);
    }
}

impl fmt::Display for LockKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A name that no kind of lock has.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("lock {name:?} is not one of {}", LockKind::ALL.iter().map(|kind| kind.name()).collect::<Vec<_>>().join(", "))]
pub struct UnknownLock {
    name: String,
}

impl FromStr for LockKind {
    type Err = UnknownLock;

    fn from_str(name: &str) -> Result<Self, UnknownLock> {
        let found = Self::ALL.iter().copied().find(|kind| kind.name() == name);
        found.ok_or_else(|| UnknownLock { name: name.to_owned() })
    }
}
