//! One line of ftrace's text: who, where, when, which event, and the rest. The layout is that of
//! `/sys/kernel/tracing/trace` (Documentation/trace/ftrace.rst), with or without the TGID column and the
//! column of irq and preemption flags.

use crate::fields::{decimal, seconds_us};
use crate::record::Comm;

/// An event's line, taken apart.
#[derive(Debug)]
pub(crate) struct EventLine<'a> {
    pub(crate) comm: Comm,
    pub(crate) pid: u32,
    pub(crate) cpu: u32,
    pub(crate) t_us: u64,
    pub(crate) name: &'a str,
    pub(crate) args: &'a str,
}

/// What an event's line looks like, for messages.
pub(crate) const LAYOUT: &str = "TASK-PID [(TGID)] [CPU] [flags] SECONDS.MICROSECONDS: event: fields";

/// Where the dash between a task's name and its number stands: the name is padded to 16 columns.
const DASH: usize = 16;

/// Takes a line apart; the error names the first part that is not there.
pub(crate) fn event_line(line: &str) -> Result<EventLine<'_>, &'static str> {
    match who(line, DASH) {
        Some(found) => what(found),
        None => elsewhere(line),
    }
}

/// A line whose padding was changed: a name may have dashes of its own, so it is the first dash with which all fits.
#[cold]
fn elsewhere(line: &str) -> Result<EventLine<'_>, &'static str> {
    let line = line.trim_start_matches(' ');
    let mut error = "it has no TASK-PID and [CPU]";
    for (dash, _) in line.match_indices('-').filter(|&(dash, _)| dash > 0) {
        match who(line, dash).map(what) {
            Some(Ok(found)) => return Ok(found),
            Some(Err(cause)) => error = cause,
            None => {}
        }
    }
    Err(error)
}

/// Takes apart what follows task and processor.
#[inline]
fn what((comm, pid, cpu, rest): (Comm, u32, u32, &str)) -> Result<EventLine<'_>, &'static str> {
    let rest = rest.trim_start_matches(' ');
    let (word, after) = word(rest);
    let (t_us, rest) = if let Some(t_us) = time(word) {
        (t_us, after)
    } else {
        let (word, after) = self::word(after.trim_start_matches(' '));
        (time(word).ok_or("it has no time stamp in seconds with six decimals")?, after)
    };
    let rest = rest.trim_start_matches(' ');
    let name_end = rest.bytes().position(|byte| !(byte.is_ascii_alphanumeric() || byte == b'_'));
    let (name, args) = rest.split_at(name_end.unwrap_or(rest.len()));
    let args = args.strip_prefix(':').filter(|_| !name.is_empty()).ok_or("it has no event name")?;
    Ok(EventLine { comm, pid, cpu, t_us, name, args: args.strip_prefix(' ').unwrap_or(args) })
}

/// Task, number and processor, if the dash stands at `dash`.
#[inline]
fn who(line: &str, dash: usize) -> Option<(Comm, u32, u32, &str)> {
    let comm = Comm::new(line.get(..dash)?.trim_start_matches(' '))?;
    let rest = line.get(dash..)?.strip_prefix('-')?;
    let (pid, rest) = number(rest)?;
    let mut rest = rest.trim_start_matches(' ');
    if let Some(tgid) = rest.strip_prefix('(') {
        let (tgid, after) = tgid.split_once(')')?;
        let tgid = tgid.trim_start_matches(' ');
        if decimal(tgid).is_none() && !tgid.bytes().all(|byte| byte == b'-') {
            return None;
        }
        rest = after.trim_start_matches(' ');
    }
    let (cpu, rest) = number(rest.strip_prefix('[')?)?;
    Some((comm, pid, cpu, rest.strip_prefix(']')?))
}

#[inline]
fn number(text: &str) -> Option<(u32, &str)> {
    let end = text.bytes().position(|byte| !byte.is_ascii_digit()).unwrap_or(text.len());
    let value = decimal(&text[..end])?;
    Some((u32::try_from(value).ok()?, &text[end..]))
}

#[inline]
fn word(text: &str) -> (&str, &str) {
    text.split_at(text.bytes().position(|byte| byte == b' ').unwrap_or(text.len()))
}

#[inline]
fn time(word: &str) -> Option<u64> {
    seconds_us(word.strip_suffix(':')?)
}

/// `CPU:0 [LOST 12 EVENTS]`, or without a number where the kernel does not know it: processor and number.
pub(crate) fn lost_events(text: &str) -> Option<(u32, Option<u64>)> {
    let (cpu, rest) = text.strip_prefix("CPU:")?.split_once(" [LOST ")?;
    let count = rest.trim_end().strip_suffix("EVENTS]")?.trim_end();
    let events = if count.is_empty() { None } else { Some(decimal(count)?) };
    Some((u32::try_from(decimal(cpu.trim_start())?).ok()?, events))
}

/// A line of the function tracer or a stack trace's head, which a trace may hold beside events.
pub(crate) fn is_of_another_tracer(text: &str) -> bool {
    let called_from = text.rsplit_once(" <-").map(|(_, caller)| caller);
    text.contains(": <stack trace>")
        || text.contains(": <user stack trace>")
        || called_from.is_some_and(|caller| !caller.is_empty() && !caller.contains(' '))
}
