//! The grace period of `native/flip.rs`, its very code, under every interleaving and every order of
//! memory that loom's model allows.
#![allow(unreachable_pub)] // `flip` is written for its own crate

use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::thread;

/// What `flip` synchronises with: loom's own.
mod sync {
    pub(super) use loom::sync::atomic::{AtomicU64, AtomicUsize, Ordering, fence};
    pub(super) use loom::thread::yield_now;
}

#[path = "../src/native/flip.rs"]
mod flip;

use flip::Flip;

/// An object that is found while it is published, and freed a grace period after it is not.
struct Shared {
    flip: Flip,
    published: AtomicUsize,
    /// Reads are uses, a write frees it: loom fails when no order between them is established.
    object: UnsafeCell<()>,
}

// SAFETY: the cell's content is never reached; loom checks the accesses that are announced to it.
#[allow(unsafe_code)]
unsafe impl Sync for Shared {}

/// The bounds are the least at which each fence and each of the two drains of `flip` is missed when it is
/// taken out.
fn explore(readers: usize, shards: usize, earlier_grace_periods: usize, preemptions: usize) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(preemptions);
    model.check(move || {
        let shared = Arc::new(Shared {
            flip: Flip::new(shards),
            published: AtomicUsize::new(1),
            object: UnsafeCell::new(()),
        });
        let readers: Vec<_> = (0..readers)
            .map(|reader| {
                let shared = Arc::clone(&shared);
                thread::spawn(move || {
                    let entered = shared.flip.enter(reader.min(shards));
                    if shared.published.load(Ordering::Relaxed) == 1 {
                        shared.object.with(|_| ());
                    }
                    shared.flip.leave(entered);
                })
            })
            .collect();
        for _ in 0..earlier_grace_periods {
            shared.flip.synchronize();
        }
        shared.published.store(0, Ordering::Relaxed);
        shared.flip.synchronize();
        shared.object.with_mut(|_| ());
        for reader in readers {
            reader.join().expect("a reader used the object after it was freed");
        }
    });
}

#[test]
fn no_reader_meets_a_freed_object() {
    explore(1, 1, 0, 3);
}

#[test]
fn no_reader_of_two_shards_meets_a_freed_object() {
    explore(2, 2, 0, 4);
}

#[test]
fn readers_that_share_a_shard_are_waited_for() {
    explore(2, 0, 0, 3);
}

#[test]
fn a_reader_that_entered_by_an_index_of_long_ago_is_waited_for() {
    explore(1, 1, 1, 3);
}
