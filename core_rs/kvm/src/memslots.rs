//! The memory slots: one or two a VM, which share the guest's pages out among them. Changed under `slots_lock`, published
//! by SRCU.
//!
//! Deleting goes in the kernel's two steps: the slot is published as invalid, readers are waited for and the
//! range is unmapped; then it is published as gone. Who reads a slot is inside a read section of `kvm->srcu`, so
//! nobody may take `slots_lock` there. Publishing waits until no invalidation is in flight: both its ends find
//! the same slots.

use runtime::{Access, Runtime, site};

use crate::heap::{Memory, Ptr};
use crate::mmu::GfnRange;
use crate::vm::{ACTIVE_INVALIDATE_COUNT, CHUNK, MEMSLOTS, Vm};
use crate::world::World;

/// The one word of a `kvm_memory_slot`.
const FLAGS: usize = 0;
const INVALID: u64 = 1;
const LOG_DIRTY: u64 = 2;

impl<R: Runtime> World<R> {
    /// The numbers that slots have.
    pub(crate) fn slots(&self) -> std::ops::Range<usize> {
        0..self.set_up.slots as usize
    }

    /// The slots that are there (valid or not), as a notifier's callback looks them up.
    pub(crate) fn present_slots(&self, vm: &Vm<R>) -> impl Iterator<Item = usize> {
        let load =
            |slot: usize| self.heap.load(vm.kvm, MEMSLOTS + slot, Access::Marked, site!("__kvm_memslots"));
        self.slots().filter(move |slot| load(*slot) != 0)
    }

    /// The guest pages of a slot: the first, and how many.
    pub(crate) fn slot_pages(&self, slot: usize) -> (u64, u64) {
        let pages = self.guest.pages / self.set_up.slots;
        (self.guest.first + slot as u64 * pages, pages)
    }

    /// The guest pages of a slot, as a range to be unmapped.
    pub(crate) fn slot_range(&self, slot: usize, may_block: bool) -> GfnRange {
        let (first, pages) = self.slot_pages(slot);
        GfnRange { first, pages, may_block }
    }

    /// Whether a page has a slot that a fault may map.
    pub(crate) fn has_valid_slot(&self, vm: &Vm<R>, page: u64) -> bool {
        let number = (page - self.guest.first) * self.set_up.slots / self.guest.pages;
        let slot =
            self.heap.load(vm.kvm, MEMSLOTS + number as usize, Access::Marked, site!("gfn_to_memslot"));
        slot != 0 && self.heap.load(slot, FLAGS, Access::Marked, site!("gfn_to_memslot:flags")) & INVALID == 0
    }

    /// A slot, before it is published.
    pub(crate) fn new_slot(&self, flags: u64) -> Ptr {
        let slot =
            self.heap.alloc("kvm_memory_slot", 1, Memory::Kmalloc, site!("kvm_set_memory_region:kzalloc"));
        self.heap.init(slot, FLAGS, flags);
        slot
    }

    /// `KVM_SET_USER_MEMORY_REGION`: makes a slot.
    pub(crate) fn create_slot(&self, vm: &Vm<R>, slot: usize) {
        let _slots = R::lock(&vm.slots_lock, site!("kvm_set_memory_region:slots_lock"));
        if self.slot(vm, slot) == 0 {
            self.kvm_swap_active_memslots(vm, slot, self.new_slot(0));
            self.kvm_arch_commit_memory_region(vm, slot, false);
        }
    }

    /// Deletes it.
    pub(crate) fn delete_slot(&self, vm: &Vm<R>, slot: usize) {
        let _slots = R::lock(&vm.slots_lock, site!("kvm_set_memory_region:slots_lock"));
        let old = self.slot(vm, slot);
        if old == 0 {
            return;
        }
        let invalid = self.new_slot(INVALID);
        self.kvm_swap_active_memslots(vm, slot, invalid);
        self.kvm_arch_flush_shadow_memslot(vm, slot);
        self.kvm_swap_active_memslots(vm, slot, 0);
        self.kvm_arch_commit_memory_region(vm, slot, false);
        self.heap.free(invalid, site!("kvm_delete_memslot:invalid"));
        self.heap.free(old, site!("kvm_free_memslot"));
    }

    /// Changes whether writes are logged.
    pub(crate) fn log_dirty(&self, vm: &Vm<R>, slot: usize, log: bool) {
        let _slots = R::lock(&vm.slots_lock, site!("kvm_set_memory_region:slots_lock"));
        let old = self.slot(vm, slot);
        let flags = if log { LOG_DIRTY } else { 0 };
        if old == 0
            || self.heap.load(old, FLAGS, Access::Plain, site!("kvm_set_memory_region:flags")) == flags
        {
            return;
        }
        self.kvm_swap_active_memslots(vm, slot, self.new_slot(flags));
        self.kvm_arch_commit_memory_region(vm, slot, log);
        self.heap.free(old, site!("kvm_free_memslot"));
    }

    /// `KVM_CAP_ARM_EAGER_SPLIT_CHUNK_SIZE`: only while there is no slot.
    pub(crate) fn set_chunk(&self, vm: &Vm<R>, pages: u64) {
        let _slots = R::lock(&vm.slots_lock, site!("kvm_vm_ioctl_enable_cap:slots_lock"));
        if self.slots().all(|slot| self.slot(vm, slot) == 0) {
            self.heap.store(vm.kvm, CHUNK, pages, Access::Plain, site!("kvm_vm_ioctl_enable_cap:chunk_size"));
        }
    }

    /// Frees the slots with their VM.
    pub(crate) fn kvm_free_memslots(&self, vm: &Vm<R>) {
        for slot in self.slots() {
            let slot = self.heap.load(vm.kvm, MEMSLOTS + slot, Access::Plain, site!("kvm_free_memslots"));
            self.heap.free(slot, site!("kvm_free_memslot"));
        }
    }

    fn slot(&self, vm: &Vm<R>, slot: usize) -> Ptr {
        self.heap.load(vm.kvm, MEMSLOTS + slot, Access::Plain, site!("kvm_set_memory_region:slots"))
    }

    /// Publishes the slots with one of them replaced.
    fn kvm_swap_active_memslots(&self, vm: &Vm<R>, slot: usize, new: Ptr) {
        let arch = R::lock(&vm.slots_arch_lock, site!("kvm_swap_active_memslots:slots_arch_lock"));
        loop {
            let count = R::lock(&vm.mn_invalidate_lock, site!("kvm_swap_active_memslots:mn_invalidate_lock"));
            let seen = self.active_invalidations(vm);
            if seen == 0 {
                let site = site!("kvm_swap_active_memslots:publish");
                self.heap.store(vm.kvm, MEMSLOTS + slot, new, Access::Ordered, site);
                break;
            }
            drop(count);
            R::might_sleep(site!("kvm_swap_active_memslots:schedule"));
            let site = site!("kvm_swap_active_memslots:wait");
            R::await_change(self.heap.word(vm.kvm, ACTIVE_INVALIDATE_COUNT, site), seen, site);
        }
        drop(arch);
        R::synchronize_srcu(&vm.srcu, site!("kvm_swap_active_memslots:synchronize_srcu"));
    }

    fn kvm_arch_flush_shadow_memslot(&self, vm: &Vm<R>, slot: usize) {
        let mut mmu = vm.mmu_lock.write(site!("kvm_arch_flush_shadow_memslot:mmu_lock"));
        self.unmap_slot(vm, &mut mmu, self.slot_range(slot, true));
    }

    /// Dirty logging begins with write protection and eager splits; whatever else happens to a slot frees
    /// what eager splitting left over.
    fn kvm_arch_commit_memory_region(&self, vm: &Vm<R>, slot: usize, log: bool) {
        let _inside = R::inside("kvm_arch_commit_memory_region");
        if log {
            let (first, pages) = self.slot_pages(slot);
            self.kvm_mmu_wp_memory_region(vm, first, pages);
            self.kvm_mmu_split_memory_region(vm, first, pages);
        } else if self.variant.split_cache {
            self.kvm_mmu_free_memory_cache(vm.split_cache());
        }
    }
}
