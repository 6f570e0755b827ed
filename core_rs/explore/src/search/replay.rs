//! One execution: a schedule that is followed, and said where it does not fit.

use runtime::scheduled::{Action, Execution};

use super::{Search, index_of, mask, prefer_last};
use crate::causality::Causality;

/// Follows a schedule: the thread of each action in turn; after its end, the thread that went last as long as
/// it can, then the lowest that can.
#[derive(Debug)]
pub struct Follow {
    threads: Vec<usize>,
    begun: bool,
    /// The action for which the thread asked for could not go on, and who could.
    misfit: Option<(usize, Vec<usize>)>,
}

impl Follow {
    /// Follows the threads of a schedule.
    pub fn new(threads: Vec<usize>) -> Self {
        Self { threads, begun: false, misfit: None }
    }

    /// Where the schedule did not fit: the number of the action, and the threads that could have taken it.
    pub fn misfit(&self) -> Option<&(usize, Vec<usize>)> {
        self.misfit.as_ref()
    }
}

impl Search for Follow {
    fn name(&self) -> &'static str {
        "replay"
    }

    fn begin(&mut self) -> Option<usize> {
        let first = !self.begun;
        self.begun = true;
        first.then_some(0)
    }

    fn choose(&mut self, enabled: &[Action], taken: &[Action]) -> Option<usize> {
        let Some(thread) = self.threads.get(taken.len()) else {
            return prefer_last(mask(enabled), taken).and_then(|thread| index_of(enabled, thread));
        };
        let index = index_of(enabled, *thread);
        if index.is_none() {
            self.misfit = Some((taken.len(), enabled.iter().map(|action| action.thread).collect()));
        }
        index
    }

    fn end(&mut self, execution: &Execution, _causality: &mut Causality) {
        if self.misfit.is_none() && execution.actions.len() < self.threads.len() {
            self.misfit = Some((execution.actions.len(), Vec::new()));
        }
    }
}
