//! Source-DPOR with sleep sets, the default.
//!
//! P. Abdulla, S. Aronis, B. Jonsson, K. Sagonas: *Optimal Dynamic Partial Order Reduction* (POPL 2014),
//! algorithm 1, as a stateless search: an execution is repeated from its start, and the stack holds the
//! current path only. Guarantee: without a bound on preemptions, an execution of every equivalence class is
//! seen, and no class twice; what is cut short as redundant is equivalent to something seen.
//!
//! Deviations from the paper, all of them where actions wait, which it leaves out:
//! - Two actions on one lock race when both take it, also when another hold lies between: of an action that
//!   waits, each event on its object since its thread's last action is looked at, not only the last. Pairs that
//!   can never be possible at one moment, such as an unlock and the lock that waits for it, do not race.
//! - An action that cannot be taken at the end of an execution is looked at as if it had been taken there.
//! - Awaiting a change races with a write only where the word held something else before.
//! - A write lock that would have to wait for other readers if it came before some reader has no initials:
//!   then every enabled thread is tried.
//! - Initials that sleep count as tried, as in the same paper's optimal algorithm.
//!
//! Under a bound on preemptions, sleep sets would hide executions within the bound: reaching such a bound makes
//! the search one that does not [prove](Search::proves). So does a panic, which ends its execution early.

use runtime::scheduled::{Action, Effect, Execution, Kind, Outcome, dependent};

use super::{Search, bit, index_of, mask, prefer_last};
use crate::causality::{Causality, Race, waits};

/// Source-DPOR with sleep sets.
#[derive(Debug, Default)]
pub struct Dpor {
    /// The states along the current path; those beyond `len` are kept for their memory.
    path: Vec<Node>,
    len: usize,
    /// How many actions the execution has in common with the one before.
    kept: usize,
    begun: bool,
    preemptions: Option<usize>,
    /// The first choices, which are others' to vary.
    prefix: Vec<usize>,
    /// Where the prefix asks for a thread that cannot go on, and for which.
    misfit: Option<(usize, usize)>,
    cut: bool,
    races: Vec<Race>,
    /// For tests that look whether others notice: every n-th addition to a backtrack set is dropped.
    drops: Option<u64>,
    added: u64,
}

/// A state on the path.
#[derive(Debug, Default)]
struct Node {
    /// The threads that could go on.
    enabled: u64,
    /// Those to be tried, and tried.
    backtrack: u64,
    /// The one on the path.
    chosen: usize,
    /// Preemptions up to here.
    preemptions: usize,
    /// The thread that went before.
    before: Option<usize>,
    /// Whose next actions need not be tried: all that follows them has been seen.
    sleep: Vec<Action>,
    sleeping: u64,
    /// The action that leads to the next state of the path.
    action: Option<Action>,
}

impl Node {
    /// Whether to let this thread go on takes the processor from another.
    fn preempts(&self, thread: usize) -> bool {
        self.before.is_some_and(|before| before != thread && self.enabled & bit(before) != 0)
    }

    /// Those of `threads` that the bound on preemptions allows.
    fn within(&self, threads: u64, bound: Option<usize>) -> u64 {
        match (self.before, bound) {
            (Some(before), Some(bound)) if self.preemptions >= bound && self.enabled & bit(before) != 0 => {
                threads & bit(before)
            }
            _ => threads,
        }
    }
}

impl Dpor {
    /// A search of all executions.
    pub fn new() -> Self {
        Self::default()
    }

    /// A search of executions that stay within so many preemptions; no proof where that cuts anything.
    pub fn bounded(preemptions: Option<usize>) -> Self {
        Self { preemptions, ..Self::default() }
    }

    /// A search of the executions that begin with these threads' actions, in which [`subtrees`](super::subtrees)
    /// found them to begin: all of them together are all executions.
    pub fn within(prefix: Vec<usize>, preemptions: Option<usize>) -> Self {
        Self { preemptions, prefix, ..Self::default() }
    }

    /// A search with a defect: every `n`-th thread that should be tried somewhere is not. For those who test
    /// their tests.
    #[doc(hidden)]
    pub fn defective(n: u64) -> Self {
        Self { drops: Some(n), ..Self::default() }
    }

    /// A new state at the end of the path.
    fn extend(&mut self, enabled: &[Action], taken: &[Action]) -> Option<usize> {
        if self.path.len() == self.len {
            self.path.push(Node::default());
        }
        let (known, new) = self.path.split_at_mut(self.len);
        let node = &mut new[0];
        node.enabled = mask(enabled);
        node.sleep.clear();
        node.sleeping = 0;
        node.before = taken.last().map(|last| last.thread);
        node.preemptions = 0;
        if let (Some(parent), Some(last)) = (known.last(), taken.last()) {
            node.sleep.extend(
                parent
                    .sleep
                    .iter()
                    .filter(|sleeper| sleeper.thread != last.thread && !dependent(sleeper, last)),
            );
            node.sleeping = mask(&node.sleep);
            node.preemptions = parent.preemptions + usize::from(parent.preempts(last.thread));
        }
        if let Some(next) = self.prefix.get(self.len) {
            return self.follow(*next, enabled);
        }
        let awake = node.enabled & !node.sleeping;
        let allowed = node.within(awake, self.preemptions);
        if allowed != awake {
            self.cut = true;
        }
        node.chosen = prefer_last(allowed, taken)?;
        node.backtrack = bit(node.chosen);
        self.len += 1;
        index_of(enabled, node.chosen)
    }

    /// A state on the prefix: every thread is tried from it, by somebody; here the one that is asked for, and those
    /// before it sleep.
    fn follow(&mut self, next: usize, enabled: &[Action]) -> Option<usize> {
        let node = &mut self.path[self.len];
        let others =
            enabled.iter().filter(|action| action.thread < next && node.sleeping & bit(action.thread) == 0);
        node.sleep.extend(others);
        node.sleeping = mask(&node.sleep);
        node.chosen = next;
        node.backtrack = bit(next);
        // With nothing enabled, nothing is added where a race is found.
        node.enabled = 0;
        let index = index_of(enabled, next);
        if index.is_none() {
            self.misfit = Some((self.len, next));
        }
        let index = index.filter(|_| node.sleeping & bit(next) == 0);
        self.len += usize::from(index.is_some());
        index
    }

    /// Sees to it that the second event of a race is tried before the first.
    fn reverse(&mut self, race: Race, actions: &[Action], second: &Action, causality: &Causality) {
        // Where the path ends because all sleeps, the last event has no state of its own yet.
        let Some(node) = self.path[..self.len].get(race.first) else { return };
        let tried = node.backtrack | node.sleeping;
        if node.enabled & !tried == 0 {
            return;
        }
        let add = match possible_before(race, actions, second, causality) {
            Before::Never => return,
            Before::Perhaps => node.enabled & !tried,
            Before::Yes => {
                let initials = initials(race, actions, second, causality);
                if initials & tried != 0 {
                    return;
                }
                match initials & node.enabled {
                    0 => node.enabled & !tried,
                    able if able & bit(second.thread) != 0 => bit(second.thread),
                    able => able & able.wrapping_neg(),
                }
            }
        };
        self.added += 1;
        if self.drops.is_none_or(|n| !self.added.is_multiple_of(n)) {
            self.path[race.first].backtrack |= add;
        }
    }
}

impl Search for Dpor {
    fn name(&self) -> &'static str {
        "dpor"
    }

    fn begin(&mut self) -> Option<usize> {
        if !self.begun {
            self.begun = true;
            return Some(0);
        }
        while let Some(last) = self.len.checked_sub(1) {
            let node = &mut self.path[last];
            if let Some(action) = node.action.take() {
                node.sleeping |= bit(action.thread);
                node.sleep.push(action);
            }
            let open = node.backtrack & !node.sleeping;
            let allowed = node.within(open, self.preemptions);
            self.cut |= allowed != open;
            if allowed != 0 {
                node.chosen = allowed.trailing_zeros() as usize;
                self.kept = last;
                return Some(last);
            }
            self.len = last;
        }
        None
    }

    fn choose(&mut self, enabled: &[Action], taken: &[Action]) -> Option<usize> {
        if taken.len() < self.len {
            return index_of(enabled, self.path[taken.len()].chosen);
        }
        self.extend(enabled, taken)
    }

    fn end(&mut self, execution: &Execution, causality: &mut Causality) {
        let mut races = std::mem::take(&mut self.races);
        causality.take_races(&mut races);
        for race in races.drain(..) {
            self.reverse(race, &execution.actions, &execution.actions[race.second], causality);
        }
        // Who waits at the end, or was stopped by another's panic, would have gone first elsewhere.
        let all = matches!(execution.outcome, Outcome::Panicked { .. });
        // What others would have done after a panic is not seen.
        self.cut |= all;
        for action in execution.pending.iter().filter(|action| all || waits(action.kind)) {
            causality.push(&execution.actions, action);
            causality.take_races(&mut races);
            for race in races.drain(..) {
                self.reverse(race, &execution.actions, action, causality);
            }
            causality.truncate(execution.actions.len());
        }
        self.races = races;
        for at in self.kept..self.len.min(execution.actions.len()) {
            self.path[at].action = Some(execution.actions[at]);
        }
    }

    fn ordered(&self) -> bool {
        true
    }

    fn proves(&self) -> bool {
        !self.cut
    }

    fn misfit(&self) -> Option<(usize, usize)> {
        self.misfit
    }

    fn frontier(&self) -> usize {
        self.path[..self.len].iter().map(|node| (node.backtrack & !node.sleeping).count_ones() as usize).sum()
    }
}

/// Whether the second of two racing events can be taken where the first was, once those events that do not
/// depend on the first are over.
enum Before {
    Yes,
    Never,
    Perhaps,
}

fn possible_before(race: Race, actions: &[Action], second: &Action, causality: &Causality) -> Before {
    let first = &actions[race.first];
    match (second.kind, second.effect, first.kind, first.effect) {
        (Kind::AwaitChange, Effect::Seen(seen), _, Effect::Wrote { before, .. }) if before == seen => {
            Before::Never
        }
        (Kind::Write, _, Kind::Read, _) => {
            let others = readers(race, actions, second, causality);
            if others == 0 { Before::Yes } else { Before::Perhaps }
        }
        _ => Before::Yes,
    }
}

/// Holds for read of the lock of `second` that are left when the first event of a race and all that depends on
/// it is left out.
fn readers(race: Race, actions: &[Action], second: &Action, causality: &Causality) -> i64 {
    let stays = |at: usize| at < race.first || !causality.before(race.first, at);
    let on_lock = |at: &usize| actions[*at].target == second.target && stays(*at);
    let holds = (0..race.second).filter(on_lock).map(|at| match actions[at].kind {
        Kind::Read => 1,
        Kind::ReadUnlock => -1,
        _ => 0,
    });
    holds.sum()
}

/// The threads that can begin what leads to the second event of a race without the first: those whose first
/// event after it, of what does not depend on it and the second itself, depends on no other thread's.
fn initials(race: Race, actions: &[Action], second: &Action, causality: &Causality) -> u64 {
    let mut begun = [0_u32; u64::BITS as usize];
    let mut seen = 0_u64;
    let mut initials = 0_u64;
    let between = actions[race.first + 1..race.second].iter().enumerate();
    let independent = between
        .map(|(after, action)| (race.first + 1 + after, action.thread))
        .filter(|(at, _)| !causality.before(race.first, *at));
    for (at, thread) in independent.chain([(race.second, second.thread)]) {
        if seen & bit(thread) != 0 {
            continue;
        }
        let clock = causality.clock(at);
        let depends = (0..clock.len()).any(|other| seen & bit(other) != 0 && clock[other] >= begun[other]);
        if !depends {
            initials |= bit(thread);
        }
        seen |= bit(thread);
        begun[thread] = causality.number(at);
    }
    initials
}
