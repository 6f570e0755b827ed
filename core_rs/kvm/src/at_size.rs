//! The end of a VM at full size: the same tasks and the same code as an explored case, on real threads, over a guest of
//! gigabytes in a table of real geometry.
//!
//! What is guaranteed: the set-up is outside the clock; each task has a thread of its own, and all start together; harm
//! is recorded, not suffered; what would never end is refused. What is not: that a race comes about.
//!
//! A guest of that size has pages that come and go together, as one object, so a leaf that reaches freed memory is
//! looked for at one of its pages.

use std::fmt;
use std::str::FromStr;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use runtime::native::{AnyLock, Counting, LockKind, LockStats, Native, SiteStats};
use runtime::scheduled::Violation;
use runtime::{Runtime, site};
use stage2::{Config, Env, Errno, Geometry, LAST_LEVEL, NoLog, Prot, Table, WalkerKind};

use crate::error::{Error, name_of, one_of};
use crate::guest::Guest;
use crate::heap::Harm;
use crate::program::{Case, judge};
use crate::scenario::{Cache, Scenario, SetUp};
use crate::step::Step;
use crate::strategy::Strategy;
use crate::variant::{Arch, Destroy, Nested, Variant};
use crate::vm::Vm;
use crate::world::{VmId, World};

/// In which order a VM and its address space go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Order {
    /// A courteous VMM: it deletes the slot, closes, and exits.
    MemslotsFirst,
    /// It closes, and exits.
    CloseFirst,
    /// It exits; its descriptors are closed after its address space has gone.
    ExitFirst,
    /// Another task kills the VMM, which has two threads.
    Kill,
    /// It exits while another task closes the VM, whose descriptor it was passed: the race of May 2026.
    FdPassed,
}

/// What one more task does meanwhile, again and again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Beside {
    /// Reclaim clears the guest's access flags.
    Age,
    /// A thread of the VMM begins and ends dirty logging.
    LogDirty,
    /// A vCPU of another VM in the same address space faults.
    OtherVm,
}

const ORDERS: [(&str, Order); 5] = [
    ("memslots-first", Order::MemslotsFirst),
    ("close-first", Order::CloseFirst),
    ("exit-first", Order::ExitFirst),
    ("kill", Order::Kill),
    ("fd-passed", Order::FdPassed),
];
const BESIDES: [(&str, Beside); 3] =
    [("age", Beside::Age), ("log-dirty", Beside::LogDirty), ("other-vm", Beside::OtherVm)];

/// The end of a VM at full size.
///
/// ```
/// use kvm::{AtSize, Order};
/// use runtime::native::Counts;
///
/// let teardown = AtSize { order: Order::ExitFirst, guest_bytes: 64 << 20, ..AtSize::default() };
/// let torn_down = teardown.prepare::<Counts>()?.run(&|_, run| run());
/// assert_eq!(torn_down.pages_freed, torn_down.pages_before);
/// assert!(torn_down.harm.is_empty() && torn_down.violations.is_empty());
/// # Ok::<(), kvm::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AtSize {
    /// The kernel.
    pub variant: Variant,
    /// Its locking.
    pub strategy: Strategy,
    /// The order of events.
    pub order: Order,
    /// What plays `mmu_lock`.
    pub lock: LockKind,
    /// The tables.
    pub config: Config,
    /// Guest memory, from address 0 up, all of it mapped.
    pub guest_bytes: u64,
    /// What a leaf maps: a page, or a block of the granule.
    pub leaf_bytes: u64,
    /// The split cache. A filled one has the pages that splitting one step needs.
    pub cache: Cache,
    /// Nested mmus.
    pub nested: u64,
    /// What goes on meanwhile.
    pub beside: Option<Beside>,
    /// How long that rests after each time.
    pub pause: Duration,
}

impl Default for AtSize {
    /// 1 GiB of 4K pages, closed and left, as 7.3 does it.
    fn default() -> Self {
        Self {
            variant: Variant::KERNELS[1],
            strategy: Strategy::none(),
            order: Order::CloseFirst,
            lock: LockKind::ParkingLot,
            config: Config { walker: WalkerKind::Upstream, ..Config::default() },
            guest_bytes: 1 << 30,
            leaf_bytes: 4096,
            cache: Cache::Never,
            nested: 0,
            beside: None,
            pause: Duration::ZERO,
        }
    }
}

/// The runtime: which lock plays `mmu_lock` is chosen for each VM.
pub type OnThreads<C> = Native<C, AnyLock>;

/// A VM at full size, ready to go.
pub struct Prepared<C: Counting> {
    world: World<OnThreads<C>>,
    /// What goes on meanwhile, and the task that does it.
    beside: Option<(Beside, usize)>,
    pause: Duration,
}

/// What came of it.
#[derive(Clone, Debug)]
pub struct TornDown {
    /// Each task by its name, and for how long it ran.
    pub tasks: Vec<(String, Duration)>,
    /// From the first task's first step to the last one's last.
    pub elapsed: Duration,
    /// The longest stretch of a task of the order without a point at which the kernel could let another task run;
    /// only with [`Times`](runtime::native::Times).
    pub longest_stretch: Option<Duration>,
    /// The longest time for which a task of the order held `mmu_lock`, likewise. A hold that began when the lock was broken
    /// tells nobody whose it was, and counts.
    pub longest_hold: Option<Duration>,
    /// Each run of `kvm_flush_shadow_all`, in the order in which they ended.
    pub flushes: Vec<Duration>,
    /// Table pages before, root pages included.
    pub pages_before: u64,
    /// Table pages that were freed.
    pub pages_freed: u64,
    /// Bytes of the tables before, with what lies beside their pages.
    pub table_bytes: u64,
    /// What went wrong with memory, each once.
    pub harm: Vec<Harm>,
    /// What was wrong at the end.
    pub violations: Vec<Violation>,
    /// What each lock recorded that was taken, `mmu_lock` first.
    pub locks: Vec<LockStats>,
    /// How often the task beside did what it does.
    pub rounds: u64,
}

impl Order {
    /// Every order.
    pub const ALL: [Self; 5] =
        [Self::MemslotsFirst, Self::CloseFirst, Self::ExitFirst, Self::Kill, Self::FdPassed];

    /// How many tasks it takes, each a thread.
    pub fn threads(self) -> usize {
        self.tasks().matches("task ").count()
    }

    fn tasks(self) -> &'static str {
        match self {
            Self::MemslotsFirst => "task T1 fds=vm,vcpu0: delete_slot, close vcpu0, close vm, exit",
            Self::CloseFirst => "task T1 fds=vm,vcpu0: close vcpu0, close vm, exit",
            Self::ExitFirst => "task T1 fds=vm,vcpu0: exit",
            Self::Kill => "task T1 fds=vm,vcpu0: ; task T2 mm=T1 files=T1: ; task K: kill T1, kill T2",
            Self::FdPassed => "task T1: exit; task T2 fds=vm: close vm",
        }
    }
}

impl Beside {
    /// Everything that may go on meanwhile.
    pub const ALL: [Self; 3] = [Self::Age, Self::LogDirty, Self::OtherVm];

    /// Where it takes `mmu_lock`, by how the sites begin.
    fn takes_mmu_lock_at(self) -> &'static [&'static str] {
        match self {
            Self::Age => &["kvm_mmu_notifier_clear_flush_young"],
            Self::LogDirty => &["kvm_mmu_wp_memory_region", "kvm_mmu_split"],
            Self::OtherVm => &[],
        }
    }

    fn task(self) -> &'static str {
        match self {
            Self::Age => "task B: age T1",
            Self::LogDirty => "task B mm=T1 files=T1: log_dirty, log_clean",
            Self::OtherVm => "task B mm=T1 fds=2:vm,2:vcpu0: 2:fault 0",
        }
    }
}

impl AtSize {
    /// Says what is wrong, if anything is.
    pub fn check(&self) -> Result<(), Error> {
        let wrong = |what: String| Err(Error::AtSize(what));
        self.strategy.applies(&self.variant).map_err(|reason| Error::NotApplicable {
            strategy: self.strategy.name.clone(),
            variant: self.variant.name.to_owned(),
            reason,
        })?;
        if self.nested > 0 && self.variant.nested == Nested::Absent {
            return wrong(format!("{} has no nested mmus: nested=0 would be right", self.variant));
        }
        if self.variant.destroy == Destroy::StaleRanges {
            return wrong(format!(
                "{} frees pages behind the table's back, which nobody counts",
                self.variant
            ));
        }
        if matches!(self.variant.arch, Arch::Loongarch | Arch::Mips) {
            return wrong(format!(
                "{} has a table of another kind: arm64 and riscv have this one",
                self.variant
            ));
        }
        if let Some(reason) = self.strategy.takes_mmu_lock_twice(&self.variant) {
            return wrong(format!("{} would never end: {reason}", self.strategy));
        }
        let shares_mm = matches!(self.beside, Some(Beside::LogDirty | Beside::OtherVm));
        if let Some(beside) = self.beside.filter(|_| shares_mm)
            && !matches!(self.order, Order::MemslotsFirst | Order::CloseFirst)
        {
            return wrong(format!(
                "beside={beside} keeps the address space that order={} takes away: memslots-first or close-first \
                 would be right",
                self.order
            ));
        }
        let geometry = self.config.geometry()?;
        let levels = geometry.start_level()..=LAST_LEVEL;
        let leaves: Vec<_> = levels
            .filter(|level| geometry.leaf_allowed(*level))
            .map(|level| geometry.granule_size(level))
            .collect();
        if !leaves.contains(&self.leaf_bytes) {
            return wrong(format!("leaf_bytes {} is not one of {leaves:?}", self.leaf_bytes));
        }
        let space = 1_u64 << geometry.ipa_bits();
        let bytes = self.guest_bytes;
        if bytes == 0 || bytes > space || !bytes.is_multiple_of(self.leaf_bytes) {
            return wrong(format!(
                "guest_bytes {bytes} is not a multiple of leaf_bytes {} up to {space}",
                self.leaf_bytes
            ));
        }
        Ok(())
    }

    /// The same tasks over a table that is small enough to be explored.
    pub fn case(&self) -> Result<Case, Error> {
        Case::new(self.scenario()?, self.variant, self.strategy.clone())
    }

    /// Makes the VM and maps the guest; takes its time.
    pub fn prepare<C: Counting>(&self) -> Result<Prepared<C>, Error> {
        self.prepare_with(|table| {
            let prot = Prot::R | Prot::W | Prot::X;
            table.fill(&mut Env::new(NoLog), 0, self.guest_bytes, 0, prot, self.leaf_bytes)
        })
    }

    /// Makes the VM, and has `fill` map the guest's memory, address by address, into its table.
    pub fn prepare_with<C: Counting>(
        &self,
        fill: impl FnOnce(&Table<OnThreads<C>>) -> Result<(), Errno>,
    ) -> Result<Prepared<C>, Error> {
        self.check()?;
        let geometry = self.config.geometry()?;
        let mut scenario = self.scenario()?;
        scenario.set_up.objects = split_pages(&geometry);
        scenario.set_up.mapped = false;
        let guest = Guest::large(self.config, self.guest_bytes / geometry.page_size());
        let _chosen = self.lock.for_new_locks();
        let world = World::new(&scenario, guest, self.variant, self.strategy.clone()).timed();
        world.map_guest(fill).map_err(|_| Error::OutOfPages { guest_bytes: self.guest_bytes })?;
        let beside = self.beside.map(|beside| (beside, scenario.tasks.len() - 1));
        Ok(Prepared { world, beside, pause: self.pause })
    }

    fn scenario(&self) -> Result<Scenario, Error> {
        let mut text = self.order.tasks().to_owned();
        if let Some(beside) = self.beside {
            text += "; ";
            text += beside.task();
        }
        let mut scenario = Scenario::from_text(&text)?;
        scenario.set_up =
            SetUp { cache: self.cache, nested: self.nested, walker: self.config.walker, ..SetUp::default() };
        Scenario::new(&scenario.name, "", scenario.set_up, scenario.tasks)
    }
}

/// Table pages that splitting all blocks of one step takes (`kvm_mmu_split_nr_page_tables`).
fn split_pages(geometry: &Geometry) -> u64 {
    let step = geometry.step_bytes();
    let last = geometry.granule_size(LAST_LEVEL - 1);
    step / last + u64::from(step > last)
}

impl<C: Counting> Prepared<C> {
    /// Lets every task do its steps on a thread of its own, all at once. `around` is called on each thread with the
    /// task's place, and must call what it is given, once: for what the caller wants done there before and after.
    pub fn run(self, around: &(dyn Fn(usize, &mut dyn FnMut()) + Sync)) -> TornDown {
        let world = &self.world;
        let tasks = world.scenario.tasks.len();
        let Tables { live: pages_before, bytes: table_bytes, freed } = world.table_pages();
        let start = Barrier::new(tasks);
        let going = AtomicUsize::new(tasks - usize::from(self.beside.is_some()));
        let (stop, rounds) = (AtomicBool::new(false), AtomicU64::new(0));
        let on_thread = |task: usize| {
            let (mut span, mut stretch) = (None, None);
            let is_beside = self.beside.is_some_and(|(_, other)| other == task);
            around(task, &mut || {
                world.prepare_locks();
                start.wait();
                let begin = Instant::now();
                if is_beside {
                    rounds.store(world.repeat(task, self.pause, &stop), Ordering::Relaxed);
                } else {
                    ((), stretch) = OnThreads::<C>::longest_stretch(|| world.run_task(task));
                    if going.fetch_sub(1, Ordering::Relaxed) == 1 {
                        stop.store(true, Ordering::Relaxed);
                    }
                }
                span = Some((begin, Instant::now()));
            });
            let (begin, end) = span.expect("what runs a task's thread runs the task");
            Ran { begin, end, stretch, is_beside }
        };
        let ran: Vec<_> = std::thread::scope(|scope| {
            let on_thread = &on_thread;
            let threads: Vec<_> = (0..tasks).map(|task| scope.spawn(move || on_thread(task))).collect();
            threads.into_iter().map(|thread| thread.join().expect("a task's thread does not panic")).collect()
        });
        let of_order = || ran.iter().filter(|ran| !ran.is_beside);
        let begin = of_order().map(|ran| ran.begin).min().expect("an order has a task");
        let end = of_order().map(|ran| ran.end).max().expect("an order has a task");
        OnThreads::<C>::rcu_barrier(site!("end:rcu_barrier"));
        let pages_freed = world.table_pages().freed - freed;
        let violations = judge(world);
        let named = world.scenario.tasks.iter().zip(&ran);
        let locks = world.lock_stats();
        let others = self.beside.map_or(&[][..], |(beside, _)| beside.takes_mmu_lock_at());
        let of_order_at = |site: &&SiteStats| !others.iter().any(|begin| site.site.name().starts_with(begin));
        let mmu_lock = locks.first().filter(|_| C::TIME);
        let longest_hold = mmu_lock.and_then(|lock| {
            lock.write
                .sites
                .iter()
                .filter(of_order_at)
                .map(|site| Duration::from_nanos(site.hold.max_ns))
                .max()
        });
        TornDown {
            tasks: named.map(|(task, ran)| (task.name.clone(), ran.end - ran.begin)).collect(),
            elapsed: end - begin,
            longest_stretch: of_order().filter_map(|ran| ran.stretch).max().map(Duration::from_nanos),
            longest_hold,
            flushes: world.flush_times(),
            pages_before,
            pages_freed,
            table_bytes,
            harm: world.harm(),
            violations,
            locks,
            rounds: rounds.into_inner(),
        }
    }
}

/// What a task's thread did.
struct Ran {
    begin: Instant,
    end: Instant,
    /// Its longest stretch without a reschedule point, in nanoseconds.
    stretch: Option<u64>,
    is_beside: bool,
}

/// All tables together.
struct Tables {
    /// Pages in use.
    live: u64,
    /// Their bytes, with what lies beside them.
    bytes: u64,
    /// Pages freed so far.
    freed: u64,
}

impl<C: Counting> World<OnThreads<C>> {
    /// Maps the first VM's guest, all of whose memory is there then.
    fn map_guest(&self, fill: impl FnOnce(&Table<OnThreads<C>>) -> Result<(), Errno>) -> Result<(), Errno> {
        let vm = self.vm(VmId(0)).expect("a VM of the set-up");
        self.fault_in(self.mm(vm.mm), self.guest.first);
        let pgt = self.pgt(vm, site!("user_mem_abort:pgt"));
        self.table(pgt).map_or(Ok(()), fill)
    }

    /// Does a task's steps again and again until it is told to stop, faults on one page after the other; then exits.
    /// Answers how often.
    fn repeat(&self, task: usize, pause: Duration, stop: &AtomicBool) -> u64 {
        let steps = self.scenario.tasks[task].steps.clone();
        let (mut held, mut rounds) = (Vec::new(), 0);
        while !stop.load(Ordering::Relaxed) {
            for step in &steps {
                match step {
                    Step::Fault { vm, .. } => {
                        let page = rounds % self.guest.pages;
                        self.step(task, &Step::Fault { vm: *vm, page }, &mut held);
                    }
                    step => self.step(task, step, &mut held),
                }
            }
            rounds += 1;
            if !pause.is_zero() {
                std::thread::sleep(pause);
            }
        }
        rounds
    }

    /// Makes room for what the running thread will record of `mmu_lock`.
    fn prepare_locks(&self) {
        for vm in self.vms() {
            vm.mmu_lock.prepare();
        }
    }

    fn table_pages(&self) -> Tables {
        let sum = |of: fn(&Table<OnThreads<C>>) -> u64| self.tables.iter().map(|(_, table)| of(table)).sum();
        Tables {
            live: sum(Table::live_pages),
            bytes: sum(Table::memory_bytes),
            freed: sum(|table| table.page_totals().1),
        }
    }

    /// What each lock has recorded that was taken, each VM's `mmu_lock` first.
    fn lock_stats(&self) -> Vec<LockStats> {
        let plain = |lock| OnThreads::<C>::lock_stats(lock);
        let mmu_lock = |vm: &Vm<OnThreads<C>>| match vm.mmu_lock.stats() {
            stats if vm.id.0 == 0 => stats,
            stats => LockStats { name: "other kvm->mmu_lock", ..stats },
        };
        let mut all: Vec<_> = self.vms().map(mmu_lock).collect();
        for vm in self.vms() {
            let locks =
                [&vm.lock, &vm.slots_lock, &vm.slots_arch_lock, &vm.mn_invalidate_lock, &vm.config_lock];
            all.extend(locks.into_iter().chain(&vm.vcpu_mutexes).map(plain));
        }
        all.push(plain(&self.kvm_lock));
        all.extend(self.mms().flat_map(|mm| [&mm.notifier_lock, &mm.anon_vma]).map(plain));
        all.extend(self.file_locks().chain(&self.task_locks).map(plain));
        all.retain(|lock| lock.read.acquisitions + lock.write.acquisitions > 0);
        all
    }
}

impl fmt::Display for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(name_of(&ORDERS, *self))
    }
}

impl FromStr for Order {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        one_of("order of a teardown", &ORDERS, text)
    }
}

impl fmt::Display for Beside {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(name_of(&BESIDES, *self))
    }
}

impl FromStr for Beside {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        one_of("thing beside a teardown", &BESIDES, text)
    }
}
