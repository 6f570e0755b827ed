//! A VM as far as its table goes: the table, `mmu_lock`, and the words that it protects.

use runtime::native::{AnyLock, Counting, LockStats, Native};
use runtime::{Runtime, Word};
use stage2::{ConfigError, Table};

use crate::plan::Plan;

/// Real threads, and the lock that the point asks for.
pub(crate) type Real<C> = Native<C, AnyLock>;

/// A VM.
pub(crate) struct Vm<R: Runtime> {
    pub(crate) table: Table<R>,
    pub(crate) mmu_lock: R::RwLock,
    /// `mmu->pgt`: not 0 as long as the VM has a table.
    pub(crate) pgt: Word,
    /// `mmu_invalidate_seq`: raised when a notifier unmaps something.
    pub(crate) invalidate_seq: Word,
}

impl<C: Counting> Vm<Real<C>> {
    /// A VM with an empty table; `name` is the class name of its lock.
    pub(crate) fn new(plan: &Plan, name: &'static str) -> Result<Self, ConfigError> {
        Ok(Self {
            table: Table::new(plan.config)?,
            mmu_lock: Native::new_rwlock_of(plan.lock, name),
            pgt: Word::new(1),
            invalidate_seq: Word::new(0),
        })
    }

    /// Makes room for what the running thread will record.
    pub(crate) fn prepare(&self) {
        Native::prepare(&self.mmu_lock);
    }

    /// What the lock has recorded; `None` where nothing is.
    pub(crate) fn lock_stats(&self) -> Option<LockStats> {
        C::COUNT.then(|| Native::stats(&self.mmu_lock))
    }
}
