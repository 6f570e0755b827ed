//! Scenarios as data: tasks, each a list of steps, over a set-up.
//!
//! The text form is a line for the set-up and one for each task:
//!
//! ```text
//! setup cache=filled nested=0
//! task T1 : exit
//! task T2 fds=vm : close vm
//! ```
//!
//! A VM of the set-up belongs to the address space of the first task. Tasks have an address space and files of
//! their own unless `mm=` or `files=` names another task's. All steps of a task happen one after the other;
//! steps of different tasks may overlap in every way. A scenario is legal by construction: a step that the
//! kernel would refuse (a descriptor that is not there, another address space) does nothing.

mod text;

use stage2::{Config, Granule, WalkerKind};

use crate::error::Error;
use crate::heap::Memory;
use crate::step::{Fd, FdKind, MAX_SLOTS, MAX_VMS, Step};

/// How far eager splitting has used its cache of pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cache {
    /// Never: `objects` is NULL.
    Never,
    /// It holds pages.
    Filled,
    /// Its pages are used up: `nobjs` is 0, `objects` is not NULL.
    UsedUp,
}

/// The shape of the tables: as few entries as show what is to be shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Shape {
    /// Four pages in two steps of unmap and destroy.
    Small,
    /// Four pages in two steps below one entry of a level above the step.
    Deep,
    /// 256 pages in sixteen steps.
    Big,
}

/// What exists before the tasks begin.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SetUp {
    /// The split cache.
    pub cache: Cache,
    /// Pages in a filled split cache, and its capacity.
    pub objects: u64,
    /// Nested mmus that exist.
    pub nested: u64,
    /// Where the arrays of the split cache and of nested mmus come from.
    pub arrays: Memory,
    /// Guest pages in the slots together.
    pub pages: u64,
    /// Slots that a VM may have: each has an equal share of the pages.
    pub slots: u64,
    /// Whether its slots are there.
    pub slot: bool,
    /// Whether the pages of the slots are mapped.
    pub mapped: bool,
    /// Whether the pages are mapped as one block, for eager splits.
    pub block: bool,
    /// The shape of the tables.
    pub shape: Shape,
    /// How the tables of arm64 and riscv are walked.
    pub walker: WalkerKind,
}

impl Default for SetUp {
    fn default() -> Self {
        Self {
            cache: Cache::Never,
            objects: 1,
            nested: 0,
            arrays: Memory::Kmalloc,
            pages: 1,
            slots: 1,
            slot: true,
            mapped: true,
            block: false,
            shape: Shape::Small,
            walker: WalkerKind::Upstream,
        }
    }
}

/// A task, and what it does.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Task {
    /// Its name.
    pub name: String,
    /// The task whose address space it shares; its own name for its own.
    pub mm: String,
    /// The task whose files it shares; its own name for its own.
    pub files: String,
    /// The descriptors its files have in the beginning, and the mappings its address space has.
    pub fds: Vec<Fd>,
    /// What it does.
    pub steps: Vec<Step>,
}

/// Tasks over a set-up.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Scenario {
    /// Its name; that of a text is the text.
    pub name: String,
    /// What it shows, in a sentence.
    pub about: String,
    /// What exists before.
    pub set_up: SetUp,
    /// The tasks.
    pub tasks: Vec<Task>,
}

impl Shape {
    /// The geometry: 16K pages, so that two levels have blocks, and few bits a level.
    pub(crate) fn config(self) -> Config {
        let small = |ipa_bits, level_bits, start_level| Config {
            level_bits: Some(level_bits),
            start_level,
            ..Config::new(Granule::K16, ipa_bits)
        };
        match self {
            Self::Small => small(16, 1, None),
            Self::Deep => small(16, 1, Some(1)),
            Self::Big => small(22, 4, None),
        }
    }

    /// Pages of the address space.
    pub(crate) fn pages(self) -> u64 {
        let config = self.config();
        1 << (config.ipa_bits - config.granule.page_shift())
    }
}

impl SetUp {
    /// The first guest page of the slots: in the middle, so that two pages lie in two steps; a block's is aligned.
    pub(crate) fn first_page(&self) -> u64 {
        if self.block { 0 } else { (self.shape.pages() - self.pages) / 2 }
    }

    fn check(&self) -> Result<(), Error> {
        let most = self.shape.pages();
        let wrong = |what: String| Err(Error::SetUp(what));
        if self.pages == 0 || self.pages > most {
            return wrong(format!(
                "pages={} is outside 1 to {most}, what shape={} has",
                self.pages,
                text::shape_name(self.shape)
            ));
        }
        if self.block && (self.pages != 2 || self.shape != Shape::Small) {
            return wrong(String::from("block=yes needs pages=2 shape=small: a block of two pages"));
        }
        if !(1..=MAX_SLOTS as u64).contains(&self.slots) || !self.pages.is_multiple_of(self.slots) {
            let (slots, pages) = (self.slots, self.pages);
            return wrong(format!("slots={slots} is not 1 or {MAX_SLOTS}, among which pages={pages} divide"));
        }
        if self.block && self.slots > 1 {
            return wrong(String::from("block=yes needs slots=1: a block lies in one slot"));
        }
        if !(1..=4).contains(&self.objects) {
            return wrong(format!("objects={} is outside 1 to 4", self.objects));
        }
        if self.nested > 2 {
            return wrong(format!("nested={} is outside 0 to 2", self.nested));
        }
        Ok(())
    }
}

impl Scenario {
    /// A scenario of this set-up and these tasks, if it can be set up.
    pub fn new(name: &str, about: &str, set_up: SetUp, tasks: Vec<Task>) -> Result<Self, Error> {
        let scenario = Self { name: name.to_owned(), about: about.to_owned(), set_up, tasks };
        scenario.check()?;
        Ok(scenario)
    }

    /// Whether a VM exists in the beginning: some task has a descriptor of it.
    pub(crate) fn exists(&self, vm: usize) -> bool {
        self.tasks.iter().flat_map(|task| &task.fds).any(|fd| fd.vm == vm)
    }

    /// The place of a task's name.
    pub(crate) fn task(&self, name: &str) -> Option<usize> {
        self.tasks.iter().position(|task| task.name == name)
    }

    /// The descriptor through which a task asks a vCPU of a VM for something: the first of its own line, else the
    /// first of all.
    pub(crate) fn vcpu_fd(&self, task: usize, vm: usize, all: &[Fd]) -> Option<Fd> {
        let is_vcpu = |fd: &&Fd| fd.vm == vm && matches!(fd.kind, FdKind::Vcpu(_));
        self.tasks[task].fds.iter().find(is_vcpu).or_else(|| all.iter().find(is_vcpu)).copied()
    }

    /// How many VMs there are at any time.
    pub(crate) fn vms(&self) -> usize {
        (0..MAX_VMS).rev().find(|vm| self.mentions(*vm)).map_or(0, |vm| vm + 1)
    }

    /// All descriptors that any task has or makes, each once.
    pub(crate) fn fds(&self) -> Vec<Fd> {
        let mut fds: Vec<_> = self.tasks.iter().flat_map(|task| task.fds.iter().copied()).collect();
        fds.extend(self.steps().filter_map(|step| match step {
            Step::CreateVm { vm, .. } => Some(Fd { vm: *vm, kind: FdKind::Vm }),
            Step::CreateVcpu { vm, vcpu } => Some(Fd { vm: *vm, kind: FdKind::Vcpu(*vcpu) }),
            Step::CreateDevice { vm } => Some(Fd { vm: *vm, kind: FdKind::Device }),
            Step::OpenDump { vm } => Some(Fd { vm: *vm, kind: FdKind::Dump }),
            Step::Close(fd) | Step::Send(fd) | Step::Receive(fd) => Some(*fd),
            _ => None,
        }));
        let runs = fds.clone().into_iter().filter_map(|fd| match fd.kind {
            FdKind::Run(vcpu) => Some(Fd { kind: FdKind::Vcpu(vcpu), ..fd }),
            _ => None,
        });
        fds.extend(runs);
        fds.sort_unstable();
        fds.dedup();
        fds
    }

    pub(crate) fn steps(&self) -> impl Iterator<Item = &Step> {
        self.tasks.iter().flat_map(|task| &task.steps)
    }

    fn mentions(&self, vm: usize) -> bool {
        self.exists(vm)
            || self.steps().any(|step| matches!(step, Step::CreateVm { vm: made, .. } if *made == vm))
    }

    fn check(&self) -> Result<(), Error> {
        self.set_up.check()?;
        let wrong = |what: String| Err(Error::SetUp(what));
        if self.tasks.is_empty() {
            return wrong(String::from(
                "it has no task; a line such as `task T1 fds=vm: close vm` makes one",
            ));
        }
        let names = || self.tasks.iter().map(|task| &*task.name).collect::<Vec<_>>().join(", ");
        for (place, task) in self.tasks.iter().enumerate() {
            if self.task(&task.name) != Some(place) {
                return wrong(format!("two tasks have the name {:?}", task.name));
            }
            for (what, other) in [("mm", &task.mm), ("files", &task.files)] {
                let Some(owner) = self.task(other) else {
                    return wrong(format!("{what}={other} of {} is not one of {}", task.name, names()));
                };
                let owner = &self.tasks[owner];
                let own = if what == "mm" { &owner.mm } else { &owner.files };
                if own != &owner.name {
                    return wrong(format!(
                        "{what}={other} of {}: {other} shares {own}'s; name {own}",
                        task.name
                    ));
                }
            }
            let goes = |step: &Step| matches!(step, Step::Exit | Step::Exec);
            if let Some(at) = task.steps.iter().position(goes)
                && let Some(after) = task.steps[at + 1..].iter().find(|step| !matches!(step, Step::Tell(_)))
            {
                let last = &task.steps[at];
                return wrong(format!("{after} of {} comes after {last}: only `tell N` would", task.name));
            }
            for step in &task.steps {
                if let Step::Receive(fd) = step
                    && !self.steps().any(|other| *other == Step::Send(*fd))
                {
                    return wrong(format!("{step} of {}: no task has the step `send {fd}`", task.name));
                }
                if let Step::Await(number) = step
                    && !self.steps().any(|other| *other == Step::Tell(*number))
                {
                    return wrong(format!("{step} of {}: no task has the step `tell {number}`", task.name));
                }
                if let Step::Kill(other)
                | Step::GetMm(other)
                | Step::PutMm(other)
                | Step::Reclaim(other)
                | Step::ReclaimNonblock(other)
                | Step::Age(other) = step
                    && self.task(other).is_none()
                {
                    return wrong(format!("{step} of {}: {other} is not one of {}", task.name, names()));
                }
            }
        }
        for step in self.steps() {
            if let Step::CreateSlot { slot, .. }
            | Step::DeleteSlot { slot, .. }
            | Step::LogDirty { slot, .. }
            | Step::LogClean { slot, .. } = step
                && *slot as u64 >= self.set_up.slots
            {
                return wrong(format!("{step}: slots={} has no such slot", self.set_up.slots));
            }
            let makes = matches!(
                step,
                Step::CreateVm { .. }
                    | Step::CreateVcpu { .. }
                    | Step::CreateDevice { .. }
                    | Step::OpenDump { .. }
            );
            let made_by = |task: &&Task| task.steps.contains(step);
            if makes && self.tasks.iter().filter(made_by).count() > 1 {
                return wrong(format!("two tasks have the step {step}: one makes it, and may send it"));
            }
            if let Step::CreateVm { vm, .. } = step
                && self.exists(*vm)
            {
                return wrong(format!("{step}: a task has a descriptor of that VM from the beginning"));
            }
        }
        if self.vms() == 0 {
            return wrong(String::from("there is no VM: give a task fds=vm, or a step create_vm"));
        }
        Ok(())
    }
}
