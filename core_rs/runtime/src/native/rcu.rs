//! RCU by crossbeam's default epoch collector.
//!
//! Guarantee: work handed to [`call`] runs once, after every read section that had begun; it runs on
//! whichever thread drives the epochs, inside any of the functions here, so it must not take a lock
//! that is held around them (the kernel's callbacks, which run in softirq context, neither).
//! Epochs advance only when somebody drives them: work left over at the end of the process never runs.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::yield_now;

use crossbeam_epoch as epoch;

/// An RCU read section.
#[must_use = "the read section ends when the guard is dropped"]
pub struct RcuGuard {
    _pinned: epoch::Guard,
}

/// Work that has been handed over and has not run.
static PENDING: AtomicUsize = AtomicUsize::new(0);

#[inline]
pub(super) fn read() -> RcuGuard {
    RcuGuard { _pinned: epoch::pin() }
}

pub(super) fn call(work: Box<dyn FnOnce() + Send>) {
    PENDING.fetch_add(1, Ordering::Relaxed);
    defer(move || {
        let _done = Done; // also when `work` panics
        work();
    });
}

pub(super) fn synchronize() {
    let over = Arc::new(AtomicBool::new(false));
    let tell = Arc::clone(&over);
    defer(move || tell.store(true, Ordering::Release));
    drive_until(|| over.load(Ordering::Acquire));
}

/// Waits until no work is pending, that handed over meanwhile included.
pub(super) fn barrier() {
    drive_until(|| PENDING.load(Ordering::Acquire) == 0);
}

struct Done;

impl Drop for Done {
    fn drop(&mut self) {
        PENDING.fetch_sub(1, Ordering::Release);
    }
}

/// Defers, and hands the thread's bag over at once: an idle thread must not keep others' work.
fn defer(work: impl FnOnce() + Send + 'static) {
    let guard = epoch::pin();
    guard.defer(work);
    guard.flush();
}

fn drive_until(done: impl Fn() -> bool) {
    while !done() {
        epoch::pin().flush();
        yield_now();
    }
}
