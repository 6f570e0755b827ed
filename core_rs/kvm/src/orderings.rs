//! All legal orders of the steps of some tasks, and where each order tears a VM down.
//!
//! The steps of a task may come in any order that is legal: a descriptor is made or received before it is used
//! and closed once, a slot exists before it is deleted, `exit` comes last, a killed task does no more. Orders that
//! differ only in steps that do not matter to each other are one order: two steps are independent in a state when
//! either order of them is legal, has the same effects and ends in the same state.
//!
//! An order says who drops each last reference, and so which paths reach `kvm_arch_flush_shadow_all`. Whether two
//! of them may overlap follows from what must have happened before: a task's own earlier steps, a descriptor that
//! was sent, a kill, and, for a last reference, every other drop of it. Nothing here executes the kernel's
//! code; [`Ordering::scenario`] makes of an order what an explorer can.

use std::fmt;

use crate::error::Error;
use crate::scenario::{Scenario, Task};
use crate::step::{Fd, FdKind, MAX_VMS, Step};

/// One legal order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ordering {
    /// Task and step, in their order.
    pub steps: Vec<(String, Step)>,
    /// The paths that tear a VM down, in their order.
    pub paths: Vec<Path>,
}

/// A path to `kvm_arch_flush_shadow_all`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Path {
    /// Which VM, from 0 up.
    pub vm: usize,
    /// Which path.
    pub kind: PathKind,
    /// The task on it.
    pub task: String,
    /// The place of the step that leads there.
    pub step: usize,
    /// Whether it finds the notifier still registered when steps do not overlap, and so flushes.
    pub flushes: bool,
    /// Whether the VM's other path may be on its way at the same time: then both may flush, at once.
    pub overlaps: bool,
}

/// The two paths.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PathKind {
    /// `mmput`, `exit_mmap`, `mmu_notifier_release`.
    ExitMmap,
    /// `kvm_put_kvm`, `kvm_destroy_vm`, `mmu_notifier_unregister`.
    DestroyVm,
}

impl Ordering {
    /// How often flush runs for a VM when no steps overlap.
    pub fn flushes(&self, vm: usize) -> usize {
        self.paths.iter().filter(|path| path.vm == vm && path.flushes).count()
    }

    /// Whether two flushes of a VM may overlap.
    pub fn may_overlap(&self, vm: usize) -> bool {
        self.paths.iter().any(|path| path.vm == vm && path.overlaps)
    }

    /// The tasks with their steps in this order, over the set-up of `of`.
    pub fn scenario(&self, of: &Scenario) -> Result<Scenario, Error> {
        let steps = |task: &Task| {
            let own = self.steps.iter().filter(|(name, _)| *name == task.name);
            own.map(|(_, step)| step.clone()).collect()
        };
        let tasks: Vec<_> = of.tasks.iter().map(|task| Task { steps: steps(task), ..task.clone() }).collect();
        let mut scenario = Scenario::new("", &format!("one order: {self}"), of.set_up.clone(), tasks)?;
        scenario.name = scenario.to_string().replace('\n', "; ");
        Ok(scenario)
    }
}

impl fmt::Display for Ordering {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, (task, step)) in self.steps.iter().enumerate() {
            write!(f, "{}{task} {step}", if place == 0 { "" } else { "; " })?;
        }
        Ok(())
    }
}

impl PathKind {
    /// Its functions.
    pub const fn name(self) -> &'static str {
        match self {
            Self::ExitMmap => "exit_mmap",
            Self::DestroyVm => "kvm_destroy_vm",
        }
    }
}

/// All legal orders of a scenario's steps, one of each class.
///
/// ```
/// let race: kvm::Scenario = "task T1 fds=vm: close vm, exit; task T2 fds=vm: close vm".parse()?;
/// let orders: Vec<_> = kvm::orderings(&race).collect();
/// assert!(orders.iter().any(|order| order.may_overlap(0)));
/// assert!(orders.iter().all(|order| order.flushes(0) == 1));
/// # Ok::<(), kvm::Error>(())
/// ```
pub fn orderings(of: &Scenario) -> Orderings {
    let set = Set::new(of);
    let state = State::first(&set);
    let first = Frame { candidates: set.legal(&state), state, sleep: Vec::new(), tried: 0, taken: None };
    Orderings { set, stack: vec![first] }
}

/// The orders, one after the other.
pub struct Orderings {
    set: Set,
    stack: Vec<Frame>,
}

/// A state on the way, and what was tried in it.
struct Frame {
    state: State,
    candidates: Vec<Move>,
    /// Moves whose orders were seen elsewhere (Godefroid 1996: sleep sets, with independence by state).
    sleep: Vec<Move>,
    tried: usize,
    /// The move that led here, and its effects.
    taken: Option<(Move, Vec<Effect>)>,
}

/// A step of a task, by their places.
type Move = (usize, usize);

impl Iterator for Orderings {
    type Item = Ordering;

    fn next(&mut self) -> Option<Ordering> {
        while let Some(frame) = self.stack.last_mut() {
            if frame.candidates.is_empty() && frame.tried == 0 {
                frame.tried = 1;
                if self.set.is_complete(&frame.state) {
                    return Some(self.order());
                }
            }
            let Some(&next) = frame.candidates.get(frame.tried) else {
                self.stack.pop();
                continue;
            };
            frame.tried += 1;
            if frame.sleep.contains(&next) {
                continue;
            }
            let asleep = frame.sleep.iter().copied().filter(|other| self.set.independent(&frame.state, next, *other));
            let sleep = asleep.collect();
            frame.sleep.push(next);
            let mut state = frame.state.clone();
            let effects = self.set.apply(&mut state, next);
            let candidates = self.set.legal(&state);
            self.stack.push(Frame { candidates, state, sleep, tried: 0, taken: Some((next, effects)) });
        }
        None
    }
}

impl Orderings {
    fn order(&self) -> Ordering {
        let taken: Vec<_> = self.stack.iter().filter_map(|frame| frame.taken.clone()).collect();
        let tasks = &self.set.scenario.tasks;
        let step = |(task, step): Move| (tasks[task].name.clone(), tasks[task].steps[step].clone());
        let steps = taken.iter().map(|(taken, _)| step(*taken)).collect();
        Ordering { steps, paths: Happened::of(&self.set, &taken).paths() }
    }
}

/// What a step does, as far as others can tell: by the task that does it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Effect {
    task: usize,
    what: What,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    /// Takes or drops a reference; whether it was the last.
    Count { counter: Counter, last: bool },
    /// A path begins.
    Path { vm: usize, kind: PathKind, flushes: bool },
    /// A message is left for another task, or taken.
    Send(usize),
    Receive(usize),
    Kill(usize),
    Killed(usize),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Counter {
    Mm(usize),
    Vm(usize),
    Files(usize),
}

/// The steps, and what is fixed about them.
struct Set {
    scenario: Scenario,
    fds: Vec<Fd>,
    /// The tasks that own each task's address space and files.
    mm: Vec<usize>,
    files: Vec<usize>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct State {
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
    vms: [VmState; MAX_VMS],
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct VmState {
    made: bool,
    gone: bool,
    registered: bool,
    slot: bool,
    mm: usize,
}

impl Set {
    fn new(of: &Scenario) -> Self {
        let owner = |name: &str| of.task(name).expect("a checked scenario");
        Self {
            fds: of.fds(),
            mm: of.tasks.iter().map(|task| owner(&task.mm)).collect(),
            files: of.tasks.iter().map(|task| owner(&task.files)).collect(),
            scenario: of.clone(),
        }
    }

    fn legal(&self, state: &State) -> Vec<Move> {
        let tasks = self.scenario.tasks.iter().enumerate();
        let all = tasks.flat_map(|(task, spec)| (0..spec.steps.len()).map(move |step| (task, step)));
        all.filter(|next| self.is_legal(state, *next)).collect()
    }

    /// Whether every step is done, or belongs to a task that was killed before it.
    fn is_complete(&self, state: &State) -> bool {
        state.done.iter().flatten().all(|done| *done)
    }

    fn is_legal(&self, state: &State, (task, step): Move) -> bool {
        if !state.alive[task] || state.done[task][step] {
            return false;
        }
        let open = |fd: Fd| self.is_open(state, task, fd);
        let vm_fd = |vm: usize| open(Fd { vm, kind: FdKind::Vm }) && state.vms[vm].mm == self.mm[task];
        let vcpu_fd = |vm: usize| {
            let mut vcpus = self.fds.iter().filter(|fd| fd.vm == vm && matches!(fd.kind, FdKind::Vcpu(_)));
            vcpus.any(|fd| open(*fd)) && state.vms[vm].mm == self.mm[task]
        };
        let other = |name: &str| self.scenario.task(name).expect("a checked scenario");
        match &self.scenario.tasks[task].steps[step] {
            Step::CreateVm { vm, .. } => !state.vms[*vm].made,
            Step::CreateVcpu { vm, vcpu } => vm_fd(*vm) && !open(Fd { vm: *vm, kind: FdKind::Vcpu(*vcpu) }),
            Step::Close(fd) => open(*fd),
            Step::Send(fd) => open(*fd) && !state.sent[self.place(*fd)],
            Step::Receive(fd) => state.sent[self.place(*fd)] && !open(*fd),
            Step::Exit | Step::Exec => state.done[task].iter().enumerate().all(|(at, done)| at == step || *done),
            Step::Kill(name) => state.alive[other(name)],
            Step::GetMm(name) => state.alive[other(name)],
            Step::PutMm(name) => state.held[task].contains(&self.mm[other(name)]),
            Step::Munmap => true,
            Step::Reclaim(name) | Step::Age(name) => state.mm_users[self.mm[other(name)]] > 0,
            Step::CreateSlot { vm } => vm_fd(*vm) && !state.vms[*vm].slot,
            Step::DeleteSlot { vm } | Step::LogDirty { vm } | Step::LogClean { vm } => {
                vm_fd(*vm) && state.vms[*vm].slot
            }
            Step::SetChunk { vm, .. } => vm_fd(*vm) && !state.vms[*vm].slot,
            Step::Fault { vm, .. } | Step::Touch { vm, .. } | Step::VcpuInit { vm } => vcpu_fd(*vm),
            Step::OpenDump { vm } => state.vms[*vm].made && !state.vms[*vm].gone,
            Step::ReadDump { vm } => open(Fd { vm: *vm, kind: FdKind::Dump }),
            Step::Punch { vm } => open(Fd { vm: *vm, kind: FdKind::Gmem }),
        }
    }

    /// Does a step; answers its effects.
    fn apply(&self, state: &mut State, (task, step): Move) -> Vec<Effect> {
        state.done[task][step] = true;
        let mut effects = Vec::new();
        let mut did = |what| effects.push(Effect { task, what });
        let other = |name: &str| self.scenario.task(name).expect("a checked scenario");
        match &self.scenario.tasks[task].steps[step] {
            Step::CreateVm { vm, fails } => {
                let mm = self.mm[task];
                state.vms[*vm] = VmState { made: true, gone: *fails, registered: !fails, slot: false, mm };
                if !fails {
                    self.set_open(state, task, Fd { vm: *vm, kind: FdKind::Vm }, true);
                    did(What::Count { counter: Counter::Vm(*vm), last: false });
                }
            }
            Step::CreateVcpu { vm, vcpu } => {
                self.set_open(state, task, Fd { vm: *vm, kind: FdKind::Vcpu(*vcpu) }, true);
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
            Step::CreateSlot { vm } => state.vms[*vm].slot = true,
            Step::DeleteSlot { vm } => state.vms[*vm].slot = false,
            Step::Munmap
            | Step::Reclaim(_)
            | Step::Age(_)
            | Step::Fault { .. }
            | Step::Touch { .. }
            | Step::LogDirty { .. }
            | Step::LogClean { .. }
            | Step::SetChunk { .. }
            | Step::VcpuInit { .. }
            | Step::ReadDump { .. }
            | Step::Punch { .. } => {}
        }
        effects
    }

    /// Whether the order of two steps does not matter in a state.
    fn independent(&self, state: &State, one: Move, two: Move) -> bool {
        let both = |first, second| {
            let mut state = state.clone();
            let of_first = self.apply(&mut state, first);
            let legal = self.is_legal(&state, second);
            legal.then(|| {
                let of_second = self.apply(&mut state, second);
                (state, of_first, of_second)
            })
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
            let of_files: Vec<_> = self.fds.iter().copied().filter(|fd| !matches!(fd.kind, FdKind::Run(_))).collect();
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
        let last = !held.into_iter().any(|place| state.sent[place] || state.open.iter().any(|open| open[place]));
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
    fn first(set: &Set) -> Self {
        let tasks = &set.scenario.tasks;
        let users = |owners: &[usize], task: usize| owners.iter().filter(|owner| **owner == task).count() as u32;
        let vm = |vm: usize| {
            let made = set.scenario.exists(vm);
            VmState { made, gone: false, registered: made, slot: made && set.scenario.set_up.slot, mm: 0 }
        };
        let mut state = Self {
            done: tasks.iter().map(|task| vec![false; task.steps.len()]).collect(),
            alive: vec![true; tasks.len()],
            mm_users: (0..tasks.len()).map(|task| users(&set.mm, task)).collect(),
            held: vec![Vec::new(); tasks.len()],
            files_users: (0..tasks.len()).map(|task| users(&set.files, task)).collect(),
            open: vec![vec![false; set.fds.len()]; tasks.len()],
            sent: vec![false; set.fds.len()],
            vms: std::array::from_fn(vm),
        };
        for (task, spec) in tasks.iter().enumerate() {
            spec.fds.iter().for_each(|fd| set.set_open(&mut state, task, *fd, true));
        }
        state
    }
}

/// The effects of an order, and what must have happened before each.
struct Happened<'a> {
    set: &'a Set,
    /// Effects with the places of their steps.
    effects: Vec<(usize, Effect)>,
    /// For each effect, whether each earlier one must come before it.
    before: Vec<Vec<bool>>,
}

impl<'a> Happened<'a> {
    fn of(set: &'a Set, taken: &[(Move, Vec<Effect>)]) -> Self {
        let at = |(place, (_, effects)): (usize, &(Move, Vec<Effect>))| {
            effects.iter().map(|effect| (place, *effect)).collect::<Vec<_>>()
        };
        let effects: Vec<_> = taken.iter().enumerate().flat_map(at).collect();
        let mut before: Vec<Vec<bool>> = Vec::new();
        for (now, (_, effect)) in effects.iter().enumerate() {
            let mut earlier = vec![false; now];
            for (then, (_, cause)) in effects[..now].iter().enumerate().rev() {
                if !earlier[then] && orders(*cause, *effect) {
                    earlier[then] = true;
                    (0..then).for_each(|first| earlier[first] |= before[then][first]);
                }
            }
            before.push(earlier);
        }
        Self { set, effects, before }
    }

    fn paths(&self) -> Vec<Path> {
        let all = || {
            self.effects.iter().enumerate().filter_map(|(at, (step, effect))| match effect.what {
                What::Path { vm, kind, flushes } => Some((at, *step, effect.task, vm, kind, flushes)),
                _ => None,
            })
        };
        let unordered = |one: usize, two: usize| !self.before[one.max(two)][one.min(two)];
        let path = |(at, step, task, vm, kind, flushes): (usize, usize, usize, usize, PathKind, bool)| Path {
            vm,
            kind,
            task: self.set.scenario.tasks[task].name.clone(),
            step,
            flushes,
            overlaps: all().any(|(other, _, _, of, ..)| of == vm && other != at && unordered(at, other)),
        };
        all().map(path).collect()
    }
}

/// Whether the first effect must come before the second.
fn orders(first: Effect, second: Effect) -> bool {
    let handed_over = match (first.what, second.what) {
        (What::Send(sent), What::Receive(received)) => sent == received,
        (What::Kill(victim), What::Killed(killed)) => victim == killed,
        (What::Count { counter, .. }, What::Count { counter: same, last: true }) => counter == same,
        _ => false,
    };
    first.task == second.task || handed_over
}
