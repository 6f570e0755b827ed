//! What the calls on one table caused: sums for ever, and the latest events in order.

use std::collections::VecDeque;

use stage2::{Event, EventCounts, Maintenance};

/// Events that are kept; the oldest go first. About 50 MB.
const KEPT: usize = 1 << 20;

/// One event, and the call that caused it.
#[derive(Clone, Copy)]
pub(crate) struct Recorded {
    /// Which call on this table, from 0.
    pub(crate) call: u64,
    /// The name of the operation.
    pub(crate) operation: &'static str,
    pub(crate) event: Event,
}

/// The record of one table.
#[derive(Default)]
pub(crate) struct History {
    pub(crate) counts: EventCounts,
    pub(crate) recorded: VecDeque<Recorded>,
    /// Events that had to make room.
    pub(crate) dropped: u64,
    calls: u64,
}

impl History {
    /// Begins a call and answers its number.
    pub(crate) fn begin(&mut self) -> u64 {
        self.calls += 1;
        self.calls - 1
    }

    /// Adds what a call caused.
    pub(crate) fn add(&mut self, call: u64, operation: &'static str, events: impl Iterator<Item = Event>) {
        for event in events {
            self.counts.log(event);
            if self.recorded.len() == KEPT {
                self.recorded.pop_front();
                self.dropped += 1;
            }
            self.recorded.push_back(Recorded { call, operation, event });
        }
    }
}
