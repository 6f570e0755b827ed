//! What a step does to who holds what, as far as userspace's steps can tell.
//!
//! Not a model of the kernel's code: counts, and which of the two paths to a flush a last drop begins.

use super::{Move, PathKind};
use crate::scenario::Scenario;
use crate::step::{Fd, FdKind, MAX_SLOTS, MAX_VMS, Step};

/// What a step does, as far as others can tell: by the task that does it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Effect {
    pub(super) task: usize,
    pub(super) what: What,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    /// Takes or drops a reference; whether it was the last.
    Count {
        counter: Counter,
        last: bool,
    },
    /// A path begins.
    Path {
        vm: usize,
        kind: PathKind,
        flushes: bool,
    },
    /// A message is left for another task, or taken.
    Send(usize),
    Receive(usize),
    Kill(usize),
    Killed(usize),
    Tell(u64),
    Await(u64),
    /// Looks at a slot, or changes it.
    Slot(usize),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Counter {
    Mm(usize),
    Vm(usize),
    Files(usize),
}

/// The steps, and what is fixed about them.
pub(super) struct Set {
    pub(super) scenario: Scenario,
    fds: Vec<Fd>,
    /// The tasks that own each task's address space and files.
    mm: Vec<usize>,
    files: Vec<usize>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct State {
    /// For each task, which of its steps are done.
    done: Vec<Vec<bool>>,
    alive: Vec<bool>,
    /// Users of each address space, tasks that hold another's among them.
    mm_users: Vec<u32>,
    /// Address spaces that each task holds beside its own.
    held: Vec<Vec<usize>>,
    files_users: Vec<u32>,
    /// Descriptors that are open, by the owner of the files, or of the address space for a mapping.
    open: Vec<Vec<bool>>,
    sent: Vec<bool>,
    /// A bit for each number that was told.
    told: u64,
    vms: [VmState; MAX_VMS],
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools)] // each is a fact of its own
struct VmState {
    made: bool,
    gone: bool,
    registered: bool,
    slots: [bool; MAX_SLOTS],
    mm: usize,
}

impl Set {
    pub(super) fn new(of: &Scenario) -> Self {
        let owner = |name: &str| of.task(name).expect("a checked scenario");
        Self {
            fds: of.fds(),
            mm: of.tasks.iter().map(|task| owner(&task.mm)).collect(),
            files: of.tasks.iter().map(|task| owner(&task.files)).collect(),
            scenario: of.clone(),
        }
    }

    pub(super) fn legal(&self, state: &State) -> Vec<Move> {
        let tasks = self.scenario.tasks.iter().enumerate();
        let all = tasks.flat_map(|(task, spec)| (0..spec.steps.len()).map(move |step| (task, step)));
        all.filter(|next| self.is_legal(state, *next)).collect()
    }

    fn is_legal(&self, state: &State, (task, step): Move) -> bool {
        if !state.alive[task] || state.done[task][step] {
            return false;
        }
        let open = |fd: Fd| self.is_open(state, task, fd);
        let vm_fd = |vm: usize| open(Fd { vm, kind: FdKind::Vm }) && state.vms[vm].mm == self.mm[task];
        let vcpu_fd = |vm: usize| {
            self.scenario.vcpu_fd(task, vm, &self.fds).is_some_and(open) && state.vms[vm].mm == self.mm[task]
        };
        let other = |name: &str| self.scenario.task(name).expect("a checked scenario");
        match &self.scenario.tasks[task].steps[step] {
            Step::CreateVm { vm, .. } => !state.vms[*vm].made,
            Step::CreateVcpu { vm, vcpu } => vm_fd(*vm) && !open(Fd { vm: *vm, kind: FdKind::Vcpu(*vcpu) }),
            Step::CreateDevice { vm } => vm_fd(*vm) && !open(Fd { vm: *vm, kind: FdKind::Device }),
            Step::Close(fd) => open(*fd),
            Step::Send(fd) => open(*fd) && !state.sent[self.place(*fd)],
            Step::Receive(fd) => state.sent[self.place(*fd)] && !open(*fd),
            Step::Exit | Step::Exec => {
                state.done[task].iter().enumerate().all(|(at, done)| at == step || *done)
            }
            Step::Kill(name) | Step::GetMm(name) => state.alive[other(name)],
            Step::PutMm(name) => state.held[task].contains(&self.mm[other(name)]),
            Step::Munmap | Step::Tell(_) => true,
            Step::Reclaim(name) | Step::ReclaimNonblock(name) | Step::Age(name) => {
                state.mm_users[self.mm[other(name)]] > 0
            }
            Step::CreateSlot { vm, slot } => vm_fd(*vm) && !state.vms[*vm].slots[*slot],
            Step::SetChunk { vm, .. } => vm_fd(*vm) && state.vms[*vm].slots.iter().all(|slot| !slot),
            Step::DeleteSlot { vm, slot } | Step::LogDirty { vm, slot } | Step::LogClean { vm, slot } => {
                vm_fd(*vm) && state.vms[*vm].slots[*slot]
            }
            Step::Fault { vm, .. }
            | Step::Touch { vm, .. }
            | Step::FirstRun { vm }
            | Step::VcpuInit { vm } => vcpu_fd(*vm),
            Step::OpenDump { vm } => state.vms[*vm].made && !state.vms[*vm].gone,
            Step::ReadDump { vm } => open(Fd { vm: *vm, kind: FdKind::Dump }),
            Step::Punch { vm } => open(Fd { vm: *vm, kind: FdKind::Gmem }),
            Step::Await(number) => state.told & (1 << number) != 0,
        }
    }

    /// Does a step; answers its effects.
    pub(super) fn apply(&self, state: &mut State, (task, step): Move) -> Vec<Effect> {
        state.done[task][step] = true;
        let mut effects = Vec::new();
        let mut did = |what| effects.push(Effect { task, what });
        let other = |name: &str| self.scenario.task(name).expect("a checked scenario");
        match &self.scenario.tasks[task].steps[step] {
            Step::CreateVm { vm, fails } => {
                let mm = self.mm[task];
                state.vms[*vm] =
                    VmState { made: true, gone: *fails, registered: !fails, slots: [false; MAX_SLOTS], mm };
                if !fails {
                    self.set_open(state, task, Fd { vm: *vm, kind: FdKind::Vm }, true);
                    did(What::Count { counter: Counter::Vm(*vm), last: false });
                }
            }
            Step::CreateVcpu { vm, vcpu } => {
                self.set_open(state, task, Fd { vm: *vm, kind: FdKind::Vcpu(*vcpu) }, true);
                did(What::Count { counter: Counter::Vm(*vm), last: false });
            }
            Step::CreateDevice { vm } => {
                self.set_open(state, task, Fd { vm: *vm, kind: FdKind::Device }, true);
                did(What::Count { counter: Counter::Vm(*vm), last: false });
            }
            Step::OpenDump { vm } => {
                self.set_open(state, task, Fd { vm: *vm, kind: FdKind::Dump }, true);
                did(What::Count { counter: Counter::Vm(*vm), last: false });
            }
            Step::Close(fd) => self.close(state, task, *fd, &mut effects),
            Step::Send(fd) => {
                state.sent[self.place(*fd)] = true;
                did(What::Send(self.place(*fd)));
            }
            Step::Receive(fd) => {
                state.sent[self.place(*fd)] = false;
                self.set_open(state, task, *fd, true);
                did(What::Receive(self.place(*fd)));
            }
            Step::Exit | Step::Exec => self.exit(state, task, &mut effects),
            Step::Kill(name) => {
                let victim = other(name);
                did(What::Kill(victim));
                state.done[victim].iter_mut().for_each(|done| *done = true);
                effects.push(Effect { task: victim, what: What::Killed(victim) });
                self.exit(state, victim, &mut effects);
            }
            Step::GetMm(name) => {
                let mm = self.mm[other(name)];
                state.mm_users[mm] += 1;
                state.held[task].push(mm);
                did(What::Count { counter: Counter::Mm(mm), last: false });
            }
            Step::PutMm(name) => {
                let mm = self.mm[other(name)];
                let at = state.held[task].iter().position(|held| *held == mm).expect("a legal step");
                state.held[task].remove(at);
                self.mmput(state, task, mm, &mut effects);
            }
            Step::Tell(number) => {
                state.told |= 1 << number;
                did(What::Tell(*number));
            }
            Step::Await(number) => did(What::Await(*number)),
            Step::CreateSlot { vm, slot } => {
                state.vms[*vm].slots[*slot] = true;
                did(What::Slot(*vm));
            }
            Step::DeleteSlot { vm, slot } => {
                state.vms[*vm].slots[*slot] = false;
                did(What::Slot(*vm));
            }
            Step::LogDirty { vm, .. } | Step::LogClean { vm, .. } | Step::SetChunk { vm, .. } => {
                did(What::Slot(*vm));
            }
            Step::Munmap
            | Step::Reclaim(_)
            | Step::ReclaimNonblock(_)
            | Step::Age(_)
            | Step::Fault { .. }
            | Step::Touch { .. }
            | Step::FirstRun { .. }
            | Step::VcpuInit { .. }
            | Step::ReadDump { .. }
            | Step::Punch { .. } => {}
        }
        effects
    }

    /// Whether the order of two steps does not matter in a state.
    pub(super) fn independent(&self, state: &State, one: Move, two: Move) -> bool {
        let both = |first, second| {
            let mut state = state.clone();
            let of_first = self.is_legal(&state, first).then(|| self.apply(&mut state, first))?;
            let of_second = self.is_legal(&state, second).then(|| self.apply(&mut state, second))?;
            Some((state, of_first, of_second))
        };
        match (both(one, two), both(two, one)) {
            (Some((after, of_one, of_two)), Some((other, also_two, also_one))) => {
                after == other && of_one == also_one && of_two == also_two
            }
            _ => false,
        }
    }

    fn exit(&self, state: &mut State, task: usize, effects: &mut Vec<Effect>) {
        state.alive[task] = false;
        self.mmput(state, task, self.mm[task], effects);
        for mm in std::mem::take(&mut state.held[task]) {
            self.mmput(state, task, mm, effects);
        }
        let files = self.files[task];
        state.files_users[files] -= 1;
        let last = state.files_users[files] == 0;
        effects.push(Effect { task, what: What::Count { counter: Counter::Files(files), last } });
        if last {
            let of_files: Vec<_> =
                self.fds.iter().copied().filter(|fd| !matches!(fd.kind, FdKind::Run(_))).collect();
            for fd in of_files {
                self.close(state, task, fd, effects);
            }
        }
    }

    fn mmput(&self, state: &mut State, task: usize, mm: usize, effects: &mut Vec<Effect>) {
        state.mm_users[mm] -= 1;
        let last = state.mm_users[mm] == 0;
        effects.push(Effect { task, what: What::Count { counter: Counter::Mm(mm), last } });
        if !last {
            return;
        }
        for vm in 0..MAX_VMS {
            if state.vms[vm].made && state.vms[vm].mm == mm {
                let flushes = std::mem::take(&mut state.vms[vm].registered);
                let what = What::Path { vm, kind: PathKind::ExitMmap, flushes };
                effects.push(Effect { task, what });
            }
        }
        for fd in self.fds.iter().copied().filter(|fd| matches!(fd.kind, FdKind::Run(_))) {
            if std::mem::take(&mut state.open[mm][self.place(fd)]) {
                self.put(state, task, fd.vm, effects);
            }
        }
    }

    fn close(&self, state: &mut State, task: usize, fd: Fd, effects: &mut Vec<Effect>) {
        if self.is_open(state, task, fd) {
            self.set_open(state, task, fd, false);
            self.put(state, task, fd.vm, effects);
        }
    }

    /// A reference on a VM's file is dropped: the VM's last destroys it.
    fn put(&self, state: &mut State, task: usize, vm: usize, effects: &mut Vec<Effect>) {
        let of_vm = |place: &usize| self.fds[*place].vm == vm;
        let held = (0..self.fds.len()).filter(of_vm);
        let last =
            !held.into_iter().any(|place| state.sent[place] || state.open.iter().any(|open| open[place]));
        effects.push(Effect { task, what: What::Count { counter: Counter::Vm(vm), last } });
        if last && !state.vms[vm].gone {
            state.vms[vm].gone = true;
            let flushes = std::mem::take(&mut state.vms[vm].registered);
            effects.push(Effect { task, what: What::Path { vm, kind: PathKind::DestroyVm, flushes } });
        }
    }

    fn is_open(&self, state: &State, task: usize, fd: Fd) -> bool {
        state.open[self.holder(task, fd)][self.place(fd)]
    }

    fn set_open(&self, state: &mut State, task: usize, fd: Fd, open: bool) {
        state.open[self.holder(task, fd)][self.place(fd)] = open;
    }

    /// Who holds a task's descriptor: its files, or, for a mapping, its address space.
    fn holder(&self, task: usize, fd: Fd) -> usize {
        if matches!(fd.kind, FdKind::Run(_)) { self.mm[task] } else { self.files[task] }
    }

    fn place(&self, fd: Fd) -> usize {
        self.fds.iter().position(|other| *other == fd).expect("a descriptor of the scenario")
    }
}

impl State {
    /// Whether every step is done, or belongs to a task that was killed before it.
    pub(super) fn is_complete(&self) -> bool {
        self.done.iter().flatten().all(|done| *done)
    }

    pub(super) fn first(set: &Set) -> Self {
        let tasks = &set.scenario.tasks;
        let users =
            |owners: &[usize], task: usize| owners.iter().filter(|owner| **owner == task).count() as u32;
        let vm = |vm: usize| {
            let made = set.scenario.exists(vm);
            let there = made && set.scenario.set_up.slot;
            let slots = std::array::from_fn(|slot| there && (slot as u64) < set.scenario.set_up.slots);
            VmState { made, gone: false, registered: made, slots, mm: 0 }
        };
        let mut state = Self {
            done: tasks.iter().map(|task| vec![false; task.steps.len()]).collect(),
            alive: vec![true; tasks.len()],
            mm_users: (0..tasks.len()).map(|task| users(&set.mm, task)).collect(),
            held: vec![Vec::new(); tasks.len()],
            files_users: (0..tasks.len()).map(|task| users(&set.files, task)).collect(),
            open: vec![vec![false; set.fds.len()]; tasks.len()],
            sent: vec![false; set.fds.len()],
            told: 0,
            vms: std::array::from_fn(vm),
        };
        for (task, spec) in tasks.iter().enumerate() {
            spec.fds.iter().for_each(|fd| set.set_open(&mut state, task, *fd, true));
        }
        state
    }
}
