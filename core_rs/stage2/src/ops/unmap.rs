//! `unmap`: zero leaves and annotations, free the tables that become empty.

use runtime::{Access, Runtime, site};

use crate::arena::PageId;
use crate::config::WalkerKind;
use crate::descriptor::{is_counted, is_table, is_valid};
use crate::env::Env;
use crate::errno::Errno;
use crate::maintenance::{Event, Maintenance};
use crate::table::Table;
use crate::walk::{Run, Visit, Visitor, Walk, Walker};

impl<R: Runtime> Table<R> {
    /// Zeroes every leaf that the range touches (a block touched in part goes whole), and annotations; a
    /// table whose count falls to 1 is unlinked and freed. With TLB range invalidation and FWB the leaves
    /// are invalidated once, for the range as asked, at the end, even when the walk failed.
    #[inline]
    pub fn unmap<L: Maintenance>(&self, env: &mut Env<L>, ipa: u64, size: u64) -> Result<(), Errno> {
        let inner = &*self.inner;
        if inner.is_fast() && inner.unmap_page(env, ipa, size) {
            let (ipa, size) = inner.touched(ipa, size);
            inner.tlbi_range(env, ipa, size);
            return Ok(());
        }
        self.unmap_by(inner.config.walker, env, ipa, size)
    }

    /// [`Table::unmap`] by the walker that is named, whichever the table's own is. What `fast` does not invalidate
    /// leaf by leaf it invalidates with the range.
    #[inline(never)] // it stays out of the way of the one page that is unmapped at hand
    pub fn unmap_by<L: Maintenance>(
        &self,
        walker: WalkerKind,
        env: &mut Env<L>,
        ipa: u64,
        size: u64,
    ) -> Result<(), Errno> {
        let inner = &*self.inner;
        let mut unmap = Unmap::default();
        let result = Walker::walk_by(walker, inner, env, Walk::Exclusive, (ipa, size), &mut unmap);
        if inner.defers_tlbi() {
            // Upstream announces the range as it was asked for, which falls short of what was walked when it is odd.
            let (ipa, size) = if walker == WalkerKind::Fast && result.is_ok() {
                inner.touched(ipa, size)
            } else {
                (ipa, size)
            };
            inner.tlbi_range(env, ipa, size);
        } else if !unmap.unlinked.is_empty() {
            inner.tlbi_once(env, unmap.from, unmap.to - unmap.from);
        }
        if !unmap.unlinked.is_empty() {
            inner.end(&unmap.unlinked, site!("put_page:free"));
        }
        result
    }
}

impl<R: Runtime> Table<R> {
    /// [`Table::unmap`] of one page, without the deferred invalidation: it is the caller's.
    #[inline]
    pub(crate) fn unmap_one<L: Maintenance>(&self, env: &mut Env<L>, ipa: u64) -> Result<(), Errno> {
        if self.inner.unmap_page(env, ipa, 1) {
            return Ok(());
        }
        let mut unmap = Unmap::default();
        let page = (ipa, self.geometry().page_size());
        let result = Walker::walk(&self.inner, env, Walk::Exclusive, page, &mut unmap);
        debug_assert!(unmap.unlinked.is_empty(), "a table has more than one page");
        result
    }
}

#[derive(Default)]
struct Unmap {
    /// Tables that were unlinked whole, to be freed after the invalidation at the end, which is theirs too.
    unlinked: Vec<PageId>,
    /// From the first address that they resolved to the end of the last.
    from: u64,
    to: u64,
}

impl<R: Runtime, L: Maintenance> Visitor<R, L> for Unmap {
    const POST: bool = true;
    const SKIPS_EMPTY: bool = true;

    #[inline]
    fn leaf(&mut self, walker: &mut Walker<'_, R, L>, at: &Visit<'_>) -> Result<(), Errno> {
        let table = walker.table;
        if !is_counted(at.old) {
            return Ok(());
        }
        clear::<R>(at);
        if is_valid(at.old) {
            if !table.defers_tlbi() {
                walker.tlbi(at.ipa, Some(at.level));
            }
            table.put(at.page, false);
            if table.cleans_removed() && table.encoding.is_cacheable(at.old) {
                let (pa, size) = (table.encoding.decode_pa(at.old), table.geometry.granule_size(at.level));
                walker.env.log.log(Event::DcacheClean { pa, size });
            }
        } else {
            table.put(at.page, false);
        }
        Ok(())
    }

    fn post(&mut self, walker: &mut Walker<'_, R, L>, at: &Visit<'_>) -> Result<(), Errno> {
        debug_assert!(is_table(at.old, at.level));
        let table = walker.table;
        let child = table.child(at.old);
        if table.count(child) != 1 {
            return Ok(());
        }
        clear::<R>(at);
        table.unlinked();
        walker.tlbi(at.ipa, None); // a hardware walk may have cached the table: never deferred
        table.put(at.page, false);
        table.put(child, false);
        Ok(())
    }

    #[inline]
    fn run(&mut self, walker: &mut Walker<'_, R, L>, run: &Run<'_>) -> Result<(), Errno> {
        let table = walker.table;
        if !table.defers_tlbi() || table.cleans_removed() {
            return run.visits::<R>().try_for_each(|at| self.leaf(walker, &at));
        }
        let mut cleared = 0;
        for word in run.words {
            if R::load(word, Access::Marked, site!("kvm_pgtable_visit:read")) != 0 {
                R::store(word, 0, Access::Marked, site!("kvm_clear_pte"));
                cleared += 1;
            }
        }
        table.put_many(run.page, cleared);
        Ok(())
    }

    /// A table goes with all that is below it, unless each of its leaves has cache lines to clean.
    fn whole(&mut self, walker: &mut Walker<'_, R, L>, at: &Visit<'_>) -> Result<bool, Errno> {
        let table = walker.table;
        if !is_table(at.old, at.level) || table.cleans_removed() {
            return Ok(false);
        }
        clear::<R>(at);
        table.unlinked();
        table.put(at.page, false);
        if self.unlinked.is_empty() {
            self.from = at.ipa;
        }
        self.to = at.ipa + table.geometry.granule_size(at.level);
        table.subtree(table.child(at.old), at.level + 1, &mut self.unlinked);
        Ok(true)
    }
}

#[inline]
pub(super) fn clear<R: Runtime>(at: &Visit<'_>) {
    R::store(at.word, 0, Access::Marked, site!("kvm_clear_pte"));
}
