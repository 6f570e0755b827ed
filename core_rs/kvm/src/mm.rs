//! The address space: `mm_users` (who uses it; the last runs `exit_mmap`) and `mm_count` (who needs the struct).
//!
//! Order in `exit_mmap`, as the notifier needs it: first every `->release`, and `synchronize_srcu`; only then
//! are the guest's pages freed. Reclaim finds a page's address space through the page (`anon_vma`), whose lock
//! keeps `exit_mmap` from going past it.
//!
//! Guest memory is one array of pages; guest page n lies at address n, so that a slot is the identity.

use runtime::{Access, LockClass, Runtime, site};

use crate::heap::{Memory, Ptr};
use crate::world::{MmId, World};

/// Words of `mm_struct`.
pub(crate) const MM_USERS: usize = 0;
pub(crate) const MM_COUNT: usize = 1;
/// First of the subscriptions (`notifier_subscriptions->list`): a VM's number plus 1.
pub(crate) const NOTIFIER_LIST: usize = 2;
pub(crate) const MM_WORDS: usize = 3;

pub(crate) struct Mm<R: Runtime> {
    /// The `mm_struct`.
    pub(crate) object: Ptr,
    /// `notifier_subscriptions->lock`.
    pub(crate) notifier_lock: R::Lock,
    /// Keeps the pages' address space from going away while reclaim is in it.
    pub(crate) anon_vma: R::Lock,
    /// Words of the page tables: for each guest page its frame's object, 0 where none is.
    pub(crate) ptes: Ptr,
    /// Which address space, from 0 up.
    pub(crate) id: MmId,
    /// Words: whether the guest's memory is mapped; then, for each descriptor, whether that is.
    vma: Ptr,
}

impl<R: Runtime> Mm<R> {
    /// An address space with `users` users.
    pub(crate) fn new(world: &World<R>, id: MmId, users: u64) -> Self {
        let heap = &world.heap;
        let object = heap.alloc("mm_struct", MM_WORDS, Memory::Kmalloc, site!("mm_alloc"));
        heap.init(object, MM_USERS, users);
        heap.init(object, MM_COUNT, 1); // all users together
        let ptes = heap.alloc("page table", world.guest.ptes(), Memory::Static, site!("pgd_alloc"));
        let vma = heap.alloc("vm_area_struct", 1 + world.fds.len(), Memory::Static, site!("mmap"));
        heap.init(vma, 0, 1);
        Self {
            object,
            notifier_lock: R::new_lock("notifier_subscriptions->lock", LockClass::Spin),
            anon_vma: R::new_lock("anon_vma->rwsem", LockClass::Mutex),
            ptes,
            id,
            vma,
        }
    }

    /// The word that says whether a descriptor is mapped.
    pub(crate) fn vma_of(&self, place: usize) -> (Ptr, usize) {
        (self.vma, 1 + place)
    }
}

impl<R: Runtime> World<R> {
    /// `mmgrab`.
    pub(crate) fn mmgrab(&self, mm: &Mm<R>) {
        self.heap.fetch_add(mm.object, MM_COUNT, site!("mmgrab"));
    }

    /// `mmdrop`: the last one frees the struct.
    pub(crate) fn mmdrop(&self, mm: &Mm<R>) {
        if self.heap.dec_and_test(mm.object, MM_COUNT, site!("mmdrop")) {
            self.heap.free(mm.object, site!("__mmdrop"));
        }
    }

    /// `mmput`: the last user tears the address space down.
    pub(crate) fn mmput(&self, mm: &Mm<R>) {
        let _inside = R::inside("mmput");
        if self.heap.dec_and_test(mm.object, MM_USERS, site!("mmput")) {
            self.exit_mmap(mm);
            self.mmdrop(mm);
        }
    }

    fn exit_mmap(&self, mm: &Mm<R>) {
        let _inside = R::inside("exit_mmap");
        self.mmu_notifier_release(mm);
        {
            let _rmap = R::lock(&mm.anon_vma, site!("unlink_anon_vmas"));
            self.heap.store(mm.vma, 0, 0, Access::Marked, site!("unlink_anon_vmas"));
        }
        self.zap_pages(mm);
        for file in self.mappings(mm.id) {
            self.fput_mapping(mm.id, file);
        }
    }

    /// `munmap` of the guest's memory: notifiers first, then the pages.
    pub(crate) fn munmap(&self, mm: &Mm<R>) {
        self.heap.store(mm.vma, 0, 0, Access::Marked, site!("do_vmi_munmap"));
        let invalidated = self.mmu_notifier_invalidate_range_start(mm, true);
        self.zap_pages(mm);
        self.mmu_notifier_invalidate_range_end(mm, &invalidated);
    }

    /// Reclaim: each page that is still mapped is unmapped everywhere and freed; `may_block`: whether callbacks may
    /// sleep. KVM's do so only where they break `mmu_lock`, so without that they do not fail (-EAGAIN) either.
    pub(crate) fn reclaim(&self, mm: &Mm<R>, may_block: bool) {
        let _rmap = R::lock(&mm.anon_vma, site!("folio_lock_anon_vma_read"));
        if self.heap.load(mm.vma, 0, Access::Marked, site!("try_to_unmap:vma")) == 0 {
            return;
        }
        let invalidated = self.mmu_notifier_invalidate_range_start(mm, may_block);
        self.zap_pages(mm);
        self.mmu_notifier_invalidate_range_end(mm, &invalidated);
    }

    /// Ageing by reclaim (`folio_referenced`).
    pub(crate) fn age(&self, mm: &Mm<R>) {
        let _rmap = R::lock(&mm.anon_vma, site!("folio_lock_anon_vma_read"));
        if self.heap.load(mm.vma, 0, Access::Marked, site!("folio_referenced:vma")) != 0 {
            self.mmu_notifier_clear_flush_young(mm);
        }
    }

    /// The frame of a guest page, made if there is none; nothing when the memory is no longer mapped.
    pub(crate) fn fault_in(&self, mm: &Mm<R>, page: u64) -> Option<u64> {
        let heap = &self.heap;
        if heap.load(mm.vma, 0, Access::Marked, site!("hva_to_pfn:vma")) == 0 {
            return None;
        }
        let here = heap.word(mm.ptes, self.guest.pte(page), site!("hva_to_pfn"));
        let there = R::load(here, Access::Marked, site!("hva_to_pfn"));
        if there != 0 {
            return Some(self.guest.frame(there, page));
        }
        let fresh = self.guest_page(site!("vma_alloc_folio"));
        let object = match R::compare_exchange(here, 0, fresh, site!("do_anonymous_page")) {
            Ok(_) => fresh,
            Err(other) => {
                heap.free(fresh, site!("do_anonymous_page:free"));
                other
            }
        };
        Some(self.guest.frame(object, page))
    }

    /// Frees the frames of all guest pages that have one, and says so if a stage-2 leaf still reaches one.
    fn zap_pages(&self, mm: &Mm<R>) {
        for page in self.guest.looked_at() {
            let word = self.heap.word(mm.ptes, self.guest.pte(page), site!("zap_pte_range"));
            let frame = R::load(word, Access::Marked, site!("zap_pte_range"));
            if frame != 0 && R::compare_exchange(word, frame, 0, site!("zap_pte_range:clear")).is_ok() {
                self.heap.free(frame, site!("free_pages_and_swap_cache"));
                self.check_unreachable(mm, page, self.guest.frame(frame, page));
            }
        }
    }
}
