//! The walk: entry by entry, in the order and with the re-reads of upstream's `kvm_pgtable_walk`.
//!
//! An entry is read once; a visitor may see it before its subtree (`pre`, tables), instead of a subtree
//! (`leaf`, everything else) and after its subtree (`post`, tables). After `pre` or `leaf` the entry is read
//! again, so that a walk goes on into a table that the visitor has just installed.
//!
//! That is the `upstream` walker; `fast` goes over the same entries by other ways, with the same visitors.
//!
//! Locking is the caller's. An exclusive walk stores plainly, under `mmu_lock` held for write; a shared walk
//! runs under `mmu_lock` held for read, opens an RCU section of its own, and changes an entry only by
//! compare-and-exchange against the value it read; losing is [`Errno::Again`]. Nobody waits inside a walk.

use runtime::{Access, Runtime, Word, site};

use crate::arena::PageId;
use crate::config::WalkerKind;
use crate::descriptor::is_table;
use crate::env::Env;
use crate::errno::Errno;
use crate::geometry::LAST_LEVEL;
use crate::maintenance::{Event, Maintenance, Tlbi};
use crate::table::Inner;

/// Who else may be in the table during a walk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Walk {
    /// Nobody: `mmu_lock` is held for write.
    Exclusive,
    /// Other shared walks: `mmu_lock` is held for read.
    Shared,
}

/// An entry under visit, as it was when the walk read it.
pub(crate) struct Visit<'a> {
    pub(crate) word: &'a Word,
    /// The table page that holds the entry.
    pub(crate) page: PageId,
    pub(crate) old: u64,
    /// Where the walk stands: inside what the entry maps, not always at its start.
    pub(crate) ipa: u64,
    pub(crate) level: i8,
}

/// What an operation does at the entries of a walk.
pub(crate) trait Visitor<R: Runtime, L: Maintenance> {
    const PRE: bool = false;
    const LEAF: bool = true;
    const POST: bool = false;
    /// Whether the walk goes on after [`Errno::Again`].
    const IGNORE_AGAIN: bool = false;

    fn pre(&mut self, _: &mut Walker<'_, R, L>, _: &Visit<'_>) -> Result<(), Errno> {
        Ok(())
    }
    fn leaf(&mut self, walker: &mut Walker<'_, R, L>, at: &Visit<'_>) -> Result<(), Errno>;
    fn post(&mut self, _: &mut Walker<'_, R, L>, _: &Visit<'_>) -> Result<(), Errno> {
        Ok(())
    }

    /// Whether a visit to a zero entry has no effect, so that the `fast` walker may pass over them.
    const SKIPS_EMPTY: bool = false;

    /// A run of last-level entries in an exclusive walk of the `fast` walker: whatever `leaf` would do to them.
    fn run(&mut self, walker: &mut Walker<'_, R, L>, run: &Run<'_>) -> Result<(), Errno> {
        run.visits::<R>().try_for_each(|at| ignore_again::<R, L, Self>(self.leaf(walker, &at)))
    }

    /// An entry above the last level whose whole reach an exclusive walk of the `fast` walker covers. Answers
    /// whether it has been dealt with, and all below it.
    fn whole(&mut self, _: &mut Walker<'_, R, L>, _: &Visit<'_>) -> Result<bool, Errno> {
        Ok(false)
    }
}

/// Neighbouring entries of one last-level table.
pub(crate) struct Run<'a> {
    pub(crate) words: &'a [Word],
    /// The table page that holds them.
    pub(crate) page: PageId,
    /// Where the walk stands at the first.
    pub(crate) ipa: u64,
    pub(crate) page_size: u64,
}

impl<'a> Run<'a> {
    /// The run without its first `n` entries.
    pub(crate) fn after(&self, n: usize) -> Self {
        Self { words: &self.words[n..], ipa: self.ipa + n as u64 * self.page_size, ..*self }
    }

    /// Fills entries with `leaves` as far as they are empty; answers how many were.
    pub(crate) fn fill<R: Runtime>(&self, leaves: impl Iterator<Item = u64>) -> usize {
        let mut filled = 0;
        for (word, leaf) in self.words.iter().zip(leaves) {
            if R::load(word, Access::Marked, site!("kvm_pgtable_visit:read")) != 0 {
                break;
            }
            R::store(word, leaf, Access::Ordered, site!("stage2_make_pte"));
            filled += 1;
        }
        filled
    }

    /// The entries one by one, each read when its turn comes.
    pub(crate) fn visits<R: Runtime>(&self) -> impl Iterator<Item = Visit<'a>> {
        let (page, page_size, first) = (self.page, self.page_size, self.ipa);
        self.words.iter().enumerate().map(move |(index, word)| Visit {
            word,
            page,
            old: R::load(word, Access::Marked, site!("kvm_pgtable_visit:read")),
            ipa: first + index as u64 * page_size,
            level: LAST_LEVEL,
        })
    }
}

/// The result of a visit, as the walk goes on with it.
#[inline]
pub(crate) fn ignore_again<R: Runtime, L: Maintenance, V: Visitor<R, L> + ?Sized>(
    result: Result<(), Errno>,
) -> Result<(), Errno> {
    match result {
        Err(Errno::Again) if V::IGNORE_AGAIN => Ok(()),
        result => result,
    }
}

/// One walk over `[start, end)`.
pub(crate) struct Walker<'a, R: Runtime, L> {
    pub(crate) table: &'a Inner<R>,
    pub(crate) env: &'a mut Env<L>,
    pub(crate) shared: bool,
    pub(crate) start: u64,
    pub(crate) end: u64,
}

impl<'a, R: Runtime, L: Maintenance> Walker<'a, R, L> {
    /// Walks the pages that `[ipa, ipa + size)` touches, rounded as upstream rounds.
    #[inline]
    pub(crate) fn walk<V: Visitor<R, L>>(
        table: &'a Inner<R>,
        env: &'a mut Env<L>,
        kind: Walk,
        range: (u64, u64),
        visitor: &mut V,
    ) -> Result<(), Errno> {
        Self::walk_by(table.config.walker, table, env, kind, range, visitor)
    }

    /// [`Walker::walk`] by either walker: they go over the same tables.
    #[inline]
    pub(crate) fn walk_by<V: Visitor<R, L>>(
        walker: WalkerKind,
        table: &'a Inner<R>,
        env: &'a mut Env<L>,
        kind: Walk,
        (ipa, size): (u64, u64),
        visitor: &mut V,
    ) -> Result<(), Errno> {
        let geometry = &table.geometry;
        let start = geometry.page_down(ipa);
        let end = geometry.page_up(start.wrapping_add(size));
        let limit = 1 << geometry.ipa_bits();
        if start > limit || end > limit {
            return Err(Errno::Range);
        }
        let root = table.root().ok_or(Errno::Inval)?;
        let shared = kind == Walk::Shared;
        let _section = shared.then(|| R::rcu_read(site!("kvm_pgtable_walk_begin")));
        let fast = walker == WalkerKind::Fast;
        let mut walker = Self { table, env, shared, start, end };
        if fast { walker.walk_fast(visitor, root) } else { walker.walk_upstream(visitor, root) }
    }

    fn walk_upstream<V: Visitor<R, L>>(&mut self, visitor: &mut V, root: PageId) -> Result<(), Errno> {
        let geometry = &self.table.geometry;
        let mut ipa = self.start;
        while ipa < self.end {
            let page = root.plus(geometry.root_index(ipa) as u32);
            ipa = self.table_page(visitor, page, geometry.start_level(), ipa)?;
        }
        Ok(())
    }

    /// Walks a table that nobody can reach, found under an entry of `level - 1`. Where it will be linked,
    /// or was, does not matter: addresses count from 0.
    pub(crate) fn walk_unlinked<V: Visitor<R, L>>(
        table: &'a Inner<R>,
        env: &'a mut Env<L>,
        page: PageId,
        level: i8,
        visitor: &mut V,
    ) -> Result<(), Errno> {
        let end = table.geometry.granule_size(level - 1);
        let mut walker = Self { table, env, shared: false, start: 0, end };
        if table.is_fast() {
            return walker.table_page_fast(visitor, page, level, 0).map(drop);
        }
        walker.table_page(visitor, page, level, 0).map(drop)
    }

    /// Visits the entries of a table page from the one that maps `ipa` on; answers where the walk stands then.
    fn table_page<V: Visitor<R, L>>(
        &mut self,
        visitor: &mut V,
        page: PageId,
        level: i8,
        mut ipa: u64,
    ) -> Result<u64, Errno> {
        let table = self.table;
        let first = table.geometry.entry_index(ipa, level);
        for word in &table.arena.words(page)[first..] {
            if ipa >= self.end {
                break;
            }
            ipa = self.entry(visitor, word, page, level, ipa)?;
        }
        Ok(ipa)
    }

    /// Visits one entry and what is below it; answers where the walk stands then.
    #[inline]
    fn entry<V: Visitor<R, L>>(
        &mut self,
        visitor: &mut V,
        word: &Word,
        page: PageId,
        level: i8,
        ipa: u64,
    ) -> Result<u64, Errno> {
        let mut at = Visit {
            word,
            page,
            old: R::load(word, Access::Marked, site!("kvm_pgtable_visit:read")),
            ipa,
            level,
        };
        let mut table = is_table(at.old, level);
        let visited = match (table, V::PRE, V::LEAF) {
            (true, true, _) => Some(visitor.pre(self, &at)),
            (false, _, true) => Some(visitor.leaf(self, &at)),
            _ => None,
        };
        let size = self.table.geometry.granule_size(level);
        let next = (ipa & !(size - 1)) + size;
        if let Some(result) = visited {
            at.old = R::load(word, Access::Marked, site!("kvm_pgtable_visit:reread"));
            table = is_table(at.old, level);
            ignore_again::<R, L, V>(result)?;
        }
        if !table {
            return Ok(next);
        }
        let child = self.table.child(at.old);
        let next = self.table_page(visitor, child, level + 1, ipa)?;
        if V::POST {
            visitor.post(self, &at)?;
        }
        Ok(next)
    }

    /// Changes the entry: a plain store when the walk is exclusive, compare-and-exchange when it is shared.
    /// Answers whether the entry now holds `new`.
    #[inline]
    pub(crate) fn try_set(&self, at: &Visit<'_>, new: u64) -> bool {
        if self.shared {
            R::compare_exchange(at.word, at.old, new, site!("stage2_try_set_pte:cmpxchg")).is_ok()
        } else {
            R::store(at.word, new, Access::Marked, site!("stage2_try_set_pte:store"));
            true
        }
    }

    /// Invalidates one address at the level where it was mapped.
    pub(crate) fn tlbi(&mut self, ipa: u64, level: Option<i8>) {
        let size = level.map_or(self.table.geometry.page_size(), |at| self.table.geometry.granule_size(at));
        R::tlb_invalidate(ipa, size, site!("__kvm_tlb_flush_vmid_ipa"));
        self.env.log.log(Event::Tlbi(Tlbi::Ipa { ipa, level }));
    }

    /// Invalidates a range, or everything where there is no invalidation by range.
    pub(crate) fn tlbi_range(&mut self, ipa: u64, size: u64) {
        self.table.tlbi_range(self.env, ipa, size);
    }
}
