//! `destroy_range`, `destroy_pgd`, and freeing a subtree that was unlinked.
//!
//! Upstream visits every leaf to drop its count, and so does the `upstream` walker: what it costs is a question of
//! the workbench. The `fast` walker frees a whole subtree without a look at its last level. Leaves are not cleared, and nothing is invalidated: the VMID is gone, or the subtree was
//! invalidated when it was unlinked.

use std::sync::Arc;

use runtime::{Runtime, site};

use super::unmap::clear;
use crate::arena::PageId;
use crate::config::WalkerKind;
use crate::descriptor::{is_counted, is_table};
use crate::env::Env;
use crate::errno::Errno;
use crate::maintenance::{Event, Maintenance, NoLog};
use crate::table::{Inner, Table};
use crate::walk::{Visit, Visitor, Walk, Walker};

impl<R: Runtime> Table<R> {
    /// Drops a count for every entry of the range, frees each child table whose count is 1 then, and clears
    /// its parent's entry. Nothing but destroying may follow on that range.
    pub fn destroy_range<L: Maintenance>(&self, env: &mut Env<L>, ipa: u64, size: u64) {
        self.destroy_range_by(self.inner.config.walker, env, ipa, size);
    }

    /// [`Table::destroy_range`] by the walker that is named, whichever the table's own is: entry by entry, or a
    /// subtree at once.
    pub fn destroy_range_by<L: Maintenance>(
        &self,
        walker: WalkerKind,
        env: &mut Env<L>,
        ipa: u64,
        size: u64,
    ) {
        let mut free = Free::default();
        if Walker::walk_by(walker, &self.inner, env, Walk::Exclusive, (ipa, size), &mut free).is_err() {
            env.log.log(Event::Warn);
        }
        free.finish(&self.inner);
    }

    /// Frees the root pages, whatever they hold; the table has no root until [`Table::init`].
    pub fn destroy_pgd(&self) {
        self.inner.free_root();
    }

    /// [`Table::destroy_range`] over the whole IPA space in one walk, then [`Table::destroy_pgd`].
    pub fn destroy<L: Maintenance>(&self, env: &mut Env<L>) {
        self.destroy_range(env, 0, 1 << self.geometry().ipa_bits());
        self.destroy_pgd();
    }
}

impl<R: Runtime> Inner<R> {
    /// Frees a subtree that shared walks may still be in, once they are gone (`stage2_free_unlinked_table`).
    pub(super) fn free_unlinked_by_rcu(this: &Arc<Self>, page: PageId, level: i8) {
        let table = Arc::clone(this);
        R::call_rcu(
            Box::new(move || table.free_unlinked(&mut Env::<NoLog>::default(), page, level)),
            site!("stage2_free_unlinked_table"),
        );
    }

    /// Frees a subtree that nobody can reach: the table `page` of `level` and all below it.
    pub(super) fn free_unlinked<L: Maintenance>(&self, env: &mut Env<L>, page: PageId, level: i8) {
        if self.is_fast() {
            let mut pages = Vec::new();
            self.subtree(page, level, &mut pages);
            self.end(&pages, site!("put_page:free"));
            return;
        }
        let walked = Walker::walk_unlinked(self, env, page, level, &mut Free::default());
        if walked.is_err() || self.count(page) != 1 {
            env.log.log(Event::Warn);
        }
        self.put(page, false);
    }
}

#[derive(Default)]
struct Free {
    /// Tables whose range was destroyed whole, to be freed together.
    unlinked: Vec<PageId>,
}

impl Free {
    fn finish<R: Runtime>(self, table: &Inner<R>) {
        if !self.unlinked.is_empty() {
            table.unlinked();
            table.end(&self.unlinked, site!("put_page:free"));
        }
    }
}

impl<R: Runtime, L: Maintenance> Visitor<R, L> for Free {
    const POST: bool = true;
    const SKIPS_EMPTY: bool = true;

    #[inline]
    fn leaf(&mut self, walker: &mut Walker<'_, R, L>, at: &Visit<'_>) -> Result<(), Errno> {
        if is_counted(at.old) {
            walker.table.put(at.page, walker.shared);
        }
        Ok(())
    }

    /// A table that spans several ranges survives all but the last.
    fn post(&mut self, walker: &mut Walker<'_, R, L>, at: &Visit<'_>) -> Result<(), Errno> {
        let child = walker.table.child(at.old);
        if walker.table.count(child) == 1 {
            clear::<R>(at);
            walker.table.unlinked();
            walker.table.put(at.page, walker.shared);
            walker.table.put(child, false);
        }
        Ok(())
    }

    fn whole(&mut self, walker: &mut Walker<'_, R, L>, at: &Visit<'_>) -> Result<bool, Errno> {
        let table = walker.table;
        if !is_table(at.old, at.level) {
            return Ok(false);
        }
        clear::<R>(at);
        table.put(at.page, false);
        table.subtree(table.child(at.old), at.level + 1, &mut self.unlinked);
        Ok(true)
    }
}
