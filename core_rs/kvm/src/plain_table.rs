//! The tables of loongarch and mips: a root and one level below it, whose pages are freed by what a walk covers,
//! without counts. The pages are kernel objects of their own, as many words as the shape has entries.
//!
//! Both flush without `mmu_lock`. mips frees a table page when its walk has covered it; loongarch puts it on a
//! list that runs through the first words of the pages themselves, invalidates TLBs, then frees the list. So two
//! walks at once meet each other's pages.

use runtime::{Access, Runtime, Site, site};

use crate::heap::{Memory, Ptr};
use crate::mmu::Outside;
use crate::strategy::Part;
use crate::variant::Arch;
use crate::vm::Vm;
use crate::world::World;

/// Bit 0 of an entry that maps a page; the frame is above it. A list's pointers never have it: they are aligned.
const PRESENT: u64 = 1;
/// Words of a `list_head`.
const LIST_NEXT: usize = 0;
const LIST_PREV: usize = 1;

/// Where a walk that clears is, by each architecture's function.
struct Sites {
    pgd: Site,
    pte: Site,
    clear_pte: Site,
    clear_pgd: Site,
}

impl Sites {
    fn of(arch: Arch) -> Self {
        match arch {
            Arch::Mips => Self {
                pgd: site!("kvm_mips_flush_gpa_pt:pgd"),
                pte: site!("kvm_mips_flush_gpa_pt:pte"),
                clear_pte: site!("kvm_mips_flush_gpa_pt:clear_pte"),
                clear_pgd: site!("kvm_mips_flush_gpa_pt:clear_pgd"),
            },
            _ => Self {
                pgd: site!("kvm_flush_range:pgd"),
                pte: site!("kvm_flush_range:pte"),
                clear_pte: site!("kvm_flush_range:clear_pte"),
                clear_pgd: site!("kvm_flush_range:clear_pgd"),
            },
        }
    }
}

impl<R: Runtime> World<R> {
    pub(crate) fn new_plain_table(&self, name: &'static str) -> Ptr {
        self.heap.alloc(name, self.entries(), Memory::Kmalloc, site!("kvm_pgd_alloc"))
    }

    /// Flush: everything, with what the strategy holds.
    pub(crate) fn flush_plain_table(&self, vm: &Vm<R>, held: bool, outside: &mut Outside) {
        let pgd = self.pgt(vm, site!("kvm_arch_flush_shadow_all:pgd"));
        let all = (0, self.guest.space);
        if held && self.strategy.table == Part::Claim {
            self.clear_range(pgd, all, &mut |page| outside.pages.push(page));
        } else {
            self.unmap_plain(pgd, all);
        }
        self.out_of_reach(vm);
    }

    /// A notifier's or a slot's unmap: under `mmu_lock`.
    pub(crate) fn unmap_plain_range(&self, vm: &Vm<R>, first: u64, pages: u64) {
        let pgd = self.pgt(vm, site!("kvm_unmap_gfn_range:pgd"));
        self.unmap_plain(pgd, (first, pages));
    }

    /// Clears the accessed bit: here a look at each entry under `mmu_lock`.
    pub(crate) fn age_plain_range(&self, pgd: Ptr, first: u64, pages: u64) {
        let marked = Access::Marked;
        for page in first..first + pages {
            let (root, place) = self.places(page);
            let table = self.heap.load(pgd, root, marked, site!("kvm_age_gfn:pgd"));
            if table != 0 {
                self.heap.load(table, place, marked, site!("kvm_age_gfn:pte"));
            }
        }
    }

    /// Maps a page: under `mmu_lock`.
    pub(crate) fn map_plain_page(&self, pgd: Ptr, page: u64, pfn: u64) -> bool {
        let marked = Access::Marked;
        let (root, place) = self.places(page);
        let mut table = self.heap.load(pgd, root, marked, site!("kvm_map_page:pgd"));
        if table == 0 {
            table = self.heap.alloc(
                "table page",
                self.entries().max(2),
                Memory::Kmalloc,
                site!("kvm_map_page:alloc"),
            );
            self.heap.store(pgd, root, table, marked, site!("kvm_map_page:set_pgd"));
        }
        self.heap.store(table, place, pfn << 1 | PRESENT, marked, site!("kvm_map_page:set_pte"));
        true
    }

    /// The end of the table in `kvm_arch_destroy_vm`: mips walks once more; then the root is freed.
    pub(crate) fn destroy_plain_table(&self, vm: &Vm<R>) {
        let pgd = self.pgt(vm, site!("kvm_arch_destroy_vm:pgd"));
        if self.variant.arch == Arch::Mips {
            self.unmap_plain(pgd, (0, self.guest.space));
        }
        self.heap.free(pgd, site!("kvm_arch_destroy_vm:pgd_free"));
    }

    /// The frame that an entry maps, by a caller's way to look at words.
    pub(crate) fn plain_leaf(&self, pgd: Ptr, page: u64, peek: impl Fn(Ptr, usize) -> u64) -> Option<u64> {
        let (root, place) = self.places(page);
        let entry = match peek(pgd, root) {
            0 => 0,
            table => peek(table, place),
        };
        (entry & PRESENT != 0).then_some(entry >> 1)
    }

    fn unmap_plain(&self, pgd: Ptr, range: (u64, u64)) {
        let flush_tlb =
            || R::tlb_invalidate(self.ipa(range.0), self.ipa(range.1), site!("kvm_flush_remote_tlbs"));
        if self.variant.arch == Arch::Mips {
            self.clear_range(pgd, range, &mut |page| {
                self.heap.free(page, site!("kvm_mips_flush_gpa_pt:pte_free"));
            });
            flush_tlb();
            return;
        }
        let head = self.heap.alloc("list_head on a stack", 2, Memory::Stack, site!("kvm_flush_range:list"));
        self.heap.init(head, LIST_NEXT, link(head));
        self.heap.init(head, LIST_PREV, link(head));
        self.clear_range(pgd, range, &mut |page| self.list_add_tail(head, page));
        flush_tlb();
        self.free_list(head);
    }

    /// Clears the entries of a range; a table page that the range covers is unlinked and handed to `empty`.
    fn clear_range(&self, pgd: Ptr, (first, pages): (u64, u64), empty: &mut dyn FnMut(Ptr)) {
        let (heap, marked) = (&self.heap, Access::Marked);
        let sites = Sites::of(self.variant.arch);
        let per_table = self.entries() as u64;
        for root in first / per_table..(first + pages).div_ceil(per_table) {
            let table = heap.load(pgd, root as usize, marked, sites.pgd);
            if table == 0 {
                continue;
            }
            let from = first.max(root * per_table) - root * per_table;
            let to = (first + pages).min((root + 1) * per_table) - root * per_table;
            for place in from as usize..to as usize {
                if heap.load(table, place, marked, sites.pte) & PRESENT != 0 {
                    heap.store(table, place, 0, marked, sites.clear_pte);
                }
            }
            if to - from == per_table {
                heap.store(pgd, root as usize, 0, marked, sites.clear_pgd);
                empty(table);
            }
        }
    }

    /// Links a page, by its own first words, before the head.
    fn list_add_tail(&self, head: Ptr, page: Ptr) {
        let (heap, plain) = (&self.heap, Access::Plain);
        let last = heap.load(head, LIST_PREV, plain, site!("list_add_tail:last"));
        heap.store(head, LIST_PREV, link(page), plain, site!("list_add_tail:head"));
        heap.store(page, LIST_NEXT, link(head), plain, site!("list_add_tail:next"));
        heap.store(page, LIST_PREV, last, plain, site!("list_add_tail:prev"));
        heap.store(linked(last), LIST_NEXT, link(page), plain, site!("list_add_tail:link"));
    }

    /// Unlinks and frees every page of a list. Ends early where the list leads to something that is no page: the
    /// kernel would free that.
    fn free_list(&self, head: Ptr) {
        let (heap, plain) = (&self.heap, Access::Plain);
        let mut page = linked(heap.load(head, LIST_NEXT, plain, site!("kvm_flush_range:first")));
        while page != head {
            let next = heap.load(page, LIST_NEXT, plain, site!("kvm_flush_range:list_next"));
            let before = heap.load(page, LIST_PREV, plain, site!("kvm_flush_range:list_prev"));
            heap.store(linked(next), LIST_PREV, before, plain, site!("list_del:next"));
            heap.store(linked(before), LIST_NEXT, next, plain, site!("list_del:prev"));
            if !heap.free(page, site!("kvm_flush_range:free_page")) {
                return;
            }
            page = linked(next);
        }
    }

    fn entries(&self) -> usize {
        self.guest.config.geometry().expect("a shape has a geometry").entries()
    }

    /// Where a page is: its entry of the root, and that of the table below.
    fn places(&self, page: u64) -> (usize, usize) {
        let entries = self.entries() as u64;
        ((page / entries) as usize, (page % entries) as usize)
    }
}

/// A list's pointer to an object, as it is kept in a word.
fn link(object: Ptr) -> u64 {
    object << 1
}

/// The object that a list's pointer leads to.
fn linked(word: u64) -> Ptr {
    word >> 1
}
