//! The loop that a thread runs: which operation comes next, and where.
//!
//! The operation itself is a parameter, so that what the loop costs can be measured with an empty one.

use std::sync::atomic::{AtomicBool, Ordering};

use fastrand::Rng;

use crate::mix::{Class, Mix};
use crate::pace::Latencies;
use crate::part::Part;

/// Operations between two looks at the cancel flag, a power of two.
const CANCEL_EVERY: u64 = 1024;

/// What a thread does when its turn comes.
pub(crate) trait Operate {
    /// Why it may fail.
    type Error;

    /// An access to a place among the touches.
    fn touch(&mut self, place: u64, write: bool) -> Result<(), Self::Error>;
    /// An operation of any other class on a place among the ranges.
    fn range(&mut self, class: Class, place: u64) -> Result<(), Self::Error>;
}

/// What one thread is to do.
pub(crate) struct Work<'a> {
    pub(crate) touches: Part,
    pub(crate) ranges: Part,
    pub(crate) mix: Mix,
    pub(crate) write_percent: u32,
    /// Operations; `None` is one pass over the part.
    pub(crate) each: Option<u64>,
    pub(crate) rate_per_s: Option<f64>,
    pub(crate) cancel: &'a AtomicBool,
    pub(crate) random: Rng,
}

/// How often each class was done.
pub(crate) type Counts = [u64; Class::ALL.len()];

impl Work<'_> {
    /// Operations that are to be done: none where the part is empty, as there are more threads than places.
    pub(crate) fn operations(&self) -> u64 {
        let (touches, ranges) = (self.touches.count(), self.ranges.count());
        let empty = self.mix.has(Class::Fault) && touches == 0 || self.mix.has_ranges() && ranges == 0;
        let pass = if self.mix.has(Class::Fault) { touches } else { ranges };
        if empty { 0 } else { self.each.unwrap_or(pass) }
    }

    /// Does them. Answers how many of each class were done, and why it ended early, if it did for an error.
    pub(crate) fn run<O: Operate>(
        &mut self,
        operate: &mut O,
        latencies: Option<&mut Latencies>,
    ) -> (Counts, Result<(), O::Error>) {
        match (latencies, self.rate_per_s) {
            (None, _) => self.turns(operate, |_, _| {}, |_, _| {}),
            (Some(latencies), None) => {
                latencies.start();
                self.turns(operate, |_, _| {}, |class, _| latencies.over(class))
            }
            (Some(latencies), Some(rate)) => {
                let (interval, cancel) = (1e9 / rate, self.cancel);
                let due = |turn: u64| (turn as f64 * interval) as u64;
                latencies.start();
                let latencies = std::cell::RefCell::new(latencies);
                let stopped = || cancel.load(Ordering::Relaxed);
                self.turns(
                    operate,
                    |turn, _| latencies.borrow().wait_until(due(turn), stopped),
                    |class, turn| latencies.borrow_mut().over_since(class, due(turn)),
                )
            }
        }
    }

    #[inline(always)]
    #[allow(clippy::inline_always)] // a loop for each way of keeping time
    fn turns<O: Operate>(
        &mut self,
        operate: &mut O,
        before: impl Fn(u64, Class),
        mut after: impl FnMut(Class, u64),
    ) -> (Counts, Result<(), O::Error>) {
        let mut counts = Counts::default();
        let alone = self.mix.alone();
        let total: u32 = Class::ALL.into_iter().map(|class| self.mix.weight(class)).sum();
        for turn in 0..self.operations() {
            if turn.is_multiple_of(CANCEL_EVERY) && self.cancel.load(Ordering::Relaxed) {
                break;
            }
            let class = alone.unwrap_or_else(|| drawn(&self.mix, self.random.u32(..total)));
            before(turn, class);
            let done = if class == Class::Fault {
                let write = self.write_percent == 100 || self.random.u32(..100) < self.write_percent;
                operate.touch(self.touches.next(&mut self.random), write)
            } else {
                operate.range(class, self.ranges.next(&mut self.random))
            };
            if let Err(error) = done {
                return (counts, Err(error));
            }
            after(class, turn);
            counts[class as usize] += 1;
        }
        (counts, Ok(()))
    }
}

/// The class that a number below the sum of the weights stands for.
#[inline]
fn drawn(mix: &Mix, mut number: u32) -> Class {
    for class in Class::ALL {
        let weight = mix.weight(class);
        if number < weight {
            return class;
        }
        number -= weight;
    }
    unreachable!("the number is below the sum of the weights")
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::time::Duration;

    use super::*;
    use crate::names::{Locality, Pattern};

    /// Takes 20 ms for its first operation, and nothing for the others.
    struct Stalls {
        turn: u64,
    }

    impl Operate for Stalls {
        type Error = Infallible;

        fn touch(&mut self, _: u64, _: bool) -> Result<(), Infallible> {
            if self.turn == 0 {
                std::thread::sleep(Duration::from_millis(20));
            }
            self.turn += 1;
            Ok(())
        }

        fn range(&mut self, _: Class, _: u64) -> Result<(), Infallible> {
            unreachable!("the mix has no ranges")
        }
    }

    fn slow_ones(rate_per_s: Option<f64>) -> u64 {
        let part = || Part::new(Pattern::Disjoint, Locality::Sequential, 100, 0, 1);
        let cancel = AtomicBool::new(false);
        let mut work = Work {
            touches: part(),
            ranges: part(),
            mix: Mix::default(),
            write_percent: 100,
            each: Some(30),
            rate_per_s,
            cancel: &cancel,
            random: Rng::with_seed(1),
        };
        let mut latencies = Latencies::new(|class| class == Class::Fault);
        let (counts, result) = work.run(&mut Stalls { turn: 0 }, Some(&mut latencies));
        assert!(result.is_ok());
        assert_eq!(counts[Class::Fault as usize], 30);
        let [latency, ..] = latencies.into_histograms();
        let latency = latency.expect("faults were recorded");
        assert_eq!(latency.len(), 30);
        latency.count_between(5_000_000, u64::MAX)
    }

    /// At one a millisecond, those of the first 15 ms were to be over 5 ms before the stall ended.
    #[test]
    fn whoever_had_to_wait_for_a_slow_operation_was_slow_too() {
        assert!(slow_ones(Some(1000.0)) >= 15);
    }
}
