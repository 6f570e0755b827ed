//! Sleepable RCU: [`Flip`] with the shard of the running thread.
//!
//! Guarantee: as [`Flip`]'s. Synchronisers of one domain wait for each other; a synchroniser inside
//! a read section of its own domain waits for ever.

use std::marker::PhantomData;

use parking_lot::Mutex;

use super::flip::{Entered, Flip};
use super::threads;

/// A sleepable-RCU domain.
pub struct Srcu {
    flip: Flip,
    synchronizing: Mutex<()>,
}

/// A read section of a [`Srcu`]; stays on its thread.
#[must_use = "the read section ends when the guard is dropped"]
pub struct SrcuGuard<'a> {
    srcu: &'a Srcu,
    entered: Entered,
    not_send: PhantomData<*const ()>,
}

impl Srcu {
    pub(super) fn new() -> Self {
        Self { flip: Flip::new(threads::SHARDS), synchronizing: Mutex::new(()) }
    }

    #[inline]
    pub(super) fn read(&self) -> SrcuGuard<'_> {
        SrcuGuard { srcu: self, entered: self.flip.enter(threads::index()), not_send: PhantomData }
    }

    pub(super) fn synchronize(&self) {
        let _one_at_a_time = self.synchronizing.lock();
        self.flip.synchronize();
    }
}

impl Drop for SrcuGuard<'_> {
    #[inline]
    fn drop(&mut self) {
        self.srcu.flip.leave(self.entered);
    }
}
