//! What an execution is, and how one is run.
//!
//! Guarantee: at most one thread runs at a time, all on the caller's, and control changes hands only
//! at actions. Whatever the outcome, all threads have ended when [`run`] returns: those that were
//! cut short were unwound, so what they owned was dropped. Their coroutines wait for the next run's.

use super::driver::Driver;
use super::{Action, ObjectInfo, Policy};

/// The name and the code of a thread.
pub type NamedThread = (String, Box<dyn FnOnce()>);

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Execution {
    /// The threads' names; after those that were asked for, `rcu` if work was handed to it.
    pub threads: Vec<String>,
    /// What the actions' targets stand for.
    pub objects: Vec<ObjectInfo>,
    /// The actions in their order. The thread of each is what [`Replay`](super::Replay) repeats.
    pub actions: Vec<Action>,
    /// The next action of each thread that has not ended.
    pub pending: Vec<Action>,
    /// Cycles of threads that wait for each other, in the order in which they closed.
    pub deadlocks: Vec<Deadlock>,
    /// How it ended.
    pub outcome: Outcome,
}

impl Default for Execution {
    /// An execution of nothing.
    fn default() -> Self {
        Self {
            threads: Vec::new(),
            objects: Vec::new(),
            actions: Vec::new(),
            pending: Vec::new(),
            deadlocks: Vec::new(),
            outcome: Outcome::Finished,
        }
    }
}

/// Threads that wait for each other, each for the next and the last for the first: none of them ever goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deadlock {
    /// How many actions had been taken when the cycle closed.
    pub after: usize,
    /// The threads that wait, from the one that came last.
    pub cycle: Vec<Waiting>,
}

/// How an execution ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// All threads have ended, and no work is left to `call_rcu`.
    Finished,
    /// Some threads have not ended, and none can go on.
    Deadlock(Vec<Waiting>),
    /// The policy gave up.
    Abandoned,
    /// A thread panicked.
    Panicked {
        /// Which.
        thread: usize,
        /// With what message.
        message: String,
    },
}

/// A thread that cannot go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// What it cannot do.
    pub action: Action,
    /// The threads that must do something first, such as drop the lock, in ascending order; itself among them,
    /// perhaps.
    pub holders: Vec<usize>,
}

/// Runs `threads` to an end, in the order that `policy` decides.
///
/// Objects that were [allocated](crate::Runtime::allocated) on this thread since the last run are
/// known in this one; the registry is empty afterwards.
///
/// # Panics
/// When called inside a run.
pub fn run(threads: Vec<NamedThread>, policy: &mut dyn Policy) -> Execution {
    let mut execution = Execution::default();
    run_into(threads, policy, &mut execution);
    execution
}

/// [`run`] into an execution that is there already, whose memory is used again.
///
/// # Panics
/// When called inside a run.
pub fn run_into(threads: Vec<NamedThread>, policy: &mut dyn Policy, execution: &mut Execution) {
    run_again(threads, policy, execution, 0);
}

/// [`run_into`] an execution of the same threads, whose first `shared` actions are taken again, as they are known:
/// the policy is asked from there on. Where the threads are about to do something else, they are not the same, and the
/// execution is abandoned, with fewer actions than that.
///
/// ```
/// use runtime::scheduled::{Execution, Replay, Scheduled, run_again, run_into};
/// use runtime::{Access, Runtime, Word, site};
///
/// let threads = || {
///     let word = std::rc::Rc::new(Word::new(0));
///     ["T1", "T2"].map(|name| {
///         let word = word.clone();
///         let work = move || Scheduled::store(&word, 1, Access::Marked, site!("set"));
///         (String::from(name), Box::new(work) as Box<dyn FnOnce()>)
///     })
/// };
/// let mut execution = Execution::default();
/// run_into(threads().into(), &mut Replay(vec![1, 0]), &mut execution);
/// let first = execution.clone();
/// run_again(threads().into(), &mut Replay(vec![]), &mut execution, 1);
/// assert_eq!(execution, first);
/// ```
///
/// # Panics
/// When called inside a run.
pub fn run_again(
    threads: Vec<NamedThread>,
    policy: &mut dyn Policy,
    execution: &mut Execution,
    shared: usize,
) {
    Driver::run(threads, policy, execution, shared);
}
