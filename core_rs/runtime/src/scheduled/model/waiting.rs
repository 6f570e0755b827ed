//! Who waits for whom, and deadlocks.

use std::collections::VecDeque;

use super::Model;
use crate::scheduled::{Action, Deadlock, Effect, Kind, Outcome, Waiting};

impl Model {
    /// What it means that no thread can go on.
    pub(in crate::scheduled) fn settled(&self) -> Outcome {
        let waiting: Vec<_> = self.unfinished().map(|pending| self.waiting(pending)).collect();
        if waiting.is_empty() { Outcome::Finished } else { Outcome::Deadlock(waiting) }
    }

    /// What is still to be done: all but to look for work where there is none.
    pub(super) fn unfinished(&self) -> impl Iterator<Item = &Action> {
        let idle = |pending: &&Action| pending.kind == Kind::RcuWork && self.queue.is_empty();
        self.pending.iter().filter(move |pending| !idle(pending))
    }

    fn waiting(&self, pending: &Action) -> Waiting {
        let mut holders = Vec::new();
        self.holders(pending, &mut |thread| holders.push(thread));
        holders.sort_unstable();
        holders.dedup();
        Waiting { action: *pending, holders }
    }

    /// The threads that must do something before `pending` can be taken, perhaps more than once each.
    fn holders(&self, pending: &Action, found: &mut dyn FnMut(usize)) {
        if let Kind::RcuBarrierOver = pending.kind {
            self.worker().into_iter().for_each(found);
            return;
        }
        let Some(held) = self.held_at(pending) else { return };
        let below = match (pending.kind, pending.effect) {
            (Kind::Write, _) => u64::MAX,
            (Kind::Synchronized, Effect::SectionsBelow(limit)) => limit,
            (Kind::RcuWork, _) => self.queue.front().map_or(0, |first| first.limit),
            _ => 0,
        };
        let sections = held.sections.iter().filter(|(section, _)| *section < below);
        held.writer.into_iter().chain(sections.map(|(_, thread)| *thread)).for_each(found);
    }

    /// Notes a deadlock when `thread`, which cannot go on, waits for itself.
    #[cold]
    pub(super) fn note_deadlock(&mut self, thread: usize) {
        let blocked = |thread: usize| -> Option<&Action> {
            self.pending[self.able..].iter().find(|pending| pending.thread == thread)
        };
        // Breadth first: `before` leads from each thread that is reached back to `thread`, by a shortest way.
        let mut before = vec![None; self.threads.len()];
        let mut reached = VecDeque::from([thread]);
        while let Some(waiter) = reached.pop_front() {
            let Some(pending) = blocked(waiter) else { continue };
            self.holders(pending, &mut |holder| {
                if before[holder].is_none() {
                    before[holder] = Some(waiter);
                    reached.push_back(holder);
                }
            });
        }
        let Some(mut waiter) = before[thread] else { return };
        let mut cycle = vec![waiter];
        while waiter != thread {
            waiter = before[waiter].expect("reached from `thread`");
            cycle.push(waiter);
        }
        cycle.reverse();
        let cycle = cycle.into_iter().filter_map(blocked).map(|pending| self.waiting(pending)).collect();
        self.deadlocks.push(Deadlock { after: self.taken.len(), cycle });
    }
}
