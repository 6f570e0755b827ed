//! A VM as far as its table goes: the table, `mmu_lock`, and the words that it protects.

use runtime::{Runtime, Word};
use stage2::{ConfigError, Table};

use crate::plan::Plan;

/// A VM.
pub(crate) struct Vm<R: Runtime> {
    pub(crate) table: Table<R>,
    pub(crate) mmu_lock: R::RwLock,
    /// `mmu->pgt`: not 0 as long as the VM has a table.
    pub(crate) pgt: Word,
    /// `mmu_invalidate_seq`: raised when a notifier has unmapped something.
    pub(crate) invalidate_seq: Word,
}

impl<R: Runtime> Vm<R> {
    pub(crate) fn new(plan: &Plan, lock_name: &'static str) -> Result<Self, ConfigError> {
        Ok(Self {
            table: Table::new(plan.config)?,
            mmu_lock: R::new_rwlock(lock_name),
            pgt: Word::new(1),
            invalidate_seq: Word::new(0),
        })
    }
}
