//! Who goes next.

use super::Action;

/// Decides, at every action of an execution, whose turn it is.
pub trait Policy {
    /// Picks one of `enabled`, by index; `None` abandons the execution.
    ///
    /// `enabled` holds the next action of each thread that can go on, in the order of threads, and is
    /// never empty. `taken` is what has happened so far.
    fn choose(&mut self, enabled: &[Action], taken: &[Action]) -> Option<usize>;
}

/// Picks each enabled thread with the same probability, and abandons after so many actions.
#[derive(Clone, Debug)]
pub struct RandomWalk {
    state: u64,
    max_actions: usize,
}

impl RandomWalk {
    /// A walk that is a function of its seed.
    pub fn new(seed: u64, max_actions: usize) -> Self {
        Self { state: seed, max_actions }
    }

    /// Splitmix64 (Steele, Lea, Flood 2014).
    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E3779B97F4A7C15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58476D1CE4E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D049BB133111EB);
        z ^ (z >> 31)
    }
}

impl Policy for RandomWalk {
    fn choose(&mut self, enabled: &[Action], taken: &[Action]) -> Option<usize> {
        if taken.len() >= self.max_actions {
            return None;
        }
        // The high half of a product scales without a division; its bias is below enabled / 2^64.
        Some(((u128::from(self.next()) * enabled.len() as u128) >> 64) as usize)
    }
}

/// Repeats a schedule: the thread of each action in turn, then always the lowest enabled thread.
///
/// An execution in which a thread of the schedule cannot go on is abandoned there.
#[derive(Clone, Debug)]
pub struct Replay(pub Vec<usize>);

impl Policy for Replay {
    fn choose(&mut self, enabled: &[Action], taken: &[Action]) -> Option<usize> {
        match self.0.get(taken.len()) {
            Some(thread) => enabled.iter().position(|action| action.thread == *thread),
            None => Some(0),
        }
    }
}
