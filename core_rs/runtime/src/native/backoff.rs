//! How a spinning lock waits: it spins for about as long as a short critical section, then gives the processor
//! up at every look, so that a holder without a processor gets one.

use super::sync::{spin_loop, yield_now};

/// Looks before the processor is given up.
const SPINS: u32 = 100;

/// How long one waiter has waited.
#[derive(Default)]
pub(super) struct Backoff {
    spins: u32,
}

impl Backoff {
    pub(super) const fn new() -> Self {
        Self { spins: 0 }
    }

    /// Waits a little.
    #[inline]
    pub(super) fn wait(&mut self) {
        if self.spins < SPINS {
            self.spins += 1;
            spin_loop();
        } else {
            yield_now();
        }
    }
}

/// Waits until `condition` holds.
#[inline]
pub(super) fn until(mut condition: impl FnMut() -> bool) {
    let mut backoff = Backoff::new();
    while !condition() {
        backoff.wait();
    }
}
