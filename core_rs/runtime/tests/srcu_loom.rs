//! The grace period of `native/flip.rs`, its very code, under every interleaving and every order of
//! memory that loom's model allows.
#![allow(unreachable_pub)] // `flip` is written for its own crate

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

/// An object that is published, unpublished, and freed after a grace period.
struct Shared {
    flip: Flip,
    published: AtomicUsize,
    freed: AtomicUsize,
}

fn explore(readers: usize, shards: usize, grace_periods: usize, preemptions: usize) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(preemptions);
    model.check(move || {
        let shared = Arc::new(Shared {
            flip: Flip::new(shards),
            published: AtomicUsize::new(1),
            freed: AtomicUsize::new(0),
        });
        let readers: Vec<_> = (0..readers)
            .map(|reader| {
                let shared = Arc::clone(&shared);
                thread::spawn(move || {
                    let entered = shared.flip.enter(reader.min(shards));
                    if shared.published.load(Ordering::Relaxed) == 1 {
                        let freed = shared.freed.load(Ordering::Relaxed);
                        assert_eq!(freed, 0, "freed under a reader that found it");
                    }
                    shared.flip.leave(entered);
                })
            })
            .collect();
        shared.published.store(0, Ordering::Relaxed);
        for _ in 0..grace_periods {
            shared.flip.synchronize();
        }
        shared.freed.store(1, Ordering::Relaxed);
        for reader in readers {
            reader.join().expect("a reader found the object freed");
        }
    });
}

#[test]
fn no_reader_meets_a_freed_object() {
    explore(1, 1, 1, 3);
}

#[test]
fn no_reader_of_two_shards_meets_a_freed_object() {
    explore(2, 2, 1, 2);
}

#[test]
fn readers_that_share_a_shard_are_waited_for() {
    explore(2, 0, 1, 2);
}

#[test]
fn a_reader_that_spans_a_flip_is_waited_for() {
    explore(1, 1, 2, 3);
}
