//! Call chains of a run's actions: inside which functions of the code under study each was taken.
//!
//! Guarantee: nothing of this is an action, and nothing is kept unless [`record_calls`] asks for it, so that
//! exploring costs nothing for it. A chain has the functions that the code under study marks with
//! [`Runtime::inside`](crate::Runtime::inside), and no others.

use std::cell::RefCell;

use super::Execution;
use super::driver::position;

/// What threads entered and left during a run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Calls {
    events: Vec<Event>,
}

/// A function is entered, or the innermost one left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Event {
    thread: usize,
    /// How many actions of all threads had been taken.
    after: usize,
    entered: Option<&'static str>,
}

thread_local! {
    static RECORDED: RefCell<Option<Calls>> = const { RefCell::new(None) };
}

impl Calls {
    /// Inside which functions an action of `execution` was taken, innermost first.
    ///
    /// # Panics
    /// If the execution has no such action.
    pub fn chain(&self, execution: &Execution, action: usize) -> Vec<&'static str> {
        let thread = execution.actions[action].thread;
        let mut inside = Vec::new();
        for event in self.events.iter().filter(|event| event.thread == thread && event.after <= action) {
            match event.entered {
                Some(function) => inside.push(function),
                None => drop(inside.pop()),
            }
        }
        inside.reverse();
        inside
    }
}

/// Does `work`, in which there is a run on this thread, and answers its calls too.
///
/// ```
/// use runtime::scheduled::{Replay, Scheduled, record_calls, run};
/// use runtime::{Access, Runtime, Word, site};
/// use std::rc::Rc;
///
/// let word = Rc::new(Word::new(0));
/// let work = move || {
///     let _inside = Scheduled::inside("kvm_destroy_vm");
///     let _inside = Scheduled::inside("mmu_notifier_unregister");
///     Scheduled::load(&word, Access::Plain, site!("mmu_notifier_unregister:hlist_unhashed"));
/// };
/// let threads = vec![(String::from("T1"), Box::new(work) as Box<dyn FnOnce()>)];
/// let (execution, calls) = record_calls(|| run(threads, &mut Replay(vec![])));
/// assert_eq!(calls.chain(&execution, 0), ["mmu_notifier_unregister", "kvm_destroy_vm"]);
/// ```
pub fn record_calls<T>(work: impl FnOnce() -> T) -> (T, Calls) {
    /// Ends the recording, also when the work panics.
    struct Recording;
    impl Drop for Recording {
        fn drop(&mut self) {
            RECORDED.take();
        }
    }
    let _recording = Recording;
    RECORDED.set(Some(Calls::default()));
    let result = work();
    (result, RECORDED.take().unwrap_or_default())
}

/// Records that the running thread enters a function; answers which thread that is, if it is to leave it.
pub(super) fn enter(function: &'static str) -> Option<usize> {
    RECORDED.with_borrow_mut(|recorded| {
        let recorded = recorded.as_mut()?;
        let (thread, after) = position()?;
        recorded.events.push(Event { thread, after, entered: Some(function) });
        Some(thread)
    })
}

/// Records that the thread leaves the function that it entered last.
pub(crate) fn leave(thread: usize) {
    RECORDED.with_borrow_mut(|recorded| {
        let position = position().filter(|(running, _)| *running == thread);
        if let (Some(recorded), Some((_, after))) = (recorded, position) {
            recorded.events.push(Event { thread, after, entered: None });
        }
    });
}
