//! vCPUs: faults, and what the guest reads through cached translations.
//!
//! A fault samples `mmu_invalidate_seq` before it looks up the host page and checks it under `mmu_lock`: if an
//! invalidation is under way, or was, it lets go of everything and tries again. While one is under way the retry
//! waits for its end, as a guest that faults again and again does. A walk that loses to another vCPU ends the
//! fault: the guest would find the other's mapping, or fault again.

use runtime::{Access, Runtime, site};

use crate::vm::{INVALIDATE_IN_PROGRESS, INVALIDATE_SEQ, Vm};
use crate::world::World;

impl<R: Runtime> World<R> {
    /// `kvm_handle_guest_abort` for a page of the slot, counted from its beginning.
    pub(crate) fn kvm_handle_guest_abort(&self, vm: &Vm<R>, page: u64) {
        let page = self.guest.first + page;
        while !self.user_mem_abort(vm, page) {
            let in_progress = self.heap.word(vm.kvm, INVALIDATE_IN_PROGRESS, site!("mmu_invalidate_retry"));
            let seen = R::load(in_progress, Access::Marked, site!("mmu_invalidate_retry:again"));
            if seen != 0 {
                R::await_change(in_progress, seen, site!("mmu_invalidate_retry:wait"));
            }
        }
    }

    /// The guest uses a page of the slot through a translation that some core has cached.
    pub(crate) fn guest_access(&self, page: u64) {
        let page = self.guest.first + page;
        if let Some(pa) = R::tlb_lookup(self.ipa(page), site!("guest:access")) {
            let pfn = pa >> self.page_shift();
            if R::observe(|| self.frame_is_freed(pfn)) {
                self.heap.note("stale-translation", "guest page", site!("guest:access"));
            }
        }
    }

    /// One try; answers whether it need not be repeated.
    fn user_mem_abort(&self, vm: &Vm<R>, page: u64) -> bool {
        let (heap, marked) = (&self.heap, Access::Marked);
        let _slots = R::srcu_read(&vm.srcu, site!("kvm_handle_guest_abort:srcu"));
        if !self.has_valid_slot(vm, page) {
            return true; // not memory: an exit to userspace
        }
        let seq = heap.load(vm.kvm, INVALIDATE_SEQ, marked, site!("user_mem_abort:mmu_invalidate_seq"));
        let Some(pfn) = self.fault_in(self.mm(vm.mm), page) else {
            return true; // -EFAULT
        };
        let _mmu = vm.mmu_lock.fault(site!("user_mem_abort:mmu_lock"));
        if self.variant.retries && self.mmu_invalidate_retry(vm, seq) {
            return false;
        }
        if self.map_page(vm, page, pfn) {
            R::tlb_insert(self.ipa(page), self.ipa(1), self.ipa(pfn), site!("guest:walk"));
        }
        true
    }

    /// Whether an invalidation is under way, or was since `seq` was read: under `mmu_lock`.
    fn mmu_invalidate_retry(&self, vm: &Vm<R>, seq: u64) -> bool {
        let look = |field, site| self.heap.load(vm.kvm, field, Access::Marked, site);
        look(INVALIDATE_IN_PROGRESS, site!("mmu_invalidate_retry:in_progress")) != 0
            || look(INVALIDATE_SEQ, site!("mmu_invalidate_retry:seq")) != seq
    }
}
