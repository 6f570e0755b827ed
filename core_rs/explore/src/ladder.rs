//! A finding as kernel people tell it: one column a thread, one line a step, time downwards.
//!
//! By default only what matters to the finding: the actions it is about, what else is done to the same object,
//! and, in the functions where they happen, what is done to words that other threads change. All lines are on
//! request. Nothing is said that the execution does not hold.

use std::fmt::Write;

use runtime::scheduled::{Action, Effect, Execution, Kind, Program, writes};

use crate::finding::{Finding, Role};

/// A line of a ladder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Whose it is, an index into the execution's threads.
    pub thread: usize,
    /// The number of the action; for a thread that waits at the end, the number of actions.
    pub action: usize,
    /// The function it happens in.
    pub function: &'static str,
    /// What happens.
    pub text: String,
    /// What the finding has to say about it; empty for most.
    pub note: String,
}

/// The lines of a finding's ladder, in the order of time. The program is the one that was executed.
pub fn lines(program: &dyn Program, execution: &Execution, finding: &Finding, all: bool) -> Vec<Line> {
    let end = finding.schedule.threads.len().min(execution.actions.len());
    let relevant = if all { vec![true; end] } else { relevant(execution, finding, end) };
    let mut lines: Vec<_> = (0..end)
        .filter(|at| relevant[*at])
        .map(|at| {
            let action = &execution.actions[at];
            let (function, text) = tell(program, execution, action);
            Line { thread: action.thread, action: at, function, text, note: note(finding, at) }
        })
        .collect();
    if finding.kind == crate::Kind::Deadlock {
        for action in execution.pending.iter().filter(|action| waits_in(execution, finding, action)) {
            let (function, text) = tell(program, execution, action);
            let note = "waits".to_owned();
            lines.push(Line { thread: action.thread, action: end, function, text, note });
        }
    }
    lines
}

/// The ladder as text, for a commit message.
pub fn ladder(program: &dyn Program, execution: &Execution, finding: &Finding, all: bool) -> String {
    let lines = lines(program, execution, finding, all);
    let mut columns: Vec<_> = lines.iter().map(|line| line.thread).collect();
    columns.sort_unstable();
    columns.dedup();
    let mut rows: Vec<(usize, String)> = Vec::new();
    let mut functions = vec![""; columns.len()];
    for line in &lines {
        let column = columns.iter().position(|thread| *thread == line.thread).unwrap_or(0);
        if functions[column] != line.function {
            functions[column] = line.function;
            rows.push((column, line.function.to_owned()));
        }
        let mut text = format!("  {}", line.text);
        if !line.note.is_empty() {
            let _ = write!(text, "   <- {}", line.note);
        }
        rows.push((column, text));
    }
    let heads: Vec<_> =
        columns.iter().enumerate().map(|(at, thread)| head(at, &execution.threads[*thread])).collect();
    let width = |column: usize| {
        let widest = rows.iter().filter(|row| row.0 == column).map(|row| row.1.chars().count()).max();
        widest.unwrap_or(0).max(heads[column].chars().count()) + 3
    };
    let widths: Vec<_> = (0..columns.len()).map(width).collect();
    let mut text = String::new();
    for (head, width) in heads.iter().zip(&widths) {
        let _ = write!(text, "{head:width$}");
    }
    let mut text = text.trim_end().to_owned();
    for (column, row) in &rows {
        let indent: usize = widths[..*column].iter().sum();
        let _ = write!(text, "\n{:indent$}{row}", "");
    }
    let _ = write!(text, "\n\n{}: {}\n", finding.kind, finding.what);
    for step in &finding.steps {
        let _ = writeln!(
            text,
            "  {} by {} at {} (action {})",
            step.role.name(),
            step.thread,
            step.site,
            step.action
        );
    }
    text
}

/// A column's head: threads are `T1` and on, whatever else they are called.
fn head(at: usize, name: &str) -> String {
    let own = format!("T{}", at + 1);
    if name == own { own } else { format!("{own} ({name})") }
}

/// Which actions matter to a finding.
fn relevant(execution: &Execution, finding: &Finding, end: usize) -> Vec<bool> {
    let actions = &execution.actions[..end];
    let mut relevant = vec![false; end];
    let marked: Vec<_> =
        finding.steps.iter().filter(|step| step.role != Role::Waits).map(|step| step.action).collect();
    let mut objects: Vec<_> =
        marked.iter().filter_map(|at| actions.get(*at)?.target).map(|target| target.object).collect();
    if finding.kind == crate::Kind::Deadlock {
        let waited = execution.pending.iter().filter(|action| waits_in(execution, finding, action));
        objects.extend(waited.filter_map(|action| action.target).map(|target| target.object));
    }
    for (at, action) in actions.iter().enumerate() {
        relevant[at] =
            marked.contains(&at) || action.target.is_some_and(|target| objects.contains(&target.object));
    }
    let mut functions: Vec<_> = (0..end)
        .filter(|at| relevant[*at])
        .map(|at| (actions[at].thread, function(actions[at].site.name())))
        .collect();
    functions.dedup();
    for (at, action) in actions.iter().enumerate() {
        relevant[at] |= functions.contains(&(action.thread, function(action.site.name())))
            && is_access(action)
            && execution.actions.iter().any(|other| {
                other.thread != action.thread
                    && other.target == action.target
                    && is_access(other)
                    && (writes(other) || writes(action))
            });
    }
    if marked.is_empty() && objects.is_empty() {
        // Of the end of an execution: the last thing that each thread did.
        for thread in 0..execution.threads.len() {
            if let Some(last) = actions.iter().rposition(|action| action.thread == thread) {
                relevant[last] = true;
            }
        }
    }
    relevant
}

fn waits_in(execution: &Execution, finding: &Finding, action: &Action) -> bool {
    let thread = &execution.threads[action.thread];
    finding
        .steps
        .iter()
        .any(|step| step.role == Role::Waits && step.thread == *thread && step.site == action.site.name())
}

fn note(finding: &Finding, at: usize) -> String {
    let mut notes: Vec<_> = finding
        .steps
        .iter()
        .filter(|step| step.action == at && step.role != Role::Waits)
        .map(|step| step.role)
        .collect();
    notes.dedup();
    let shows = |role: &Role| {
        if *role == Role::Used && finding.kind.is_harm() { finding.kind.name() } else { role.name() }
    };
    notes.iter().map(shows).collect::<Vec<_>>().join(", ")
}

fn is_access(action: &Action) -> bool {
    matches!(
        action.kind,
        Kind::Load(_)
            | Kind::Store(_)
            | Kind::CompareExchange
            | Kind::FetchAdd
            | Kind::FetchSub
            | Kind::AwaitChange
    )
}

fn function(site: &str) -> &str {
    site.split_once(':').map_or(site, |(function, _)| function)
}

/// The function and what happens there.
fn tell(program: &dyn Program, execution: &Execution, action: &Action) -> (&'static str, String) {
    let site = action.site.name();
    let (function, detail) = site.split_once(':').unwrap_or((site, ""));
    let name = action.target.map_or(String::new(), |target| {
        let object = &execution.objects[target.object];
        let name = object.name;
        let word = if is_access(action) { program.word_name(object, target.word) } else { None };
        if let Some(word) = word {
            return word.to_owned();
        }
        let others = |other: &Action| {
            is_access(other)
                && other.target.is_some_and(|at| at.object == target.object && at.word != target.word)
        };
        let several = is_access(action) && execution.actions.iter().any(others);
        if several { format!("{name}[{}]", target.word) } else { name.to_owned() }
    });
    let what = match (action.kind, action.effect) {
        (Kind::Load(_), Effect::Read(value)) => format!("{name} is {value:#x}"),
        (Kind::Store(_), Effect::Wrote { now, .. }) => format!("{name} = {now:#x}"),
        (Kind::CompareExchange, Effect::Read(value)) => format!("{name} is {value:#x}, not exchanged"),
        (_, Effect::Wrote { before, now }) => format!("{name}: {before:#x} -> {now:#x}"),
        (_, Effect::Cached { ipa, pa, .. }) => format!("translates {ipa:#x} to {pa:#x}"),
        (Kind::TlbInsert, Effect::Addresses { ipa, .. }) => format!("caches the translation of {ipa:#x}"),
        (Kind::TlbLookup, Effect::Addresses { ipa, .. }) => format!("{ipa:#x} is not cached"),
        (Kind::TlbInvalidate, Effect::Addresses { ipa, size }) => {
            format!("invalidates {size:#x} from {ipa:#x}")
        }
        (_, Effect::Broken { .. }) => name,
        (kind, _) => format!("{}{name}", verb(kind)),
    };
    let what = what.trim_end();
    let text = match (detail, what) {
        (detail, "") => detail.to_owned(),
        ("", what) => what.to_owned(),
        (detail, what) => format!("{detail}: {what}"),
    };
    (function, text)
}

fn verb(kind: Kind) -> &'static str {
    match kind {
        Kind::Load(_) => "reads ",
        Kind::Store(_) | Kind::CompareExchange | Kind::FetchAdd | Kind::FetchSub => "writes ",
        Kind::AwaitChange => "awaits a change of ",
        Kind::Allocate => "allocates ",
        Kind::Free => "frees ",
        Kind::Lock => "lock ",
        Kind::Unlock | Kind::ReadUnlock | Kind::WriteUnlock => "unlock ",
        Kind::Read => "read_lock ",
        Kind::Write => "write_lock ",
        Kind::Section => "read section of ",
        Kind::SectionEnd => "end of read section of ",
        Kind::Synchronize => "synchronize ",
        Kind::Synchronized => "synchronized ",
        Kind::CallRcu => "call_rcu ",
        Kind::RcuWork => "work of ",
        Kind::RcuWorkDone => "end of work of ",
        Kind::RcuBarrier => "rcu_barrier ",
        Kind::RcuBarrierOver => "end of rcu_barrier ",
        Kind::AssertHeld => "asserts ",
        Kind::MightSleep => "might_sleep ",
        Kind::CondResched => "cond_resched ",
        Kind::TlbInsert | Kind::TlbLookup | Kind::TlbInvalidate | Kind::Violated => "",
    }
}
