//! Executes a program again and again, and says what that says.
//!
//! Guarantee: memory is flat in the number of executions, but for the findings, which are kept once each. The
//! flag to stop is looked at before each execution, those that make a schedule shorter included. Checkers do not look at executions that a search gave up as
//! redundant: they look at the equivalent ones.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use runtime::scheduled::{Action, Execution, Outcome, Policy, Program, Violation, run_again};

use crate::MAX_THREADS;
use crate::causality::Causality;
use crate::checkers::{Checker, View};
use crate::error::Error;
use crate::finding::{Finding, Kind, Mark, Observed, Seen, Sink};
use crate::minimise::minimise_and_tell;
use crate::schedule::Schedule;
use crate::search::Search;
use crate::settings::Settings;
use crate::verdict::{Answer, Counts, Exhausted, Scope, Verdict};

/// How far an exploration has come.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Progress {
    /// What was seen so far.
    pub counts: Counts,
    /// Choices that are still open, as far as known.
    pub frontier: usize,
    /// Kinds of findings so far.
    pub findings: usize,
}

/// Explores a program as the settings say.
///
/// `stop` ends the exploration before the next execution. `progress` is called about twenty times a second.
pub fn explore(
    program: &dyn Program,
    settings: &Settings,
    stop: &AtomicBool,
    progress: &mut dyn FnMut(&Progress),
) -> Result<Verdict, Error> {
    let mut search = settings.search();
    explore_by(program, search.as_mut(), settings, stop, progress)
}

/// [`explore`] by a search of one's own.
pub fn explore_by(
    program: &dyn Program,
    search: &mut dyn Search,
    settings: &Settings,
    stop: &AtomicBool,
    progress: &mut dyn FnMut(&Progress),
) -> Result<Verdict, Error> {
    let mut explorer = Explorer::new(program, settings);
    let ended = explorer.explore(search, stop, progress)?;
    let mut verdict = explorer.verdict(search, ended);
    if settings.minimise > 0
        && let Some(bug) = verdict.findings.first_mut().filter(|finding| finding.kind.is_harm())
    {
        let Counts { elapsed, .. } = verdict.counts;
        let mut counts = verdict.counts;
        let (mut pace, began) = (Pace::from(elapsed), Instant::now());
        let mut tick = |actions: usize| {
            if pace.took(actions as u64) {
                counts.elapsed = elapsed + began.elapsed();
                if pace.is_time_to_report(counts.elapsed) {
                    progress(&Progress { counts, frontier: search.frontier(), findings: 1 });
                }
            }
        };
        *bug = minimise_and_tell(program, bug, &settings.checks, settings.minimise, stop, &mut tick);
    }
    Ok(verdict)
}

/// What ended the search.
enum Ended {
    /// There is no other execution.
    Complete,
    /// Harm was found, and that was enough.
    Found,
    Budget(Exhausted),
}

struct Explorer<'a> {
    program: &'a dyn Program,
    settings: &'a Settings,
    name: String,
    threads: Vec<String>,
    checkers: Vec<Box<dyn Checker>>,
    execution: Execution,
    causality: Causality,
    counts: Counts,
    findings: Vec<Finding>,
    seen: Log,
    first_kinds: Vec<Kind>,
    started: Instant,
}

/// When to read the clock, and when to report.
struct Pace {
    actions: u64,
    report_at: Duration,
}

impl Pace {
    /// How often, in actions, the clock is read: every few executions.
    const CLOCK: u64 = 4096;
    const BETWEEN_REPORTS: Duration = Duration::from_millis(50);

    fn from(elapsed: Duration) -> Self {
        Self { actions: Self::CLOCK, report_at: elapsed + Self::BETWEEN_REPORTS }
    }

    /// Takes note of actions that were taken; answers whether the clock is to be read.
    fn took(&mut self, actions: u64) -> bool {
        self.actions += actions + 1; // an execution may be of no action
        let is_time = self.actions > Self::CLOCK;
        if is_time {
            self.actions = 0;
        }
        is_time
    }

    fn is_time_to_report(&mut self, elapsed: Duration) -> bool {
        let is_time = elapsed >= self.report_at;
        if is_time {
            self.report_at = elapsed + Self::BETWEEN_REPORTS;
        }
        is_time
    }
}

impl<'a> Explorer<'a> {
    fn new(program: &'a dyn Program, settings: &'a Settings) -> Self {
        Self {
            program,
            settings,
            name: program.name(),
            threads: Vec::new(),
            checkers: settings.checks.make(program),
            execution: Execution::default(),
            causality: Causality::default(),
            counts: Counts::default(),
            findings: Vec::new(),
            seen: Log::default(),
            first_kinds: Vec::new(),
            started: Instant::now(),
        }
    }

    fn explore(
        &mut self,
        search: &mut dyn Search,
        stop: &AtomicBool,
        progress: &mut dyn FnMut(&Progress),
    ) -> Result<Ended, Error> {
        let bounds = &self.settings.bounds;
        let (mut pace, mut before) = (Pace::from(Duration::ZERO), 0);
        loop {
            if stop.load(Ordering::Relaxed) {
                return Ok(Ended::Budget(Exhausted::Stopped));
            }
            let actions = self.counts.actions - std::mem::replace(&mut before, self.counts.actions);
            if pace.took(actions) {
                self.counts.elapsed = self.started.elapsed();
                if bounds.time.is_some_and(|time| self.counts.elapsed >= time) {
                    return Ok(Ended::Budget(Exhausted::Time));
                }
                if pace.is_time_to_report(self.counts.elapsed) {
                    let Self { counts, ref findings, .. } = *self;
                    progress(&Progress { counts, frontier: search.frontier(), findings: findings.len() });
                }
            }
            if bounds.executions.is_some_and(|most| self.counts.executions >= most) {
                return Ok(Ended::Budget(Exhausted::Executions));
            }
            if !self.execute(search)? {
                return Ok(Ended::Complete);
            }
            if self.settings.stop_at_first && self.findings.iter().any(|finding| finding.kind.is_harm()) {
                return Ok(Ended::Found);
            }
        }
    }

    /// One execution, if the search has another.
    fn execute(&mut self, search: &mut dyn Search) -> Result<bool, Error> {
        let Some(shared) = search.begin() else { return Ok(false) };
        let instance = self.program.start();
        let threads = instance.threads.len();
        if threads >= MAX_THREADS {
            return Err(Error::TooManyThreads { program: self.name.clone(), threads });
        }
        let mut steps = Steps { search, most: self.settings.bounds.actions, cut: false };
        run_again(instance.threads, &mut steps, &mut self.execution, shared);
        let cut = steps.cut;
        let execution = &self.execution;
        let abandoned = execution.outcome == Outcome::Abandoned;
        if abandoned && execution.actions.len() < shared {
            let thread = execution.pending.first().map_or(0, |action| action.thread);
            return Err(Error::Diverged {
                program: self.name.clone(),
                action: execution.actions.len(),
                thread,
            });
        }
        let violations = if execution.outcome == Outcome::Finished { (instance.end)() } else { Vec::new() };
        let ordered = search.ordered();
        if ordered {
            self.order(shared, threads);
        }
        search.end(&self.execution, &mut self.causality);
        if let Some((action, thread)) = search.misfit() {
            let able = "it could not go on".to_owned();
            return Err(Error::DoesNotFit { program: self.name.clone(), action, thread, able });
        }
        self.count(abandoned, cut);
        if !abandoned || cut {
            self.look(&violations, ordered);
        }
        Ok(true)
    }

    /// Orders the actions of the execution, which begins like the one before.
    fn order(&mut self, shared: usize, threads: usize) {
        if self.causality.is_empty() {
            self.causality.reset(threads + 1); // one for RCU's work
        }
        self.causality.truncate(shared);
        self.causality.extend(&self.execution.actions);
    }

    fn count(&mut self, abandoned: bool, cut: bool) {
        let actions = self.execution.actions.len();
        self.counts.executions += 1;
        self.counts.actions += actions as u64;
        self.counts.longest = self.counts.longest.max(actions);
        *match (abandoned, cut) {
            (_, true) => &mut self.counts.cut,
            (true, false) => &mut self.counts.redundant,
            (false, false) => &mut self.counts.complete,
        } += 1;
        if self.threads.len() < self.execution.threads.len() {
            self.threads.clone_from(&self.execution.threads);
        }
    }

    fn look(&mut self, violations: &[Violation], ordered: bool) {
        self.seen.begin();
        let view = View { program: self.program, execution: &self.execution, violations };
        for checker in &mut self.checkers {
            checker.check(&view, &mut self.seen);
        }
        for (finding, again) in self.findings.iter_mut().zip(&mut self.seen.again) {
            finding.executions += u64::from(std::mem::take(again));
        }
        if !self.seen.harms.is_empty() {
            if !ordered {
                self.causality.reset(self.execution.threads.len().max(1));
                self.causality.extend(&self.execution.actions);
            }
            self.note_first_kinds();
        }
        for observed in self.seen.new.drain(..) {
            let threads = self.execution.actions.iter().map(|action| action.thread);
            let threads = threads.take(observed.at.saturating_add(1)).collect();
            let schedule = Schedule { program: self.name.clone(), threads };
            self.findings.push(observed.told(&self.execution, schedule, self.counts.executions));
        }
    }

    /// Of the harm in an execution, that which nothing else comes before in every equivalent one can come first.
    fn note_first_kinds(&mut self) {
        let harms = &self.seen.harms;
        for harm in harms.iter().filter(|harm| !self.first_kinds.contains(&harm.kind)) {
            let before =
                |a: &Harm, b: &Harm| comes_before(&self.causality, self.seen.after(a), self.seen.after(b));
            if !harms.iter().any(|other| before(other, harm) && !before(harm, other)) {
                self.first_kinds.push(harm.kind);
                return self.note_first_kinds();
            }
        }
    }

    fn verdict(mut self, search: &dyn Search, ended: Ended) -> Verdict {
        self.counts.elapsed = self.started.elapsed();
        self.findings.sort_by_key(|finding| !finding.kind.is_harm()); // stable: the first found first
        self.first_kinds.sort_unstable();
        let harm = self.findings.first().is_some_and(|finding| finding.kind.is_harm());
        let complete = matches!(ended, Ended::Complete) && search.proves() && self.counts.cut == 0;
        let answer = match ended {
            _ if harm => Answer::Bug,
            Ended::Budget(why) => Answer::Exhausted(why),
            _ if self.counts.cut > 0 => Answer::Exhausted(Exhausted::Actions { executions: self.counts.cut }),
            _ if !search.proves() => Answer::Exhausted(Exhausted::Preemptions),
            _ => Answer::Proved,
        };
        let exhausted = matches!(answer, Answer::Exhausted(_));
        let says = exhausted.then(|| search.says(self.counts.complete)).flatten();
        let scope = Scope {
            program: self.name,
            threads: self.threads,
            search: search.name(),
            within: self.settings.within.clone(),
            bounds: self.settings.bounds.clone(),
            checkers: self.settings.checks.checkers.clone(),
            memory: "sequential consistency",
        };
        let Self { findings, first_kinds, counts, .. } = self;
        Verdict { answer, findings, first_kinds, complete, says, counts, scope }
    }
}

/// What the checkers see in one execution, and what they have seen before.
#[derive(Default)]
struct Log {
    /// By fingerprint: the number of the finding.
    known: HashMap<u64, usize, BuildHasherDefault<Identity>>,
    /// By finding that was known before this execution: whether it was seen in this one.
    again: Vec<bool>,
    new: Vec<Observed>,
    harms: Vec<Harm>,
    marks: Vec<Mark>,
}

/// Fingerprints are hashes already.
#[derive(Default)]
struct Identity(u64);

impl Hasher for Identity {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, fingerprint: u64) {
        self.0 = fingerprint;
    }
}

/// Harm in an execution.
struct Harm {
    kind: Kind,
    at: usize,
    /// Its steps, in [`Log::marks`].
    steps: std::ops::Range<usize>,
}

impl Log {
    fn begin(&mut self) {
        self.again.resize(self.known.len(), false);
        self.harms.clear();
        self.marks.clear();
    }

    /// The actions that must all have been taken for harm to show.
    fn after(&self, harm: &Harm) -> (usize, &[Mark]) {
        (harm.at, &self.marks[harm.steps.clone()])
    }
}

impl Sink for Log {
    fn tell(&mut self, seen: Seen<'_>, what: &dyn Fn() -> String) {
        if seen.kind.is_harm() {
            let from = self.marks.len();
            if seen.kind == Kind::Deadlock {
                self.marks.extend(seen.steps); // a cycle needs the last action of each of its threads
            }
            self.harms.push(Harm { kind: seen.kind, at: seen.at, steps: from..self.marks.len() });
        }
        let next = self.known.len();
        match self.known.entry(seen.fingerprint()) {
            Entry::Occupied(known) => {
                if let Some(again) = self.again.get_mut(*known.get()) {
                    *again = true;
                }
            }
            Entry::Vacant(unknown) => {
                unknown.insert(next);
                self.new.push(Observed::new(seen, what()));
            }
        }
    }
}

/// Whether one thing shows before another in every equivalent execution.
fn comes_before(causality: &Causality, a: (usize, &[Mark]), b: (usize, &[Mark])) -> bool {
    let end = causality.len();
    if b.0 >= end {
        return a.0 < end;
    }
    a.0 < end && shown_by(causality, a).all(|a| shown_by(causality, b).any(|b| causality.before(a, b)))
}

fn shown_by<'a>(
    causality: &'a Causality,
    (at, steps): (usize, &'a [Mark]),
) -> impl Iterator<Item = usize> + 'a {
    let own = |step: &&Mark| causality.thread(step.action) == step.thread;
    let at = steps.is_empty().then_some(at);
    steps.iter().filter(own).map(|step| step.action).chain(at)
}

/// A search as a policy, within a bound on actions.
struct Steps<'a> {
    search: &'a mut dyn Search,
    most: usize,
    cut: bool,
}

impl Policy for Steps<'_> {
    fn choose(&mut self, enabled: &[Action], taken: &[Action]) -> Option<usize> {
        if taken.len() >= self.most {
            self.cut = true;
            return None;
        }
        self.search.choose(enabled, taken)
    }
}
