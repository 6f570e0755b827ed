//! The locks of our own in `native/kinds`, their very code, under every interleaving and every order of memory that
//! loom's model allows, up to a number of preemptions. That the checks would see a fault is shown by two weakened
//! copies: one without any order of memory, one without fences.
#![allow(unreachable_pub)] // the locks are written for their own crate
#![allow(clippy::duplicate_mod)] // a copy for each `sync`

mod relaxed;
mod sound;
mod unfenced;
mod waiting;

use std::cell::Cell;

use loom::thread::JoinHandle;

/// Threads that have a node or slot of their own; the third one of a model has the shared one.
const OWN: usize = 2;

/// What the locks know a thread by.
fn index() -> usize {
    INDEX.with(Cell::get)
}

loom::thread_local! {
    static INDEX: Cell<usize> = Cell::new(0);
}

/// Runs `work` on a thread of this index.
fn spawn(index: usize, work: impl FnOnce() + 'static) -> JoinHandle<()> {
    waiting::begins();
    loom::thread::spawn(move || {
        INDEX.with(|own| own.set(index));
        work();
        waiting::is_over();
    })
}

/// Waits for the end of all.
fn join(threads: impl IntoIterator<Item = JoinHandle<()>>) {
    waiting::is_over();
    for thread in threads {
        thread.join().expect("a thread failed");
    }
}

/// Every execution of `model` with at most so many preemptions.
fn explore(preemptions: usize, model: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.check(model);
}
