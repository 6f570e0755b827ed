//! The guarantees of the scheduled runtime.

mod grace;
mod locks;
mod objects;
mod runs;
mod words;

use super::*;
use crate::site;

type S = Scheduled;

/// A thread of a run.
fn thread(name: &str, work: impl FnOnce() + 'static) -> NamedThread {
    (name.to_string(), Box::new(work))
}

fn load(word: &Word) -> u64 {
    S::load(word, Access::Marked, site!("load"))
}

fn store(word: &Word, value: u64) {
    S::store(word, value, Access::Marked, site!("store"));
}

/// Picks by position among the enabled, first by `prefix`, then the first; notes how many there were.
struct Enumerate {
    prefix: Vec<usize>,
    offered: Vec<usize>,
}

impl Policy for Enumerate {
    fn choose(&mut self, enabled: &[Action], taken: &[Action]) -> Option<usize> {
        self.offered.push(enabled.len());
        Some(self.prefix.get(taken.len()).copied().unwrap_or(0))
    }
}

/// Runs every execution of a program: `program` makes its threads and a look at its end.
fn all_executions<T>(program: impl Fn() -> (Vec<NamedThread>, Box<dyn FnOnce(Execution) -> T>)) -> Vec<T> {
    let mut results = Vec::new();
    let mut prefix = Vec::new();
    loop {
        let mut policy = Enumerate { prefix, offered: Vec::new() };
        let (threads, look) = program();
        results.push(look(run(threads, &mut policy)));
        let Enumerate { prefix: mut picks, offered } = policy;
        picks.resize(offered.len(), 0);
        let Some(last) = (0..picks.len()).rev().find(|&step| picks[step] + 1 < offered[step]) else {
            return results;
        };
        picks.truncate(last + 1);
        picks[last] += 1;
        prefix = picks;
    }
}

/// One execution, the threads one after the other as far as they can go.
fn in_order(threads: Vec<NamedThread>) -> Execution {
    run(threads, &mut Replay(Vec::new()))
}

fn effects(execution: &Execution) -> Vec<Effect> {
    execution.actions.iter().map(|action| action.effect).collect()
}
