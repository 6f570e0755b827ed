//! What reading a trace gives, whichever of the two forms it had, and the judgement over what it lacks.
//!
//! A trace may begin in the middle of things, and the kernel may have dropped events: that is named, not an
//! error. A trace from which something else was taken away is an error.

use std::collections::HashSet;

use crate::error::{Blame, CaptureError};
use crate::record::{Comm, Event, Record};

/// The records of one file, ordered by `t1_us`, and what the file lacks.
#[derive(Clone, Debug, Default)]
pub struct Trace {
    /// The records.
    pub records: Vec<Record>,
    /// Events that the kernel says it dropped.
    pub lost: Vec<Lost>,
    /// Returns whose call the trace did not see, in order.
    pub unentered: Vec<Unpaired>,
    /// Calls whose return the trace did not see, in order.
    pub unreturned: Vec<Unpaired>,
    /// Lines or records that the file itself counts and does not hold.
    pub missing: Option<Missing>,
}

/// Events that were dropped while the trace was recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lost {
    /// The file.
    pub file: String,
    /// The line that says so.
    pub line: usize,
    /// The processor, where it is known.
    pub cpu: Option<u32>,
    /// How many, where it is known.
    pub events: Option<u64>,
}

/// One half of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unpaired {
    /// The operation.
    pub op: &'static str,
    /// The task.
    pub pid: u32,
    /// The task's name.
    pub comm: Comm,
    /// The time of the half that is there, in microseconds.
    pub t_us: u64,
    /// Its line.
    pub line: usize,
    /// What was entered; none for a return, and where the record needs what only the return says.
    pub event: Option<Event>,
}

/// Something that a file counts but does not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Missing {
    /// The line before which the first of them is missing, as far as the file tells.
    pub line: usize,
    /// How many.
    pub count: u64,
}

impl Trace {
    /// Whether the trace shows that it began after the VMs it speaks of: an operation on a table that it
    /// did not see created, or a return without its call. What is missing is then what came before.
    pub(crate) fn begins_late(&self) -> bool {
        let mut created = HashSet::new();
        !self.unentered.is_empty()
            || self.records.iter().any(|record| match record.event {
                Event::Init { pgt, .. } => {
                    created.insert(pgt);
                    false
                }
                _ => record.event.table().is_some_and(|pgt| !created.contains(&pgt)),
            })
    }

    /// The trace, unless something is missing from it that a late beginning does not explain.
    pub(crate) fn judged(self, blame: Blame<'_>) -> Result<Self, CaptureError> {
        match self.missing {
            Some(missing) if !self.begins_late() => Err(missing.error(blame)),
            _ => Ok(self),
        }
    }
}

impl Missing {
    pub(crate) fn error(self, blame: Blame<'_>) -> CaptureError {
        let Self { line, count } = self;
        let cause = match count {
            1 => "one record that the file counts is not in it".to_owned(),
            _ => format!("{count} records that the file counts are not in it"),
        };
        blame.cut(line, cause, "all of them (stop tracing before the trace is read)")
    }
}
