//! What is checked of a lock.
#![allow(dead_code)] // not every copy is checked for everything

use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::sync::atomic::{AtomicBool, Ordering};

use super::raw::{Raw, Span};
use super::{backoff, explore, join, spawn};

/// Every address.
const ALL: Span = Span { start: 0, size: u64::MAX };

/// Something that a lock protects: loom fails when a write meets another access with no order between them.
struct Protected<L> {
    lock: L,
    object: UnsafeCell<()>,
}

// SAFETY: the cell's content is never reached; loom checks the accesses that are announced to it.
#[allow(unsafe_code)]
unsafe impl<L: Sync> Sync for Protected<L> {}

impl<L: Raw> Protected<L> {
    fn new(lock: L) -> Arc<Self> {
        Arc::new(Self { lock, object: UnsafeCell::new(()) })
    }

    /// As a guard of the runtime does it: a try, and a wait when it fails.
    fn read(&self, span: Span) {
        let held = self.lock.try_read(span).unwrap_or_else(|| self.lock.read(span));
        self.object.with(|_| ());
        self.lock.unlock_read(held);
    }

    fn write(&self, span: Span) {
        let held = self.lock.try_write(span).unwrap_or_else(|| self.lock.write(span));
        self.object.with_mut(|_| ());
        self.lock.unlock_write(held);
    }
}

/// What a thread does with a protected object.
type Action<L> = fn(&Protected<L>);

/// Runs actions, each on a thread; so many threads have a node or slot of their own.
fn together<L: Raw + 'static>(make: fn(usize) -> L, own: usize, preemptions: usize, actions: &[Action<L>]) {
    let actions = actions.to_vec();
    explore(preemptions, move || {
        let protected = Protected::new(make(own));
        let others: Vec<_> = (1..actions.len())
            .map(|thread| {
                let (protected, action) = (Arc::clone(&protected), actions[thread]);
                spawn(thread.min(own), move || action(&protected))
            })
            .collect();
        actions[0](&protected);
        join(others);
    });
}

pub fn writers_exclude_each_other<L: Raw + 'static>(make: fn(usize) -> L, own: usize, preemptions: usize) {
    let write: Action<L> = |protected| protected.write(ALL);
    together(make, own, preemptions, &[write, write, write]);
}

pub fn a_reader_and_a_writer_exclude_each_other<L: Raw + 'static>(
    make: fn(usize) -> L,
    own: usize,
    preemptions: usize,
) {
    together(make, own, preemptions, &[|protected| protected.read(ALL), |protected| protected.write(ALL)]);
}

/// Loom fails when a thread waits for ever.
pub fn readers_and_writers_all_come_to_an_end<L: Raw + 'static>(
    make: fn(usize) -> L,
    own: usize,
    preemptions: usize,
) {
    let (read, write): (Action<L>, Action<L>) =
        (|protected| protected.read(ALL), |protected| protected.write(ALL));
    together(make, own, preemptions, &[read, write, read]);
    together(make, own, preemptions, &[write, read, write]);
}

/// Tries that race with a holder's unlock, and with each other: one that fails holds nothing, keeps nobody out for good, and one that
/// succeeds excludes.
pub fn a_try_that_fails_leaves_nothing<L: Raw + 'static>(
    make: fn(usize) -> L,
    own: usize,
    preemptions: usize,
) {
    let tries_to_write: Action<L> = |protected| {
        if let Some(held) = protected.lock.try_write(ALL) {
            protected.object.with_mut(|_| ());
            protected.lock.unlock_write(held);
        }
    };
    let tries_to_read: Action<L> = |protected| {
        if let Some(held) = protected.lock.try_read(ALL) {
            protected.object.with(|_| ());
            protected.lock.unlock_read(held);
        }
    };
    for others in [[tries_to_write, tries_to_read], [tries_to_write, tries_to_write]] {
        explore(preemptions, move || {
            let protected = Protected::new(make(own));
            let threads = [1, 2].map(|thread| {
                let (protected, action) = (Arc::clone(&protected), others[thread - 1]);
                spawn(thread.min(own), move || action(&protected))
            });
            protected.write(ALL);
            join(threads);
            let held = protected.lock.try_write(ALL).expect("nobody else is there any more");
            protected.lock.unlock_write(held);
            assert!(protected.lock.try_read(ALL).is_some(), "nobody else is there any more");
        });
    }
}

/// Spans that meet, each of several groups: the second and the third begin in another than they end in.
pub fn ranges_exclude_where_they_meet<L: Raw + 'static>(
    make: fn(usize) -> L,
    own: usize,
    preemptions: usize,
) {
    const MIB: u64 = 1 << 20;
    let first: Action<L> = |protected| protected.write(Span { start: 2 * MIB, size: 2 * MIB });
    let second: Action<L> = |protected| protected.write(Span { start: 0, size: 4 * MIB });
    let third: Action<L> = |protected| protected.read(Span { start: 2 * MIB, size: 4 * MIB });
    together(make, own, preemptions, &[first, second, third]);
    let all: Action<L> = |protected| protected.write(ALL);
    let fourth: Action<L> = |protected| protected.write(Span { start: 2 * MIB, size: 4 * MIB });
    together(make, own, preemptions, &[second, all]);
    together(make, own, preemptions, &[second, fourth]);
}

/// A reader is inside, a writer waits: a reader that comes now goes in after the writer.
pub fn a_waiting_writer_is_not_overtaken<L: Raw + 'static>(
    make: fn(usize) -> L,
    own: usize,
    preemptions: usize,
) {
    explore(preemptions, move || {
        let shared = Arc::new((make(own), AtomicBool::new(false)));
        let held = shared.0.try_read(ALL).expect("nobody else is there");
        let of_writer = Arc::clone(&shared);
        let writer = spawn(1.min(own), move || {
            let (lock, written) = &*of_writer;
            let held = lock.write(ALL); // at once: a lock that was only tried nobody waits for
            written.store(true, Ordering::Relaxed);
            lock.unlock_write(held);
        });
        backoff::until(|| match shared.0.try_read(ALL) {
            None => true, // for the writer's sake: nobody but a reader is inside
            Some(read) => {
                shared.0.unlock_read(read);
                false
            }
        });
        let of_reader = Arc::clone(&shared);
        let reader = spawn(2.min(own), move || {
            let (lock, written) = &*of_reader;
            let held = lock.try_read(ALL).unwrap_or_else(|| lock.read(ALL));
            assert!(written.load(Ordering::Relaxed), "a reader has overtaken a waiting writer");
            lock.unlock_read(held);
        });
        shared.0.unlock_read(held);
        join([writer, reader]);
    });
}
