//! What the calling task brings to an operation.

use crate::fast::WalkCache;
use crate::maintenance::{Maintenance, NoLog};
use crate::memcache::MemoryCache;

/// What a vCPU, or whoever calls, brings to an operation: the page cache it allocates from, and the log its
/// maintenance goes to. One for each thread; nothing in it is shared.
#[derive(Default)]
pub struct Env<L = NoLog> {
    /// Where table pages come from.
    pub memcache: MemoryCache,
    /// Where invalidations and cache maintenance go.
    pub log: L,
    /// Where the `fast` walker was last.
    pub(crate) walk_cache: WalkCache,
}

impl<L: Maintenance> Env<L> {
    /// An unlimited page cache and `log`.
    pub fn new(log: L) -> Self {
        Self { memcache: MemoryCache::unlimited(), log, walk_cache: WalkCache::default() }
    }
}
