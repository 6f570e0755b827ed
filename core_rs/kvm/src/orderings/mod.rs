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

mod happened;
mod state;

use std::fmt;

use crate::error::Error;
use crate::scenario::{Scenario, Task};
use crate::step::Step;

use happened::{apart, paths};
use state::{Effect, Set, State};

/// One legal order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ordering {
    /// Task and step, in their order.
    pub steps: Vec<(String, Step)>,
    /// The paths that tear a VM down, in their order.
    pub paths: Vec<Path>,
    /// Steps, by their places, of which the second must not begin before the first is over: they matter to each
    /// other, belong to different tasks, and waiting keeps no two paths apart that may overlap.
    pub apart: Vec<(usize, usize)>,
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

    /// How often flush runs for a VM at most, when steps overlap as they may.
    pub fn flushes_at_most(&self, vm: usize) -> usize {
        let may = |path: &&Path| path.vm == vm && (path.flushes || path.overlaps);
        self.paths.iter().filter(may).count()
    }

    /// Whether two flushes of a VM may overlap.
    pub fn may_overlap(&self, vm: usize) -> bool {
        self.paths.iter().any(|path| path.vm == vm && path.overlaps)
    }

    /// The tasks with their steps in this order, over the set-up of `of`: what must not overlap is kept apart by
    /// telling and awaiting, what may overlap may do so in every way.
    pub fn scenario(&self, of: &Scenario) -> Result<Scenario, Error> {
        let next = of.steps().filter_map(|step| match step {
            Step::Tell(number) | Step::Await(number) => Some(*number + 1),
            _ => None,
        });
        let first = next.max().unwrap_or(0);
        let steps = |task: &Task| {
            let mut steps = Vec::new();
            for (place, (_, step)) in
                self.steps.iter().enumerate().filter(|(_, (name, _))| *name == task.name)
            {
                let apart = || self.apart.iter().zip(first..);
                steps.extend(apart().filter(|((_, then), _)| *then == place).map(|(_, n)| Step::Await(n)));
                steps.push(step.clone());
                steps.extend(apart().filter(|((before, _), _)| *before == place).map(|(_, n)| Step::Tell(n)));
            }
            steps
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
    taken: Option<Taken>,
}

/// A step of a task, by their places.
type Move = (usize, usize);

/// A step that was done, and its effects.
type Taken = (Move, Vec<Effect>);

impl Iterator for Orderings {
    type Item = Ordering;

    fn next(&mut self) -> Option<Ordering> {
        while let Some(frame) = self.stack.last_mut() {
            if frame.candidates.is_empty() && frame.tried == 0 {
                frame.tried = 1;
                if frame.state.is_complete() {
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
            let asleep =
                frame.sleep.iter().copied().filter(|other| self.set.independent(&frame.state, next, *other));
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
        let paths = paths(&self.set, &taken);
        Ordering { apart: apart(&taken, &paths), steps, paths }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::{Move, Set, State, orderings};
    use crate::scenario::Scenario;

    /// Every legal order, without reduction.
    fn every(set: &Set, state: &State, order: &mut Vec<Move>, found: &mut Vec<Vec<Move>>) {
        let legal = set.legal(state);
        if legal.is_empty() && state.is_complete() {
            found.push(order.clone());
        }
        for next in legal {
            let mut after = state.clone();
            set.apply(&mut after, next);
            order.push(next);
            every(set, &after, order, found);
            order.pop();
        }
    }

    /// Classes of orders that swapping independent neighbours leads between.
    fn classes(of: &Scenario) -> (usize, usize) {
        let set = Set::new(of);
        let mut found = Vec::new();
        every(&set, &State::first(&set), &mut Vec::new(), &mut found);
        let place: BTreeMap<_, _> = found.iter().cloned().zip(0..).collect();
        let mut class: Vec<usize> = (0..found.len()).collect();
        let root = |class: &[usize], mut at: usize| {
            while class[at] != at {
                at = class[at];
            }
            at
        };
        for (at, order) in found.iter().enumerate() {
            let mut state = State::first(&set);
            for step in 0..order.len() - 1 {
                if set.independent(&state, order[step], order[step + 1]) {
                    let mut swapped = order.clone();
                    swapped.swap(step, step + 1);
                    let (one, two) = (root(&class, at), root(&class, place[&swapped]));
                    class[one] = two;
                }
                set.apply(&mut state, order[step]);
            }
        }
        (found.len(), (0..found.len()).filter(|at| class[*at] == *at).count())
    }

    #[test]
    fn one_order_of_each_class_is_found() {
        for text in [
            "task T1 fds=vm: close vm, exit; task T2 fds=vm: close vm",
            "task T1: create_vm, create_vcpu 0, create_slot, close vcpu0, close vm, exit",
            "task T1: create_vm, send vm, close vm, exit; task T2: receive vm, close vm, exit",
            "task T1 fds=vm,vcpu0: close vm, close vcpu0, exit; task T2 fds=vm,vcpu0: close vm, close vcpu0, exit",
            "task T1 fds=vm,vcpu0: close vm, delete_slot, exit; task K: kill T1; task R: get_mm T1, put_mm T1",
            "task T1 fds=vm: close vm, 2:create_vm, close 2:vm; task T2 mm=T1 fds=vm: close vm, exit",
            "task T1 fds=vm,run0: close run0, close vm; task T2 mm=T1 files=T1: delete_slot, exit",
        ] {
            let scenario: Scenario = text.parse().unwrap();
            let (orders, classes) = classes(&scenario);
            assert_eq!(orderings(&scenario).count(), classes, "of {orders} orders: {text}");
        }
    }
}
