//! One page: straight to its entry, where nothing else is to be done on the way.
//!
//! Each operation here answers whether it has done all there was to do. It has not where a table is missing or a
//! block stands, where an entry is to be broken or a table becomes empty, or where a race was lost: then the
//! operation's own walk decides, and nothing has changed.

#![allow(clippy::inline_always)] // one path of a hundred instructions, half of them calls otherwise

use runtime::{Access, Runtime, Word, site};

use super::descend::Descent;
use crate::arena::PageId;
use crate::descriptor::{AF, is_table, is_valid};
use crate::env::Env;
use crate::geometry::LAST_LEVEL;
use crate::table::Inner;
use crate::walk::Walk;

/// The tables of the last two levels on the way to this caller's last page: the near one serves its neighbours, the
/// far one, as the walk caches of processors, whatever is not too far. They are good as long as the table's
/// generation is the one at which they were found.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct WalkCache {
    /// [`Inner::id`] of the table; 0 before the first page.
    table: u64,
    generation: u64,
    near: Cached,
    far: Cached,
}

/// A table page, and the addresses that it resolves over its span.
#[derive(Clone, Copy, Debug, Default)]
struct Cached {
    region: u64,
    page: PageId,
}

/// The entry of a page in its last-level table.
struct AtHand<'a> {
    word: &'a Word,
    page: PageId,
    old: u64,
}

impl<R: Runtime> Inner<R> {
    /// Maps the one page of a range where nothing stands.
    #[inline(always)]
    pub(crate) fn map_page<L>(
        &self,
        env: &mut Env<L>,
        walk: Walk,
        (ipa, size): (u64, u64),
        pa: u64,
        attributes: u64,
    ) -> bool {
        let shared = walk == Walk::Shared;
        let _section = shared.then(|| R::rcu_read(site!("kvm_pgtable_walk_begin")));
        let Some(at) = self.at_hand(env, ipa, size).filter(|at| at.old == 0 && !self.config.cmo) else {
            return false;
        };
        let new = self.encoding.leaf(pa, attributes, LAST_LEVEL);
        self.get(at.page, shared);
        if !shared {
            R::store(at.word, new, Access::Ordered, site!("stage2_make_pte"));
            return true;
        }
        let filled = R::compare_exchange(at.word, 0, new, site!("stage2_try_set_pte:cmpxchg")).is_ok();
        if !filled {
            self.put(at.page, true);
        }
        filled
    }

    /// Unmaps the one page of a range, in an exclusive operation, where its table does not become empty; the
    /// invalidation is the caller's.
    #[inline(always)]
    pub(crate) fn unmap_page<L>(&self, env: &mut Env<L>, ipa: u64, size: u64) -> bool {
        if !self.defers_tlbi() || self.cleans_removed() {
            return false;
        }
        let Some(at) = self.at_hand(env, ipa, size) else { return false };
        let entries = self.count(at.page).saturating_sub(1);
        if at.old == 0 || entries == 1 {
            return at.old == 0 && entries > 0;
        }
        R::store(at.word, 0, Access::Marked, site!("kvm_clear_pte"));
        self.put_many(at.page, 1);
        true
    }

    /// Sets the access flag of a page.
    #[inline(always)]
    pub(crate) fn mkyoung_page<L>(&self, env: &mut Env<L>, ipa: u64) -> bool {
        let _section = R::rcu_read(site!("kvm_pgtable_walk_begin"));
        let Some(at) = self.at_hand(env, ipa, 1).filter(|at| is_valid(at.old)) else { return false };
        if at.old & AF == 0 {
            // Whoever was faster has left it young or gone.
            let _ = R::compare_exchange(at.word, at.old, at.old | AF, site!("stage2_try_set_pte:cmpxchg"));
        }
        true
    }

    /// The entry of the one page that the range touches, if it touches one, and the way leads to its table.
    #[inline(always)]
    fn at_hand<L>(&self, env: &mut Env<L>, ipa: u64, size: u64) -> Option<AtHand<'_>> {
        let page_shift = self.geometry.page_shift();
        if size.wrapping_sub(1) >> page_shift != 0 {
            return None;
        }
        let generation = self.generation();
        let region = ipa >> self.geometry.last_table_shift();
        let cache = &env.walk_cache;
        let current = cache.table == self.id && cache.generation == generation;
        let page = if current && cache.near.region == region {
            cache.near.page
        } else {
            self.near_page(&mut env.walk_cache, ipa, generation)?
        };
        let word = self.arena.word(page, ipa >> page_shift);
        let old = R::load(word, Access::Marked, site!("kvm_pgtable_visit:read"));
        Some(AtHand { word, page, old })
    }

    /// The last-level table on the way to `ipa`, if the way leads to one; it is in the cache then.
    #[inline(always)]
    fn near_page(&self, cache: &mut WalkCache, ipa: u64, generation: u64) -> Option<PageId> {
        let shift = self.geometry.last_table_shift();
        let region = ipa >> (shift + self.geometry.level_bits());
        let current = cache.table == self.id && cache.generation == generation && cache.far.region == region;
        if !current && !self.find_far(cache, ipa, generation, region) {
            return None;
        }
        let link = self.arena.word(cache.far.page, ipa >> shift);
        let desc = R::load(link, Access::Marked, site!("kvm_pgtable_visit:read"));
        if !is_table(desc, LAST_LEVEL - 1) {
            return None;
        }
        cache.near = Cached { region: ipa >> shift, page: self.child(desc) };
        Some(cache.near.page)
    }

    /// Goes down from the root to the far table; answers whether the way leads to one.
    #[inline(never)]
    fn find_far(&self, cache: &mut WalkCache, ipa: u64, generation: u64, region: u64) -> bool {
        let word = Descent::into(self).and_then(|descent| descent.table_above_last::<R>(ipa));
        let Some(word) = word else { return false };
        let far = Cached { region, page: self.arena.page_of(word) };
        *cache = WalkCache { table: self.id, generation, far, near: Cached { region: u64::MAX, ..far } };
        true
    }
}
