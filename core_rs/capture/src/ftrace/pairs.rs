//! Halves put together: the entry of a call and its return, the begin and the end of a wait.

use super::{Open, Reader, task_of};
use crate::error::{CaptureError, quote};
use crate::fields::{Field, LockFlags, bare_hex};
use crate::line::EventLine;
use crate::record::{Event, Spec};
use crate::text::Line;
use crate::trace::Unpaired;

impl<'a> Reader<'a> {
    pub(super) fn entry(
        &mut self,
        line: Line<'a>,
        event: &EventLine<'a>,
        spec: &'static Spec,
    ) -> Result<(), CaptureError> {
        let lossy = self.lossy();
        let task = self.tasks.entry(task_of(event)).or_default();
        if let Some(place) = task.calls.iter().rposition(|call| call.spec.op == spec.op) {
            if !lossy {
                let cause = format!(
                    "task {} enters {} again, its call of line {} has not returned",
                    event.pid, spec.op, task.calls[place].line
                );
                return Err(self.blame.cut(line.number, cause, format!("{}_ret before it", spec.op)));
            }
            let calls = task.calls.drain(place..);
            self.trace.unreturned.extend(calls.map(|call| call.unpaired(&mut self.fields)));
        }
        task.entered.insert(spec.op);
        task.outside |= spec.is_table_op();
        let EventLine { pid, comm, t_us, args, .. } = *event;
        task.calls.push(Open { spec, pid, comm, t_us, line: line.number, args });
        Ok(())
    }

    pub(super) fn call_return(
        &mut self,
        line: Line<'a>,
        event: &EventLine<'a>,
        spec: &'static Spec,
    ) -> Result<(), CaptureError> {
        let lossy = self.lossy();
        let task = self.tasks.entry(task_of(event)).or_default();
        let Some(place) = task.calls.iter().rposition(|call| call.spec.op == spec.op) else {
            // Had it been entered before the trace began, the task would have been inside it ever since.
            let was_outside = task.entered.contains(spec.op) || task.outside && spec.is_table_op();
            if !lossy && was_outside {
                let cause = format!("task {} returns from {}, which it has not entered", event.pid, spec.op);
                return Err(self.blame.cut(line.number, cause, format!("{} before it", spec.op)));
            }
            return self.unentered(line, event, spec);
        };
        if let Some(inner) = task.calls.get(place + 1)
            && !lossy
        {
            let cause = format!(
                "task {} returns from {}, its inner call of {} in line {} has not returned",
                event.pid, spec.op, inner.spec.op, inner.line
            );
            return Err(self.blame.cut(line.number, cause, format!("{}_ret before it", inner.spec.op)));
        }
        let mut calls = task.calls.drain(place..);
        let call = calls.next().expect("found at this place");
        self.trace.unreturned.extend(calls.map(|call| call.unpaired(&mut self.fields)));
        self.fields.clear();
        self.probe_fields(Line { number: call.line, ..line }, call.args)?;
        self.probe_fields(line, event.args)?;
        let what = (spec.build)(&mut self.fields).map_err(|error| {
            let at = if ["ret", "va"].contains(&error.key) { line.number } else { call.line };
            self.odd_field(Line { number: at, ..line }, spec.op, spec, &error)
        })?;
        self.push(line, event, call.t_us, what);
        Ok(())
    }

    /// The return of an operation that was taken for a single event: it becomes a call after all.
    pub(super) fn either_return(
        &mut self,
        line: Line<'_>,
        event: &EventLine<'_>,
        spec: &'static Spec,
    ) -> Result<(), CaptureError> {
        let Some(place) = self.either.remove(&(task_of(event), spec.op)) else {
            return self.unentered(line, event, spec);
        };
        let record = &mut self.trace.records[place];
        (record.t1_us, record.line, record.cpu) = (event.t_us, line.number as u32, event.cpu);
        Ok(())
    }

    #[allow(clippy::unnecessary_wraps)] // callers return what it returns
    fn unentered(
        &mut self,
        line: Line<'_>,
        event: &EventLine<'_>,
        spec: &'static Spec,
    ) -> Result<(), CaptureError> {
        self.trace.unentered.push(Unpaired {
            op: spec.op,
            pid: event.pid,
            comm: event.comm,
            t_us: event.t_us,
            line: line.number,
            event: None,
        });
        Ok(())
    }

    /// A mutex reports its begin again when it goes from spinning to sleeping: the first one counts.
    pub(super) fn contention_begin(
        &mut self,
        line: Line<'a>,
        event: &EventLine<'a>,
    ) -> Result<(), CaptureError> {
        let begin = event.args.split_once(' ').and_then(|(lock, flags)| {
            bare_hex(lock)?;
            let flags = LockFlags::parse(flags.strip_prefix("(flags=")?.strip_suffix(')')?)?;
            Some((lock, flags))
        });
        let Some((lock, flags)) = begin else {
            let cause = format!("contention_begin has the fields {}", quote(event.args));
            return Err(self.odd_fields(line, cause, &["lock", "(flags=SPIN|READ|WRITE|...)"]));
        };
        let task = self.tasks.entry(task_of(event)).or_default();
        if !task.waits.iter().any(|(waited, ..)| *waited == lock) {
            task.waits.push((lock, flags, event.t_us));
        }
        Ok(())
    }

    pub(super) fn contention_end(
        &mut self,
        line: Line<'_>,
        event: &EventLine<'_>,
    ) -> Result<(), CaptureError> {
        let lock = event.args.split_once(' ').filter(|(_, result)| result.starts_with("(ret="));
        let Some((lock, address)) = lock.and_then(|(lock, _)| Some((lock, bare_hex(lock)?))) else {
            let cause = format!("contention_end has the fields {}", quote(event.args));
            return Err(self.odd_fields(line, cause, &["lock", "(ret=N)"]));
        };
        let task = self.tasks.entry(task_of(event)).or_default();
        if let Some(place) = task.waits.iter().rposition(|(waited, ..)| *waited == lock) {
            let (_, lflags, t0_us) = task.waits.remove(place);
            if lflags.intersects(LockFlags::READ | LockFlags::WRITE) {
                self.push(line, event, t0_us, Event::RwlockContended { lock: address, lflags });
            }
        }
        Ok(())
    }
}
