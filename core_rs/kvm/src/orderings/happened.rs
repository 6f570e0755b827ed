//! What must have happened before what in an order, and so which paths may overlap.

use super::state::{Effect, Set, What};
use super::{Path, PathKind, Taken};

/// The paths that tear a VM down.
pub(super) fn paths(set: &Set, taken: &[Taken]) -> Vec<Path> {
    Happened::of(taken).paths(set)
}

/// Steps that must be kept apart so that the order is this one, as far as that lets overlap what may.
pub(super) fn apart(taken: &[Taken], paths: &[Path]) -> Vec<(usize, usize)> {
    let task = |step: usize| taken[step].0.0;
    let matter = |one: usize, two: usize| {
        taken[one].1.iter().any(|first| taken[two].1.iter().any(|second| depend(*first, *second)))
    };
    let on_paths = || paths.iter().filter(|path| path.overlaps);
    let overlapping: Vec<_> = on_paths()
        .flat_map(|one| on_paths().map(move |two| (one, two)))
        .filter(|(one, two)| one.vm == two.vm && one.step < two.step)
        .map(|(one, two)| (one.step, two.step))
        .collect();
    let mut apart = Vec::new();
    let mut before: Vec<Vec<bool>> = Vec::new();
    for now in 0..taken.len() {
        let mut earlier = vec![false; now];
        for then in (0..now).rev() {
            let own = task(then) == task(now);
            // A step is waited for as a whole, though less would do: `exit` leaves the address space before the files.
            let keeps_overlap = overlapping.iter().all(|(one, two)| {
                let after_one = *one == then || (*one < then && before[then][*one]);
                let before_two = *two == now || (*two > now && task(*two) == task(now));
                !(after_one && before_two)
            });
            if !earlier[then] && (own || (matter(then, now) && keeps_overlap)) {
                earlier[then] = true;
                (0..then).for_each(|first| earlier[first] |= before[then][first]);
                if !own {
                    apart.push((then, now));
                }
            }
        }
        before.push(earlier);
    }
    apart
}

/// The effects of an order, and what must have happened before each.
struct Happened {
    /// Effects with the places of their steps.
    effects: Vec<(usize, Effect)>,
    /// For each effect, whether each earlier one must come before it.
    before: Vec<Vec<bool>>,
}

impl Happened {
    fn of(taken: &[Taken]) -> Self {
        let at = |(place, (_, effects)): (usize, &Taken)| {
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
        Self { effects, before }
    }

    fn paths(&self, set: &Set) -> Vec<Path> {
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
            task: set.scenario.tasks[task].name.clone(),
            step,
            flushes,
            overlaps: all().any(|(other, _, _, of, ..)| of == vm && other != at && unordered(at, other)),
        };
        all().map(path).collect()
    }
}

/// Whether the order of two effects matters to anybody.
fn depend(first: Effect, second: Effect) -> bool {
    let on_one_thing = match (first.what, second.what) {
        (What::Count { counter, .. }, What::Count { counter: same, .. }) => counter == same,
        (What::Path { vm, .. }, What::Path { vm: same, .. }) | (What::Slot(vm), What::Slot(same)) => {
            vm == same
        }
        _ => false,
    };
    on_one_thing || orders(first, second)
}

/// Whether the first effect must come before the second.
fn orders(first: Effect, second: Effect) -> bool {
    let handed_over = match (first.what, second.what) {
        (What::Send(sent), What::Receive(received)) => sent == received,
        (What::Kill(victim), What::Killed(killed)) => victim == killed,
        (What::Tell(told), What::Await(awaited)) => told == awaited,
        (What::Count { counter, .. }, What::Count { counter: same, last: true }) => counter == same,
        _ => false,
    };
    first.task == second.task || handed_over
}
