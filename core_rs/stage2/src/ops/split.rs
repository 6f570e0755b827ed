//! `split`: replace blocks by tables that map the same.

use runtime::Runtime;

use super::map::{Leaf, Map, link_table};
use crate::arena::PageId;
use crate::descriptor::is_valid;
use crate::env::Env;
use crate::errno::Errno;
use crate::geometry::LAST_LEVEL;
use crate::maintenance::Maintenance;
use crate::table::{Inner, Table};
use crate::walk::{Run, Visit, Visitor, Walk, Walker};

impl<R: Runtime> Table<R> {
    /// Splits every block that the range touches down to pages, as far as `env.memcache` has table pages: a
    /// level-1 block becomes level-2 blocks when the cache cannot hold its whole subtree, and those are
    /// split next. Permissions and software bits stay; the access flag comes out set, the memory type
    /// normal. [`Errno::NoMem`]: the cache ran out.
    pub fn split<L: Maintenance>(&self, env: &mut Env<L>, ipa: u64, size: u64) -> Result<(), Errno> {
        Walker::walk(&self.inner, env, Walk::Exclusive, (ipa, size), &mut Split)
    }
}

struct Split;

impl<R: Runtime, L: Maintenance> Visitor<R, L> for Split {
    const SKIPS_EMPTY: bool = true;

    fn leaf(&mut self, walker: &mut Walker<'_, R, L>, at: &Visit<'_>) -> Result<(), Errno> {
        if at.level == LAST_LEVEL || !is_valid(at.old) {
            return Ok(());
        }
        let table = walker.table;
        let whole = table.pages_below(at.level);
        let to_pages = walker.env.memcache.holds(whole);
        if !to_pages && !walker.env.memcache.holds(1) {
            return Err(Errno::NoMem);
        }
        let child = table.create_unlinked(walker.env, at, to_pages)?;
        link_table::<true, R, L>(walker, at, child)
            .inspect_err(|_| table.free_unlinked(walker.env, child, at.level + 1))
    }

    /// Pages are not split.
    fn run(&mut self, _: &mut Walker<'_, R, L>, _: &Run<'_>) -> Result<(), Errno> {
        Ok(())
    }
}

impl<R: Runtime> Inner<R> {
    /// Table pages that map one block of `level` by pages.
    fn pages_below(&self, level: i8) -> u64 {
        (level + 1..=LAST_LEVEL)
            .map(|below| 1_u64 << (self.geometry.level_shift(level) - self.geometry.level_shift(below - 1)))
            .sum()
    }

    /// Builds the table that replaces the block `at`, unlinked: of pages, or of the next smaller leaves.
    fn create_unlinked<L: Maintenance>(
        &self,
        env: &mut Env<L>,
        at: &Visit<'_>,
        to_pages: bool,
    ) -> Result<PageId, Errno> {
        let pa = self.encoding.decode_pa(at.old);
        if pa & (self.geometry.granule_size(at.level) - 1) != 0 {
            return Err(Errno::Inval);
        }
        let attributes = self.encoding.leaf_attributes(self.encoding.prot(at.old))?;
        let leaf = Leaf::Memory { pa, attributes };
        if self.is_fast()
            && at.level == LAST_LEVEL - 1
            && let Some(pages) = leaf.pages(self, 0, self.geometry.entries())
        {
            return self.alloc_filled(env, pages).ok_or(Errno::NoMem);
        }
        let page = self.zalloc(env).ok_or(Errno::NoMem)?;
        let mut fill = Map { leaf, force_pte: to_pages };
        match Walker::walk_unlinked(self, env, page, at.level + 1, &mut fill) {
            Ok(()) => Ok(page),
            Err(errno) => {
                self.free_unlinked(env, page, at.level + 1);
                Err(errno)
            }
        }
    }
}
