//! Everything that exists in one instance of a scenario, under one variant and strategy.
//!
//! Guarantee: all that two tasks share is in words and locks of the runtime, or is fixed when the world is made.
//! What the machine's other parts would know (which objects there are, who may hold what) is kept beside them
//! and read only where no action is meant.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use runtime::{Access, LockClass, Runtime, site};
use stage2::{Table, is_valid};

use crate::error::Error;
use crate::files::{Files, OpenFiles};
use crate::guest::Guest;
use crate::heap::{Harm, Heap, Memory, Ptr};
use crate::mm::Mm;
use crate::mmu::PGT;
use crate::scenario::{Cache, Scenario, SetUp};
use crate::slots::Slots;
use crate::step::{Fd, FdKind, Step};
use crate::strategy::Strategy;
use crate::variant::{Nested, Variant};
use crate::vm::Vm;

/// An address space, by the place of the task that owns it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MmId(pub(crate) usize);

/// A VM, from 0 up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct VmId(pub(crate) usize);

pub(crate) struct World<R: Runtime> {
    pub(crate) variant: Variant,
    pub(crate) strategy: Strategy,
    pub(crate) scenario: Scenario,
    pub(crate) set_up: SetUp,
    pub(crate) guest: Guest,
    pub(crate) heap: Heap<R>,
    /// Of all MMU notifiers.
    pub(crate) srcu: R::Srcu,
    /// Of debugfs: who removes a file waits for those who are opening it.
    pub(crate) debugfs_srcu: R::Srcu,
    pub(crate) kvm_lock: R::Lock,
    /// The tables behind `struct kvm_pgtable`, by number.
    pub(crate) tables: Slots<Table<R>>,
    /// All descriptors of the scenario; their places are words of files.
    pub(crate) fds: Vec<Fd>,
    /// Whether somebody reads the debugfs dump, so that there is one.
    pub(crate) debugfs: bool,
    /// Files sent and not received: a word for each descriptor.
    pub(crate) socket: Ptr,
    /// A word for each number that a task may tell.
    pub(crate) pipe: Ptr,
    /// A word for each VM: 0 once its table was torn down. For the look at what leaves reach.
    pub(crate) reach: Ptr,
    /// A word for each VM: whether its debugfs directory is there.
    pub(crate) dentries: Ptr,
    /// What each task is: `task.rs` has the words.
    pub(crate) tasks: Vec<Ptr>,
    pub(crate) task_locks: Vec<R::Lock>,
    mms: Vec<OnceLock<Mm<R>>>,
    vms: Vec<OnceLock<Vm<R>>>,
    files: Vec<Option<Files<R>>>,
    pub(crate) open_files: OpenFiles,
    /// How long each flush took, where somebody asks; nothing is timed in an explored world.
    flush_times: Option<Mutex<Vec<Duration>>>,
}

/// Notes when a flush is over.
pub(crate) struct TimedFlush<'a>(Option<(&'a Mutex<Vec<Duration>>, Instant)>);

impl Drop for TimedFlush<'_> {
    fn drop(&mut self) {
        if let Some((times, begin)) = self.0 {
            times.lock().push(begin.elapsed());
        }
    }
}

impl<R: Runtime> World<R> {
    /// Whether the variant has what the scenario sets up.
    pub(crate) fn fits(scenario: &Scenario, variant: &Variant) -> Result<(), Error> {
        let set_up = &scenario.set_up;
        let wrong = |what: String| Err(Error::SetUp(what));
        if set_up.cache != Cache::Never && !variant.split_cache {
            return wrong(format!("{variant} has no split cache: cache=never would be right"));
        }
        let grows = scenario.steps().any(|step| matches!(step, Step::VcpuInit { .. }));
        if (set_up.nested > 0 || grows) && variant.nested == Nested::Absent {
            return wrong(format!("{variant} has no nested mmus: nested=0 and no vcpu_init would be right"));
        }
        let gmem = scenario.fds().iter().any(|fd| fd.kind == FdKind::Gmem);
        if gmem && !variant.guest_memfd {
            return wrong(format!(
                "{variant} has no guest_memfd that unmaps: no descriptor gmem would be right"
            ));
        }
        Ok(())
    }

    pub(crate) fn new(scenario: &Scenario, guest: Guest, variant: Variant, strategy: Strategy) -> Self {
        let set_up = scenario.set_up.clone();
        let fds = scenario.fds();
        let heap = Heap::new();
        let (fd_count, task_count) = (fds.len(), scenario.tasks.len());
        let socket = heap.alloc("unix socket", fd_count, Memory::Static, site!("socketpair"));
        let told = scenario.steps().filter_map(|step| match step {
            Step::Tell(number) | Step::Await(number) => Some(*number as usize + 1),
            _ => None,
        });
        let pipe = heap.alloc("pipe", told.max().unwrap_or(0), Memory::Static, site!("pipe"));
        let vms = scenario.vms();
        let reach = heap.alloc("reach of the tables", vms, Memory::Static, site!("kvm_init"));
        let dentries = heap.alloc("debugfs directories", vms, Memory::Static, site!("kvm_init"));
        let mut world = Self {
            variant,
            strategy,
            scenario: scenario.clone(),
            guest,
            set_up,
            heap,
            srcu: R::new_srcu("srcu (mmu notifiers)"),
            debugfs_srcu: R::new_srcu("debugfs_srcu"),
            kvm_lock: R::new_lock("kvm_lock", LockClass::Mutex),
            tables: Slots::new(),
            debugfs: fds.iter().any(|fd| fd.kind == FdKind::Dump),
            fds,
            socket,
            pipe,
            reach,
            dentries,
            tasks: Vec::new(),
            task_locks: Vec::new(),
            mms: (0..task_count).map(|_| OnceLock::new()).collect(),
            vms: (0..scenario.vms()).map(|_| OnceLock::new()).collect(),
            files: (0..task_count).map(|_| None).collect(),
            open_files: OpenFiles::new(fd_count),
            flush_times: None,
        };
        world.make_tasks();
        world.open_descriptors();
        for vm in 0..scenario.vms() {
            if scenario.exists(vm) {
                world.make_vm(VmId(vm));
            }
        }
        world
    }

    /// The same, but that flushes are timed.
    pub(crate) fn timed(self) -> Self {
        Self { flush_times: Some(Mutex::default()), ..self }
    }

    /// A flush begins, and lasts until the answer is dropped.
    pub(crate) fn time_flush(&self) -> TimedFlush<'_> {
        TimedFlush(self.flush_times.as_ref().map(|times| (times, Instant::now())))
    }

    /// How long each flush took that is over.
    pub(crate) fn flush_times(&self) -> Vec<Duration> {
        self.flush_times.as_ref().map_or_else(Vec::new, |times| times.lock().clone())
    }

    pub(crate) fn mms(&self) -> impl Iterator<Item = &Mm<R>> {
        self.mms.iter().filter_map(OnceLock::get)
    }

    pub(crate) fn all_files(&self) -> impl Iterator<Item = &Files<R>> {
        self.files.iter().flatten()
    }

    pub(crate) fn mm(&self, id: MmId) -> &Mm<R> {
        self.mms[id.0].get().expect("a task's address space")
    }

    /// The VM of that number, if it was made.
    pub(crate) fn vm(&self, id: VmId) -> Option<&Vm<R>> {
        self.vms.get(id.0)?.get()
    }

    /// Makes a VM known; answers the one that is.
    pub(crate) fn publish_vm(&self, vm: Vm<R>) -> &Vm<R> {
        self.vms[vm.id.0].get_or_init(|| vm)
    }

    pub(crate) fn vms(&self) -> impl Iterator<Item = &Vm<R>> {
        self.vms.iter().filter_map(OnceLock::get)
    }

    /// The files of a task.
    pub(crate) fn files(&self, task: usize) -> &Files<R> {
        let owner = self.scenario.task(&self.scenario.tasks[task].files).expect("a checked scenario");
        self.files[owner].as_ref().expect("the files of their owner")
    }

    /// The address space of a task.
    pub(crate) fn mm_of_task(&self, task: usize) -> MmId {
        MmId(self.scenario.task(&self.scenario.tasks[task].mm).expect("a checked scenario"))
    }

    pub(crate) fn page_shift(&self) -> u32 {
        self.guest.config.granule.page_shift()
    }

    /// The vCPUs of a VM, from 0 up to the last that the scenario speaks of.
    pub(crate) fn vcpus(&self, vm: VmId) -> std::ops::Range<usize> {
        let numbers = self.fds.iter().filter(|fd| fd.vm == vm.0).filter_map(|fd| match fd.kind {
            FdKind::Vcpu(number) => Some(number + 1),
            _ => None,
        });
        0..numbers.max().unwrap_or(0)
    }

    /// Whether some VM may have nested mmus.
    pub(crate) fn nests(&self) -> bool {
        let grows = self.scenario.steps().any(|step| matches!(step, Step::VcpuInit { .. }));
        self.variant.nested != Nested::Absent && (self.set_up.nested > 0 || grows)
    }

    /// Says so if a leaf of some VM of the address space maps a guest page whose frame was just freed.
    pub(crate) fn check_unreachable(&self, mm: &Mm<R>, page: u64, pfn: u64) {
        for vm in self.vms().filter(|vm| vm.mm == mm.id) {
            // The one action: it orders the look after, or before, a teardown that takes the table out.
            let reach =
                self.heap.load(self.reach, vm.id.0, Access::Marked, site!("free_pages_and_swap_cache:reach"));
            let reaches = R::observe(|| reach != 0 && self.leaf(vm, page) == Some(pfn));
            if reaches {
                self.heap.violated(
                    "leaf-reaches-freed-memory",
                    "guest page",
                    site!("free_pages_and_swap_cache"),
                );
            }
        }
    }

    /// The frame that the VM's table maps a guest page to. A look, not an action.
    fn leaf(&self, vm: &Vm<R>, page: u64) -> Option<u64> {
        if self.heap.is_freed(vm.kvm) {
            return None;
        }
        let peek = |ptr: Ptr, field: usize| match ptr {
            0 => 0,
            _ if self.heap.is_freed(ptr) => 0,
            _ => R::load(self.heap.word(ptr, field, site!("look")), Access::Marked, site!("look")),
        };
        let mmu = vm.mmu();
        let pgt = peek(mmu.object, mmu.base + PGT);
        if pgt == 0 || self.heap.is_freed(pgt) {
            return None;
        }
        if !self.variant.has_rwlock() {
            return self.plain_leaf(pgt, page, peek);
        }
        let table = self.tables.get((peek(pgt, 0) as usize).checked_sub(1)?)?;
        let leaf = table.get_leaf(page << self.page_shift()).ok()?;
        is_valid(leaf.desc).then(|| table.encoding().decode_pa(leaf.desc) >> self.page_shift())
    }

    /// What went wrong with memory so far.
    pub(crate) fn harm(&self) -> Vec<Harm> {
        self.heap.harm()
    }

    /// VMs and guest pages that a leaf reaches although the page was freed. A look.
    pub(crate) fn reached_after_free(&self) -> Vec<(usize, u64)> {
        R::observe(|| {
            let all = self.vms().flat_map(|vm| self.guest.looked_at().map(move |page| (vm, page)));
            let dead =
                all.filter(|(vm, page)| self.leaf(vm, *page).is_some_and(|pfn| self.frame_is_freed(pfn)));
            dead.map(|(vm, page)| (vm.id.0, page)).collect()
        })
    }

    /// Objects and table pages that are left when every task is gone.
    pub(crate) fn left(&self) -> Vec<(&'static str, String)> {
        let objects = self
            .heap
            .left()
            .into_iter()
            .map(|(name, index)| (name, format!("number {index} was never freed")));
        let pages = self.tables.iter().map(|(_, table)| table.live_pages()).filter(|pages| *pages != 0);
        let pages = pages.map(|pages| ("stage2 table page", format!("{pages} of a table were never freed")));
        // A wrong walk frees pages behind the table's back: its own count says nothing.
        let counts = self.variant.destroy != crate::variant::Destroy::StaleRanges;
        objects.chain(pages.filter(|_| counts)).collect()
    }

    fn make_tasks(&mut self) {
        let scenario = self.scenario.clone();
        for (place, task) in scenario.tasks.iter().enumerate() {
            let task_struct = self.make_task_struct();
            self.tasks.push(task_struct);
            self.task_locks.push(R::new_lock("task->alloc_lock", LockClass::Spin));
            if task.mm == task.name {
                let users = scenario.tasks.iter().filter(|other| other.mm == task.name).count();
                let mm = Mm::new(self, MmId(place), users as u64);
                assert!(self.mms[place].set(mm).is_ok(), "each address space is made once");
            }
            if task.files == task.name {
                let users = scenario.tasks.iter().filter(|other| other.files == task.name).count();
                self.files[place] = Some(Files::new(self, users as u64));
            }
        }
    }
}
