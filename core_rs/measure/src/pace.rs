//! When an operation begins, and how long it took.
//!
//! In a closed loop one begins when the one before is over. Paced, each has a moment at which it is to begin, whatever
//! became of those before, and its latency counts from then: that an operation had to wait for a slow one
//! is part of what a guest sees (coordinated omission is corrected, not hidden).

use std::time::Duration;

use hdrhistogram::Histogram;
use quanta::Clock;

use crate::mix::Class;

/// Rather spin than sleep when so little is left: a sleep comes back late.
const SPIN_NS: u64 = 100_000;

/// From 1 ns to an hour, to two digits.
pub(crate) fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 3_600_000_000_000, 2).expect("bounds and digits are in range")
}

/// Latencies of one thread, by class.
pub(crate) struct Latencies {
    clock: Clock,
    start: u64,
    /// When the operation before was over.
    last: u64,
    of: [Option<Histogram<u64>>; Class::ALL.len()],
}

impl Latencies {
    /// Room for the classes that `wanted` names.
    pub(crate) fn new(wanted: impl Fn(Class) -> bool) -> Self {
        let of = Class::ALL.map(|class| wanted(class).then(histogram));
        Self { clock: Clock::new(), start: 0, last: 0, of }
    }

    /// The clock starts.
    pub(crate) fn start(&mut self) {
        self.start = self.clock.raw();
        self.last = self.start;
    }

    /// An operation of a closed loop is over; it began when the one before was.
    #[inline]
    pub(crate) fn over(&mut self, class: Class) {
        let now = self.clock.raw();
        let ns = self.clock.delta_as_nanos(self.last, now);
        self.last = now;
        self.record(class, ns);
    }

    /// An operation that was to begin at `due_ns` is over.
    #[inline]
    pub(crate) fn over_since(&mut self, class: Class, due_ns: u64) {
        let ns = self.elapsed_ns().saturating_sub(due_ns);
        self.record(class, ns);
    }

    /// Waits until `due_ns` after the start, or until `stop` says so.
    pub(crate) fn wait_until(&self, due_ns: u64, stop: impl Fn() -> bool) {
        loop {
            let left = due_ns.saturating_sub(self.elapsed_ns());
            if left == 0 || stop() {
                return;
            }
            if left > 2 * SPIN_NS {
                std::thread::sleep(Duration::from_nanos((left - SPIN_NS).min(10_000_000)));
            } else {
                std::hint::spin_loop();
            }
        }
    }

    pub(crate) fn into_histograms(self) -> [Option<Histogram<u64>>; Class::ALL.len()] {
        self.of
    }

    fn elapsed_ns(&self) -> u64 {
        self.clock.delta_as_nanos(self.start, self.clock.raw())
    }

    #[inline]
    fn record(&mut self, class: Class, ns: u64) {
        if let Some(histogram) = &mut self.of[class as usize] {
            histogram.saturating_record(ns);
        }
    }
}
