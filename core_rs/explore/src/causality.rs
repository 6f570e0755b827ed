//! What happened before what, in one execution: vector clocks over the actions taken.
//!
//! Guarantee: an action happens before another exactly when a chain of actions leads from one to the other in
//! which each is of the thread of the next, or [depends](runtime::scheduled::dependent) on it. Two executions
//! with the same such order are equivalent. Kept from one execution to the next as far as both begin alike.

use runtime::scheduled::{Action, Kind, dependent, may_be_co_enabled, page_used};

const NONE: u32 = u32::MAX;

/// The order of an execution's actions, built action by action.
#[derive(Debug, Default)]
pub struct Causality {
    /// Threads, the one that runs RCU's work included.
    stride: usize,
    events: Vec<Event>,
    /// `stride` numbers an event: how many actions of each thread happen before it, its own included.
    clocks: Vec<u32>,
    /// The last event on each object.
    last_on: Vec<u32>,
    /// The last event of each thread.
    last_of: Vec<u32>,
    /// The pairs of events whose order may be reversible, later event last, since they were last taken.
    races: Vec<Race>,
}

/// Two events that depend on each other and whose order may have been a choice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Race {
    pub(crate) first: usize,
    pub(crate) second: usize,
}

#[derive(Clone, Copy, Debug)]
struct Event {
    thread: u32,
    /// Its number among those of its thread, from 1 up.
    number: u32,
    /// What it is done to: its target, and the page it uses; with the event before it on each.
    on: [(u32, u32); 2],
    previous_of: u32,
}

impl Event {
    /// The event before this one on an object.
    fn previous_on(&self, object: u32) -> u32 {
        if self.on[0].0 == object { self.on[0].1 } else { self.on[1].1 }
    }
}

impl Causality {
    /// Forgets all, and makes room for so many threads.
    pub(crate) fn reset(&mut self, threads: usize) {
        self.stride = threads;
        self.events.clear();
        self.clocks.clear();
        self.last_on.clear();
        self.last_of.clear();
        self.last_of.resize(threads, NONE);
        self.races.clear();
    }

    /// How many events there are.
    pub fn len(&self) -> usize {
        self.events.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    /// Forgets all events but the first `keep`.
    pub(crate) fn truncate(&mut self, keep: usize) {
        while self.events.len() > keep {
            let Some(event) = self.events.pop() else { break };
            self.last_of[event.thread as usize] = event.previous_of;
            for (object, previous) in event.on.into_iter().filter(|(object, _)| *object != NONE) {
                self.last_on[object as usize] = previous;
            }
        }
        self.clocks.truncate(keep * self.stride);
        self.races.clear();
    }

    /// Adds what `actions` has beyond the events known already, which it begins with.
    pub(crate) fn extend(&mut self, actions: &[Action]) {
        for at in self.events.len()..actions.len() {
            self.push(&actions[..at], &actions[at]);
        }
    }

    /// Adds an action after `actions`.
    pub(crate) fn push(&mut self, actions: &[Action], action: &Action) {
        let (at, thread, stride) = (actions.len(), action.thread, self.stride);
        let previous_of = self.last_of[thread];
        let base = self.clocks.len();
        let number = if previous_of == NONE {
            self.clocks.resize(base + stride, 0);
            1
        } else {
            let from = previous_of as usize * stride;
            self.clocks.extend_from_within(from..from + stride);
            self.events[previous_of as usize].number + 1
        };
        let mut event = Event { thread: thread as u32, number, on: [(NONE, NONE); 2], previous_of };
        let objects = [action.target.map(|target| target.object), page_used(action)];
        for (on, object) in event.on.iter_mut().zip(objects) {
            let Some(object) = object else { continue };
            if object >= self.last_on.len() {
                self.last_on.resize(object + 1, NONE);
            }
            let previous = std::mem::replace(&mut self.last_on[object], at as u32);
            *on = (object as u32, previous);
            self.order(actions, action, *on, base);
        }
        self.clocks[base + thread] = number;
        self.last_of[thread] = at as u32;
        self.events.push(event);
    }

    /// Orders a new event, whose clock is at `base`, after those on an object that it depends on, and notes which
    /// of them it races with.
    fn order(&mut self, actions: &[Action], action: &Action, (object, mut on): (u32, u32), base: usize) {
        let waits = waits(action.kind);
        let previous_of = self.last_of[action.thread];
        while on != NONE {
            let earlier = on as usize;
            let event = &self.events[earlier];
            let (thread, number) = (event.thread as usize, event.number);
            on = event.previous_on(object);
            let known = |clock: usize| self.clocks[clock + thread] >= number;
            let after = known(base);
            // Of an action that never waits, only the direct predecessors can be reversed. One that waits is not
            // enabled right after some of those, and may be reversed with events before them.
            if thread == action.thread || (after && !waits) {
                continue;
            }
            if waits && previous_of != NONE && known(previous_of as usize * self.stride) {
                continue;
            }
            if !dependent(&actions[earlier], action) {
                continue;
            }
            if may_be_co_enabled(&actions[earlier], action) {
                self.races.push(Race { first: earlier, second: actions.len() });
            }
            if !after {
                let (past, new) = self.clocks.split_at_mut(base);
                let from = earlier * self.stride;
                for (mine, theirs) in new.iter_mut().zip(&past[from..from + self.stride]) {
                    *mine = (*mine).max(*theirs);
                }
            }
        }
    }

    /// The races found since they were last taken.
    pub(crate) fn take_races(&mut self, into: &mut Vec<Race>) {
        into.clear();
        into.append(&mut self.races);
    }

    /// How many actions of each thread happen before that event, its own included.
    pub fn clock(&self, event: usize) -> &[u32] {
        &self.clocks[event * self.stride..(event + 1) * self.stride]
    }

    /// The event's thread.
    pub fn thread(&self, event: usize) -> usize {
        self.events[event].thread as usize
    }

    /// The event's number among those of its thread, from 1 up.
    pub fn number(&self, event: usize) -> u32 {
        self.events[event].number
    }

    /// The last event of a thread.
    pub fn last_of(&self, thread: usize) -> Option<usize> {
        self.last_of.get(thread).filter(|last| **last != NONE).map(|last| *last as usize)
    }

    /// Whether `a` happens before `b`, or is `b`.
    pub fn before(&self, a: usize, b: usize) -> bool {
        let Event { thread, number, .. } = self.events[a];
        self.clock(b)[thread as usize] >= number
    }
}

/// Whether an action of this kind can be impossible for a while, in a way that others' actions on its target
/// may bring about as well as end.
pub(crate) fn waits(kind: Kind) -> bool {
    matches!(kind, Kind::Lock | Kind::Read | Kind::Write | Kind::AwaitChange)
}
