//! A shorter schedule that shows the same: fewest switches between threads first, then fewest actions.
//!
//! Guarantee: the answer shows a finding of the same kind on the same object, and has no more switches, and as
//! many no more actions, than what was given. Within the budget it is the least: all executions with fewer
//! switches were tried. Runs of one thread are first moved together, which finds a good bound quickly.

use std::sync::atomic::{AtomicBool, Ordering};

use runtime::scheduled::{Action, Execution, Program};

use crate::causality::Causality;
use crate::checkers::Checks;
use crate::error::Error;
use crate::finding::Finding;
use crate::replay::execute;
use crate::schedule::Schedule;
use crate::search::{Dfs, Limit, Search, index_of, mask, prefer_last};

/// Looks for a shorter schedule for a finding, for so many executions at most.
pub fn minimise(
    program: &dyn Program,
    finding: &Finding,
    checks: &Checks,
    budget: u64,
    stop: &AtomicBool,
) -> Result<Finding, Error> {
    Ok(minimise_and_tell(program, finding, checks, budget, stop, &mut |_| ()))
}

/// [`minimise`], and tells after each execution how many actions it had.
pub(crate) fn minimise_and_tell(
    program: &dyn Program,
    finding: &Finding,
    checks: &Checks,
    budget: u64,
    stop: &AtomicBool,
    tick: &mut dyn FnMut(usize),
) -> Finding {
    let mut best = Best { program, checks, finding: finding.clone(), left: budget, stop, tick };
    best.try_plan(&runs(&finding.schedule.threads));
    while best.move_runs_together() {}
    best.exhaust();
    best.finding
}

/// The best so far.
struct Best<'a> {
    program: &'a dyn Program,
    checks: &'a Checks,
    finding: Finding,
    left: u64,
    stop: &'a AtomicBool,
    tick: &'a mut dyn FnMut(usize),
}

/// A thread, and how many actions it takes at a time.
type Run = (usize, usize);

impl Best<'_> {
    fn cost(&self) -> (usize, usize) {
        cost(&self.finding.schedule)
    }

    /// Tries to join two runs of a thread, by moving either to the other; answers whether something got better.
    fn move_runs_together(&mut self) -> bool {
        let plan = runs(&self.finding.schedule.threads);
        for first in 0..plan.len() {
            let same = |second: &usize| plan[*second].0 == plan[first].0;
            let Some(second) = (first + 1..plan.len()).find(same) else { continue };
            let mut forward = plan.clone();
            forward[first].1 += forward.remove(second).1;
            let mut backward = plan.clone();
            backward[second].1 += plan[first].1;
            backward.remove(first);
            if self.try_plan(&forward) || self.try_plan(&backward) {
                return true;
            }
        }
        (0..plan.len()).any(|run| {
            let mut without = plan.clone();
            without.remove(run);
            self.try_plan(&without)
        })
    }

    fn try_plan(&mut self, plan: &[Run]) -> bool {
        self.try_search(&mut Plan { runs: plan.to_vec(), begun: None }, usize::MAX)
    }

    /// Tries all executions with fewer switches than the best.
    fn exhaust(&mut self) {
        for switches in 0..self.cost().0 {
            let mut search = Dfs::new(Limit::Switches(switches));
            let mut better = false;
            while self.left > 0 {
                // What is longer than the best with as many switches is no better.
                let most = if better { self.cost().1 } else { usize::MAX };
                let Some(found) = self.try_next(&mut search, most) else { break };
                better |= found;
            }
            if better || self.left == 0 {
                return;
            }
        }
    }

    /// Tries another execution of a search, if it has one.
    fn try_next(&mut self, search: &mut dyn Search, most: usize) -> Option<bool> {
        struct Begun<'a>(&'a mut dyn Search);
        impl Search for Begun<'_> {
            fn name(&self) -> &'static str {
                self.0.name()
            }
            fn begin(&mut self) -> Option<usize> {
                Some(0)
            }
            fn choose(&mut self, enabled: &[Action], taken: &[Action]) -> Option<usize> {
                self.0.choose(enabled, taken)
            }
            fn end(&mut self, execution: &Execution, causality: &mut Causality) {
                self.0.end(execution, causality);
            }
        }
        search.begin()?;
        Some(self.try_search(&mut Begun(search), most))
    }

    /// Tries one execution; answers whether it is better.
    fn try_search(&mut self, search: &mut dyn Search, most: usize) -> bool {
        if self.left == 0 || self.stop.load(Ordering::Relaxed) {
            self.left = 0;
            return false;
        }
        self.left -= 1;
        let (execution, observed) = execute(self.program, search, most, self.checks);
        (self.tick)(execution.actions.len());
        let (kind, object) = (self.finding.kind, &self.finding.object);
        let Some(same) = observed.into_iter().find(|seen| seen.kind == kind && seen.object == *object) else {
            return false;
        };
        let threads = execution.actions.iter().map(|action| action.thread);
        let threads: Vec<_> = threads.take(same.at.saturating_add(1)).collect();
        let schedule = Schedule { program: self.finding.schedule.program.clone(), threads };
        let better = cost(&schedule) < self.cost();
        if better {
            let Finding { first_execution, executions, .. } = self.finding;
            self.finding = Finding { executions, ..same.told(&execution, schedule, first_execution) };
        }
        better
    }
}

fn cost(schedule: &Schedule) -> (usize, usize) {
    (schedule.switches(), schedule.threads.len())
}

fn runs(threads: &[usize]) -> Vec<Run> {
    threads.chunk_by(|a, b| a == b).map(|run| (run[0], run.len())).collect()
}

/// Follows runs as far as they can be: a thread that cannot go on loses the rest of its run.
struct Plan {
    runs: Vec<Run>,
    /// The run that is being followed, and how much of it is left.
    begun: Option<(usize, usize)>,
}

impl Search for Plan {
    fn name(&self) -> &'static str {
        "plan"
    }

    fn begin(&mut self) -> Option<usize> {
        self.begun = self.runs.first().map(|run| (0, run.1));
        Some(0)
    }

    fn choose(&mut self, enabled: &[Action], taken: &[Action]) -> Option<usize> {
        while let Some((run, left)) = self.begun {
            if let (Some(index), true) = (index_of(enabled, self.runs[run].0), left > 0) {
                self.begun = Some((run, left - 1));
                return Some(index);
            }
            self.begun = self.runs.get(run + 1).map(|next| (run + 1, next.1));
        }
        prefer_last(mask(enabled), taken).and_then(|thread| index_of(enabled, thread))
    }

    fn end(&mut self, _execution: &Execution, _causality: &mut Causality) {}
}
