//! A shared 64-bit cell: a descriptor, a count, a pointer swapped under a lock.

use std::sync::atomic::{AtomicU64, Ordering};

/// A shared 64-bit cell. Its content is reached through a [`Runtime`](crate::Runtime) only.
#[derive(Debug, Default)]
#[repr(transparent)]
pub struct Word(AtomicU64);

impl Word {
    /// A word that holds `value`.
    pub const fn new(value: u64) -> Self {
        Self(AtomicU64::new(value))
    }

    /// The cell itself, for the runtimes of this crate.
    #[inline]
    pub(crate) const fn cell(&self) -> &AtomicU64 {
        &self.0
    }

    /// Sets the content of a word that no other thread can reach yet: part of an object that was just
    /// allocated and not published. Not an action, so no runtime sees it.
    #[inline]
    pub fn init(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }
}
