//! Tasks: what one does step by step, what it holds, and how it goes.
//!
//! `do_exit` leaves the address space before it closes files: if `exit_mm` drops the last user, the notifier's
//! release runs first and the descriptors are closed after it. Files are shared by a count of their own; a
//! descriptor that somebody else closed, or an ioctl from another address space, does nothing.

use std::sync::atomic::{AtomicU64, Ordering};

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

/// The count of a `files_struct`; after it a word for each descriptor of the scenario.
const COUNT: usize = 0;
const OPEN: usize = 1;
/// The one word of a `struct file`.
const F_COUNT: usize = 0;

/// What lies in the socket for a descriptor.
const SENT: u64 = 1;
/// The sender had nothing to send.
const SENT_NOTHING: u64 = 2;

/// A `files_struct`, and whether more than one task has it from the beginning.
pub(crate) struct Files {
    object: Ptr,
    shared: bool,
}

/// The `struct file`s behind the scenario's descriptors, by their place; 0 where there is none.
pub(crate) struct OpenFiles(Vec<AtomicU64>);

impl OpenFiles {
    pub(crate) fn new(fds: usize) -> Self {
        Self((0..fds).map(|_| AtomicU64::new(0)).collect())
    }
}

impl Files {
    pub(crate) fn new<R: Runtime>(world: &World<R>, users: u64) -> Self {
        let words = OPEN + world.fds.len();
        let object = world.heap.alloc("files_struct", words, Memory::Kmalloc, site!("dup_fd"));
        world.heap.init(object, COUNT, users);
        Self { object, shared: users > 1 }
    }
}

/// A reference that an ioctl takes for its time (`fdget`).
struct FdRef<'a, R: Runtime> {
    world: &'a World<R>,
    vm: &'a Vm<R>,
    /// The place of the descriptor, where a reference was taken.
    taken: Option<usize>,
}

impl<R: Runtime> Drop for FdRef<'_, R> {
    fn drop(&mut self) {
        if let Some(place) = self.taken {
            self.world.fput(place);
        }
    }
}

impl<R: Runtime> World<R> {
    /// Whether a task of the set-up, or an address space, holds a descriptor.
    pub(crate) fn is_held(&self, fd: Fd) -> bool {
        let same_file = |other: &Fd| self.file_of(*other) == self.file_of(fd);
        fd == self.file_of(fd) && self.scenario.tasks.iter().flat_map(|task| &task.fds).any(same_file)
    }

    pub(crate) fn make_task_struct(&self) -> Ptr {
        let task = self.heap.alloc("task_struct", TASK_WORDS, Memory::Static, site!("copy_process"));
        self.heap.init(task, MM, 1);
        task
    }

    /// Gives the tasks of the set-up their descriptors.
    pub(crate) fn open_descriptors(&self) {
        for (task, spec) in self.scenario.tasks.iter().enumerate() {
            for fd in &spec.fds {
                let place = self.place(*fd);
                let file = self.file(place);
                let file = if file == 0 { self.new_file(place, 0) } else { file };
                let (object, word) = self.descriptor(task, place);
                // Two tasks that share files, or the address space, hold one descriptor.
                if self.heap.load(object, word, Access::Plain, site!("fd_install")) == 0 {
                    self.heap.init(object, word, 1);
                    self.heap.fetch_add(file, F_COUNT, site!("get_file"));
                }
            }
        }
    }

    /// Does all that a task does.
    pub(crate) fn run_task(&self, task: usize) {
        let steps = self.scenario.tasks[task].steps.clone();
        let may_be_killed = self.is_target(task, |step, name| matches!(step, Step::Kill(other) if other == name));
        let killed = |site| self.heap.load(self.tasks[task], KILLED, Access::Marked, site) != 0;
        let mut held = Vec::new();
        let mut gone = false;
        for (at, step) in steps.iter().enumerate() {
            if may_be_killed && killed(site!("signal_pending")) {
                self.release_receivers(task, &steps[at..]);
                break;
            }
            gone = matches!(step, Step::Exit | Step::Exec);
            self.step(task, step, &mut held);
        }
        if may_be_killed && !gone {
            let word = self.heap.word(self.tasks[task], KILLED, site!("signal_pending"));
            R::await_change(word, 0, site!("signal_pending:wait"));
            self.do_exit(task);
        }
        held.into_iter().for_each(|mm: MmId| self.mmput(self.mm(mm)));
    }

    /// Lets every task that is still there exit, one after the other, and takes what is in the socket.
    pub(crate) fn end_all(&self) {
        for (task, spec) in self.scenario.tasks.iter().enumerate() {
            if self.heap.load(self.tasks[task], MM, Access::Plain, site!("task->mm")) != 0 {
                self.do_exit(task);
            }
            debug_assert!(!spec.name.is_empty());
        }
        for place in 0..self.fds.len() {
            let word = self.heap.word(self.socket, place, site!("unix_release"));
            if R::compare_exchange(word, SENT, 0, site!("unix_release")).is_ok() {
                self.fput(place);
            }
        }
    }

    /// The mappings of `kvm_run` that an address space has, by their descriptors' places.
    pub(crate) fn mappings(&self, mm: MmId) -> Vec<usize> {
        let mapped = |fd: &Fd| matches!(fd.kind, FdKind::Run(_)) && self.maps(mm, *fd);
        (0..self.fds.len()).filter(|place| mapped(&self.fds[*place])).collect()
    }

    /// `exit_mmap` gives up a mapping.
    pub(crate) fn fput_mapping(&self, mm: MmId, place: usize) {
        let vma = self.mm(mm).vma_of(place);
        let word = self.heap.word(vma.0, vma.1, site!("remove_vma"));
        if R::compare_exchange(word, 1, 0, site!("remove_vma")).is_ok() {
            self.fput(place);
        }
    }

    fn step(&self, task: usize, step: &Step, held: &mut Vec<MmId>) {
        let mm = self.mm_of_task(task);
        match step {
            Step::CreateVm { vm, fails } => self.create_vm(task, VmId(*vm), *fails),
            Step::CreateVcpu { vm, vcpu } => self.ioctl(task, Fd { vm: *vm, kind: FdKind::Vm }, |kvm| {
                self.create_vcpu(kvm, *vcpu);
                self.kvm_get_kvm(kvm);
                self.install(task, Fd { vm: *vm, kind: FdKind::Vcpu(*vcpu) });
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
            Step::Reclaim(other) => self.reclaim(self.mm_of(other)),
            Step::Age(other) => self.age(self.mm_of(other)),
            Step::Fault { vm, page } => {
                self.vcpu_ioctl(task, *vm, |kvm| self.kvm_handle_guest_abort(kvm, *page));
            }
            Step::Touch { vm, page } => self.vcpu_ioctl(task, *vm, |_| self.guest_access(*page)),
            Step::CreateSlot { vm } => self.vm_ioctl(task, *vm, |kvm| self.create_slot(kvm)),
            Step::DeleteSlot { vm } => self.vm_ioctl(task, *vm, |kvm| self.delete_slot(kvm)),
            Step::LogDirty { vm } => self.vm_ioctl(task, *vm, |kvm| self.log_dirty(kvm, true)),
            Step::LogClean { vm } => self.vm_ioctl(task, *vm, |kvm| self.log_dirty(kvm, false)),
            Step::SetChunk { vm, pages } => self.vm_ioctl(task, *vm, |kvm| self.set_chunk(kvm, *pages)),
            Step::VcpuInit { vm } => self.vcpu_ioctl(task, *vm, |kvm| self.kvm_vcpu_init_nested(kvm)),
            Step::OpenDump { vm } => self.open_dump(task, VmId(*vm)),
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
            let observed = self.is_target(task, |step, name| matches!(step, Step::GetMm(other) if other == name));
            let _task = observed.then(|| R::lock(&self.task_locks[task], site!("exit_mm:task_lock")));
            self.heap.store(self.tasks[task], MM, 0, Access::Plain, site!("exit_mm"));
        }
        self.mmput(self.mm(self.mm_of_task(task)));
    }

    fn exit_files(&self, task: usize) {
        let files = self.files(task).object;
        if !self.heap.dec_and_test(files, COUNT, site!("put_files_struct")) {
            return;
        }
        for place in 0..self.fds.len() {
            let (object, word) = (files, OPEN + place);
            if self.heap.load(object, word, Access::Plain, site!("close_files")) != 0 {
                self.heap.store(object, word, 0, Access::Plain, site!("close_files:clear"));
                self.fput(place);
            }
        }
        self.heap.free(files, site!("put_files_struct:free"));
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
        let Some(vm) = self.vm(id) else { return };
        let _opening = R::srcu_read(&self.debugfs_srcu, site!("debugfs_file_get"));
        if self.heap.load(self.dentries, id.0, Access::Marked, site!("debugfs_file_get:dentry")) != 0
            && self.kvm_get_kvm_safe(vm)
        {
            self.install(task, Fd { vm: id.0, kind: FdKind::Dump });
        }
    }

    fn send(&self, task: usize, fd: Fd) {
        let place = self.place(fd);
        let (object, word) = self.descriptor(task, place);
        let open = self.heap.load(object, word, Access::Marked, site!("unix_attach_fds")) != 0;
        if open {
            self.heap.fetch_add(self.file(place), F_COUNT, site!("unix_attach_fds:get_file"));
        }
        let what = if open { SENT } else { SENT_NOTHING };
        self.heap.store(self.socket, place, what, Access::Ordered, site!("unix_stream_sendmsg"));
    }

    fn receive(&self, task: usize, fd: Fd) {
        let place = self.place(fd);
        let word = self.heap.word(self.socket, place, site!("unix_stream_recvmsg"));
        R::await_change(word, 0, site!("unix_stream_recvmsg:wait"));
        if R::compare_exchange(word, SENT, 0, site!("unix_stream_recvmsg")).is_ok() {
            let (object, word) = self.descriptor(task, place);
            self.heap.store(object, word, 1, Access::Marked, site!("receive_fd"));
        }
    }

    /// A killed task sends nothing any more: who waits for it goes on without.
    fn release_receivers(&self, _task: usize, steps: &[Step]) {
        for step in steps {
            if let Step::Send(fd) = step {
                let site = site!("unix_release_sock");
                self.heap.store(self.socket, self.place(*fd), SENT_NOTHING, Access::Ordered, site);
            }
        }
    }

    fn close(&self, task: usize, fd: Fd) {
        let place = self.place(fd);
        let (object, word) = self.descriptor(task, place);
        let word = self.heap.word(object, word, site!("close_fd"));
        if R::compare_exchange(word, 1, 0, site!("close_fd")).is_ok() {
            self.fput(place);
        }
    }

    /// `fput`: the last reference on a file releases what it is.
    fn fput(&self, place: usize) {
        let file = self.file(place);
        if !self.heap.dec_and_test(file, F_COUNT, site!("fput")) {
            return;
        }
        let fd = self.fds[place];
        if let Some(vm) = self.vm(VmId(fd.vm)) {
            let _inside = match fd.kind {
                FdKind::Vm => Some(R::inside("kvm_vm_release")),
                FdKind::Vcpu(_) => Some(R::inside("kvm_vcpu_release")),
                _ => None,
            };
            if fd.kind == FdKind::Gmem {
                self.kvm_gmem_invalidate(vm);
            }
            self.kvm_put_kvm(vm);
        }
        self.heap.free(file, site!("__fput"));
    }

    /// guest_memfd unmaps what it gave: under `mmu_lock` only, outside any notifier.
    fn kvm_gmem_invalidate(&self, vm: &Vm<R>) {
        if self.variant.guest_memfd {
            let (first, pages) = self.slot_range();
            let mut mmu = vm.mmu_lock.write(site!("kvm_gmem_invalidate_begin:mmu_lock"));
            self.kvm_mmu_invalidate_begin(vm);
            self.kvm_unmap_gfn_range(vm, &mut mmu, first, pages);
            drop(mmu);
            let _mmu = vm.mmu_lock.write(site!("kvm_gmem_invalidate_end:mmu_lock"));
            self.kvm_mmu_invalidate_end(vm);
        }
    }

    /// Shows the table, under `mmu_lock`; nothing is there to show after a flush.
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

    /// An ioctl on the first vCPU descriptor that the scenario has of the VM.
    fn vcpu_ioctl(&self, task: usize, vm: usize, call: impl FnOnce(&Vm<R>)) {
        let vcpu = self.fds.iter().find(|fd| fd.vm == vm && matches!(fd.kind, FdKind::Vcpu(_)));
        if let Some(fd) = vcpu {
            self.ioctl(task, *fd, call);
        }
    }

    fn ioctl(&self, task: usize, fd: Fd, call: impl FnOnce(&Vm<R>)) {
        self.with_fd(task, fd, true, call);
    }

    /// Calls with the VM of an open descriptor; `own`: only if the VM is of the task's address space (else -EIO).
    fn with_fd(&self, task: usize, fd: Fd, own: bool, call: impl FnOnce(&Vm<R>)) {
        let Some(place) = self.fds.iter().position(|other| *other == fd) else { return };
        let (object, word) = self.descriptor(task, place);
        if self.heap.load(object, word, Access::Marked, site!("fdget")) == 0 {
            return;
        }
        let Some(vm) = self.vm(VmId(fd.vm)) else { return };
        let shared = self.files(task).shared;
        if shared {
            // `__fget_files`: the descriptor may be closed at this moment, and the file be gone.
            if !self.heap.inc_not_zero(self.file(place), F_COUNT, site!("fdget:get_file")) {
                return;
            }
        }
        let held = FdRef { world: self, vm, taken: shared.then_some(place) };
        if !own || vm.mm == self.mm_of_task(task) {
            call(held.vm);
        }
    }

    /// A new file behind a descriptor, which the task gets.
    fn install(&self, task: usize, fd: Fd) {
        let place = self.place(fd);
        self.new_file(place, 1);
        let (object, word) = self.descriptor(task, place);
        self.heap.store(object, word, 1, Access::Ordered, site!("fd_install"));
    }

    fn new_file(&self, place: usize, count: u64) -> Ptr {
        let file = self.heap.alloc("file", 1, Memory::Kmalloc, site!("anon_inode_getfile"));
        self.heap.init(file, F_COUNT, count);
        self.open_files.0[self.file_place(place)].store(file, Ordering::Release);
        file
    }

    fn file(&self, place: usize) -> Ptr {
        self.open_files.0[self.file_place(place)].load(Ordering::Acquire)
    }

    /// Where a descriptor's word is: in the task's files, or, for a mapping, in its address space.
    fn descriptor(&self, task: usize, place: usize) -> (Ptr, usize) {
        if matches!(self.fds[place].kind, FdKind::Run(_)) {
            return self.mm(self.mm_of_task(task)).vma_of(place);
        }
        (self.files(task).object, OPEN + place)
    }

    /// A mapping of `kvm_run` keeps the vCPU's file.
    fn file_of(&self, fd: Fd) -> Fd {
        match fd.kind {
            FdKind::Run(vcpu) => Fd { kind: FdKind::Vcpu(vcpu), ..fd },
            _ => fd,
        }
    }

    fn file_place(&self, place: usize) -> usize {
        self.place(self.file_of(self.fds[place]))
    }

    fn place(&self, fd: Fd) -> usize {
        self.fds.iter().position(|other| *other == fd).expect("a descriptor of the scenario")
    }

    /// Whether an address space is one that may have this mapping.
    fn maps(&self, mm: MmId, fd: Fd) -> bool {
        let owner = |task: usize| self.mm_of_task(task) == mm;
        self.scenario.tasks.iter().enumerate().any(|(task, spec)| owner(task) && spec.fds.contains(&fd))
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
