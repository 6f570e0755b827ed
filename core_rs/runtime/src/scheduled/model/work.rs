//! Work handed to `call_rcu`, oldest first.

use super::Model;
use crate::scheduled::Effect;

/// Work handed to `call_rcu`.
pub(in crate::scheduled) type Work = Box<dyn FnOnce() + Send>;

/// Such work, and what it waits for.
pub(super) struct Queued {
    number: u64,
    /// RCU sections below this number must be over first.
    pub(super) limit: u64,
    work: Work,
}

impl Model {
    pub(in crate::scheduled) fn hand_over(&mut self, work: Work) {
        let rcu = self.rcu();
        self.queue.push_back(Queued { number: self.queued, limit: self.sections(rcu), work });
        self.queued += 1;
        // The first work needs a thread to be started.
        (self.follow, self.changed) = (0, true);
    }

    /// How much work was handed over so far.
    pub(in crate::scheduled) fn handed_over(&self) -> u64 {
        self.queued
    }

    /// Takes the oldest work out of the queue; answers what it is, too.
    pub(in crate::scheduled) fn oldest_work(&mut self) -> Option<(Effect, Work)> {
        self.changed = true;
        self.queue.pop_front().map(|first| (first.effect(), first.work))
    }
}

impl Queued {
    pub(super) fn effect(&self) -> Effect {
        Effect::Work { number: self.number, sections_below: self.limit }
    }
}
