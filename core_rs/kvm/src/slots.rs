//! A list that only grows, shared without a lock.
//!
//! Guarantee: what was pushed stays where it is as long as the list lives, so a number is good for ever.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Entries of the first chunk; each further chunk doubles.
const FIRST: usize = 16;
const CHUNKS: usize = 24;

pub(crate) struct Slots<T> {
    chunks: [OnceLock<Box<[OnceLock<T>]>>; CHUNKS],
    next: AtomicUsize,
}

impl<T> Slots<T> {
    pub(crate) fn new() -> Self {
        Self { chunks: [const { OnceLock::new() }; CHUNKS], next: AtomicUsize::new(0) }
    }

    /// Adds what `make` makes of its own number; answers the number.
    pub(crate) fn push_with(&self, make: impl FnOnce(usize) -> T) -> usize {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let (chunk, place) = locate(number);
        let entries =
            self.chunks[chunk].get_or_init(|| (0..FIRST << chunk).map(|_| OnceLock::new()).collect());
        let fresh = entries[place].set(make(number)).is_ok();
        debug_assert!(fresh, "every number is given once");
        number
    }

    /// The entry of that number, if there is one.
    pub(crate) fn get(&self, number: usize) -> Option<&T> {
        let (chunk, place) = locate(number);
        self.chunks.get(chunk)?.get()?[place].get()
    }

    /// All entries, in the order of their numbers.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (usize, &T)> {
        let len = self.next.load(Ordering::Relaxed);
        (0..len).filter_map(|number| Some((number, self.get(number)?)))
    }
}

/// The chunk of a number, and its place there.
fn locate(number: usize) -> (usize, usize) {
    let chunk = (number / FIRST + 1).ilog2() as usize;
    (chunk, number - FIRST * ((1 << chunk) - 1))
}

#[cfg(test)]
mod tests {
    use super::Slots;

    #[test]
    fn numbers_are_given_in_order_and_keep_their_entries() {
        let slots = Slots::new();
        for n in 0..200 {
            assert_eq!(slots.push_with(|number| number * 2), n);
        }
        assert!(slots.iter().all(|(number, entry)| *entry == number * 2));
        assert_eq!(slots.iter().count(), 200);
        assert_eq!(slots.get(200), None);
    }
}
