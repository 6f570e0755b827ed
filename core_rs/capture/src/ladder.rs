//! Two tasks side by side, as a commit message shows a race: a column a task, a line a step, time downwards.
//!
//! Guarantee: every recorded call of the two tasks that was under way in the given interval or beside it stands
//! there once, at its entry, under the calls around it; flushes and frees of caches also at their return. Calls of
//! one function that follow each other are one step with a count. Names are the kernel's.

use std::fmt;
use std::ops::Range;

use crate::calls::{Call, Calls};
use crate::probes::function;
use crate::record::{Comm, Event};

/// The steps of two tasks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ladder {
    /// The two tasks: number and name.
    pub tasks: [(u32, Comm); 2],
    /// In the order of time.
    pub steps: Vec<Step>,
    /// In which interval both were inside, in microseconds.
    pub both_us: Range<u64>,
}

/// One line of a ladder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// When, in microseconds of the trace's clock.
    pub t_us: u64,
    /// Which task: 0 or 1.
    pub side: usize,
    /// How many calls are around it.
    pub depth: usize,
    /// The kernel's function.
    pub function: &'static str,
    /// What matters of its arguments.
    pub detail: String,
    /// It returns here; otherwise it is entered.
    pub returns: bool,
    /// How many calls of it this step stands for.
    pub count: u64,
}

impl Ladder {
    pub(crate) fn of<'a>(calls: &Calls<'a>, pair: [&Call<'a>; 2], both_us: Range<u64>) -> Self {
        let window = pair[0].t0_us.min(pair[1].t0_us)..=pair[0].t1_us.max(pair[1].t1_us);
        let mut steps = Vec::new();
        for (side, subject) in pair.into_iter().enumerate() {
            let mut open: Vec<u64> = Vec::new(); // when the calls around the next one return
            for call in calls.of_task(subject.pid) {
                let seen = call.t0_us <= *window.end() && call.t1_us >= *window.start();
                let Some(function) = function(call.event.op()).filter(|_| seen) else { continue };
                open.retain(|&t1_us| t1_us >= call.t1_us && t1_us > call.t0_us);
                let depth = open.len();
                let step =
                    |t_us, returns, detail| Step { t_us, side, depth, function, detail, returns, count: 1 };
                steps.push(step(call.t0_us, false, detail(call.event)));
                let is_torn_down_twice =
                    matches!(call.event, Event::FlushShadowAll { .. } | Event::McFree { .. });
                if is_torn_down_twice && call.returned && call.t1_us <= *window.end() {
                    steps.push(step(call.t1_us, true, String::new()));
                }
                if call.t0_us < call.t1_us {
                    open.push(call.t1_us);
                }
            }
        }
        // Stable: what one task did in one microsecond stays in its order.
        steps.sort_by_key(|step| step.t_us);
        Self { tasks: pair.map(|call| (call.pid, call.comm)), steps: folded(steps), both_us }
    }
}

/// Steps of one function in a row as one.
fn folded(steps: Vec<Step>) -> Vec<Step> {
    let mut out: Vec<Step> = Vec::with_capacity(steps.len());
    for step in steps {
        match out.last_mut() {
            Some(last)
                if (last.side, last.depth, last.function) == (step.side, step.depth, step.function)
                    && !last.returns
                    && !step.returns =>
            {
                last.count += 1;
            }
            _ => out.push(step),
        }
    }
    out
}

/// The arguments that tell one path from another; what both columns share stands above the ladder.
fn detail(event: &Event) -> String {
    match *event {
        Event::McFree { nobjs, .. } => format!("nobjs={nobjs}"),
        Event::FreeStage2Pgd { pgt: 0, .. } => "pgt=NULL".to_owned(),
        _ => String::new(),
    }
}

impl fmt::Display for Ladder {
    /// The times are seconds; a bar stands where both tasks were inside.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let titles = self.tasks.map(|(pid, comm)| format!("{} (pid {pid})", comm.as_str()));
        let lines: Vec<_> = self.steps.iter().map(|step| (step, line(step))).collect();
        let first = lines.iter().filter(|(step, _)| step.side == 0).map(|(_, line)| line.len());
        let width = first.chain([titles[0].len()]).max().unwrap_or(0);
        writeln!(f, "{:>12}   {:width$}  {}", "time", titles[0], titles[1])?;
        for (step, line) in lines {
            let time = format!("{}.{:06}", step.t_us / 1_000_000, step.t_us % 1_000_000);
            let both = self.both_us.start <= step.t_us && step.t_us <= self.both_us.end;
            let bar = if both { '|' } else { ' ' };
            let (left, right) = if step.side == 0 { (line.as_str(), "") } else { ("", line.as_str()) };
            let text = format!("{time:>12} {bar} {left:width$}  {right}");
            writeln!(f, "{}", text.trim_end())?;
        }
        Ok(())
    }
}

fn line(step: &Step) -> String {
    let Step { function, detail, count, .. } = step;
    let indent = "  ".repeat(step.depth);
    match (step.returns, count, detail.is_empty()) {
        (true, ..) => format!("{indent}{function} returns"),
        (false, 1, true) => format!("{indent}{function}"),
        (false, 1, false) => format!("{indent}{function}: {detail}"),
        _ => format!("{indent}{function} (x {count})"),
    }
}
