//! The end of a VM at full size: the same tasks and the same code as an explored case, on real threads, over a guest of
//! gigabytes in a table of real geometry.
//!
//! What is guaranteed: the set-up is outside the clock; each task has a thread of its own, and all start together; harm
//! is recorded, not suffered; what would never end is refused. What is not: that a race comes about.
//!
//! A guest of that size has pages that come and go together, as one object, so a leaf that reaches freed memory is
//! looked for at one of its pages.

mod run;

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use runtime::native::{Counting, LockKind};
use stage2::{Config, Env, Errno, Geometry, LAST_LEVEL, NoLog, Prot, Table, WalkerKind};

use crate::error::{Error, name_of, one_of};
use crate::guest::Guest;
use crate::program::Case;
use crate::scenario::{Cache, Scenario, SetUp};
use crate::strategy::Strategy;
use crate::variant::{Arch, Destroy, Nested, Variant};
use crate::world::World;

pub use run::{OnThreads, Prepared, TornDown};

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
