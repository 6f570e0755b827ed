//! The loop that a thread runs: which operation comes next, and where.
//!
//! The operation itself is a parameter, so that what the loop costs can be measured with an empty one.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};

use fastrand::Rng;

use crate::mix::{Class, Mix};
use crate::pace::Latencies;
use crate::part::Part;

/// Operations between two looks at the cancel flag.
const CANCEL_EVERY: usize = 1024;

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
        &self,
        operate: &mut O,
        latencies: Option<&mut Latencies>,
    ) -> (Counts, Result<(), O::Error>) {
        match (latencies, self.rate_per_s) {
            (None, _) => self.turns(operate, |_| {}, |_, _| {}),
            (Some(latencies), None) => {
                latencies.start();
                self.turns(operate, |_| {}, |class, _| latencies.over(class))
            }
            (Some(latencies), Some(rate)) => {
                let (interval, cancel) = (1e9 / rate, self.cancel);
                let due = |turn: u64| (turn as f64 * interval) as u64;
                latencies.start();
                let latencies = std::cell::RefCell::new(latencies);
                let stopped = || cancel.load(Ordering::Relaxed);
                self.turns(
                    operate,
                    |turn| latencies.borrow().wait_until(due(turn), stopped),
                    |class, turn| latencies.borrow_mut().over_since(class, due(turn)),
                )
            }
        }
    }

    #[inline(always)]
    #[allow(clippy::inline_always)] // a loop for each way of keeping time
    fn turns<O: Operate>(
        &self,
        operate: &mut O,
        before: impl Fn(u64),
        mut after: impl FnMut(Class, u64),
    ) -> (Counts, Result<(), O::Error>) {
        let (operations, mix) = (self.operations(), self.mix);
        // A copy that nobody else can reach stays in registers.
        let mut next = Next {
            touches: self.touches.clone(),
            ranges: self.ranges.clone(),
            write_percent: self.write_percent,
            random: self.random.clone(),
        };
        let total: u32 = Class::ALL.into_iter().map(|class| mix.weight(class)).sum();
        let mut counts = Counts::default();
        for first in (0..operations).step_by(CANCEL_EVERY) {
            if self.cancel.load(Ordering::Relaxed) {
                break;
            }
            let turns = first..operations.min(first + CANCEL_EVERY as u64);
            // A class that is alone has a loop of its own: there is nothing to draw, and the turns are the count.
            let mut chunk = Turns { before: &before, after: &mut after, done: 0 };
            let done = if let Some(class) = mix.alone() {
                let done = if class == Class::Fault {
                    chunk.run(turns, |_| (class, next.touch(operate)))
                } else {
                    chunk.run(turns, |_| (class, next.range(class, operate)))
                };
                counts[class as usize] += chunk.done;
                done
            } else {
                chunk.run(turns, |_| {
                    let class = drawn(&mix, next.random.u32(..total));
                    let done = match class {
                        Class::Fault => next.touch(operate),
                        _ => next.range(class, operate),
                    };
                    counts[class as usize] += u64::from(done.is_ok());
                    (class, done)
                })
            };
            if done.is_err() {
                return (counts, done);
            }
        }
        (counts, Ok(()))
    }
}

/// Where the next operation goes.
struct Next {
    touches: Part,
    ranges: Part,
    write_percent: u32,
    random: Rng,
}

#[allow(clippy::inline_always)] // as for the loop
impl Next {
    #[inline(always)]
    fn touch<O: Operate>(&mut self, operate: &mut O) -> Result<(), O::Error> {
        let write = self.write_percent == 100 || self.random.u32(..100) < self.write_percent;
        operate.touch(self.touches.next(&mut self.random), write)
    }

    #[inline(always)]
    fn range<O: Operate>(&mut self, class: Class, operate: &mut O) -> Result<(), O::Error> {
        operate.range(class, self.ranges.next(&mut self.random))
    }
}

/// A few turns, one after the other.
struct Turns<'a, B, A> {
    before: &'a B,
    after: &'a mut A,
    done: u64,
}

impl<B: Fn(u64), A: FnMut(Class, u64)> Turns<'_, B, A> {
    #[inline(always)]
    #[allow(clippy::inline_always)] // as above
    fn run<E>(
        &mut self,
        turns: Range<u64>,
        mut one: impl FnMut(u64) -> (Class, Result<(), E>),
    ) -> Result<(), E> {
        let Range { start, end } = turns;
        for turn in turns {
            (self.before)(turn);
            let (class, result) = one(turn);
            if result.is_err() {
                self.done = turn - start;
                return result;
            }
            (self.after)(class, turn);
        }
        self.done = end - start;
        Ok(())
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
        let work = Work {
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
