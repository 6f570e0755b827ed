//! Programs as closures, and searches that note what they see.

#![allow(dead_code)] // each test uses some of it

use std::collections::BTreeSet;
use std::sync::atomic::AtomicBool;

use explore::search::Search;
use explore::{Causality, Settings, Verdict, explore, explore_by};
use runtime::scheduled::{
    Action, Effect, Execution, Instance, NamedThread, Outcome, Program, Scheduled, Violation,
};
use runtime::{Access, Runtime, Word, site};

pub(crate) type S = Scheduled;

/// A program that a closure makes.
pub(crate) struct Made<F>(pub(crate) &'static str, pub(crate) F);

impl<F: Fn() -> Vec<NamedThread> + Sync> Program for Made<F> {
    fn name(&self) -> String {
        self.0.to_owned()
    }

    fn start(&self) -> Instance {
        Instance { threads: (self.1)(), end: Box::new(Vec::<Violation>::new) }
    }
}

pub(crate) fn thread(name: &str, work: impl FnOnce() + 'static) -> NamedThread {
    (name.to_owned(), Box::new(work))
}

pub(crate) fn load(word: &Word) -> u64 {
    S::load(word, Access::Marked, site!("load"))
}

pub(crate) fn store(word: &Word, value: u64) {
    S::store(word, value, Access::Marked, site!("store"));
}

/// All executions, no schedule made shorter.
pub(crate) fn all() -> Settings {
    Settings { stop_at_first: false, minimise: 0, ..Settings::default() }
}

pub(crate) fn verdict(program: &dyn Program, settings: &Settings) -> Verdict {
    explore(program, settings, &AtomicBool::new(false), &mut |_| ()).unwrap()
}

pub(crate) fn verdict_by(program: &dyn Program, search: &mut dyn Search, settings: &Settings) -> Verdict {
    explore_by(program, search, settings, &AtomicBool::new(false), &mut |_| ()).unwrap()
}

/// What an execution comes to, the same for equivalent ones: how it ended, and for each thread what it read and
/// wrote, and how many actions of each other thread come before each of its own.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Trace {
    pub(crate) end: String,
    pub(crate) threads: Vec<Vec<(String, Vec<u32>)>>,
}

/// A search that notes the traces of the executions that were not given up.
pub(crate) struct Noting<T> {
    pub(crate) search: T,
    pub(crate) traces: BTreeSet<Trace>,
    pub(crate) executions: usize,
    /// Beyond so many executions it gives up.
    pub(crate) most: usize,
}

impl<T> Noting<T> {
    pub(crate) fn new(search: T) -> Self {
        Self { search, traces: BTreeSet::new(), executions: 0, most: usize::MAX }
    }
}

impl<T: Search> Search for Noting<T> {
    fn name(&self) -> &'static str {
        self.search.name()
    }

    fn begin(&mut self) -> Option<usize> {
        if self.executions >= self.most { None } else { self.search.begin() }
    }

    fn choose(&mut self, enabled: &[Action], taken: &[Action]) -> Option<usize> {
        self.search.choose(enabled, taken)
    }

    fn end(&mut self, execution: &Execution, causality: &mut Causality) {
        self.executions += 1;
        if execution.outcome != Outcome::Abandoned {
            self.traces.insert(trace(execution, causality));
        }
        self.search.end(execution, causality);
    }

    fn ordered(&self) -> bool {
        true
    }

    fn proves(&self) -> bool {
        self.search.proves()
    }
}

fn trace(execution: &Execution, causality: &Causality) -> Trace {
    let mut threads = vec![Vec::new(); execution.threads.len()];
    for (at, action) in execution.actions.iter().enumerate() {
        // Numbers of sections and work follow the order of independent actions.
        let effect = match action.effect {
            Effect::Section(_) | Effect::SectionsBelow(_) | Effect::Work { .. } | Effect::WorkBelow(_) => {
                Effect::None
            }
            effect => effect,
        };
        let text = format!("{:?} {effect:?} {}", action.kind, action.site.name());
        threads[action.thread].push((text, causality.clock(at).to_vec()));
    }
    let end = match &execution.outcome {
        Outcome::Deadlock(waiting) => {
            let waits: Vec<_> =
                waiting.iter().map(|wait| (wait.action.thread, wait.holders.clone())).collect();
            format!("deadlock {waits:?}")
        }
        outcome => format!("{outcome:?}"),
    };
    Trace { end, threads }
}
