//! The table itself: its root, its pages and their counts. The operations are in `ops`.
//!
//! A count is 1 for the link from the parent, and 1 for each non-zero entry; at 0 the page is freed. Upstream's
//! are page references, atomic always; here an exclusive walk, which `mmu_lock` keeps alone with the table,
//! counts without an atomic instruction on real threads (docs/performance.md has the figures).

use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use runtime::{Access, Object, Runtime, Site, Word, site};

use crate::arena::{Arena, Content, Harm, PageId};
use crate::config::{Config, ConfigError, WalkerKind};
use crate::descriptor::{Encoding, is_table};
use crate::env::Env;
use crate::geometry::{Geometry, LAST_LEVEL};
use crate::maintenance::{Event, Maintenance, Tlbi};
use crate::memcache::MemoryCache;

/// Pages that one range invalidation covers at most (Arm ARM, TLBI RIPAS2E1: SCALE 3, NUM 31).
const MAX_TLBI_RANGE_PAGES: u64 = 1 << 21;

/// A stage-2 table on the runtime `R`.
///
/// All operations take `&self`: what may run beside what is the business of the lock around them
/// (`mmu_lock`), and a caller that gets it wrong gets a wrong table, never undefined behaviour.
///
/// ```
/// use runtime::native::Native;
/// use stage2::{Config, Env, NoLog, Prot, Table, Walk};
///
/// let table = Table::<Native>::new(Config::default())?;
/// let mut vcpu = Env::new(NoLog);
/// table.map(&mut vcpu, Walk::Shared, 0x8000_0000, 0x1000, 0x4000_0000, Prot::R | Prot::W).unwrap();
/// assert_eq!(table.get_leaf(0x8000_0000).unwrap().level, 3);
/// # Ok::<(), stage2::ConfigError>(())
/// ```
pub struct Table<R: Runtime> {
    pub(crate) inner: Arc<Inner<R>>,
}

/// What an operation needs, and what work handed to RCU keeps alive.
pub(crate) struct Inner<R> {
    pub(crate) config: Config,
    pub(crate) geometry: Geometry,
    pub(crate) encoding: Encoding,
    pub(crate) arena: Arc<Arena>,
    /// 0 when there is no root, else the number of the first root page plus 1 (`pgt->pgd`).
    root: Word,
    /// Tells this table from every other of the process, for a [`WalkCache`](crate::fast::WalkCache).
    pub(crate) id: u64,
    /// Raised whenever a table page is unlinked, before it may be freed. The `upstream` walker needs none.
    generation: Word,
    runtime: PhantomData<R>,
}

impl<R: Runtime> Table<R> {
    /// An empty table.
    pub fn new(config: Config) -> Result<Self, ConfigError> {
        let geometry = config.geometry()?;
        let table = Self {
            inner: Arc::new(Inner {
                config,
                geometry,
                encoding: Encoding::of(&config),
                arena: Arc::new(Arena::new(geometry.level_bits(), R::REUSES_MEMORY)),
                root: Word::new(0),
                id: next_id(),
                generation: Word::new(0),
                runtime: PhantomData,
            }),
        };
        table.init();
        Ok(table)
    }

    /// Gives the table a fresh root, as after [`Table::destroy`].
    pub fn init(&self) {
        let inner = &*self.inner;
        let pages = inner.geometry.root_pages() as u32;
        let first = inner.arena.take_contiguous(pages).expect("room for a root in a fresh arena");
        for page in first.0..first.0 + pages {
            inner.begin(PageId(page), site!("kvm_s2_zalloc_pages_exact"));
        }
        R::store(&inner.root, u64::from(first.0) + 1, Access::Plain, site!("__kvm_pgtable_stage2_init:pgd"));
    }

    /// What was asked for.
    pub fn config(&self) -> &Config {
        &self.inner.config
    }

    /// Levels and sizes.
    pub fn geometry(&self) -> &Geometry {
        &self.inner.geometry
    }

    /// How addresses and memory types are encoded.
    pub fn encoding(&self) -> &Encoding {
        &self.inner.encoding
    }

    /// The first of the contiguous root pages, `None` after [`Table::destroy`].
    pub fn root(&self) -> Option<PageId> {
        self.inner.root()
    }

    /// The reference count of a table page.
    pub fn ref_count(&self, page: PageId) -> u64 {
        R::load(self.inner.arena.count(page), Access::Marked, site!("page_count"))
    }

    /// The page that a table descriptor points to.
    pub fn child(&self, desc: u64) -> PageId {
        self.inner.child(desc)
    }

    /// The entries of a table page.
    pub fn words(&self, page: PageId) -> &[Word] {
        self.inner.arena.words(page)
    }

    /// Table pages allocated and freed since the table was made, root pages included.
    pub fn page_totals(&self) -> (u64, u64) {
        self.inner.arena.totals()
    }

    /// Table pages in use, root pages included.
    pub fn live_pages(&self) -> u64 {
        let (allocated, freed) = self.page_totals();
        allocated - freed
    }

    /// Bytes that the table pages in use take, with what lies beside them.
    pub fn memory_bytes(&self) -> u64 {
        self.live_pages() * self.inner.arena.bytes_a_page()
    }

    /// What went wrong in the bookkeeping of pages.
    pub fn harm(&self) -> Harm {
        self.inner.arena.harm()
    }

    /// Makes `n` pages lie ready in `cache` (`kvm_mmu_topup_memory_cache`), outside any lock. Answers
    /// whether there was room.
    pub fn top_up(&self, cache: &mut MemoryCache, n: usize) -> bool {
        cache.top_up(&self.inner.arena, n)
    }
}

fn next_id() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

impl<R: Runtime> Inner<R> {
    #[inline]
    pub(crate) fn root(&self) -> Option<PageId> {
        match R::load(&self.root, Access::Plain, site!("kvm_pgtable_walk:pgd")) {
            0 => None,
            number => Some(PageId(number as u32 - 1)),
        }
    }

    /// Forgets the root and frees its pages, whatever they hold.
    pub(crate) fn free_root(&self) {
        let Some(first) = self.root() else { return };
        for page in first.0..first.0 + self.geometry.root_pages() as u32 {
            self.end(&[PageId(page)], site!("kvm_s2_free_pages_exact"));
        }
        R::store(&self.root, 0, Access::Plain, site!("kvm_pgtable_stage2_destroy_pgd:pgd"));
        self.unlinked();
    }

    /// The page that a table descriptor points to.
    #[inline]
    pub(crate) fn child(&self, desc: u64) -> PageId {
        let number = self.encoding.table_pa(desc) >> self.geometry.page_shift();
        self.arena.page_at(number).expect("a table descriptor points into the arena")
    }

    /// The descriptor that points to a table page.
    pub(crate) fn table_desc(&self, page: PageId) -> u64 {
        self.encoding.table(u64::from(page.0) << self.geometry.page_shift())
    }

    /// Whether the `fast` walker has the table.
    #[inline]
    pub(crate) fn is_fast(&self) -> bool {
        self.config.walker == WalkerKind::Fast
    }

    /// The generation of the table's structure: as long as it stays, no table page was unlinked.
    #[inline]
    pub(crate) fn generation(&self) -> u64 {
        R::load(&self.generation, Access::Ordered, site!("walk_cache:generation"))
    }

    /// Says that a table page is unlinked: when the entry no longer leads to it, nothing else stands in its place
    /// yet, and it is not freed.
    #[inline]
    pub(crate) fn unlinked(&self) {
        if self.is_fast() {
            R::fetch_add(&self.generation, 1, site!("walk_cache:invalidate"));
        }
    }

    /// Allocates a table page from the caller's cache.
    pub(crate) fn zalloc<L>(&self, env: &mut Env<L>) -> Option<PageId> {
        self.alloc(env, Content::Zeroed)
    }

    /// Allocates a last-level table that holds `leaves`, a count for each.
    pub(crate) fn alloc_filled<L>(
        &self,
        env: &mut Env<L>,
        leaves: impl Iterator<Item = u64>,
    ) -> Option<PageId> {
        let page = self.alloc(env, Content::Stale)?;
        let words = self.arena.words(page);
        self.get_many(page, words.len() as u64);
        words.iter().zip(leaves).for_each(|(word, leaf)| word.init(leaf));
        Some(page)
    }

    fn alloc<L>(&self, env: &mut Env<L>, content: Content) -> Option<PageId> {
        let page = env.memcache.take(&self.arena, content)?;
        self.begin(page, site!("stage2_memcache_zalloc_page"));
        Some(page)
    }

    /// Takes a count of a table page.
    #[inline]
    pub(crate) fn get(&self, page: PageId, shared: bool) {
        let (count, site) = (self.arena.count(page), site!("get_page"));
        if shared {
            R::fetch_add(count, 1, site)
        } else {
            R::add_exclusive(count, 1, site)
        };
    }

    /// Drops a count of a table page; the last one frees it.
    #[inline]
    pub(crate) fn put(&self, page: PageId, shared: bool) {
        let (count, site) = (self.arena.count(page), site!("put_page"));
        match if shared { R::fetch_sub(count, 1, site) } else { R::sub_exclusive(count, 1, site) } {
            1 => self.end(&[page], site!("put_page:free")),
            0 => {
                R::fetch_add(count, 1, site!("put_page:underflow"));
                self.arena.count_underflow();
            }
            _ => {}
        }
    }

    /// Takes `n` counts at once; the walk is exclusive.
    #[inline]
    pub(crate) fn get_many(&self, page: PageId, n: u64) {
        R::add_exclusive(self.arena.count(page), n, site!("get_page:many"));
    }

    /// Drops `n` counts of a table page that keeps at least one; the walk is exclusive.
    #[inline]
    pub(crate) fn put_many(&self, page: PageId, n: u64) {
        if n > 0 {
            R::sub_exclusive(self.arena.count(page), n, site!("put_page:many"));
        }
    }

    /// The count of a table page.
    #[inline]
    pub(crate) fn count(&self, page: PageId) -> u64 {
        R::load(self.arena.count(page), Access::Marked, site!("page_count"))
    }

    /// Whether invalidations of leaves wait until the end of an unmap.
    pub(crate) fn defers_tlbi(&self) -> bool {
        self.config.tlb_range && self.config.fwb
    }

    /// The pages that a walk over `[ipa, ipa + size)` touches, and those that the range itself touches.
    pub(crate) fn touched(&self, ipa: u64, size: u64) -> (u64, u64) {
        let start = self.geometry.page_down(ipa);
        (start, self.geometry.page_up(ipa + size) - start)
    }

    /// Whether the data cache is cleaned, and recorded, behind what is unmapped.
    #[inline]
    pub(crate) fn cleans_removed(&self) -> bool {
        self.config.cmo && !self.config.fwb
    }

    /// Invalidates a range: in pieces as large as the instruction allows, or everything where it is missing.
    pub(crate) fn tlbi_range<L: Maintenance>(&self, env: &mut Env<L>, ipa: u64, size: u64) {
        if !self.config.tlb_range {
            self.tlbi_all(env);
            return;
        }
        let site = site!("kvm_tlb_flush_vmid_range");
        let (mut ipa, mut left) = (ipa, size >> self.geometry.page_shift());
        while left > 0 {
            let pages = left.min(MAX_TLBI_RANGE_PAGES);
            R::tlb_invalidate(ipa, pages << self.geometry.page_shift(), site);
            env.log.log(Event::Tlbi(Tlbi::Range { ipa, pages }));
            ipa = ipa.wrapping_add(pages << self.geometry.page_shift());
            left -= pages;
        }
    }

    /// Invalidates a range with one instruction: everything where one cannot cover it.
    pub(crate) fn tlbi_once<L: Maintenance>(&self, env: &mut Env<L>, ipa: u64, size: u64) {
        if size >> self.geometry.page_shift() > MAX_TLBI_RANGE_PAGES {
            self.tlbi_all(env);
        } else {
            self.tlbi_range(env, ipa, size);
        }
    }

    pub(crate) fn tlbi_all<L: Maintenance>(&self, env: &mut Env<L>) {
        R::tlb_invalidate(0, 1 << self.geometry.ipa_bits(), site!("kvm_tlb_flush_vmid"));
        env.log.log(Event::Tlbi(Tlbi::Vmid));
    }

    /// Puts the table `page` of `level` and all tables below it into `pages`, parents first. Leaves of the last level
    /// are not looked at.
    pub(crate) fn subtree(&self, page: PageId, level: i8, pages: &mut Vec<PageId>) {
        pages.push(page);
        let mut left = if level < LAST_LEVEL { self.count(page).saturating_sub(1) } else { 0 };
        for word in self.arena.words(page) {
            if left == 0 {
                return;
            }
            let desc = R::load(word, Access::Marked, site!("kvm_pgtable_visit:read"));
            left -= u64::from(desc != 0);
            if is_table(desc, level) {
                self.subtree(self.child(desc), level + 1, pages);
            }
        }
    }

    fn begin(&self, page: PageId, site: Site) {
        self.arena.commit(page);
        R::allocated(self.object(page), site);
    }

    #[cold]
    pub(crate) fn end(&self, pages: &[PageId], site: Site) {
        for &page in pages {
            R::freed(self.object(page), site);
        }
        self.arena.free(pages);
    }

    fn object(&self, page: PageId) -> Object<'_> {
        Object { name: "stage2 table page", index: u64::from(page.0), words: self.arena.words(page) }
    }
}
