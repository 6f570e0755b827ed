//! How far an exploration goes.

use std::fmt;
use std::time::Duration;

/// Bounds of an exploration. What none of them cuts is all there is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Preemptions of an execution: switches away from a thread that could go on.
    pub preemptions: Option<usize>,
    /// Actions of an execution.
    pub actions: usize,
    /// Executions.
    pub executions: Option<u64>,
    /// Time for the whole.
    pub time: Option<Duration>,
}

impl Default for Bounds {
    /// Executions of at most 10000 actions, and all of them.
    fn default() -> Self {
        Self { preemptions: None, actions: 10_000, executions: None, time: None }
    }
}

impl fmt::Display for Bounds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} actions an execution", self.actions)?;
        if let Some(preemptions) = self.preemptions {
            write!(f, ", {preemptions} preemptions an execution")?;
        }
        if let Some(executions) = self.executions {
            write!(f, ", {executions} executions")?;
        }
        if let Some(time) = self.time {
            write!(f, ", {} s", time.as_secs_f64())?;
        }
        Ok(())
    }
}
