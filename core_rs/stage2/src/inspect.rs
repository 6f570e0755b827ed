//! Looking at a table: one leaf, every entry, sums. For a table at rest, or one that a lock keeps at rest.

use runtime::{Access, Runtime, site};

use crate::arena::PageId;
use crate::descriptor::{is_table, is_valid};
use crate::env::Env;
use crate::errno::Errno;
use crate::geometry::LAST_LEVEL;
use crate::maintenance::NoLog;
use crate::table::Table;
use crate::walk::{Visit, Visitor, Walk, Walker};

/// What a look-up found: the last descriptor on the way to the address, zero where nothing is mapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leaf {
    /// The level of the descriptor.
    pub level: i8,
    /// The raw descriptor.
    pub desc: u64,
}

/// What an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A link to the next level.
    Table,
    /// A leaf above the last level.
    Block,
    /// A leaf of the last level.
    Page,
    /// An annotation, or an entry under break-before-make.
    Invalid,
}

/// One entry of a table page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The level of the entry.
    pub level: i8,
    /// The first address it maps.
    pub ipa: u64,
    /// The raw descriptor.
    pub desc: u64,
    /// The table page that holds it.
    pub table: PageId,
    /// Its place there.
    pub index: usize,
}

impl Entry {
    /// What the entry is; a zero entry is `Invalid`.
    pub const fn kind(&self) -> Kind {
        match (is_valid(self.desc), is_table(self.desc, self.level)) {
            (false, _) => Kind::Invalid,
            (_, true) => Kind::Table,
            _ if self.level == LAST_LEVEL => Kind::Page,
            _ => Kind::Block,
        }
    }
}

/// Sums over a table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TableStats {
    /// Table pages reached from the root, root pages included.
    pub tables: u64,
    /// Leaves above the last level.
    pub blocks: u64,
    /// Leaves of the last level.
    pub pages: u64,
    /// Invalid, non-zero entries.
    pub annotations: u64,
    /// Bytes that leaves map.
    pub mapped_bytes: u64,
}

impl<R: Runtime> Table<R> {
    /// The last descriptor on the way to `ipa` (`kvm_pgtable_get_leaf`).
    #[inline]
    pub fn get_leaf(&self, ipa: u64) -> Result<Leaf, Errno> {
        if self.inner.is_fast() { self.inner.find(ipa) } else { self.get_leaf_by_walk(ipa) }
    }

    /// What a processor's own walk finds, with whatever runs beside it: the last descriptor on the way to `ipa`, zero
    /// where the way ends. Beside an unmap that frees tables the answer may be of a moment ago, as a cached translation is.
    #[inline]
    pub fn hardware_walk(&self, ipa: u64) -> Leaf {
        let (inner, geometry) = (&*self.inner, self.geometry());
        let mut level = geometry.start_level();
        let nothing = |level| Leaf { level, desc: 0 };
        let Some(root) = inner.root().filter(|_| ipa >> geometry.ipa_bits() == 0) else {
            return nothing(level);
        };
        let mut page = root.plus(geometry.root_index(ipa) as u32);
        loop {
            let word = inner.arena.word(page, ipa >> geometry.level_shift(level));
            let desc = R::load(word, Access::Marked, site!("hardware_walk:read"));
            if !is_table(desc, level) {
                return Leaf { level, desc };
            }
            // A freed page may hold anything, so what it names need not be a page of this table.
            let child = inner.arena.page_at(inner.encoding.table_pa(desc) >> geometry.page_shift());
            let Some(child) = child else { return nothing(level) };
            page = child;
            level += 1;
        }
    }

    #[inline(never)] // it stays out of the way of the look-up without a walk
    fn get_leaf_by_walk(&self, ipa: u64) -> Result<Leaf, Errno> {
        let mut last = Last(Leaf { level: 0, desc: 0 });
        let mut env = Env::<NoLog>::default();
        Walker::walk(&self.inner, &mut env, Walk::Exclusive, (ipa, 1), &mut last)?;
        Ok(last.0)
    }

    /// Calls `see` for every entry, zero ones too, depth first in the order of addresses; a table comes
    /// before its entries.
    pub fn for_each_slot(&self, mut see: impl FnMut(Entry)) {
        let geometry = self.geometry();
        let Some(root) = self.root() else { return };
        let span = geometry.granule_size(geometry.start_level() - 1);
        for index in 0..geometry.root_pages() {
            let page = root.plus(index as u32);
            self.slots_of(page, geometry.start_level(), index as u64 * span, &mut see);
        }
    }

    /// Calls `see` for every non-zero entry, in the order of [`Table::for_each_slot`].
    pub fn for_each_entry(&self, mut see: impl FnMut(Entry)) {
        self.for_each_slot(|entry| {
            if entry.desc != 0 {
                see(entry);
            }
        });
    }

    /// Sums over all entries.
    pub fn table_stats(&self) -> TableStats {
        let root_pages = self.root().map_or(0, |_| self.geometry().root_pages());
        let mut stats = TableStats { tables: root_pages as u64, ..TableStats::default() };
        self.for_each_entry(|entry| {
            match entry.kind() {
                Kind::Table => stats.tables += 1,
                Kind::Block => stats.blocks += 1,
                Kind::Page => stats.pages += 1,
                Kind::Invalid => stats.annotations += 1,
            }
            if matches!(entry.kind(), Kind::Block | Kind::Page) {
                stats.mapped_bytes += self.geometry().granule_size(entry.level);
            }
        });
        stats
    }

    fn slots_of(&self, table: PageId, level: i8, first_ipa: u64, see: &mut impl FnMut(Entry)) {
        let geometry = self.geometry();
        let end = 1 << geometry.ipa_bits();
        let mut ipa = first_ipa;
        for (index, word) in self.words(table).iter().enumerate() {
            if ipa >= end {
                break; // a root of fewer entries than a page has
            }
            let desc = R::load(word, Access::Marked, site!("inspect:read"));
            see(Entry { level, ipa, desc, table, index });
            if is_table(desc, level) {
                self.slots_of(self.child(desc), level + 1, ipa, see);
            }
            ipa += geometry.granule_size(level);
        }
    }
}

struct Last(Leaf);

impl<R: Runtime> Visitor<R, NoLog> for Last {
    #[inline]
    fn leaf(&mut self, _: &mut Walker<'_, R, NoLog>, at: &Visit<'_>) -> Result<(), Errno> {
        self.0 = Leaf { level: at.level, desc: at.old };
        Ok(())
    }
}
