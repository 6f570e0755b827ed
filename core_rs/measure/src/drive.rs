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
