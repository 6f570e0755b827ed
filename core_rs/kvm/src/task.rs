//! Tasks: what one does step by step, what it holds, and how it goes.
//!
//! `do_exit` leaves the address space before it closes files: if `exit_mm` drops the last user, the notifier's
//! release runs first and the descriptors are closed after it. An ioctl from another address space does nothing.

use runtime::{Access, Runtime, site};

use crate::heap::{Memory, Ptr};
use crate::mm::{MM_USERS, Mm};
use crate::step::{Fd, FdKind, Step};
use crate::vm::Vm;
use crate::world::{MmId, VmId, World};

/// Words of a `task_struct`.
const MM: usize = 0;
const KILLED: usize = 1;
const TASK_WORDS: usize = 2;

impl<R: Runtime> World<R> {
    pub(crate) fn make_task_struct(&self) -> Ptr {
        let task = self.heap.alloc("task_struct", TASK_WORDS, Memory::Static, site!("copy_process"));
        self.heap.init(task, MM, 1);
        task
    }

    /// Does all that a task does.
    pub(crate) fn run_task(&self, task: usize) {
        let steps = self.scenario.tasks[task].steps.clone();
        let may_be_killed =
            self.is_target(task, |step, name| matches!(step, Step::Kill(other) if other == name));
        let killed = |site| self.heap.load(self.tasks[task], KILLED, Access::Marked, site) != 0;
        let mut held: Vec<MmId> = Vec::new();
        let mut gone = false;
        for (at, step) in steps.iter().enumerate() {
            if may_be_killed && killed(site!("signal_pending")) {
                self.release_receivers(&steps[at..]);
                break;
            }
            gone |= matches!(step, Step::Exit | Step::Exec);
            self.step(task, step, &mut held);
        }
        if may_be_killed && !gone {
            let word = self.heap.word(self.tasks[task], KILLED, site!("signal_pending"));
            R::await_change(word, 0, site!("signal_pending:wait"));
            self.do_exit(task);
        }
        for mm in held {
            self.mmput(self.mm(mm));
        }
    }

    /// Lets every task that is still there exit, one after the other, and takes what is in the socket.
    pub(crate) fn end_all(&self) {
        for (task, task_struct) in self.tasks.iter().enumerate() {
            if self.heap.load(*task_struct, MM, Access::Plain, site!("task->mm")) != 0 {
                self.do_exit(task);
            }
        }
        self.drain_socket();
    }

    pub(crate) fn step(&self, task: usize, step: &Step, held: &mut Vec<MmId>) {
        let mm = self.mm_of_task(task);
        match step {
            Step::CreateVm { vm, fails } => self.create_vm(task, VmId(*vm), *fails),
            Step::CreateVcpu { vm, vcpu } => self.ioctl(task, Fd { vm: *vm, kind: FdKind::Vm }, |kvm| {
                self.create_vcpu(kvm, *vcpu, || {
                    self.kvm_get_kvm(kvm);
                    self.install(task, Fd { vm: *vm, kind: FdKind::Vcpu(*vcpu) });
                });
            }),
            Step::CreateDevice { vm } => self.vm_ioctl(task, *vm, |kvm| {
                let fd = Fd { vm: *vm, kind: FdKind::Device };
                if !self.has_open(task, fd) {
                    self.create_device(kvm);
                    self.kvm_get_kvm(kvm);
                    self.install(task, fd);
                }
            }),
            Step::Close(fd) => self.close(task, *fd),
            Step::Send(fd) => self.send(task, *fd),
            Step::Receive(fd) => self.receive(task, *fd),
            Step::Exit | Step::Exec => self.do_exit(task),
            Step::Kill(other) => {
                let other = self.scenario.task(other).expect("a checked scenario");
                self.heap.store(self.tasks[other], KILLED, 1, Access::Marked, site!("send_sig"));
            }
            Step::GetMm(other) => held.extend(self.get_task_mm(self.scenario.task(other).expect("checked"))),
            Step::PutMm(other) => {
                let mm = self.mm_of_task(self.scenario.task(other).expect("a checked scenario"));
                if let Some(at) = held.iter().position(|held| *held == mm) {
                    held.remove(at);
                    self.mmput(self.mm(mm));
                }
            }
            Step::Munmap => self.munmap(self.mm(mm)),
            Step::Reclaim(other) => self.reclaim(self.mm_of(other), true),
            Step::ReclaimNonblock(other) => self.reclaim(self.mm_of(other), false),
            Step::Age(other) => self.age(self.mm_of(other)),
            Step::Fault { vm, page } => {
                self.vcpu_ioctl(task, *vm, |kvm| self.kvm_handle_guest_abort(kvm, *page));
            }
            Step::Touch { vm, page } => self.vcpu_ioctl(task, *vm, |_| self.guest_access(*page)),
            Step::CreateSlot { vm, slot } => self.vm_ioctl(task, *vm, |kvm| self.create_slot(kvm, *slot)),
            Step::DeleteSlot { vm, slot } => self.vm_ioctl(task, *vm, |kvm| self.delete_slot(kvm, *slot)),
            Step::LogDirty { vm, slot } => self.vm_ioctl(task, *vm, |kvm| self.log_dirty(kvm, *slot, true)),
            Step::LogClean { vm, slot } => self.vm_ioctl(task, *vm, |kvm| self.log_dirty(kvm, *slot, false)),
            Step::SetChunk { vm, pages } => self.vm_ioctl(task, *vm, |kvm| self.set_chunk(kvm, *pages)),
            Step::FirstRun { vm } => self.vcpu_ioctl(task, *vm, |kvm| self.kvm_vgic_map_resources(kvm)),
            Step::VcpuInit { vm } => self.vcpu_ioctl(task, *vm, |kvm| self.kvm_vcpu_init_nested(kvm)),
            Step::OpenDump { vm } => self.open_dump(task, VmId(*vm)),
            Step::Tell(number) => {
                self.heap.store(self.pipe, *number as usize, 1, Access::Ordered, site!("pipe_write"));
            }
            Step::Await(number) => {
                let word = self.heap.word(self.pipe, *number as usize, site!("pipe_read"));
                R::await_change(word, 0, site!("pipe_read"));
            }
            Step::ReadDump { vm } => self.with_fd(task, Fd { vm: *vm, kind: FdKind::Dump }, false, |kvm| {
                self.stage2_ptdump(kvm);
            }),
            Step::Punch { vm } => self.with_fd(task, Fd { vm: *vm, kind: FdKind::Gmem }, false, |kvm| {
                self.kvm_gmem_invalidate(kvm);
            }),
        }
    }

    fn do_exit(&self, task: usize) {
        let _inside = R::inside("do_exit");
        self.exit_mm(task);
        self.exit_files(task);
    }

    fn exit_mm(&self, task: usize) {
        {
            let observed =
                self.is_target(task, |step, name| matches!(step, Step::GetMm(other) if other == name));
            let _task = observed.then(|| R::lock(&self.task_locks[task], site!("exit_mm:task_lock")));
            self.heap.store(self.tasks[task], MM, 0, Access::Plain, site!("exit_mm"));
        }
        self.mmput(self.mm(self.mm_of_task(task)));
    }

    /// `get_task_mm`.
    fn get_task_mm(&self, task: usize) -> Option<MmId> {
        let _task = R::lock(&self.task_locks[task], site!("get_task_mm:task_lock"));
        let mm = self.mm_of_task(task);
        let there = self.heap.load(self.tasks[task], MM, Access::Plain, site!("get_task_mm")) != 0;
        there.then(|| {
            self.heap.fetch_add(self.mm(mm).object, MM_USERS, site!("get_task_mm:mmget"));
            mm
        })
    }

    /// `KVM_CREATE_VM`.
    fn create_vm(&self, task: usize, id: VmId, fails: bool) {
        if self.vm(id).is_none() && self.kvm_create_vm(id, self.mm_of_task(task), fails).is_some() {
            self.install(task, Fd { vm: id.0, kind: FdKind::Vm });
        }
    }

    fn open_dump(&self, task: usize, id: VmId) {
        let _opening = R::srcu_read(&self.debugfs_srcu, site!("debugfs_file_get"));
        let there =
            self.heap.load(self.dentries, id.0, Access::Marked, site!("debugfs_file_get:dentry")) != 0;
        if let Some(vm) = self.vm(id).filter(|_| there)
            && self.kvm_get_kvm_safe(vm)
        {
            self.install(task, Fd { vm: id.0, kind: FdKind::Dump });
        }
    }

    /// `guest_memfd` unmaps what it gave: under `mmu_lock` only, outside any notifier.
    pub(crate) fn kvm_gmem_invalidate(&self, vm: &Vm<R>) {
        if self.variant.guest_memfd {
            let mut mmu = vm.mmu_lock.write(site!("kvm_gmem_invalidate_begin:mmu_lock"));
            self.kvm_mmu_invalidate_begin(vm);
            self.kvm_unmap_gfn_range(vm, &mut mmu, self.guest_range(true));
            drop(mmu);
            let _mmu = vm.mmu_lock.write(site!("kvm_gmem_invalidate_end:mmu_lock"));
            self.kvm_mmu_invalidate_end(vm);
        }
    }

    /// Shows the table, which is looked up under `mmu_lock`: after a flush there is none.
    fn stage2_ptdump(&self, vm: &Vm<R>) {
        let _mmu = vm.mmu_lock.write(site!("kvm_ptdump_guest_show:mmu_lock"));
        let pgt = self.pgt(vm, site!("kvm_ptdump_guest_show:pgt"));
        if self.variant.has_rwlock()
            && let Some(table) = self.table(pgt)
        {
            table.for_each_entry(|_| {});
        }
    }

    fn vm_ioctl(&self, task: usize, vm: usize, call: impl FnOnce(&Vm<R>)) {
        self.ioctl(task, Fd { vm, kind: FdKind::Vm }, call);
    }

    /// An ioctl on a vCPU of the VM: `vcpu->mutex` is held for all of it.
    fn vcpu_ioctl(&self, task: usize, vm: usize, call: impl FnOnce(&Vm<R>)) {
        let vcpu = self.scenario.vcpu_fd(task, vm, &self.fds);
        if let Some(fd @ Fd { kind: FdKind::Vcpu(number), .. }) = vcpu {
            self.ioctl(task, fd, |kvm| {
                let _vcpu = R::lock(&kvm.vcpu_mutexes[number], site!("kvm_vcpu_ioctl:mutex"));
                call(kvm);
            });
        }
    }

    fn ioctl(&self, task: usize, fd: Fd, call: impl FnOnce(&Vm<R>)) {
        self.with_fd(task, fd, true, call);
    }

    fn mm_of(&self, name: &str) -> &Mm<R> {
        self.mm(self.mm_of_task(self.scenario.task(name).expect("a checked scenario")))
    }

    /// Whether some other task has a step that is about this one.
    fn is_target(&self, task: usize, about: impl Fn(&Step, &str) -> bool) -> bool {
        let name = &self.scenario.tasks[task].name;
        self.scenario.steps().any(|step| about(step, name))
    }
}
