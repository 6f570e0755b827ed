//! TLB invalidations: those that the replayed operations caused against those that the kernel was seen to do.
//!
//! An invalidation belongs to the operation of the same task in whose time it lies. `tlbi_vmid_range` wraps
//! the `tlbi_range` or `tlbi_vmid` that follow it, so these alone count. What belongs to no operation that was
//! replayed is counted by class: KVM flushes by itself after dirty logging, ageing and notifier calls.

use std::collections::{BTreeMap, HashMap};

use stage2::Tlbi;

use crate::error::Place;
use crate::record::{Event, Record};

/// How the invalidations of a capture and of its replay compare.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Invalidations {
    /// Invalidations that the kernel did and the replay caused, equal in kind, address, level and length; with the
    /// `fast` walker, those that one of the replay includes.
    pub agreed: u64,
    /// Operations whose invalidations differ.
    pub differing: Vec<InvalidationDifference>,
    /// Invalidations that belong to no replayed operation, by class.
    pub apart: BTreeMap<String, u64>,
}

/// An operation that invalidated something else in the replay than in the kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidationDifference {
    /// The operation's record.
    pub at: Place,
    /// The operation.
    pub op: &'static str,
    /// What the kernel invalidated, and the replay did not.
    pub captured_only: Vec<Tlbi>,
    /// What the replay invalidated, and the kernel did not.
    pub replayed_only: Vec<Tlbi>,
}

/// The invalidation that a record stands for.
pub(crate) fn tlbi(event: &Event) -> Option<Tlbi> {
    match *event {
        Event::TlbiIpa { ipa, level, .. } => Some(Tlbi::Ipa { ipa, level }),
        Event::TlbiIpaNsh { ipa, level, .. } => Some(Tlbi::IpaNsh { ipa, level }),
        Event::TlbiRange { start, pages, .. } => Some(Tlbi::Range { ipa: start, pages }),
        Event::TlbiVmid { .. } => Some(Tlbi::Vmid),
        _ => None,
    }
}

/// Sorts the invalidations of a trace by what they belong to, while the trace goes by.
#[derive(Default)]
pub(crate) struct Attribution {
    result: Invalidations,
    tasks: HashMap<u32, Task>,
}

#[derive(Default)]
struct Task {
    /// Invalidations that belong to nothing yet: time, what, and the operation before it.
    open: Vec<(u64, Tlbi, Option<&'static str>)>,
    /// The last operation that a flush may follow.
    last_op: Option<&'static str>,
}

impl Attribution {
    /// Takes note of an invalidation.
    pub(crate) fn invalidated(&mut self, record: &Record, what: Tlbi) {
        let task = self.tasks.entry(record.pid).or_default();
        task.open.push((record.t1_us, what, task.last_op));
    }

    /// Compares the invalidations that lie in an operation's time with those of its replay: each must be among
    /// them, or with `wide` pages of so many bytes be included by one of them.
    pub(crate) fn replayed(&mut self, file: &str, record: &Record, replayed: &[Tlbi], wide: Option<u64>) {
        let captured = self.within(record);
        if captured == replayed {
            self.result.agreed += captured.len() as u64;
            return;
        }
        let (captured_only, replayed_only) = match wide {
            None => apart(&captured, replayed),
            Some(page_size) => not_included(&captured, replayed, page_size),
        };
        self.result.agreed += (captured.len() - captured_only.len()) as u64;
        if !(captured_only.is_empty() && replayed_only.is_empty()) {
            self.result.differing.push(InvalidationDifference {
                at: Place::new(file, record.line as usize),
                op: record.event.op(),
                captured_only,
                replayed_only,
            });
        }
    }

    /// Counts the invalidations in the time of a call that was not replayed.
    pub(crate) fn not_replayed(&mut self, record: &Record, class: &str) {
        let count = self.within(record).len() as u64;
        self.apart(class, count);
    }

    /// Takes note of anything else that tells what an invalidation is about.
    pub(crate) fn passed(&mut self, record: &Record) {
        match record.event {
            Event::MmuNotifierInvalidate { .. }
            | Event::MmuNotifierAge { .. }
            | Event::FlushShadowMemslot { .. } => {
                self.tasks.entry(record.pid).or_default().last_op = Some(record.event.op());
            }
            Event::FlushShadowAll { .. }
            | Event::UninitStage2Mmu { .. }
            | Event::FreeStage2Pgd { .. }
            | Event::InitStage2Mmu { .. }
            | Event::ArchDestroyVm { .. } => {
                self.not_replayed(record, &format!("within {}", record.event.op()));
            }
            _ => {}
        }
    }

    /// What came of it, when the trace has gone by.
    pub(crate) fn finish(mut self) -> Invalidations {
        let open: Vec<_> = self.tasks.drain().flat_map(|(_, task)| task.open).collect();
        for (_, _, before) in open {
            self.apart(class_after(before), 1);
        }
        self.result
    }

    /// Takes out the invalidations of the record's task in its time. What is older belongs to nothing.
    fn within(&mut self, record: &Record) -> Vec<Tlbi> {
        let task = self.tasks.entry(record.pid).or_default();
        let first = task.open.partition_point(|(t_us, ..)| *t_us < record.t0_us);
        let within = task.open.drain(first..).map(|(_, what, _)| what).collect();
        if record.event.table().is_some() {
            task.last_op = Some(record.event.op());
        }
        within
    }

    fn apart(&mut self, class: &str, count: u64) {
        if count > 0 {
            *self.result.apart.entry(class.to_owned()).or_default() += count;
        }
    }
}

/// What is only in one of two lists.
fn apart(captured: &[Tlbi], replayed: &[Tlbi]) -> (Vec<Tlbi>, Vec<Tlbi>) {
    let mut replayed_only = replayed.to_vec();
    let mut captured_only = Vec::new();
    for what in captured {
        match replayed_only.iter().position(|other| other == what) {
            Some(place) => {
                replayed_only.remove(place);
            }
            None => captured_only.push(*what),
        }
    }
    (captured_only, replayed_only)
}

/// What no invalidation of the replay includes, and which of those includes none.
fn not_included(captured: &[Tlbi], replayed: &[Tlbi], page_size: u64) -> (Vec<Tlbi>, Vec<Tlbi>) {
    let includes = |wide: &Tlbi, one: &Tlbi| wide.includes(*one, page_size);
    let missed = |one: &&Tlbi| !replayed.iter().any(|wide| includes(wide, one));
    let needless = |wide: &&Tlbi| !captured.iter().any(|one| includes(wide, one));
    (captured.iter().filter(missed).copied().collect(), replayed.iter().filter(needless).copied().collect())
}

fn class_after(op: Option<&'static str>) -> &'static str {
    match op {
        Some("s2_wrprotect" | "s2_split") => "dirty-log flush (after s2_wrprotect or s2_split)",
        Some("s2_test_clear_young" | "mmu_notifier_age") => "ageing flush (after s2_test_clear_young)",
        Some("mmu_notifier_invalidate" | "s2_unmap") => {
            "notifier flush (after mmu_notifier_invalidate or s2_unmap)"
        }
        Some("flush_shadow_memslot") => "memslot flush (after flush_shadow_memslot)",
        Some(_) => "flush after another operation",
        None => "no operation of the task before it",
    }
}
