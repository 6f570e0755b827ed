//! How long the running thread goes without a point at which the kernel would let another task run.
//!
//! Guarantee: while a stretch is measured on a thread, time from one reschedule point to the next is one; the longest
//! is kept. Points are [`Runtime::cond_resched`](crate::Runtime::cond_resched), lock breaks (also those at which nobody
//! waits), [`Runtime::might_sleep`](crate::Runtime::might_sleep), and whatever may sleep: a mutex, and waiting
//! for a grace period or for a word to change, whose own time is no part of a stretch. Waiting for a spinning lock is no such point, as in a kernel that
//! does not preempt itself. It is the time on the clock: a thread that the host has switched out runs on by it.

use std::cell::Cell;
use std::sync::OnceLock;

use quanta::Clock;

/// The stretches of one thread, in ticks.
#[derive(Clone, Copy)]
struct Stretches {
    /// Where the present one began.
    since: u64,
    longest: u64,
}

thread_local! {
    static RUNNING: Cell<Option<Stretches>> = const { Cell::new(None) };
}

fn clock() -> &'static Clock {
    static CLOCK: OnceLock<Clock> = OnceLock::new();
    CLOCK.get_or_init(Clock::new)
}

/// Runs `work`, and answers the longest stretch in nanoseconds. One inside another counts for both.
pub(super) fn longest<T>(work: impl FnOnce() -> T) -> (T, u64) {
    let begun = Begun { outer: RUNNING.get() };
    RUNNING.set(Some(Stretches { since: clock().raw(), longest: 0 }));
    let done = work();
    point();
    let longest = RUNNING.get().map_or(0, |stretches| stretches.longest);
    drop(begun);
    (done, clock().delta_as_nanos(0, longest))
}

/// Goes back to what was measured before, also when the work unwinds.
struct Begun {
    outer: Option<Stretches>,
}

impl Drop for Begun {
    fn drop(&mut self) {
        let inner = RUNNING.get();
        RUNNING.set(self.outer.zip(inner).map(|(outer, inner)| Stretches {
            since: inner.since,
            longest: outer.longest.max(inner.longest),
        }));
    }
}

/// A reschedule point.
#[inline]
pub(super) fn point() {
    if let Some(stretches) = RUNNING.get() {
        let now = clock().raw();
        let longest = stretches.longest.max(now.saturating_sub(stretches.since));
        RUNNING.set(Some(Stretches { since: now, longest }));
    }
}

/// Runs what sleeps: a reschedule point before it, and the next stretch begins after it.
#[inline]
pub(super) fn asleep<T>(sleep: impl FnOnce() -> T) -> T {
    point();
    let slept = sleep();
    if let Some(stretches) = RUNNING.get() {
        RUNNING.set(Some(Stretches { since: clock().raw(), ..stretches }));
    }
    slept
}
