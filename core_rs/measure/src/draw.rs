//! Random choices without a division or a branch that chance decides: a processor would mispredict it.
//!
//! Guarantee: the same seed draws the same. A choice of `n` out of a word of 64 bits has each outcome with a probability that
//! differs from `1 / n` by less than `2^-64`; what follows from the same word has `2^64 / n` values to come from. So words
//! are shared only by choices that leave 24 bits: a class and whether it writes, or whether a place is hot and which it is.

use fastrand::Rng;

use crate::mix::{Class, Mix};

/// A random word, and what is left of it after each choice.
pub(crate) struct Word(u64);

#[allow(clippy::inline_always)] // one multiplication each
impl Word {
    #[inline(always)]
    pub(crate) fn new(random: &mut Rng) -> Self {
        Self(random.u64(..))
    }

    /// One of `0..n`: the whole part of the word as a fraction times `n`. What is behind the point is the next fraction.
    #[inline(always)]
    pub(crate) fn below(&mut self, n: u64) -> u64 {
        let product = u128::from(self.0) * u128::from(n);
        self.0 = product as u64;
        (product >> 64) as u64
    }
}

/// How a class is drawn from a mix.
#[derive(Clone, Debug)]
pub(crate) struct Classes {
    total: u64,
    /// Where each class but the first begins, among the numbers below the sum of the weights.
    begins: [u64; Class::ALL.len() - 1],
}

impl Classes {
    pub(crate) fn new(mix: &Mix) -> Self {
        let mut total = 0;
        let ends = Class::ALL.map(|class| {
            total += u64::from(mix.weight(class));
            total
        });
        Self { total, begins: std::array::from_fn(|class| ends[class]) }
    }

    /// A class, with a probability that is its weight's share.
    #[inline(always)]
    #[allow(clippy::inline_always)]
    pub(crate) fn draw(&self, word: &mut Word) -> Class {
        let number = word.below(self.total);
        Class::ALL[self.begins.iter().map(|begin| usize::from(number >= *begin)).sum::<usize>()]
    }
}
