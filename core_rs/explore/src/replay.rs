//! Replays a schedule, and says where it does not fit.

use runtime::scheduled::{Action, Execution, Outcome, Policy, Program, run};

use crate::causality::Causality;
use crate::checkers::{Checks, View};
use crate::error::Error;
use crate::finding::{Finding, Observed};
use crate::schedule::Schedule;
use crate::search::{Follow, Search};

/// An execution that was replayed.
#[derive(Debug)]
pub struct Replayed {
    /// What happened.
    pub execution: Execution,
    /// What is wrong in it.
    pub findings: Vec<Finding>,
}

impl Replayed {
    /// Whether the same is found: of the same kind, on the same object.
    pub fn shows(&self, finding: &Finding) -> bool {
        self.finding_like(finding).is_some()
    }

    /// The finding that is the same: of the same kind, on the same object.
    pub fn finding_like(&self, finding: &Finding) -> Option<&Finding> {
        self.findings.iter().find(|found| found.kind == finding.kind && found.object == finding.object)
    }
}

/// Executes a program by a schedule; after the schedule's end, each thread goes on as long as it can.
pub fn replay(program: &dyn Program, schedule: &Schedule, checks: &Checks) -> Result<Replayed, Error> {
    let name = program.name();
    if name != schedule.program {
        return Err(Error::OtherProgram { named: schedule.program.clone(), given: name });
    }
    let mut follow = Follow::new(schedule.threads.clone());
    let (execution, observed) = execute(program, &mut follow, usize::MAX, checks);
    if let Some((action, able)) = follow.misfit() {
        let thread = schedule.threads[*action];
        let at = |thread: &usize| {
            let pending = execution.pending.iter().find(|action| action.thread == *thread);
            format!("thread {thread} (at {})", pending.map_or("its end", |action| action.site.name()))
        };
        let able: Vec<_> = able.iter().map(at).collect();
        let able =
            if able.is_empty() { String::from("nobody") } else { format!("only {}", able.join(" or ")) };
        return Err(Error::DoesNotFit {
            program: name,
            action: *action,
            thread,
            able: format!("{able} could go on"),
        });
    }
    let threads: Vec<_> = execution.actions.iter().map(|action| action.thread).collect();
    let told = |observed: Observed| {
        let threads = threads[..threads.len().min(observed.at.saturating_add(1))].to_vec();
        observed.told(&execution, Schedule { program: name.clone(), threads }, 1)
    };
    let mut findings: Vec<_> = observed.into_iter().map(told).collect();
    findings.sort_by_key(|finding| !finding.kind.is_harm());
    Ok(Replayed { execution, findings })
}

/// One execution by a search, and what is wrong in it.
pub(crate) fn execute(
    program: &dyn Program,
    search: &mut dyn Search,
    most: usize,
    checks: &Checks,
) -> (Execution, Vec<Observed>) {
    search.begin();
    let instance = program.start();
    let execution = run(instance.threads, &mut Within { search, most });
    let violations = if execution.outcome == Outcome::Finished { (instance.end)() } else { Vec::new() };
    search.end(&execution, &mut Causality::default());
    let mut observed = Vec::new();
    for mut checker in checks.make(program) {
        checker.check(&View { program, execution: &execution, violations: &violations }, &mut observed);
    }
    (execution, observed)
}

struct Within<'a> {
    search: &'a mut dyn Search,
    most: usize,
}

impl Policy for Within<'_> {
    fn choose(&mut self, enabled: &[Action], taken: &[Action]) -> Option<usize> {
        if taken.len() >= self.most { None } else { self.search.choose(enabled, taken) }
    }
}
