//! `map` and `annotate`: install leaves, with break-before-make where something else stood.

use std::sync::Arc;

use runtime::{Access, Runtime, site};

use crate::arena::PageId;
use crate::descriptor::{self, LOCKED, SW, is_counted, is_locked, is_table, is_valid};
use crate::env::Env;
use crate::errno::Errno;
use crate::geometry::LAST_LEVEL;
use crate::maintenance::{Event, Maintenance};
use crate::prot::Prot;
use crate::table::{Inner, Table};
use crate::walk::{Run, Visit, Visitor, Walk, Walker};

impl<R: Runtime> Table<R> {
    /// Maps `[ipa, ipa + size)` to `[pa, pa + size)`, with the largest leaves that alignment and size allow.
    ///
    /// [`Errno::Again`] ends the operation where it stands: an entry differs in permissions only or not at
    /// all, another walk was faster, or an entry is locked. [`Errno::NoMem`]: the page cache ran out; what
    /// was mapped before stays. [`Errno::Inval`]: the attributes do not go together.
    #[inline]
    pub fn map<L: Maintenance>(
        &self,
        env: &mut Env<L>,
        walk: Walk,
        ipa: u64,
        size: u64,
        pa: u64,
        prot: Prot,
    ) -> Result<(), Errno> {
        let inner = &*self.inner;
        let attributes = inner.encoding.leaf_attributes(prot)?;
        if inner.is_fast() && inner.map_page(env, walk, (ipa, size), pa, attributes) {
            return Ok(());
        }
        self.map_walk(env, walk, ipa, size, pa, attributes)
    }

    #[inline(never)] // it stays out of the way of the one page that is mapped at hand
    fn map_walk<L: Maintenance>(
        &self,
        env: &mut Env<L>,
        walk: Walk,
        ipa: u64,
        size: u64,
        pa: u64,
        attributes: u64,
    ) -> Result<(), Errno> {
        let inner = &*self.inner;
        let leaf = Leaf::Memory { pa: inner.geometry.page_down(pa), attributes };
        let mut visitor = Linked(Map { leaf, force_pte: inner.config.force_pte }, &self.inner);
        Walker::walk(inner, env, walk, (ipa, size), &mut visitor)
    }

    /// Writes invalid, counted entries that carry a type (2 to 15) and a value (not bit 0, not bits 63:60)
    /// over every page of the range; a block in the way becomes a table.
    pub fn annotate<L: Maintenance>(
        &self,
        env: &mut Env<L>,
        ipa: u64,
        size: u64,
        kind: u8,
        value: u64,
    ) -> Result<(), Errno> {
        let leaf = Leaf::Annotation(descriptor::annotation(kind, value)?);
        let mut visitor = Linked(Map { leaf, force_pte: true }, &self.inner);
        Walker::walk(&self.inner, env, Walk::Exclusive, (ipa, size), &mut visitor)
    }
}

/// What is installed.
#[derive(Clone, Copy)]
pub(super) enum Leaf {
    /// Memory from `pa` on.
    Memory { pa: u64, attributes: u64 },
    /// An invalid entry, the same for every page.
    Annotation(u64),
}

impl Leaf {
    /// The descriptors of `n` pages from `offset` bytes into what is installed, where each is the one before plus a
    /// step: address bits may lie apart in the descriptor, and then a carry goes elsewhere.
    pub(super) fn pages<R: Runtime>(self, table: &Inner<R>, offset: u64, n: usize) -> Option<Pages> {
        match self {
            Self::Annotation(desc) => Some(Pages { next: desc, step: 0 }),
            Self::Memory { pa, attributes } => {
                let step = table.geometry.page_size();
                let page = |pa| table.encoding.leaf(pa, attributes, LAST_LEVEL);
                let (first, apart) = (pa.wrapping_add(offset), (n as u64).wrapping_sub(1).wrapping_mul(step));
                let next = page(first);
                (page(first.wrapping_add(apart)) == next.wrapping_add(apart)).then_some(Pages { next, step })
            }
        }
    }
}

/// The descriptors of neighbouring pages, without end.
pub(crate) struct Pages {
    next: u64,
    step: u64,
}

impl Iterator for Pages {
    type Item = u64;

    #[inline]
    fn next(&mut self) -> Option<u64> {
        let leaf = self.next;
        self.next = leaf.wrapping_add(self.step);
        Some(leaf)
    }
}

/// Installs leaves, in the table or in one that is not linked yet.
pub(super) struct Map {
    pub(super) leaf: Leaf,
    pub(super) force_pte: bool,
}

/// A [`Map`] in a table that others use: entries are broken before they are made.
pub(super) struct Linked<'a, R>(pub(super) Map, pub(super) &'a Arc<Inner<R>>);

impl<R: Runtime, L: Maintenance> Visitor<R, L> for Linked<'_, R> {
    const PRE: bool = true;

    /// A table where a block could stand: the block replaces it, and its subtree is freed.
    fn pre(&mut self, walker: &mut Walker<'_, R, L>, at: &Visit<'_>) -> Result<(), Errno> {
        let Some(new) = self.0.leaf_at(walker, at) else { return Ok(()) };
        let child = walker.table.child(at.old);
        Map::install_leaf::<true, R, L>(walker, at, new)?;
        walker.env.log.log(Event::FreeUnlinked { level: at.level });
        Inner::free_unlinked_by_rcu(self.1, child, at.level + 1);
        Ok(())
    }

    #[inline]
    fn leaf(&mut self, walker: &mut Walker<'_, R, L>, at: &Visit<'_>) -> Result<(), Errno> {
        self.0.leaf_or_table::<true, R, L>(walker, at)
    }

    #[inline]
    fn run(&mut self, walker: &mut Walker<'_, R, L>, run: &Run<'_>) -> Result<(), Errno> {
        self.0.fill(walker, run)
    }

    fn whole(&mut self, walker: &mut Walker<'_, R, L>, at: &Visit<'_>) -> Result<bool, Errno> {
        self.0.whole_table::<true, R, L>(walker, at)
    }
}

/// A [`Map`] in a table that nobody else can reach: no invalidation, no cache maintenance.
impl<R: Runtime, L: Maintenance> Visitor<R, L> for Map {
    #[inline]
    fn leaf(&mut self, walker: &mut Walker<'_, R, L>, at: &Visit<'_>) -> Result<(), Errno> {
        self.leaf_or_table::<false, R, L>(walker, at)
    }

    fn whole(&mut self, walker: &mut Walker<'_, R, L>, at: &Visit<'_>) -> Result<bool, Errno> {
        self.whole_table::<false, R, L>(walker, at)
    }
}

impl Map {
    #[inline]
    fn leaf_or_table<const LINKED: bool, R: Runtime, L: Maintenance>(
        &self,
        walker: &mut Walker<'_, R, L>,
        at: &Visit<'_>,
    ) -> Result<(), Errno> {
        match self.leaf_at(walker, at) {
            Some(new) => Self::install_leaf::<LINKED, R, L>(walker, at, new),
            None => Self::install_table::<LINKED, R, L>(walker, at),
        }
    }

    /// The leaf for the entry, `None` where only smaller ones fit.
    #[inline]
    fn leaf_at<R: Runtime, L>(&self, walker: &Walker<'_, R, L>, at: &Visit<'_>) -> Option<u64> {
        let geometry = &walker.table.geometry;
        if self.force_pte && at.level < LAST_LEVEL {
            return None;
        }
        match self.leaf {
            Leaf::Annotation(desc) => Some(desc),
            Leaf::Memory { pa, attributes } => {
                let size = geometry.granule_size(at.level);
                let pa = pa.wrapping_add(at.ipa - walker.start);
                let fits = at.level == LAST_LEVEL
                    || geometry.leaf_allowed(at.level)
                        && walker.end - at.ipa >= size
                        && (pa | at.ipa) & (size - 1) == 0;
                fits.then(|| walker.table.encoding.leaf(pa, attributes, at.level))
            }
        }
    }

    #[inline]
    fn install_leaf<const LINKED: bool, R: Runtime, L: Maintenance>(
        walker: &mut Walker<'_, R, L>,
        at: &Visit<'_>,
        new: u64,
    ) -> Result<(), Errno> {
        let table = walker.table;
        if at.old == 0 && table.is_fast() && !table.config.cmo {
            return fill_entry(walker, at, new);
        }
        Self::replace::<LINKED, R, L>(walker, at, new)
    }

    /// Installs a leaf where something else may stand.
    fn replace<const LINKED: bool, R: Runtime, L: Maintenance>(
        walker: &mut Walker<'_, R, L>,
        at: &Visit<'_>,
        new: u64,
    ) -> Result<(), Errno> {
        if !descriptor::needs_update(at.old, new) {
            return Err(Errno::Again);
        }
        if !walker.shared && (at.old ^ new) & !SW == 0 {
            walker.try_set(at, new); // software bits only: nothing that hardware may have cached
            return Ok(());
        }
        let table = walker.table;
        if !break_entry::<LINKED, R, L>(walker, at) {
            return Err(Errno::Again);
        }
        if LINKED && table.config.cmo {
            let (pa, size) = (table.encoding.decode_pa(new), table.geometry.granule_size(at.level));
            if !table.config.fwb && table.encoding.is_cacheable(new) {
                walker.env.log.log(Event::DcacheClean { pa, size });
            }
            if descriptor::is_executable(new) {
                walker.env.log.log(Event::IcacheInvalidate { pa, size });
            }
        }
        make_entry(walker, at, new);
        Ok(())
    }

    /// Fills a run of last-level entries; what stands there already is broken first, as entry by entry.
    fn fill<R: Runtime, L: Maintenance>(
        &self,
        walker: &mut Walker<'_, R, L>,
        run: &Run<'_>,
    ) -> Result<(), Errno> {
        let (table, n) = (walker.table, run.words.len());
        let leaves = self.leaf.pages(table, run.ipa - walker.start, n).filter(|_| !table.config.cmo);
        let mut filled = 0;
        if let Some(leaves) = leaves {
            table.get_many(run.page, n as u64);
            filled = run.fill::<R>(leaves);
            table.put_many(run.page, (n - filled) as u64);
        }
        run.after(filled).visits::<R>().try_for_each(|at| self.leaf_or_table::<true, R, L>(walker, &at))
    }

    /// A table of pages for an entry whose whole reach is mapped: filled before it is linked, so that nobody sees
    /// it half full.
    fn whole_table<const LINKED: bool, R: Runtime, L: Maintenance>(
        &self,
        walker: &mut Walker<'_, R, L>,
        at: &Visit<'_>,
    ) -> Result<bool, Errno> {
        let table = walker.table;
        if at.level != LAST_LEVEL - 1
            || is_table(at.old, at.level)
            || table.config.cmo
            || self.leaf_at(walker, at).is_some()
        {
            return Ok(false);
        }
        let entries = table.geometry.entries();
        let Some(leaves) = self.leaf.pages(table, at.ipa - walker.start, entries) else { return Ok(false) };
        let child = table.alloc_filled(walker.env, leaves).ok_or(Errno::NoMem)?;
        link_table::<LINKED, R, L>(walker, at, child)
            .inspect_err(|_| table.end(&[child], site!("put_page:free")))?;
        Ok(true)
    }

    fn install_table<const LINKED: bool, R: Runtime, L: Maintenance>(
        walker: &mut Walker<'_, R, L>,
        at: &Visit<'_>,
    ) -> Result<(), Errno> {
        let child = walker.table.zalloc(walker.env).ok_or(Errno::NoMem)?;
        link_table::<LINKED, R, L>(walker, at, child).inspect_err(|_| walker.table.put(child, false))
    }
}

/// Replaces an entry by a table that is filled already, or empty.
pub(super) fn link_table<const LINKED: bool, R: Runtime, L: Maintenance>(
    walker: &mut Walker<'_, R, L>,
    at: &Visit<'_>,
    child: PageId,
) -> Result<(), Errno> {
    if !break_entry::<LINKED, R, L>(walker, at) {
        return Err(Errno::Again);
    }
    make_entry(walker, at, walker.table.table_desc(child));
    Ok(())
}

/// Fills an empty entry: with nothing to break there is no need to pass through LOCKED.
#[inline]
fn fill_entry<R: Runtime, L: Maintenance>(
    walker: &Walker<'_, R, L>,
    at: &Visit<'_>,
    new: u64,
) -> Result<(), Errno> {
    if !walker.shared {
        make_entry(walker, at, new);
        return Ok(());
    }
    walker.table.get(at.page, true);
    if walker.try_set(at, new) {
        return Ok(());
    }
    walker.table.put(at.page, true);
    Err(Errno::Again)
}

/// Break: locks the entry, invalidates what it mapped, drops its count. Answers whether this walk has it.
#[inline]
fn break_entry<const LINKED: bool, R: Runtime, L: Maintenance>(
    walker: &mut Walker<'_, R, L>,
    at: &Visit<'_>,
) -> bool {
    if is_locked(at.old) {
        if !walker.shared {
            walker.env.log.log(Event::Warn); // an exclusive walk has no rival that could hold the entry
        }
        return false;
    }
    if !walker.try_set(at, LOCKED) {
        return false;
    }
    if LINKED {
        if is_table(at.old, at.level) {
            walker.table.unlinked();
            let size = walker.table.geometry.granule_size(at.level);
            walker.tlbi_range(at.ipa & !(size - 1), size);
        } else if is_valid(at.old) {
            walker.tlbi(at.ipa, Some(at.level));
        }
    }
    if is_counted(at.old) {
        walker.table.put(at.page, walker.shared);
    }
    true
}

/// Make: counts the new entry, then publishes it.
#[inline]
fn make_entry<R: Runtime, L>(walker: &Walker<'_, R, L>, at: &Visit<'_>, new: u64) {
    if is_counted(new) {
        walker.table.get(at.page, walker.shared);
    }
    R::store(at.word, new, Access::Ordered, site!("stage2_make_pte"));
}
