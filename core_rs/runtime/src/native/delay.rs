//! Longer critical sections, to see what a result depends on: `perf lock contention`'s delay injection, by site.

use crate::site::set_delay;

/// While it lives, each lock that was taken at a site of one name is held longer, see [`Delay::at`].
#[derive(Debug)]
#[must_use = "locks are held longer only while this lives"]
pub struct Delay {
    name: String,
    /// What was set before, in nanoseconds.
    before: u32,
}

impl Delay {
    /// From now on, whoever takes a lock at a site of this name spins for `ns` more before the lock is dropped: in
    /// the whole process, for each kind of lock, read or write, with [`Counts`](super::Counts) and [`Times`](super::Times).
    /// [`Off`](super::Off) looks at nothing, so there is no delay. An acquisition that has begun is not delayed.
    ///
    /// ```
    /// use runtime::native::{Delay, Native, Times};
    /// use runtime::{Runtime, site};
    ///
    /// let mmu_lock = Native::<Times>::new_rwlock("mmu_lock");
    /// let delayed = Delay::at("kvm_handle_guest_abort", 50_000);
    /// drop(Native::read(&mmu_lock, site!("kvm_handle_guest_abort")));
    /// drop(delayed);
    /// assert!(Native::stats(&mmu_lock).read.hold.min_ns >= 49_000);
    /// ```
    pub fn at(name: &str, ns: u32) -> Self {
        Self { name: name.to_owned(), before: set_delay(name, ns) }
    }
}

impl Drop for Delay {
    fn drop(&mut self) {
        set_delay(&self.name, self.before);
    }
}
