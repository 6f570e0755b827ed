//! A thread's part of the guest, and the order in which it goes over it.

use std::hint::select_unpredictable;

use fastrand::Rng;

use crate::draw::Word;
use crate::names::{Locality, Pattern};

/// Places in the guest, by number, as one thread visits them.
#[derive(Clone, Debug)]
pub(crate) struct Part {
    first: u64,
    count: u64,
    /// All places of the guest: a part that begins in the middle goes on at the start.
    all: u64,
    next: u64,
    /// Its first places, which [`Locality::Hot`] visits most.
    hot: u64,
    locality: Locality,
}

impl Part {
    /// The part of thread number `thread` of `threads`, of `all` places.
    pub(crate) fn new(pattern: Pattern, locality: Locality, all: u64, thread: usize, threads: usize) -> Self {
        let place = |thread: usize| (u128::from(all) * thread as u128 / threads as u128) as u64;
        let first = place(thread);
        let count = match pattern {
            Pattern::Disjoint => place(thread + 1) - first,
            Pattern::Overlapping => all,
        };
        Self { first, count, all, next: 0, hot: count.div_ceil(10), locality }
    }

    /// Places of the part.
    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    /// The next place.
    #[inline(always)]
    #[allow(clippy::inline_always)] // in the loop it stays in registers, outside of it not
    pub(crate) fn next(&mut self, random: &mut Rng) -> u64 {
        let offset = match self.locality {
            Locality::Sequential => {
                let offset = self.next;
                self.next = if offset + 1 == self.count { 0 } else { offset + 1 };
                offset
            }
            Locality::Random => Word::new(random).below(self.count),
            Locality::Hot => {
                let mut word = Word::new(random);
                let hot = word.below(10) < 9;
                word.below(select_unpredictable(hot, self.hot, self.count))
            }
        };
        let place = self.first + offset;
        if place < self.all { place } else { place - self.all }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn disjoint_parts_are_the_guest_and_overlapping_ones_are_all_of_it() {
        let mut random = Rng::with_seed(1);
        let mut visit =
            |mut part: Part| (0..part.count()).map(|_| part.next(&mut random)).collect::<Vec<_>>();
        for threads in [1, 2, 3, 7] {
            let part = |pattern, thread| Part::new(pattern, Locality::Sequential, 10, thread, threads);
            let all: Vec<u64> =
                (0..threads).flat_map(|thread| visit(part(Pattern::Disjoint, thread))).collect();
            assert_eq!(all, (0..10).collect::<Vec<_>>(), "{threads} threads");
            for thread in 0..threads {
                let mut all = visit(part(Pattern::Overlapping, thread));
                all.sort_unstable();
                assert_eq!(all, (0..10).collect::<Vec<_>>(), "thread {thread} of {threads}");
            }
        }
    }
}
