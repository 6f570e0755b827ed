//! `kvm->mmu_lock`: a rwlock on arm64 and riscv, a spinlock on loongarch and mips. Not recursive, innermost;
//! nothing under it may sleep.

use runtime::native::{Counting, LockStats, Native, RwLockKind};
use runtime::{LockClass, Runtime, Site};

pub(crate) enum MmuLock<R: Runtime> {
    Rw(R::RwLock),
    Spin(R::Lock),
}

/// Holds it alone.
pub(crate) enum WriteGuard<'a, R: Runtime> {
    Rw(R::WriteGuard<'a>),
    Spin { _held: R::LockGuard<'a> },
}

/// What flush holds for all it does, if anything.
pub(crate) type Held<'a, R> = Option<WriteGuard<'a, R>>;

/// Holds it as a fault does: shared where it is a rwlock.
pub(crate) enum FaultGuard<'a, R: Runtime> {
    Rw { _held: R::ReadGuard<'a> },
    Spin { _held: R::LockGuard<'a> },
}

impl<R: Runtime> MmuLock<R> {
    pub(crate) fn new(rwlock: bool) -> Self {
        if rwlock {
            Self::Rw(R::new_rwlock("kvm->mmu_lock"))
        } else {
            Self::Spin(R::new_lock("kvm->mmu_lock", LockClass::Spin))
        }
    }

    pub(crate) fn write(&self, site: Site) -> WriteGuard<'_, R> {
        match self {
            Self::Rw(lock) => WriteGuard::Rw(R::write(lock, site)),
            Self::Spin(lock) => WriteGuard::Spin { _held: R::lock(lock, site) },
        }
    }

    pub(crate) fn fault(&self, site: Site) -> FaultGuard<'_, R> {
        match self {
            Self::Rw(lock) => FaultGuard::Rw { _held: R::read(lock, site) },
            Self::Spin(lock) => FaultGuard::Spin { _held: R::lock(lock, site) },
        }
    }

    pub(crate) fn assert_held_write(&self, site: Site) {
        match self {
            Self::Rw(lock) => R::assert_held_write(lock, site),
            Self::Spin(lock) => R::assert_held(lock, site),
        }
    }
}

impl<C: Counting, K: RwLockKind> MmuLock<Native<C, K>> {
    /// What it has recorded so far.
    pub(crate) fn stats(&self) -> LockStats {
        match self {
            Self::Rw(lock) => Native::<C, K>::stats(lock),
            Self::Spin(lock) => Native::<C, K>::lock_stats(lock),
        }
    }

    /// Makes room for what the running thread will record of it.
    pub(crate) fn prepare(&self) {
        if let Self::Rw(lock) = self {
            Native::<C, K>::prepare(lock);
        }
    }
}

impl<R: Runtime> WriteGuard<'_, R> {
    /// `cond_resched_rwlock_write`; a spinlock is not broken.
    pub(crate) fn lock_break(&mut self, site: Site) {
        if let Self::Rw(guard) = self {
            R::cond_resched_write(guard, site);
        }
    }
}
