//! The calls of one trace as intervals, each with its task: what was under way when, and inside what.
//!
//! A call that the trace saw enter and not return counts until the first thing that ends it for sure: the return of
//! the call around it, the end of its VM, or the end of the trace. Not guaranteed: that it did not end earlier.

use std::collections::HashMap;

use crate::record::{Comm, Event, Record};
use crate::trace::Trace;

/// A call or an event, with its interval.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Call<'a> {
    pub(crate) t0_us: u64,
    pub(crate) t1_us: u64,
    /// Whether the trace saw it return.
    pub(crate) returned: bool,
    pub(crate) pid: u32,
    pub(crate) comm: Comm,
    pub(crate) event: &'a Event,
}

/// All calls of a trace.
pub(crate) struct Calls<'a> {
    /// By the time of entry.
    all: Vec<Call<'a>>,
    /// Places in `all`, by task.
    tasks: HashMap<u32, Vec<usize>>,
}

impl<'a> Calls<'a> {
    pub(crate) fn of(trace: &'a Trace) -> Self {
        let mut all: Vec<_> = trace.records.iter().map(Call::of).collect();
        let returned = all.len();
        let ends = trace.records.iter().map(|record| record.t1_us);
        let last_us = ends.chain(trace.unreturned.iter().map(|call| call.t_us)).max().unwrap_or(0);
        all.extend(trace.unreturned.iter().filter_map(|call| {
            let (t0_us, pid, comm) = (call.t_us, call.pid, call.comm);
            let event = call.event.as_ref()?;
            let t1_us = if event.table().is_some() { t0_us } else { last_us };
            Some(Call { t0_us, t1_us, returned: false, pid, comm, event })
        }));
        // The outer of two calls that were entered in one microsecond is the one that returned later.
        all.sort_by_key(|call| (call.t0_us, std::cmp::Reverse(call.t1_us)));
        let mut calls = Self { tasks: by_task(&all), all };
        if calls.all.len() > returned {
            calls.end_what_did_not_return();
        }
        calls
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Call<'a>> {
        self.all.iter()
    }

    /// The calls of a task, by the time of entry.
    pub(crate) fn of_task(&self, pid: u32) -> impl DoubleEndedIterator<Item = &Call<'a>> {
        self.tasks.get(&pid).into_iter().flatten().map(|&place| &self.all[place])
    }

    /// The calls of the same task around `call`, innermost first.
    pub(crate) fn around(&self, call: &Call<'a>) -> impl Iterator<Item = &Call<'a>> {
        self.of_task(call.pid).rev().filter(|outer| {
            !std::ptr::eq(outer.event, call.event)
                && outer.t0_us <= call.t0_us
                && outer.t1_us >= call.t1_us
                && outer.t0_us < outer.t1_us
        })
    }

    /// The VM that a call works on: its own argument's, or that of the innermost call around it.
    pub(crate) fn kvm_of(&self, call: &Call<'a>) -> Option<u64> {
        call.event.kvm().or_else(|| self.around(call).find_map(|outer| outer.event.kvm()))
    }

    fn end_what_did_not_return(&mut self) {
        for place in 0..self.all.len() {
            let call = self.all[place];
            if call.returned || call.event.table().is_some() {
                continue;
            }
            let outer = self
                .of_task(call.pid)
                .filter(|outer| outer.returned && outer.t0_us <= call.t0_us && outer.t1_us > call.t0_us);
            let outer_us = outer.map(|outer| outer.t1_us).min();
            let kvm = self.kvm_of(&call);
            let vm_us = self
                .iter()
                .filter(|other| kvm.is_some() && other.event.kvm() == kvm && other.returned)
                .filter_map(|other| match other.event {
                    Event::DestroyVm { .. } => Some(other.t1_us),
                    Event::InitStage2Mmu { .. } => Some(other.t0_us),
                    _ => None,
                })
                .filter(|&t_us| t_us > call.t0_us)
                .min();
            let end_us = outer_us.into_iter().chain(vm_us).chain([call.t1_us]).min();
            self.all[place].t1_us = end_us.expect("there is at least one");
        }
    }
}

impl<'a> Call<'a> {
    fn of(record: &'a Record) -> Self {
        let Record { t0_us, t1_us, pid, comm, ref event, .. } = *record;
        Self { t0_us, t1_us, returned: true, pid, comm, event }
    }
}

fn by_task(calls: &[Call<'_>]) -> HashMap<u32, Vec<usize>> {
    let mut tasks: HashMap<u32, Vec<usize>> = HashMap::new();
    for (place, call) in calls.iter().enumerate() {
        tasks.entry(call.pid).or_default().push(place);
    }
    tasks
}
