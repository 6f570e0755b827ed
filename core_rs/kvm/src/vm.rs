//! `struct kvm`: who holds it, how it is made and destroyed.
//!
//! Each open file of a VM holds one count: the VM's, each vCPU's (which a mapping of `kvm_run` keeps open), each
//! device's, statistics, `guest_memfd`, an open debugfs dump. The last `kvm_put_kvm` runs `kvm_destroy_vm`.
//! vCPUs live as long as their VM, however many of their descriptors are closed.

use runtime::{Access, LockClass, Runtime, site};

use crate::heap::{Memory, Ptr};
use crate::memory_cache::{CACHE_WORDS, CacheRef};
use crate::mmu::{Caller, MMU_WORDS, MmuRef};
use crate::mmu_lock::MmuLock;
use crate::scenario::Cache;
use crate::step::{FdKind, MAX_SLOTS, MAX_VCPUS};
use crate::strategy::{Hold, Part};
use crate::variant::{Arch, Nested};
use crate::world::{MmId, VmId, World};

/// Words of `struct kvm`.
pub(crate) const USERS_COUNT: usize = 0;
pub(crate) const INVALIDATE_SEQ: usize = 1;
pub(crate) const INVALIDATE_IN_PROGRESS: usize = 2;
/// Of the notifier subscription: 0 when it is on no list.
pub(crate) const PPREV: usize = 3;
pub(crate) const NEXT: usize = 4;
pub(crate) const NESTED_MMUS: usize = 5;
pub(crate) const NESTED_MMUS_SIZE: usize = 6;
/// Pages that the split cache is filled with.
pub(crate) const CHUNK: usize = 7;
pub(crate) const VM_LIST: usize = 8;
/// Invalidations between `range_start` and `range_end`: under `mn_invalidate_lock`.
pub(crate) const ACTIVE_INVALIDATE_COUNT: usize = 9;
/// The array of devices that a guest's access to no memory is looked up in; NULL as long as there is none.
pub(crate) const BUS: usize = 10;
pub(crate) const MEMSLOTS: usize = 11;
pub(crate) const VCPUS: usize = MEMSLOTS + MAX_SLOTS;
pub(crate) const MMU: usize = VCPUS + MAX_VCPUS;
pub(crate) const SPLIT_CACHE: usize = MMU + MMU_WORDS;
pub(crate) const KVM_WORDS: usize = SPLIT_CACHE + CACHE_WORDS;

pub(crate) struct Vm<R: Runtime> {
    pub(crate) id: VmId,
    pub(crate) mm: MmId,
    /// The `struct kvm`.
    pub(crate) kvm: Ptr,
    pub(crate) mmu_lock: MmuLock<R>,
    /// `kvm->lock`.
    pub(crate) lock: R::Lock,
    /// `vcpu->mutex` of each vCPU that the scenario speaks of.
    pub(crate) vcpu_mutexes: Vec<R::Lock>,
    pub(crate) slots_lock: R::Lock,
    pub(crate) slots_arch_lock: R::Lock,
    pub(crate) mn_invalidate_lock: R::Lock,
    /// `kvm->arch.config_lock`.
    pub(crate) config_lock: R::Lock,
    /// `kvm->srcu`.
    pub(crate) srcu: R::Srcu,
}

impl<R: Runtime> Vm<R> {
    /// `kvm->arch.mmu`.
    pub(crate) fn mmu(&self) -> MmuRef {
        MmuRef { object: self.kvm, base: MMU, nested: false }
    }

    /// `kvm->arch.mmu.split_page_cache` (riscv: `kvm->arch.pgd_split_page_cache`).
    pub(crate) fn split_cache(&self) -> CacheRef {
        CacheRef { object: self.kvm, base: SPLIT_CACHE }
    }
}

impl<R: Runtime> World<R> {
    /// `kvm_get_kvm`, by somebody who holds a reference already.
    pub(crate) fn kvm_get_kvm(&self, vm: &Vm<R>) {
        self.heap.fetch_add(vm.kvm, USERS_COUNT, site!("kvm_get_kvm"));
    }

    /// `kvm_get_kvm_safe`: fails on a VM that is being destroyed.
    pub(crate) fn kvm_get_kvm_safe(&self, vm: &Vm<R>) -> bool {
        self.heap.inc_not_zero(vm.kvm, USERS_COUNT, site!("kvm_get_kvm_safe"))
    }

    /// `kvm_put_kvm`: the last reference destroys the VM.
    pub(crate) fn kvm_put_kvm(&self, vm: &Vm<R>) {
        if self.heap.dec_and_test(vm.kvm, USERS_COUNT, site!("kvm_put_kvm")) {
            self.kvm_destroy_vm(vm);
        }
    }

    /// `kvm_create_vm` by a task of that address space; nothing when it fails after the table was made.
    pub(crate) fn kvm_create_vm(&self, id: VmId, mm: MmId, fails: bool) -> Option<&Vm<R>> {
        let vm = self.kvm_arch_alloc_vm(id, mm);
        self.mmgrab(self.mm(mm));
        self.kvm_arch_init_vm(&vm);
        if fails {
            self.kvm_uninit_stage2_mmu(&vm, Caller::Create);
            self.kvm_destroy_nested(&vm);
            self.heap.free(vm.kvm, site!("kvm_create_vm:kvm_arch_free_vm"));
            self.mmdrop(self.mm(mm));
            return None;
        }
        let vm = self.publish_vm(vm);
        if self.debugfs {
            let site = site!("kvm_create_vm_debugfs");
            self.heap.store(self.dentries, id.0, 1, Access::Marked, site);
        }
        self.mmu_notifier_register(vm);
        let _vms = R::lock(&self.kvm_lock, site!("kvm_create_vm:kvm_lock"));
        self.heap.store(vm.kvm, VM_LIST, 1, Access::Plain, site!("kvm_create_vm:vm_list"));
        Some(vm)
    }

    /// A VM of the set-up: slot, mappings, caches and nested mmus as asked, a count for each file.
    pub(crate) fn make_vm(&self, id: VmId) {
        let vm = self.kvm_create_vm(id, MmId(0), false).expect("a creation that does not fail");
        let files = self.fds.iter().filter(|fd| fd.vm == id.0 && self.is_held(**fd));
        self.heap.init(vm.kvm, USERS_COUNT, files.count() as u64);
        for fd in self.fds.iter().filter(|fd| fd.vm == id.0) {
            if let FdKind::Vcpu(vcpu) = fd.kind
                && self.is_held(*fd)
            {
                self.create_vcpu(vm, vcpu, || {});
            }
        }
        let set_up = &self.set_up;
        match set_up.cache {
            Cache::Never => {}
            Cache::Filled => self.set_up_cache(vm.split_cache(), set_up.objects, set_up.objects),
            Cache::UsedUp => self.set_up_cache(vm.split_cache(), set_up.objects, 0),
        }
        self.set_up_nested(vm, set_up.nested);
        if set_up.slot {
            self.slots().for_each(|slot| self.heap.init(vm.kvm, MEMSLOTS + slot, self.new_slot(0)));
            if set_up.mapped {
                self.set_up_mappings(vm);
            }
        }
    }

    /// `kvm_vm_ioctl_create_vcpu`; `install` gives the caller its file. Nothing where the vCPU is there already.
    /// Nobody runs it before its mutex is dropped.
    pub(crate) fn create_vcpu(&self, vm: &Vm<R>, vcpu: usize, install: impl FnOnce()) {
        let _kvm = R::lock(&vm.lock, site!("kvm_vm_ioctl_create_vcpu:kvm_lock"));
        let site = site!("kvm_vm_ioctl_create_vcpu:kvm_get_vcpu_by_id");
        if self.heap.load(vm.kvm, VCPUS + vcpu, Access::Plain, site) != 0 {
            return;
        }
        let fresh = self.heap.alloc("kvm_vcpu", 1, Memory::Kmalloc, site!("kvm_vm_ioctl_create_vcpu"));
        let _vcpu = R::lock(&vm.vcpu_mutexes[vcpu], site!("kvm_vm_ioctl_create_vcpu:vcpu_mutex"));
        install();
        let site = site!("kvm_vm_ioctl_create_vcpu:xa_store");
        self.heap.store(vm.kvm, VCPUS + vcpu, fresh, Access::Ordered, site);
    }

    /// `KVM_CREATE_DEVICE`, but for its file: the device makes itself known to the bus.
    pub(crate) fn create_device(&self, vm: &Vm<R>) {
        let _kvm = R::lock(&vm.lock, site!("kvm_ioctl_create_device:kvm_lock"));
        let _slots = R::lock(&vm.slots_lock, site!("kvm_ioctl_create_device:slots_lock"));
        self.kvm_io_bus_register_dev(vm);
    }

    /// What `KVM_RUN` does the first time, under `vcpu->mutex`: the interrupt controller's registers become known to
    /// the bus.
    pub(crate) fn kvm_vgic_map_resources(&self, vm: &Vm<R>) {
        let _slots = R::lock(&vm.slots_lock, site!("kvm_vgic_map_resources:slots_lock"));
        drop(R::lock(&vm.config_lock, site!("kvm_vgic_map_resources:config_lock")));
        self.kvm_io_bus_register_dev(vm);
    }

    /// Replaces the bus by one with a device more, under `slots_lock`; who reads it is in a section of `kvm->srcu`.
    fn kvm_io_bus_register_dev(&self, vm: &Vm<R>) {
        let old = self.heap.load(vm.kvm, BUS, Access::Plain, site!("kvm_io_bus_register_dev:bus"));
        let new = self.heap.alloc("kvm_io_bus", 1, Memory::Kmalloc, site!("kvm_io_bus_register_dev:kmalloc"));
        self.heap.store(vm.kvm, BUS, new, Access::Ordered, site!("kvm_io_bus_register_dev:publish"));
        R::synchronize_srcu(&vm.srcu, site!("kvm_io_bus_register_dev:synchronize_srcu"));
        self.heap.free(old, site!("kvm_io_bus_register_dev:kfree"));
    }

    /// `kvm_flush_shadow_all`.
    pub(crate) fn kvm_flush_shadow_all(&self, vm: &Vm<R>) {
        let generic = self.strategy.hold == Hold::Generic;
        let _timed = self.time_flush();
        let _held = generic.then(|| vm.mmu_lock.write(site!("kvm_flush_shadow_all:mmu_lock")));
        self.kvm_arch_flush_shadow_all(vm);
    }

    fn kvm_arch_alloc_vm(&self, id: VmId, mm: MmId) -> Vm<R> {
        let kvm = self.heap.alloc("kvm", KVM_WORDS, Memory::Kmalloc, site!("kvm_arch_alloc_vm"));
        self.heap.init(kvm, USERS_COUNT, 1);
        self.heap.init(kvm, CHUNK, self.set_up.objects);
        self.heap.init(self.reach, id.0, 1);
        Vm {
            id,
            mm,
            kvm,
            mmu_lock: MmuLock::new(self.variant.has_rwlock()),
            lock: R::new_lock("kvm->lock", LockClass::Mutex),
            vcpu_mutexes: self.vcpus(id).map(|_| R::new_lock("vcpu->mutex", LockClass::Mutex)).collect(),
            slots_lock: R::new_lock("kvm->slots_lock", LockClass::Mutex),
            slots_arch_lock: R::new_lock("kvm->slots_arch_lock", LockClass::Mutex),
            mn_invalidate_lock: R::new_lock("kvm->mn_invalidate_lock", LockClass::Spin),
            config_lock: R::new_lock("kvm->arch.config_lock", LockClass::Mutex),
            srcu: R::new_srcu("kvm->srcu"),
        }
    }

    fn kvm_arch_init_vm(&self, vm: &Vm<R>) {
        self.kvm_init_stage2_mmu(vm.mmu());
        self.kvm_init_nested(vm);
    }

    fn kvm_destroy_vm(&self, vm: &Vm<R>) {
        let _inside = R::inside("kvm_destroy_vm");
        let heap = &self.heap;
        if self.debugfs {
            heap.store(self.dentries, vm.id.0, 0, Access::Marked, site!("kvm_destroy_vm_debugfs"));
            R::synchronize_srcu(&self.debugfs_srcu, site!("kvm_destroy_vm_debugfs:synchronize"));
        }
        {
            let _vms = R::lock(&self.kvm_lock, site!("kvm_destroy_vm:kvm_lock"));
            heap.store(vm.kvm, VM_LIST, 0, Access::Plain, site!("kvm_destroy_vm:vm_list"));
        }
        self.heap.free(
            self.heap.load(vm.kvm, BUS, Access::Plain, site!("kvm_destroy_vm:kvm_io_bus_destroy")),
            site!("kvm_io_bus_destroy"),
        );
        self.mmu_notifier_unregister(vm);
        self.forget_invalidations(vm);
        self.kvm_arch_destroy_vm(vm);
        self.kvm_free_memslots(vm);
        R::might_sleep(site!("cleanup_srcu_struct"));
        heap.free(vm.kvm, site!("kvm_arch_free_vm"));
        self.mmdrop(self.mm(vm.mm));
    }

    /// An invalidation whose subscription went before its end has left its count behind, and nobody waits for that
    /// any more. Else none can be under way.
    fn forget_invalidations(&self, vm: &Vm<R>) {
        let (heap, plain) = (&self.heap, Access::Plain);
        let site = site!("kvm_destroy_vm:mn_active_invalidate_count");
        if heap.load(vm.kvm, ACTIVE_INVALIDATE_COUNT, plain, site) != 0 {
            heap.store(vm.kvm, ACTIVE_INVALIDATE_COUNT, 0, plain, site!("kvm_destroy_vm:forget"));
        } else {
            let site = site!("kvm_destroy_vm:mmu_invalidate_in_progress");
            if heap.load(vm.kvm, INVALIDATE_IN_PROGRESS, plain, site) != 0 {
                heap.violated("invalidation-under-way", "kvm", site);
            }
        }
    }

    fn kvm_arch_destroy_vm(&self, vm: &Vm<R>) {
        let _inside = R::inside("kvm_arch_destroy_vm");
        if self.variant.uninit_again {
            self.kvm_uninit_stage2_mmu(vm, Caller::Destroy);
        } else if self.strategy.cache == Part::Defer && self.variant.split_cache {
            self.kvm_mmu_free_memory_cache(vm.split_cache());
        }
        self.kvm_destroy_vcpus(vm);
        match self.variant.arch {
            Arch::Arm64 => {
                if self.variant.nested == Nested::Pointers || self.strategy.nested == Part::Defer {
                    self.kvm_destroy_nested(vm);
                }
            }
            Arch::Riscv => {}
            Arch::Loongarch | Arch::Mips => self.destroy_plain_table(vm),
        }
    }

    fn kvm_destroy_vcpus(&self, vm: &Vm<R>) {
        for place in VCPUS..VCPUS + MAX_VCPUS {
            let vcpu = self.heap.load(vm.kvm, place, Access::Plain, site!("kvm_destroy_vcpus"));
            if vcpu != 0 {
                self.heap.free(vcpu, site!("kvm_vcpu_destroy"));
                self.heap.store(vm.kvm, place, 0, Access::Plain, site!("kvm_destroy_vcpus:xa_erase"));
            }
        }
    }
}
