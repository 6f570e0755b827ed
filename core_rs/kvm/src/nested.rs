//! The mmus of nested virtualization: shadow stage-2 tables beside the VM's own.
//!
//! 6.12: an array of mmus that `KVM_ARM_VCPU_INIT` grows by reallocation under `config_lock`, and that flush
//! frees; neither holds `mmu_lock`, under which notifier callbacks walk it. 7.3: an array of pointers as long as
//! it can get, allocated with the VM; pointers and size change under `mmu_lock`, and `kvm_destroy_nested`,
//! from `kvm_destroy_vm`, frees what they point to.

use runtime::{Access, Runtime, site};

use crate::heap::{Memory, Ptr};
use crate::mmu::{GfnRange, MMU_WORDS, MmuRef, Outside, VALID};
use crate::mmu_lock::{Held, WriteGuard};
use crate::strategy::Part;
use crate::variant::Nested;
use crate::vm::{NESTED_MMUS, NESTED_MMUS_SIZE, Vm};
use crate::world::World;

/// Mmus that one vCPU adds.
const PER_VCPU: u64 = 2;
/// Pointers in the array of 7.3.
const MOST: usize = 4;

const NAME: &str = "kvm.arch.nested_mmus";

impl<R: Runtime> World<R> {
    /// `kvm_init_nested`: what exists before any vCPU.
    pub(crate) fn kvm_init_nested(&self, vm: &Vm<R>) {
        if self.variant.nested == Nested::Pointers && self.nests() {
            let array = self.heap.alloc(NAME, MOST, self.set_up.arrays, site!("kvm_init_nested"));
            self.heap.init(vm.kvm, NESTED_MMUS, array);
        }
    }

    /// Nested mmus of the set-up.
    pub(crate) fn set_up_nested(&self, vm: &Vm<R>, count: u64) {
        if count == 0 {
            return;
        }
        let array = match self.variant.nested {
            Nested::Absent => return,
            Nested::Array => self.new_array(count),
            Nested::Pointers => {
                self.heap.load(vm.kvm, NESTED_MMUS, Access::Plain, site!("kvm_vcpu_init_nested"))
            }
        };
        for place in 0..count as usize {
            match self.variant.nested {
                Nested::Pointers => self.heap.init(array, place, self.new_mmu()),
                _ => self.kvm_init_stage2_mmu(element(array, place)),
            }
        }
        self.heap.init(vm.kvm, NESTED_MMUS, array);
        self.heap.init(vm.kvm, NESTED_MMUS_SIZE, count);
    }

    /// `kvm_vcpu_init_nested`: adds the mmus of one more vCPU.
    pub(crate) fn kvm_vcpu_init_nested(&self, vm: &Vm<R>) {
        let _inside = R::inside("kvm_vcpu_init_nested");
        let _config = R::lock(&vm.config_lock, site!("kvm_vcpu_init_nested:config_lock"));
        match self.variant.nested {
            Nested::Absent => {}
            Nested::Array => self.grow_array(vm),
            Nested::Pointers => self.add_pointers(vm),
        }
    }

    /// How many there are.
    pub(crate) fn nested_size(&self, vm: &Vm<R>) -> u64 {
        self.heap.load(vm.kvm, NESTED_MMUS_SIZE, Access::Plain, site!("kvm.arch.nested_mmus_size"))
    }

    /// The nested part of `kvm_arch_flush_shadow_all`.
    pub(crate) fn flush_nested(&self, vm: &Vm<R>, held: &mut Held<'_, R>, outside: &mut Outside) {
        let array = self.variant.nested == Nested::Array;
        if array && self.strategy.nested == Part::Claim {
            if held.is_some() {
                self.claim_array(vm, outside);
            } else {
                let mut claimed = Outside::default();
                {
                    let _held = vm.mmu_lock.write(site!("kvm_arch_flush_shadow_all:nested_mmu_lock"));
                    self.claim_array(vm, &mut claimed);
                }
                self.free_outside(&claimed);
            }
            return;
        }
        let mut place = 0;
        while place < self.nested_size(vm) as usize {
            self.free_table(vm, self.nested_mmu(vm, place), held, outside);
            place += 1;
        }
        if array && self.strategy.nested != Part::Defer {
            self.free_array(vm);
        }
    }

    /// `kvm_nested_s2_unmap`: from a notifier's callback, under `mmu_lock`.
    pub(crate) fn kvm_nested_s2_unmap(&self, vm: &Vm<R>, mmu: &mut WriteGuard<'_, R>, may_block: bool) {
        let _inside = R::inside("kvm_nested_s2_unmap");
        if self.variant.nested == Nested::Absent {
            return;
        }
        let mut place = 0;
        while place < self.nested_size(vm) as usize {
            let at = self.nested_mmu(vm, place);
            let site = site!("kvm_nested_s2_unmap:valid");
            if self.heap.load(at.object, at.base + VALID, Access::Plain, site) != 0 {
                let all = GfnRange { first: 0, pages: self.guest.space, may_block };
                self.unmap_stage2_range(at, mmu, all);
            }
            place += 1;
        }
    }

    /// `kvm_destroy_nested`: from `kvm_destroy_vm`.
    pub(crate) fn kvm_destroy_nested(&self, vm: &Vm<R>) {
        if self.variant.nested == Nested::Pointers {
            for place in 0..self.nested_size(vm) as usize {
                let mmu = self.nested_mmu(vm, place);
                self.heap.free(mmu.object, site!("kvm_destroy_nested:kfree"));
            }
        }
        self.free_array(vm);
    }

    /// The mmu at a place of the array, found as the kernel finds it.
    fn nested_mmu(&self, vm: &Vm<R>, place: usize) -> MmuRef {
        let array = self.heap.load(vm.kvm, NESTED_MMUS, Access::Plain, site!("kvm.arch.nested_mmus"));
        match self.variant.nested {
            Nested::Pointers => {
                let object =
                    self.heap.load(array, place, Access::Plain, site!("kvm.arch.nested_mmus:pointer"));
                MmuRef { object, base: 0, nested: true }
            }
            _ => element(array, place),
        }
    }

    /// Frees the array, as 6.12's flush does: the pointer is forgotten before the size.
    fn free_array(&self, vm: &Vm<R>) {
        let (heap, plain) = (&self.heap, Access::Plain);
        let array = heap.load(vm.kvm, NESTED_MMUS, plain, site!("kvm_arch_flush_shadow_all:nested_mmus"));
        heap.free(array, site!("kvm_arch_flush_shadow_all:kvfree"));
        heap.store(vm.kvm, NESTED_MMUS, 0, plain, site!("kvm_arch_flush_shadow_all:nested_mmus_null"));
        heap.store(vm.kvm, NESTED_MMUS_SIZE, 0, plain, site!("kvm_arch_flush_shadow_all:nested_mmus_size"));
    }

    /// Takes the array and all its tables out, under `mmu_lock`.
    fn claim_array(&self, vm: &Vm<R>, outside: &mut Outside) {
        let (heap, plain) = (&self.heap, Access::Plain);
        for place in 0..self.nested_size(vm) as usize {
            let pgt = self.take_pgt(vm, self.nested_mmu(vm, place));
            outside.tables.push(pgt);
        }
        let array = heap.load(vm.kvm, NESTED_MMUS, plain, site!("kvm_arch_flush_shadow_all:claim"));
        if array != 0 {
            heap.store(vm.kvm, NESTED_MMUS, 0, plain, site!("kvm_arch_flush_shadow_all:nested_mmus_null"));
            heap.store(
                vm.kvm,
                NESTED_MMUS_SIZE,
                0,
                plain,
                site!("kvm_arch_flush_shadow_all:nested_mmus_size"),
            );
            outside.arrays.push(array);
        }
    }

    /// 6.12: a new array, copy, free the old one; all under `config_lock` only.
    fn grow_array(&self, vm: &Vm<R>) {
        let (heap, plain) = (&self.heap, Access::Plain);
        let old_size = heap.load(vm.kvm, NESTED_MMUS_SIZE, plain, site!("kvm_vcpu_init_nested:size"));
        let old = heap.load(vm.kvm, NESTED_MMUS, plain, site!("kvm_vcpu_init_nested:array"));
        let size = old_size + PER_VCPU;
        let new = self.new_array(size);
        for word in 0..old_size as usize * MMU_WORDS {
            heap.init(new, word, heap.load(old, word, plain, site!("kvm_vcpu_init_nested:copy")));
        }
        heap.free(old, site!("kvm_vcpu_init_nested:kvfree"));
        for place in old_size..size {
            self.kvm_init_stage2_mmu(element(new, place as usize));
        }
        heap.store(vm.kvm, NESTED_MMUS_SIZE, size, plain, site!("kvm_vcpu_init_nested:set_size"));
        heap.store(vm.kvm, NESTED_MMUS, new, plain, site!("kvm_vcpu_init_nested:set_array"));
    }

    /// 7.3: the new mmus are made outside the lock; pointers and size are stored under it.
    fn add_pointers(&self, vm: &Vm<R>) {
        let (heap, plain) = (&self.heap, Access::Plain);
        let fresh = [self.new_mmu(), self.new_mmu()];
        let _held = vm.mmu_lock.write(site!("kvm_vcpu_init_nested:mmu_lock"));
        let size = heap.load(vm.kvm, NESTED_MMUS_SIZE, plain, site!("kvm_vcpu_init_nested:size"));
        let array = heap.load(vm.kvm, NESTED_MMUS, plain, site!("kvm_vcpu_init_nested:array"));
        for (place, mmu) in (size as usize..).zip(fresh) {
            heap.store(array, place, mmu, plain, site!("kvm_vcpu_init_nested:set_pointer"));
        }
        heap.store(vm.kvm, NESTED_MMUS_SIZE, size + PER_VCPU, plain, site!("kvm_vcpu_init_nested:set_size"));
    }

    fn new_array(&self, mmus: u64) -> Ptr {
        let words = mmus as usize * MMU_WORDS;
        self.heap.alloc(NAME, words, self.set_up.arrays, site!("kvm_vcpu_init_nested:kvmalloc_array"))
    }

    fn new_mmu(&self) -> Ptr {
        let object =
            self.heap.alloc("kvm_s2_mmu", MMU_WORDS, Memory::Kmalloc, site!("kvm_vcpu_init_nested:kzalloc"));
        self.kvm_init_stage2_mmu(MmuRef { object, base: 0, nested: true });
        object
    }
}

fn element(array: Ptr, place: usize) -> MmuRef {
    MmuRef { object: array, base: place * MMU_WORDS, nested: true }
}
