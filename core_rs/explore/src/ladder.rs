//! A finding as kernel people tell it: one column a thread, one line a step, time downwards.
//!
//! By default only what matters to the finding: the actions it is about, what else is done to the same object,
//! and, in the functions where they happen, what is done to words that other threads change; of steps that a
//! thread repeats, the first. All lines are on request. Nothing is said that the execution does not hold.

use std::fmt::Write;

use runtime::scheduled::{Action, Calls, Effect, Execution, Kind, Program, writes};

use crate::finding::{Finding, Role};

/// A line of a ladder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Whose it is, an index into the execution's threads.
    pub thread: usize,
    /// The number of the action; for a thread that waits at the end, the number of actions; of steps that are
    /// left out, that of the first.
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
    let teller = Teller::new(program, execution);
    let mut lines: Vec<_> = (0..end)
        .filter(|at| relevant[*at])
        .map(|at| {
            let action = &execution.actions[at];
            let (function, text) = teller.tell(action);
            Line { thread: action.thread, action: at, function, text, note: note(finding, at) }
        })
        .collect();
    if finding.kind == crate::Kind::Deadlock {
        for action in execution.pending.iter().filter(|action| waits_in(execution, finding, action)) {
            let (function, text) = teller.tell(action);
            let note = "waits".to_owned();
            lines.push(Line { thread: action.thread, action: end, function, text, note });
        }
    }
    if all { lines } else { without_repeats(&lines) }
}

/// The ladder as text, for a commit message; below each thread's name the calls that its lines are inside of, if
/// they were recorded.
pub fn ladder(
    program: &dyn Program,
    execution: &Execution,
    finding: &Finding,
    calls: Option<&Calls>,
    all: bool,
) -> String {
    let lines = lines(program, execution, finding, all);
    let columns = columns(execution, &lines, calls);
    let mut rows: Vec<(usize, String)> = Vec::new();
    let mut functions = vec![""; columns.len()];
    for line in &lines {
        let column = columns.iter().position(|column| column.thread == line.thread).unwrap_or(0);
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
    let widest = |column: usize| {
        let of_column = rows.iter().filter(|row| row.0 == column);
        of_column.map(|row| row.1.chars().count()).max().unwrap_or(0)
    };
    let heads: Vec<_> = columns
        .iter()
        .enumerate()
        .map(|(at, column)| {
            let mut head = vec![column.head.clone()];
            head.extend(wrapped(&column.calls, widest(at).max(NARROWEST)));
            head
        })
        .collect();
    let widths: Vec<_> = (0..columns.len())
        .map(|column| {
            let head = heads[column].iter().map(|line| line.chars().count()).max().unwrap_or(0);
            widest(column).max(head) + 3
        })
        .collect();
    let mut text = String::new();
    for line in 0..heads.iter().map(Vec::len).max().unwrap_or(0) {
        let cells = heads.iter().zip(&widths).map(|(head, width)| (head.get(line), width));
        let row = cells.fold(String::new(), |mut row, (cell, width)| {
            let _ = write!(row, "{:width$}", cell.map_or("", String::as_str));
            row
        });
        let _ = writeln!(text, "{}", row.trim_end());
    }
    for (column, row) in &rows {
        let indent: usize = widths[..*column].iter().sum();
        let _ = writeln!(text, "{:indent$}{row}", "");
    }
    let _ = write!(text, "\n{}: {}\n", finding.kind, finding.what);
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

/// Columns are at least so wide where calls are told.
const NARROWEST: usize = 48;

/// A ladder's column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// Whose it is, an index into the execution's threads.
    pub thread: usize,
    /// What stands above it.
    pub head: String,
    /// The calls, outermost first, that all its lines are inside of.
    pub calls: Vec<&'static str>,
}

/// The columns of a ladder with these lines, from left to right.
pub fn columns(execution: &Execution, lines: &[Line], calls: Option<&Calls>) -> Vec<Column> {
    let mut threads: Vec<_> = lines.iter().map(|line| line.thread).collect();
    threads.sort_unstable();
    threads.dedup();
    let column = |thread: usize| Column {
        thread,
        head: head(thread, &execution.threads[thread]),
        calls: calls.map_or(Vec::new(), |calls| path(execution, calls, lines, thread)),
    };
    threads.into_iter().map(column).collect()
}

/// A column's head: threads are `T1` and on, whatever else they are called.
fn head(thread: usize, name: &str) -> String {
    let own = format!("T{}", thread + 1);
    if name == own { own } else { format!("{own} ({name})") }
}

/// The calls, outermost first, that all lines of a thread are inside of, but for the function of the first.
fn path(execution: &Execution, calls: &Calls, lines: &[Line], thread: usize) -> Vec<&'static str> {
    let taken = |line: &&Line| line.thread == thread && line.action < execution.actions.len();
    let chains = lines.iter().filter(taken).map(|line| {
        let mut chain = calls.chain(execution, line.action);
        chain.reverse();
        chain
    });
    let common = |one: Vec<_>, other: Vec<_>| {
        let equal = one.iter().zip(&other).take_while(|(one, other)| one == other).count();
        one[..equal].to_vec()
    };
    let mut path = chains.reduce(common).unwrap_or_default();
    let first = lines.iter().find(|line| line.thread == thread);
    path.pop_if(|last| first.is_some_and(|line| line.function == *last));
    path
}

/// `a > b > c` in lines of at most `width`, where names allow.
fn wrapped(path: &[&str], width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for (at, name) in path.iter().enumerate() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 3 + name.len() <= width => {
                let _ = write!(line, " > {name}");
            }
            _ => lines.push(if at == 0 { (*name).to_owned() } else { format!("> {name}") }),
        }
    }
    lines
}

/// Lines that one thread repeats, but for numbers, three times or more, are told once.
fn without_repeats(lines: &[Line]) -> Vec<Line> {
    let shapes: Vec<_> =
        lines.iter().map(|line| (line.thread, line.function, without_numbers(&line.text))).collect();
    let quiet = |from: usize, n: usize| {
        let lines = &lines[from..from + n];
        lines.iter().all(|line| line.note.is_empty() && line.thread == lines[0].thread)
    };
    let mut told = Vec::new();
    let mut at = 0;
    while at < lines.len() {
        let repeats = |n: usize| {
            let blocks = (at..).step_by(n).take_while(|from| {
                from + n <= lines.len() && shapes[*from..from + n] == shapes[at..at + n] && quiet(*from, n)
            });
            (n, blocks.count())
        };
        if let Some((n, times)) = (1..=LONGEST_REPEAT).map(repeats).find(|(_, times)| *times >= 3) {
            told.extend_from_slice(&lines[at..at + n]);
            let text = format!("... {} times more", times - 1);
            let last = &lines[at + n * times - 1];
            told.push(Line { action: lines[at + n].action, text, ..last.clone() });
            at += n * times;
        } else {
            told.push(lines[at].clone());
            at += 1;
        }
    }
    told
}

const LONGEST_REPEAT: usize = 8;

fn without_numbers(text: &str) -> String {
    let mut shape = String::new();
    let mut before = ' ';
    for letter in text.chars() {
        let in_number = before == '#' && letter.is_ascii_alphanumeric();
        if in_number || (letter.is_ascii_digit() && !before.is_alphanumeric() && before != '_') {
            if before != '#' {
                shape.push('#');
            }
            before = '#';
        } else {
            shape.push(letter);
            before = letter;
        }
    }
    shape
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
    if finding.kind == crate::Kind::NullDereference {
        for at in marked.iter().flat_map(|at| where_null_came_from(actions, *at)) {
            relevant[at] = true;
        }
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
    leave_out_holds(actions, &marked, &mut relevant);
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

/// A lock that was taken and dropped again, neither of which the finding is about, has nothing to say.
fn leave_out_holds(actions: &[Action], marked: &[usize], relevant: &mut [bool]) {
    let takes = |action: &Action| matches!(action.kind, Kind::Lock | Kind::Read | Kind::Write);
    let drops = |action: &Action| matches!(action.kind, Kind::Unlock | Kind::ReadUnlock | Kind::WriteUnlock);
    for (at, taken) in actions.iter().enumerate().filter(|(_, action)| takes(action)) {
        let is_its = |other: &Action| {
            other.thread == taken.thread && other.target == taken.target && (drops(other) || takes(other))
        };
        let next = (at + 1..actions.len()).find(|next| is_its(&actions[*next]));
        let Some(dropped) = next.filter(|next| drops(&actions[*next])) else { continue };
        if !marked.contains(&at) && !marked.contains(&dropped) {
            relevant[at] = false;
            relevant[dropped] = false;
        }
    }
}

/// The thread's last load of a zero up to an action, and who stored it.
fn where_null_came_from(actions: &[Action], at: usize) -> impl Iterator<Item = usize> {
    let thread = actions[at].thread;
    let is_it = |action: &Action| {
        action.thread == thread && matches!((action.kind, action.effect), (Kind::Load(_), Effect::Read(0)))
    };
    let load = actions[..=at].iter().rposition(is_it);
    let store = load.and_then(|load| {
        let before = actions[..load].iter();
        before.clone().rposition(|action| action.target == actions[load].target && writes(action))
    });
    store.into_iter().chain(load)
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

/// Puts actions into words.
struct Teller<'a> {
    program: &'a dyn Program,
    execution: &'a Execution,
    /// What pointers of the execution lead to, each with the pointers' values in the order in which they appear.
    pointers: Vec<(&'static str, Vec<u64>)>,
}

impl<'a> Teller<'a> {
    fn new(program: &'a dyn Program, execution: &'a Execution) -> Self {
        let mut teller = Self { program, execution, pointers: Vec::new() };
        for action in execution.actions.iter().filter(|action| is_access(action)) {
            let values = match action.effect {
                Effect::Read(value) => [value, 0],
                Effect::Wrote { before, now } => [before, now],
                _ => continue,
            };
            for value in values.into_iter().filter(|value| *value != 0) {
                let Some(name) = teller.pointee(action, value) else { continue };
                match teller.pointers.iter_mut().find(|(known, _)| *known == name) {
                    Some((_, known)) if known.contains(&value) => {}
                    Some((_, known)) => known.push(value),
                    None => teller.pointers.push((name, vec![value])),
                }
            }
        }
        teller
    }

    fn pointee(&self, action: &Action, value: u64) -> Option<&'static str> {
        let target = action.target?;
        self.program.pointee(&self.execution.objects[target.object], target.word, value)
    }

    /// A value of the word that an action is on: what a pointer leads to, with a number where there are several.
    fn value(&self, action: &Action, value: u64) -> String {
        match self.pointee(action, value) {
            Some(_) if value == 0 => "NULL".to_owned(),
            Some(name) => {
                let known = self.pointers.iter().find(|(known, _)| *known == name);
                let known = known.map_or(&[][..], |(_, values)| values);
                match known.iter().position(|known| *known == value) {
                    Some(at) if known.len() > 1 => format!("{name}#{}", at + 1),
                    _ => name.to_owned(),
                }
            }
            None if value < 10 => value.to_string(),
            None => format!("{value:#x}"),
        }
    }

    /// What an action is on.
    fn name(&self, action: &Action) -> String {
        let Some(target) = action.target else { return String::new() };
        let (program, execution) = (self.program, self.execution);
        let object = &execution.objects[target.object];
        let name = object.name;
        if !is_access(action) {
            return name.to_owned();
        }
        if let Some(word) = program.word_name(object, target.word) {
            return word.to_owned();
        }
        let others = |other: &Action| {
            is_access(other)
                && other.target.is_some_and(|at| at.object == target.object && at.word != target.word)
        };
        let is_array = program.pointee(object, target.word, 0).is_some();
        if is_array || execution.actions.iter().any(others) {
            format!("{name}[{}]", target.word)
        } else {
            name.to_owned()
        }
    }

    /// The function and what happens there.
    fn tell(&self, action: &Action) -> (&'static str, String) {
        let site = action.site.name();
        let (function, detail) = site.split_once(':').unwrap_or((site, ""));
        let name = self.name(action);
        let value = |value| self.value(action, value);
        let what = match (action.kind, action.effect) {
            (Kind::Load(_), Effect::Read(now)) => format!("{name} is {}", value(now)),
            (Kind::Store(_), Effect::Wrote { now, .. }) => format!("{name} = {}", value(now)),
            (Kind::CompareExchange, Effect::Read(now)) => {
                format!("{name} is {}, not exchanged", value(now))
            }
            (_, Effect::Wrote { before, now }) => format!("{name}: {} -> {}", value(before), value(now)),
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
            (detail, what) if detail.is_empty() || detail == what => what.to_owned(),
            (detail, what) => format!("{detail}: {what}"),
        };
        (function, text)
    }
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
