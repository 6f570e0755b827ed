//! The `fast` walker: the visitors of the operations, led over the table by what a library knows of its own
//! structure. At quiescence the table is what the `upstream` walker leaves, counts and return codes included;
//! invalidations may be fewer and wider.
//!
//! What it does otherwise:
//! - An operation on one page goes straight to its entry ([`page`]), by a [`WalkCache`] or down from the root without
//!   a visit on the way ([`descend`]).
//! - An exclusive walk hands a visitor the entries of a last-level table as one [`Run`], and offers it an entry
//!   above as a [`whole`](Visitor::whole): bulk fills, and subtrees freed without a look at their leaves.
//! - Empty entries are passed over, and a table is left when its count says that nothing more is in it.
//! - An empty entry is filled without passing through LOCKED, and nothing is read twice.
//!
//! # In flight
//! A count is never below the non-zero entries of its table: it is raised before entries are filled, and
//! lowered after they are cleared. A shared walk visits entry by entry and changes each by
//! compare-and-exchange: it never fills in bulk.
//!
//! # Why a cached table page is safe
//! Whoever unlinks a table page raises the table's generation before the page may be freed (`Inner::unlinked`).
//! Who uses a cache compares the generation inside an RCU section, or under `mmu_lock` held for write. If it has not
//! changed, the page was linked when the section began, and is not freed before the section ends. What a
//! shared operation then writes to a page that is being unlinked is lost with the page, as it is for a walk that
//! descended a moment before: the vCPU faults again.

mod descend;
mod page;

use runtime::{Access, Runtime, site};

use crate::arena::PageId;
use crate::descriptor::is_table;
use crate::errno::Errno;
use crate::geometry::LAST_LEVEL;
use crate::maintenance::Maintenance;
use crate::walk::{Run, Visit, Visitor, Walker, ignore_again};

pub(crate) use page::WalkCache;

impl<R: Runtime, L: Maintenance> Walker<'_, R, L> {
    /// Walks the range, from `root`.
    pub(crate) fn walk_fast<V: Visitor<R, L>>(&mut self, visitor: &mut V, root: PageId) -> Result<(), Errno> {
        let mut ipa = self.start;
        while ipa < self.end {
            let page = root.plus(self.table.geometry.root_index(ipa) as u32);
            ipa = self.table_page_fast(visitor, page, self.table.geometry.start_level(), ipa)?;
        }
        Ok(())
    }

    /// Visits the entries of a last-level table from the one that maps `ipa` on; answers where the walk stands.
    fn last_level<V: Visitor<R, L>>(
        &mut self,
        visitor: &mut V,
        page: PageId,
        ipa: u64,
    ) -> Result<u64, Errno> {
        let geometry = &self.table.geometry;
        let page_size = geometry.page_size();
        let words = &self.table.arena.words(page)[geometry.entry_index(ipa, LAST_LEVEL)..];
        let wanted = (self.end - ipa) >> geometry.page_shift();
        let words = &words[..words.len().min(wanted as usize)];
        let run = Run { words, page, ipa, page_size };
        if self.shared {
            run.visits::<R>().try_for_each(|at| ignore_again::<R, L, V>(visitor.leaf(self, &at)))?;
        } else if !(V::SKIPS_EMPTY && self.table.count(page) == 1) {
            visitor.run(self, &run)?;
        }
        Ok(ipa + words.len() as u64 * page_size)
    }

    /// Visits the entries of a table page from the one that maps `ipa` on; answers where the walk stands then.
    pub(crate) fn table_page_fast<V: Visitor<R, L>>(
        &mut self,
        visitor: &mut V,
        page: PageId,
        level: i8,
        mut ipa: u64,
    ) -> Result<u64, Errno> {
        if level == LAST_LEVEL {
            return self.last_level(visitor, page, ipa);
        }
        let table = self.table;
        let size = table.geometry.granule_size(level);
        let span = size << table.geometry.level_bits();
        let table_end = (ipa | (span - 1)) + 1;
        // How many entries are not empty, at most: only an exclusive walk can rely on it.
        let mut left =
            if V::SKIPS_EMPTY && !self.shared { table.count(page).saturating_sub(1) } else { u64::MAX };
        for word in &table.arena.words(page)[table.geometry.entry_index(ipa, level)..] {
            if ipa >= self.end {
                return Ok(ipa);
            }
            if left == 0 {
                return Ok(table_end);
            }
            let old = R::load(word, Access::Marked, site!("kvm_pgtable_visit:read"));
            let next = (ipa & !(size - 1)) + size;
            if !(V::SKIPS_EMPTY && old == 0) {
                left -= 1;
                self.entry_fast(visitor, &Visit { word, page, old, ipa, level }, next)?;
            }
            ipa = next;
        }
        Ok(ipa)
    }

    /// Visits one entry above the last level, which ends at `next`, and what is below it.
    fn entry_fast<V: Visitor<R, L>>(
        &mut self,
        visitor: &mut V,
        at: &Visit<'_>,
        next: u64,
    ) -> Result<(), Errno> {
        let whole =
            !self.shared && self.end >= next && next - at.ipa == self.table.geometry.granule_size(at.level);
        if whole && visitor.whole(self, at)? {
            return Ok(());
        }
        let table = is_table(at.old, at.level);
        let result = match (table, V::PRE, V::LEAF) {
            (true, true, _) => visitor.pre(self, at),
            (true, false, _) | (false, _, false) => Ok(()),
            (false, _, true) => visitor.leaf(self, at),
        };
        ignore_again::<R, L, V>(result)?;
        // A visitor may have put a table where none was, or a block where a table was.
        let old = if table && !V::PRE {
            at.old
        } else {
            R::load(at.word, Access::Marked, site!("kvm_pgtable_visit:reread"))
        };
        if !is_table(old, at.level) {
            return Ok(());
        }
        self.table_page_fast(visitor, self.table.child(old), at.level + 1, at.ipa)?;
        if V::POST {
            visitor.post(self, &Visit { old, ..*at })?;
        }
        Ok(())
    }
}
