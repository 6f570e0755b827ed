//! The raw form of a trace: ftrace's own text. Entry and return of a probed function become one record.
//!
//! Guarantee: the same records as the packed form has. The halves of a call are paired by task (the idle
//! tasks, which share number 0, by processor): a return belongs to the innermost open call of its name.
//!
//! What is not an error, but named: events that the kernel dropped, a beginning in the middle of calls.

mod pairs;

use std::collections::{HashMap, HashSet};

use crate::error::{Blame, CaptureError, quote};
use crate::fields::{FieldError, Fields, LockFlags, Problem, Value, decimal};
use crate::line::{EventLine, LAYOUT, event_line, is_of_another_tracer, lost_events};
use crate::probes::{OUTSIDE, misnamed, probe};
use crate::record::{Comm, Event, Record, Shape, Spec, spec};
use crate::text::{Line, Text};
use crate::trace::{Lost, Missing, Trace, Unpaired};

/// Reads the trace in `bytes`, gzip or plain; `name` stands in the messages.
///
/// Errors: [`CaptureError`] with the line and what is wrong with it; also when the trace holds fewer entries
/// than its header counts, unless it shows that it begins after the VMs it speaks of.
///
/// ```
/// let text = b"  T1-93  [000] d.... 1.000000: flush_shadow_all: (kvm_arch_flush_shadow_all+0x0/0x80) kvm=0xfff0
///   T1-93  [000] d..1. 1.000250: flush_shadow_all_ret: (kvm_mmu_notifier_release+0x38/0x98 <- kvm_arch_flush_shadow_all)
/// ";
/// let trace = capture::parse_ftrace(text, "trace.txt")?;
/// let record = &trace.records[0];
/// assert_eq!((record.t0_us, record.t1_us, record.pid), (1_000_000, 1_000_250, 93));
/// assert_eq!(record.event, capture::Event::FlushShadowAll { kvm: 0xfff0 });
/// # Ok::<(), capture::CaptureError>(())
/// ```
pub fn parse_ftrace(bytes: &[u8], name: &str) -> Result<Trace, CaptureError> {
    let blame = blame(name);
    read_ftrace(bytes, blame)?.judged(blame)
}

pub(crate) fn blame(name: &str) -> Blame<'_> {
    Blame { file: name, what: "an ftrace text" }
}

/// [`parse_ftrace`] without the judgement over what is missing: other files may explain it.
pub(crate) fn read_ftrace(bytes: &[u8], blame: Blame<'_>) -> Result<Trace, CaptureError> {
    let text = Text::read(bytes, blame)?;
    let mut reader = Reader {
        blame,
        trace: Trace::default(),
        header: None,
        entries: 0,
        last_us: HashMap::new(),
        tasks: HashMap::new(),
        either: HashMap::new(),
        fields: Fields::new(),
    };
    let mut last = 0;
    for line in text.lines() {
        reader.line(line)?;
        last = line.number;
    }
    reader.finish(last)
}

/// A call that has not returned yet.
struct Open<'a> {
    spec: &'static Spec,
    pid: u32,
    comm: Comm,
    t_us: u64,
    line: usize,
    args: &'a str,
}

/// What is under way in one task.
#[derive(Default)]
struct Task<'a> {
    calls: Vec<Open<'a>>,
    /// Locks that it waits for: address, flags, since when.
    waits: Vec<(&'a str, LockFlags, u64)>,
    /// Operations that it has entered at some time.
    entered: HashSet<&'static str>,
    /// It was seen outside any operation on a table.
    outside: bool,
}

struct Header {
    line: usize,
    in_buffer: u64,
    written: u64,
}

struct Reader<'a> {
    blame: Blame<'a>,
    trace: Trace,
    header: Option<Header>,
    entries: u64,
    /// The last time seen, by processor; by 0 alone where the header says that all are merged.
    last_us: HashMap<u32, u64>,
    tasks: HashMap<u64, Task<'a>>,
    /// The last record of an operation that may or may not be probed at its return, by task.
    either: HashMap<(u64, &'static str), usize>,
    fields: Fields<'a>,
}

impl<'a> Reader<'a> {
    fn line(&mut self, line: Line<'a>) -> Result<(), CaptureError> {
        let text = line.text;
        if text.starts_with('#') {
            return self.comment(line);
        }
        if text.trim_start().is_empty() || text.trim_start().starts_with("=> ") {
            return Ok(()); // `=> function` lines are stack traces
        }
        if let Some((cpu, events)) = lost_events(text) {
            let file = self.blame.file.to_owned();
            self.trace.lost.push(Lost { file, line: line.number, cpu: Some(cpu), events });
            return Ok(());
        }
        let event = match event_line(text) {
            Ok(event) => event,
            Err(_) if is_of_another_tracer(text) => {
                self.entries += 1;
                return Ok(());
            }
            Err(cause) => return Err(self.not_an_event(line, cause)),
        };
        self.entries += 1;
        self.ordered(line, &event)?;
        self.event(line, &event)
    }

    fn comment(&mut self, line: Line<'_>) -> Result<(), CaptureError> {
        let Some((_, counts)) = line.text.split_once("entries-in-buffer/entries-written:") else {
            return Ok(());
        };
        let counts = counts.split_whitespace().next().and_then(|counts| counts.split_once('/'));
        let counts = counts.and_then(|(held, written)| Some((decimal(held)?, decimal(written)?)));
        let Some((in_buffer, written)) = counts.filter(|(in_buffer, written)| in_buffer <= written) else {
            let cause = format!("the counts of the header are {}", quote(line.text));
            return Err(self.blame.format(
                line.number,
                cause,
                "entries-in-buffer/entries-written: N/M, N <= M",
            ));
        };
        match &mut self.header {
            Some(header) => {
                header.in_buffer = header.in_buffer.saturating_add(in_buffer);
                header.written = header.written.saturating_add(written);
            }
            None => self.header = Some(Header { line: line.number, in_buffer, written }),
        }
        Ok(())
    }

    #[cold]
    fn not_an_event(&self, line: Line<'_>, cause: &str) -> CaptureError {
        let found = format!("{cause}: {}", quote(line.text));
        if self.entries == 0 && self.header.is_none() {
            self.blame.not_this(line.number, found, LAYOUT)
        } else if line.ended {
            self.blame.format(line.number, found, LAYOUT)
        } else {
            self.blame.cut(line.number, format!("the last line breaks off, {found}"), LAYOUT)
        }
    }

    /// The kernel merges its buffers by time when it prints them under a header; without one (`trace_pipe`)
    /// only the events of one processor are in order.
    fn ordered(&mut self, line: Line<'_>, event: &EventLine<'_>) -> Result<(), CaptureError> {
        let key = if self.header.is_some() { 0 } else { event.cpu };
        let last_us = self.last_us.entry(key).or_insert(0);
        if event.t_us < *last_us {
            let cause = format!(
                "its time {}.{:06} is before {}.{:06} of an earlier line",
                event.t_us / 1_000_000,
                event.t_us % 1_000_000,
                *last_us / 1_000_000,
                *last_us % 1_000_000
            );
            return Err(self.blame.reordered(line.number, cause, "time stamps that do not run backwards"));
        }
        *last_us = event.t_us;
        Ok(())
    }

    fn event(&mut self, line: Line<'a>, event: &EventLine<'a>) -> Result<(), CaptureError> {
        if OUTSIDE.contains(&event.name) {
            self.tasks.entry(task_of(event)).or_default().outside = true;
        }
        match event.name {
            "tracing_mark_write" => {
                self.push(line, event, event.t_us, Event::Mark { text: event.args.into() });
                Ok(())
            }
            "kvm_guest_fault" => self.tracepoint(line, event, "guest_fault", |fields, args| {
                args.split(", ").all(|pair| {
                    pair.split_once(' ').is_some_and(|(key, value)| fields.push(key, Value::Text(value)))
                })
            }),
            "kvm_unmap_hva_range" => self.tracepoint(line, event, "mmu_notifier_invalidate", hva_range),
            "kvm_age_hva" => self.tracepoint(line, event, "mmu_notifier_age", hva_range),
            "contention_begin" => self.contention_begin(line, event),
            "contention_end" => self.contention_end(line, event),
            "zalloc_page_ret" => {
                let spec = spec("zalloc_page").expect("an operation");
                self.single(line, event, spec)
            }
            name => match (probe(name), name.strip_suffix("_ret").and_then(probe)) {
                (Some(spec), _) if spec.shape == Shape::Call => self.entry(line, event, spec),
                (Some(spec), _) => self.single(line, event, spec),
                (None, Some(spec)) if spec.shape == Shape::Call => self.call_return(line, event, spec),
                (None, Some(spec)) if spec.shape == Shape::Either => self.either_return(line, event, spec),
                _ => self.unknown(line, event),
            },
        }
    }

    /// An event that is none of ours is passed over, but a probe of ours under another name is not.
    fn unknown(&self, line: Line<'_>, event: &EventLine<'_>) -> Result<(), CaptureError> {
        match misnamed(event) {
            None => Ok(()),
            Some((function, name)) => {
                let cause = format!("a probe on {function} is called {}", quote(event.name));
                Err(self.blame.format(line.number, cause, format!("the event name {name}")))
            }
        }
    }

    fn push(&mut self, line: Line<'_>, event: &EventLine<'_>, t0_us: u64, what: Event) {
        self.trace.records.push(Record {
            t0_us,
            t1_us: event.t_us,
            line: line.number as u32,
            pid: event.pid,
            cpu: event.cpu,
            comm: event.comm,
            event: what,
        });
    }

    fn tracepoint(
        &mut self,
        line: Line<'a>,
        event: &EventLine<'a>,
        op: &'static str,
        read: impl FnOnce(&mut Fields<'a>, &'a str) -> bool,
    ) -> Result<(), CaptureError> {
        let spec = spec(op).expect("an operation");
        self.fields.clear();
        if !read(&mut self.fields, event.args) {
            let cause = format!("{} has the fields {}", event.name, quote(event.args));
            return Err(self.odd_fields(line, cause, spec.fields));
        }
        let what =
            (spec.build)(&mut self.fields).map_err(|error| self.odd_field(line, event.name, spec, &error))?;
        self.push(line, event, event.t_us, what);
        Ok(())
    }

    fn single(
        &mut self,
        line: Line<'a>,
        event: &EventLine<'a>,
        spec: &'static Spec,
    ) -> Result<(), CaptureError> {
        self.fields.clear();
        self.probe_fields(line, event.args)?;
        let what =
            (spec.build)(&mut self.fields).map_err(|error| self.odd_field(line, event.name, spec, &error))?;
        if spec.shape == Shape::Either {
            self.either.insert((task_of(event), spec.op), self.trace.records.len());
        }
        self.push(line, event, event.t_us, what);
        Ok(())
    }

    /// The `key=value` fields of a probe, behind the place in brackets.
    fn probe_fields(&mut self, line: Line<'_>, args: &'a str) -> Result<(), CaptureError> {
        if !push_probe_fields(&mut self.fields, args) {
            let cause = format!("a probe has the fields {}", quote(args));
            return Err(self.blame.format(line.number, cause, "(function+offset) key=value key=value ..."));
        }
        Ok(())
    }

    #[cold]
    fn odd_fields(&self, line: Line<'_>, cause: String, fields: &[&str]) -> CaptureError {
        self.blame.format(line.number, cause, format!("the fields {}", fields.join(" ")))
    }

    #[cold]
    fn odd_field(&self, line: Line<'_>, name: &str, spec: &Spec, error: &FieldError) -> CaptureError {
        let cause = match error.problem {
            Problem::Missing => format!("{name} has no field `{}`", error.key),
            Problem::Value { .. } => format!("{name}: {error}"),
        };
        let expected = format!("{}, as {} has {}", error.expected(), spec.op, spec.fields.join(" "));
        self.blame.format(line.number, cause, expected)
    }

    /// Whether the kernel is known to have dropped events so far.
    fn lossy(&self) -> bool {
        !self.trace.lost.is_empty()
            || self.header.as_ref().is_some_and(|header| header.in_buffer < header.written)
    }

    fn finish(mut self, last_line: usize) -> Result<Trace, CaptureError> {
        if self.entries == 0 {
            return Err(self.blame.not_this(last_line, "it holds no event", LAYOUT));
        }
        if self.trace.records.is_empty() && self.trace.unentered.is_empty() && self.tasks.is_empty() {
            let cause = "it holds events, but none that a capture consists of";
            return Err(self.blame.not_this(last_line, cause, "events of the probes, such as s2_map"));
        }
        self.count(last_line)?;
        for task in self.tasks.into_values() {
            self.trace.unreturned.extend(task.calls.iter().map(|call| call.unpaired(&mut self.fields)));
        }
        self.trace.unreturned.sort_by_key(|call| call.line);
        self.trace.records.sort_by_key(|record| record.t1_us); // stable, and ordered already but for rare cases
        Ok(self.trace)
    }

    /// Compares what the file holds with what its header counts.
    fn count(&mut self, last_line: usize) -> Result<(), CaptureError> {
        let Some(Header { line, in_buffer, written }) = self.header else { return Ok(()) };
        if self.entries > in_buffer {
            let cause = format!("the file holds {} entries, its header counts {in_buffer}", self.entries);
            return Err(self.blame.format(
                line,
                cause,
                "as many as it counts (stop tracing before it is read)",
            ));
        }
        let named: Option<u64> = self.trace.lost.iter().map(|lost| lost.events).sum();
        let unnamed = (written - in_buffer).saturating_sub(named.unwrap_or(0));
        if unnamed > 0 {
            let file = self.blame.file.to_owned();
            self.trace.lost.insert(0, Lost { file, line, cpu: None, events: Some(unnamed) });
        }
        let missing = in_buffer - self.entries;
        if named.is_some_and(|named| named < missing) {
            self.trace.missing = Some(Missing { line: last_line, count: missing });
        }
        Ok(())
    }
}

impl<'a> Open<'a> {
    fn unpaired(&self, fields: &mut Fields<'a>) -> Unpaired {
        fields.clear();
        let entered = push_probe_fields(fields, self.args).then(|| (self.spec.build)(fields).ok());
        Unpaired {
            op: self.spec.op,
            pid: self.pid,
            comm: self.comm,
            t_us: self.t_us,
            line: self.line,
            event: entered.flatten(),
        }
    }
}

/// `(place) key=value key=value ...`
fn push_probe_fields<'a>(fields: &mut Fields<'a>, args: &'a str) -> bool {
    let Some((_, pairs)) = args.strip_prefix('(').and_then(|place| place.split_once(')')) else {
        return false;
    };
    let mut pairs = pairs.split_ascii_whitespace();
    pairs.all(|pair| pair.split_once('=').is_some_and(|(key, value)| fields.push(key, Value::Text(value))))
}

/// Calls nest within a task; the idle tasks of all processors share number 0.
fn task_of(event: &EventLine<'_>) -> u64 {
    if event.pid == 0 { 1 << 32 | u64::from(event.cpu) } else { u64::from(event.pid) }
}

/// `kvm_unmap_hva_range` and `kvm_age_hva`: words, then `start -- end`.
fn hva_range<'a>(fields: &mut Fields<'a>, args: &'a str) -> bool {
    let range = args.rsplit_once(": ").and_then(|(_, range)| range.split_once(" -- "));
    range.is_some_and(|(start, end)| {
        fields.push("start", Value::Text(start)) && fields.push("end", Value::Text(end))
    })
}
