//! Files: descriptors in a `files_struct`, mappings in an address space, the `struct file` behind both, messages that
//! carry them.
//!
//! A mapping of `kvm_run` keeps its vCPU's file. The last `fput` of a file releases what it is: for all of KVM's
//! files that ends in `kvm_put_kvm`.

use std::sync::atomic::{AtomicU64, Ordering};

use runtime::{Access, LockClass, Runtime, site};

use crate::heap::{Memory, Ptr};
use crate::step::{Fd, FdKind, Step};
use crate::vm::Vm;
use crate::world::{MmId, VmId, World};

/// The count of a `files_struct`; after it a word for each descriptor of the scenario.
const COUNT: usize = 0;
const OPEN: usize = 1;
/// The one word of a `struct file`.
const F_COUNT: usize = 0;

/// What lies in the socket for a descriptor.
const SENT: u64 = 1;
/// The sender had nothing to send.
const SENT_NOTHING: u64 = 2;

/// A `files_struct`.
pub(crate) struct Files<R: Runtime> {
    object: Ptr,
    /// `files->file_lock`, where more than one task has the files. Upstream looks descriptors up under RCU and
    /// checks again; here a look-up takes the lock, which comes to the same.
    shared: Option<R::Lock>,
}

/// The `struct file`s behind the scenario's descriptors, by their place; 0 where there is none.
pub(crate) struct OpenFiles(Vec<AtomicU64>);

impl OpenFiles {
    pub(crate) fn new(fds: usize) -> Self {
        Self((0..fds).map(|_| AtomicU64::new(0)).collect())
    }
}

impl<R: Runtime> Files<R> {
    pub(crate) fn new(world: &World<R>, users: u64) -> Self {
        let words = OPEN + world.fds.len();
        let object = world.heap.alloc("files_struct", words, Memory::Kmalloc, site!("dup_fd"));
        world.heap.init(object, COUNT, users);
        let shared = (users > 1).then(|| R::new_lock("files->file_lock", LockClass::Spin));
        Self { object, shared }
    }
}

impl<R: Runtime> World<R> {
    /// Whether a task of the set-up, or an address space, holds a descriptor.
    pub(crate) fn is_held(&self, fd: Fd) -> bool {
        let same_file = |other: &Fd| file_of(*other) == file_of(fd);
        fd == file_of(fd) && self.scenario.tasks.iter().flat_map(|task| &task.fds).any(same_file)
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

    /// The locks of the files that tasks share.
    pub(crate) fn file_locks(&self) -> impl Iterator<Item = &R::Lock> {
        self.all_files().filter_map(|files| files.shared.as_ref())
    }

    pub(crate) fn exit_files(&self, task: usize) {
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

    pub(crate) fn send(&self, task: usize, fd: Fd) {
        let place = self.place(fd);
        let (object, word) = self.descriptor(task, place);
        let open = self.heap.load(object, word, Access::Marked, site!("unix_attach_fds")) != 0;
        if open {
            self.heap.fetch_add(self.file(place), F_COUNT, site!("unix_attach_fds:get_file"));
        }
        let what = if open { SENT } else { SENT_NOTHING };
        self.heap.store(self.socket, place, what, Access::Ordered, site!("unix_stream_sendmsg"));
    }

    pub(crate) fn receive(&self, task: usize, fd: Fd) {
        let place = self.place(fd);
        let word = self.heap.word(self.socket, place, site!("unix_stream_recvmsg"));
        R::await_change(word, 0, site!("unix_stream_recvmsg:wait"));
        if R::compare_exchange(word, SENT, 0, site!("unix_stream_recvmsg")).is_ok() {
            let (object, word) = self.descriptor(task, place);
            self.heap.store(object, word, 1, Access::Marked, site!("receive_fd"));
        }
    }

    /// A killed task sends and tells nothing any more: who waits for it goes on without.
    pub(crate) fn release_receivers(&self, steps: &[Step]) {
        for step in steps {
            match step {
                Step::Send(fd) => {
                    let site = site!("unix_release_sock");
                    self.heap.store(self.socket, self.place(*fd), SENT_NOTHING, Access::Ordered, site);
                }
                Step::Tell(number) => {
                    self.heap.store(self.pipe, *number as usize, 1, Access::Ordered, site!("pipe_release"));
                }
                _ => {}
            }
        }
    }

    pub(crate) fn close(&self, task: usize, fd: Fd) {
        let place = self.place(fd);
        let (object, word) = self.descriptor(task, place);
        let word = self.heap.word(object, word, site!("close_fd"));
        let open = {
            let shared = self.files(task).shared.as_ref();
            let _table = shared.map(|lock| R::lock(lock, site!("close_fd:file_lock")));
            R::compare_exchange(word, 1, 0, site!("close_fd")).is_ok()
        };
        if open {
            self.fput(place);
        }
    }

    /// Takes what nobody has received out of the socket.
    pub(crate) fn drain_socket(&self) {
        for place in 0..self.fds.len() {
            let word = self.heap.word(self.socket, place, site!("unix_release"));
            if R::compare_exchange(word, SENT, 0, site!("unix_release")).is_ok() {
                self.fput(place);
            }
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

    /// Calls with the VM of an open descriptor; `own`: only if the VM is of the task's address space (else -EIO).
    pub(crate) fn with_fd(&self, task: usize, fd: Fd, own: bool, call: impl FnOnce(&Vm<R>)) {
        let Some(place) = self.fds.iter().position(|other| *other == fd) else { return };
        let (object, word) = self.descriptor(task, place);
        let shared = self.files(task).shared.as_ref();
        {
            let _table = shared.map(|lock| R::lock(lock, site!("fdget:file_lock")));
            if self.heap.load(object, word, Access::Marked, site!("fdget")) == 0 {
                return;
            }
            if shared.is_some() {
                self.heap.fetch_add(self.file(place), F_COUNT, site!("fdget:get_file"));
            }
        }
        let Some(vm) = self.vm(VmId(fd.vm)) else { return };
        if !own || vm.mm == self.mm_of_task(task) {
            call(vm);
        }
        if shared.is_some() {
            self.fput(place);
        }
    }

    /// Whether a task has a descriptor.
    pub(crate) fn has_open(&self, task: usize, fd: Fd) -> bool {
        let (object, word) = self.descriptor(task, self.place(fd));
        self.heap.load(object, word, Access::Marked, site!("alloc_fd")) != 0
    }

    /// A new file behind a descriptor, which the task gets.
    pub(crate) fn install(&self, task: usize, fd: Fd) {
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

    fn file_place(&self, place: usize) -> usize {
        self.place(file_of(self.fds[place]))
    }

    fn place(&self, fd: Fd) -> usize {
        self.fds.iter().position(|other| *other == fd).expect("a descriptor of the scenario")
    }

    /// Whether an address space is one that may have this mapping.
    fn maps(&self, mm: MmId, fd: Fd) -> bool {
        let owner = |task: usize| self.mm_of_task(task) == mm;
        self.scenario.tasks.iter().enumerate().any(|(task, spec)| owner(task) && spec.fds.contains(&fd))
    }
}

/// A mapping of `kvm_run` keeps the vCPU's file.
fn file_of(fd: Fd) -> Fd {
    match fd.kind {
        FdKind::Run(vcpu) => Fd { kind: FdKind::Vcpu(vcpu), ..fd },
        _ => fd,
    }
}
