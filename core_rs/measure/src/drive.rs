//! The loop that a thread runs: which operation comes next, and where.
//!
//! The operation itself is a parameter, so that what the loop costs can be measured with an empty one.

use std::hint::black_box;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};

use fastrand::Rng;

use crate::draw::{Classes, Word};
use crate::mix::{Class, Mix};
use crate::pace::Latencies;
use crate::part::Part;

/// Operations between two looks at the cancel flag.
const CANCEL_EVERY: usize = 1024;

/// What a count of so many operations takes; that for each class is less than a word.
const COUNT_BITS: u32 = 12;
const _: () = assert!(CANCEL_EVERY < 1 << COUNT_BITS && COUNT_BITS as usize * Class::ALL.len() <= 64);

/// What a thread does when its turn comes.
pub(crate) trait Operate {
    /// Why it may fail.
    type Error;

    /// An operation of a class on a place: an access, which writes or reads, to one among the touches, or an operation of
    /// any other class on one among the ranges.
    fn one(&mut self, class: Class, place: u64, write: bool) -> Result<(), Self::Error>;
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
        // Copies that nobody else can reach: that of a class which is alone stays in registers, and so does the generator.
        let mut parts = [self.touches.clone(), self.ranges.clone()];
        let mut part = parts[Next::part_of(mix.alone().unwrap_or(Class::Fault))].clone();
        let mut next = Next { write_percent: u64::from(self.write_percent), random: self.random.clone() };
        let classes = Classes::new(&mix);
        let mut counts = Counts::default();
        for first in (0..operations).step_by(CANCEL_EVERY) {
            if self.cancel.load(Ordering::Relaxed) {
                break;
            }
            let turns = first..operations.min(first + CANCEL_EVERY as u64);
            // A class that is alone has a loop of its own: there is nothing to draw, and the turns are the count.
            let mut chunk = Turns { before: &before, after: &mut after, done: 0 };
            let done = if let Some(class) = mix.alone() {
                let done = if class == Class::Fault && self.write_percent < 100 {
                    chunk.run(turns, |_| {
                        let mut word = next.word();
                        let write = next.writes(&mut word);
                        (class, operate.one(Class::Fault, part.next(&mut next.random), write))
                    })
                } else if class == Class::Fault {
                    chunk
                        .run(turns, |_| (class, operate.one(Class::Fault, part.next(&mut next.random), true)))
                } else {
                    chunk.run(turns, |_| (class, operate.one(class, part.next(&mut next.random), false)))
                };
                counts[class as usize] += chunk.done;
                done
            } else {
                // A register counts: in memory the next turn of the class would wait for the last.
                let mut packed = 0;
                let done = chunk.run(turns, |_| {
                    let mut word = next.word();
                    let class = classes.draw(&mut word);
                    let write = next.writes(&mut word);
                    // Which it is is hidden from the compiler, which would make a branch of it.
                    let part = &mut parts[black_box(Next::part_of(class)) % 2];
                    let done = operate.one(class, part.next(&mut next.random), write);
                    packed += u64::from(done.is_ok()) << (COUNT_BITS * class as u32);
                    (class, done)
                });
                for (class, count) in counts.iter_mut().enumerate() {
                    *count += packed >> (COUNT_BITS * class as u32) & ((1 << COUNT_BITS) - 1);
                }
                done
            };
            if done.is_err() {
                return (counts, done);
            }
        }
        (counts, Ok(()))
    }
}

/// What is drawn for the next operation.
struct Next {
    write_percent: u64,
    random: Rng,
}

#[allow(clippy::inline_always)] // as for the loop
impl Next {
    /// Whether a class goes to touches, 0, or to ranges, 1.
    #[inline(always)]
    fn part_of(class: Class) -> usize {
        usize::from(class != Class::Fault)
    }

    #[inline(always)]
    fn word(&mut self) -> Word {
        Word::new(&mut self.random)
    }

    #[inline(always)]
    fn writes(&self, word: &mut Word) -> bool {
        word.below(100) < self.write_percent
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

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::time::Duration;

    use super::*;
    use crate::names::{Locality, Pattern};

    /// Remembers everything.
    #[derive(Default)]
    struct Remembers(Vec<(Class, u64, bool)>);

    impl Operate for Remembers {
        type Error = Infallible;

        fn one(&mut self, class: Class, place: u64, write: bool) -> Result<(), Infallible> {
            self.0.push((class, place, write));
            Ok(())
        }
    }

    const PLACES: u64 = 1000;
    const DRAWN: usize = 100_000;

    fn drawn(mix: &str, locality: Locality, write_percent: u32, seed: u64) -> Vec<(Class, u64, bool)> {
        let part = || Part::new(Pattern::Disjoint, locality, PLACES, 0, 1);
        let cancel = AtomicBool::new(false);
        let work = Work {
            touches: part(),
            ranges: part(),
            mix: mix.parse().expect("a mix"),
            write_percent,
            each: Some(DRAWN as u64),
            rate_per_s: None,
            cancel: &cancel,
            random: Rng::with_seed(seed),
        };
        let mut operations = Remembers::default();
        let (counts, result) = work.run(&mut operations, None);
        assert!(result.is_ok());
        for class in Class::ALL {
            let done = operations.0.iter().filter(|one| one.0 == class).count();
            assert_eq!(counts[class as usize], done as u64, "{mix}: {class:?} is counted as it was done");
        }
        operations.0
    }

    /// Asserts that chi-square of `seen` for these shares is one that chance exceeds once in a thousand times.
    fn assert_shares(what: &str, seen: &[u64], shares: &[f64]) {
        let (drawn, whole) = (seen.iter().sum::<u64>() as f64, shares.iter().sum::<f64>());
        let expected = shares.iter().map(|share| drawn * share / whole);
        let chi: f64 =
            seen.iter().zip(expected).map(|(&seen, wanted)| (seen as f64 - wanted).powi(2) / wanted).sum();
        // Wilson and Hilferty's cube: 3.09 is the normal distribution's quantile.
        let freedom = (shares.len() - 1) as f64;
        let limit = freedom * (1.0 - 2.0 / (9.0 * freedom) + 3.09 * (2.0 / (9.0 * freedom)).sqrt()).powi(3);
        assert!(chi < limit, "{what}: chi-square {chi:.1} is above {limit:.1}: {seen:?} for {shares:?}");
    }

    fn histogram(bins: usize, of: impl Iterator<Item = usize>) -> Vec<u64> {
        let mut seen = vec![0; bins];
        of.for_each(|bin| seen[bin] += 1);
        seen
    }

    #[test]
    fn classes_and_writes_have_their_shares() {
        for seed in 0..5 {
            for (mix, shares) in [
                ("fault=16 age wrprotect unmap split", &[16., 1., 1., 1., 1.][..]),
                ("fault=90 age=10", &[90., 10.]),
                ("age=1 split=2", &[0., 1., 0., 0., 2.]),
                ("wrprotect=333333 unmap=1000000", &[0., 0., 333_333., 1e6]),
            ] {
                let operations = drawn(mix, Locality::Sequential, 30, seed);
                let seen = histogram(Class::ALL.len(), operations.iter().map(|one| one.0 as usize));
                let present: Vec<usize> = (0..shares.len()).filter(|&class| shares[class] > 0.0).collect();
                let of = |all: &[f64]| present.iter().map(|&class| all[class]).collect::<Vec<_>>();
                let seen_present: Vec<u64> = present.iter().map(|&class| seen[class]).collect();
                assert_eq!(
                    seen_present.iter().sum::<u64>(),
                    DRAWN as u64,
                    "{mix}: no class but those of the mix"
                );
                assert_shares(mix, &seen_present, &of(shares));
                // Together: whether it writes does not depend on the class, though both are of one word.
                let both = operations.iter().map(|one| 2 * one.0 as usize + usize::from(one.2));
                let both = histogram(2 * Class::ALL.len(), both);
                let both: Vec<u64> =
                    present.iter().flat_map(|&class| [both[2 * class], both[2 * class + 1]]).collect();
                let each: Vec<f64> = of(shares).iter().flat_map(|share| [0.7 * share, 0.3 * share]).collect();
                assert_shares(&format!("{mix} that write"), &both, &each);
            }
            let writes = drawn("fault", Locality::Sequential, 30, seed);
            let writes = histogram(2, writes.iter().map(|one| usize::from(one.2)));
            assert_shares("writes", &writes, &[0.7, 0.3]);
        }
    }

    #[test]
    fn places_have_their_shares() {
        let each = vec![1.0; PLACES as usize];
        let hot: Vec<f64> = (0..PLACES).map(|place| if place < 100 { 9.1 } else { 0.1 }).collect();
        for seed in 0..5 {
            for (locality, shares) in [(Locality::Random, &each), (Locality::Hot, &hot)] {
                for mix in ["fault", "age", "fault age=3"] {
                    let places = drawn(mix, locality, 100, seed);
                    let seen = histogram(PLACES as usize, places.iter().map(|one| one.1 as usize));
                    assert_shares(&format!("{locality:?} {mix}"), &seen, shares);
                }
            }
        }
    }

    #[test]
    fn a_seed_draws_the_same_again_and_a_mix_goes_over_each_part_in_order() {
        let mix = "fault=2 age wrprotect";
        let operations = drawn(mix, Locality::Sequential, 50, 7);
        assert_eq!(operations, drawn(mix, Locality::Sequential, 50, 7));
        assert_ne!(operations, drawn(mix, Locality::Sequential, 50, 8));
        for touches in [true, false] {
            let places = operations.iter().filter(|one| (one.0 == Class::Fault) == touches).map(|one| one.1);
            assert!(
                places.zip((0..PLACES).cycle()).all(|(place, wanted)| place == wanted),
                "touches: {touches}"
            );
        }
    }

    /// Takes 20 ms for its first operation, and nothing for the others.
    struct Stalls {
        turn: u64,
    }

    impl Operate for Stalls {
        type Error = Infallible;

        fn one(&mut self, _: Class, _: u64, _: bool) -> Result<(), Infallible> {
            if self.turn == 0 {
                std::thread::sleep(Duration::from_millis(20));
            }
            self.turn += 1;
            Ok(())
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
