//! The page cache that a caller brings to an operation (`struct kvm_mmu_memory_cache`): table pages are taken
//! from it under the lock, so that nothing is allocated there.

use std::sync::Arc;

use crate::arena::{Arena, Content, PageId};

/// A cache of zeroed pages. How many may be taken and how many lie ready are two things: [`limited`]
/// says the first, [`Table::top_up`](crate::Table::top_up) does the second.
///
/// [`limited`]: MemoryCache::limited
#[derive(Default)]
pub struct MemoryCache {
    left: Option<u64>,
    fail_after: Option<u64>,
    ready: Vec<PageId>,
    arena: Option<Arc<Arena>>,
}

impl MemoryCache {
    /// A cache that never runs out.
    pub fn unlimited() -> Self {
        Self::default()
    }

    /// A cache of `n` pages: the next one is -ENOMEM.
    pub fn limited(n: u64) -> Self {
        let mut cache = Self::default();
        cache.left = Some(n);
        cache
    }

    /// Pages that may still be taken; `None` is no limit.
    pub fn left(&self) -> Option<u64> {
        self.left
    }

    /// Says how many pages may still be taken; `None` lifts the limit.
    pub fn set_left(&mut self, left: Option<u64>) {
        self.left = left;
    }

    /// Fault injection: `n` more pages can be taken, whatever the cache holds; `None` ends it.
    pub fn fail_after(&mut self, n: Option<u64>) {
        self.fail_after = n;
    }

    /// Whether the cache holds `n` pages.
    pub(crate) fn holds(&self, n: u64) -> bool {
        self.left.is_none_or(|left| left >= n)
    }

    /// Takes a page for a table of `arena`.
    pub(crate) fn take(&mut self, arena: &Arc<Arena>, content: Content) -> Option<PageId> {
        if self.left == Some(0) || self.fail_after == Some(0) {
            return None;
        }
        let page = if self.is_of(arena) { self.ready.pop() } else { None };
        let page = page.or_else(|| arena.take(content))?;
        self.left = self.left.map(|left| left - 1);
        self.fail_after = self.fail_after.map(|left| left - 1);
        Some(page)
    }

    /// Makes `n` pages of `arena` lie ready; answers whether the arena had them.
    pub(crate) fn top_up(&mut self, arena: &Arc<Arena>, n: usize) -> bool {
        if !self.is_of(arena) {
            self.empty();
            self.arena = Some(Arc::clone(arena));
        }
        while self.ready.len() < n {
            match arena.take(Content::Zeroed) {
                Some(page) => self.ready.push(page),
                None => return false,
            }
        }
        true
    }

    fn is_of(&self, arena: &Arc<Arena>) -> bool {
        self.arena.as_ref().is_some_and(|own| Arc::ptr_eq(own, arena))
    }

    fn empty(&mut self) {
        if let Some(arena) = self.arena.take() {
            self.ready.drain(..).for_each(|page| arena.give_back(page));
        }
    }
}

impl Drop for MemoryCache {
    fn drop(&mut self) {
        self.empty();
    }
}
