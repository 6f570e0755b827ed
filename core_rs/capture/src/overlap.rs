//! Where a trace shows the teardown race: two flushes at once on one VM, two frees at once of one memory cache.
//!
//! Guarantee: every pair of `kvm_arch_flush_shadow_all` on one `kvm`, and of `kvm_mmu_free_memory_cache` on one cache,
//! by two tasks, whose intervals share more than an instant, is found once. Not claimed: that an overlap did harm (a
//! cache that one side found empty cannot be freed twice), nor that a probe's interval is exactly the function's.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::calls::{Call, Calls};
use crate::directory::{Source, traces_in};
use crate::error::CaptureError;
use crate::ftrace::parse_ftrace;
use crate::ladder::Ladder;
use crate::packed::parse_ops;
use crate::record::{Comm, Event};
use crate::text::begins_with_brace;
use crate::trace::Trace;

/// What ran twice at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shared {
    /// `kvm_arch_flush_shadow_all`.
    Flush,
    /// `kvm_mmu_free_memory_cache`.
    Cache {
        /// The cache.
        mc: u64,
    },
}

/// One of the two calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OverlapSide {
    /// The task.
    pub pid: u32,
    /// The task's name.
    pub comm: Comm,
    /// When it was entered, in microseconds of the trace's clock.
    pub t0_us: u64,
    /// When it returned; where the trace did not see that, the latest time at which it can have ended.
    pub t1_us: u64,
    /// Whether the trace saw it return.
    pub returned: bool,
    /// For a cache: how many objects it held at entry, and the array of them.
    pub objects: Option<(i32, u64)>,
}

/// An interval in which one thing was torn down by two tasks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Overlap {
    /// What.
    pub shared: Shared,
    /// Whose; none for a cache that the trace does not connect with a VM.
    pub kvm: Option<u64>,
    /// When the second was entered, in microseconds.
    pub start_us: u64,
    /// When the first of them returned.
    pub end_us: u64,
    /// The two calls, by the time of entry.
    pub sides: [OverlapSide; 2],
    /// What both tasks did around it.
    pub ladder: Ladder,
}

impl Overlap {
    /// Whether there was something to free twice: always for a flush, and for a cache if both sides found
    /// objects in it.
    pub fn both_filled(&self) -> bool {
        self.sides.iter().all(|side| side.objects.is_none_or(|(count, _)| count > 0))
    }
}

/// The overlaps of one trace.
#[derive(Clone, Debug)]
pub struct TraceOverlaps {
    /// The file.
    pub file: String,
    /// How many records it holds.
    pub records: u64,
    /// How many calls of `kvm_arch_flush_shadow_all` it saw enter.
    pub flushes: u64,
    /// By the time at which they begin.
    pub overlaps: Vec<Overlap>,
}

/// The overlaps in a trace, raw or packed, gzip or plain; or in every trace in a directory and below it.
///
/// Errors: [`CaptureError`] for the first file that is none, or that is damaged.
pub fn overlaps_in(path: &Path, source: Source) -> Result<Vec<TraceOverlaps>, CaptureError> {
    Ok(traces_at(path, source)?
        .into_iter()
        .map(|(file, trace)| {
            let overlaps = overlaps(&trace);
            let entered = trace.unreturned.iter().map(|call| call.op);
            let ops = trace.records.iter().map(|record| record.event.op()).chain(entered);
            let flushes = ops.filter(|op| *op == "flush_shadow_all").count() as u64;
            TraceOverlaps { file, records: trace.records.len() as u64, flushes, overlaps }
        })
        .collect())
}

/// The overlaps in `trace`, by the time at which they begin.
///
/// ```
/// let text = b"  T1-93  [000] d.... 1.000000: flush_shadow_all: (kvm_arch_flush_shadow_all+0x0/0x80) kvm=0xfff0
///   T2-94  [001] d.... 1.000100: flush_shadow_all: (kvm_arch_flush_shadow_all+0x0/0x80) kvm=0xfff0
///   T1-93  [000] d..1. 1.000250: flush_shadow_all_ret: (kvm_mmu_notifier_release+0x38/0x98 <- kvm_arch_flush_shadow_all)
///   T2-94  [001] d..1. 1.000300: flush_shadow_all_ret: (kvm_mmu_notifier_release+0x38/0x98 <- kvm_arch_flush_shadow_all)
/// ";
/// let trace = capture::parse_ftrace(text, "trace.txt")?;
/// let found = &capture::overlaps(&trace)[0];
/// assert_eq!((found.start_us, found.end_us), (1_000_100, 1_000_250));
/// assert_eq!(found.sides.map(|side| side.pid), [93, 94]);
/// # Ok::<(), capture::CaptureError>(())
/// ```
pub fn overlaps(trace: &Trace) -> Vec<Overlap> {
    let calls = Calls::of(trace);
    let mut under_way: HashMap<(bool, u64), Vec<&Call<'_>>> = HashMap::new();
    let mut found = Vec::new();
    for call in calls.iter() {
        let key = match *call.event {
            Event::FlushShadowAll { kvm } => (true, kvm),
            Event::McFree { mc, .. } => (false, mc),
            _ => continue,
        };
        let others = under_way.entry(key).or_default();
        others.retain(|other| other.t1_us > call.t0_us);
        let at_once = others.iter().filter(|other| other.pid != call.pid && call.t0_us < call.t1_us);
        found.extend(at_once.map(|other| overlap(&calls, other, call)));
        others.push(call);
    }
    found
}

fn overlap<'a>(calls: &Calls<'a>, first: &Call<'a>, second: &Call<'a>) -> Overlap {
    let (start_us, end_us) = (second.t0_us, first.t1_us.min(second.t1_us));
    Overlap {
        shared: match *first.event {
            Event::McFree { mc, .. } => Shared::Cache { mc },
            _ => Shared::Flush,
        },
        kvm: calls.kvm_of(first).or_else(|| calls.kvm_of(second)),
        start_us,
        end_us,
        sides: [first, second].map(|call| OverlapSide {
            pid: call.pid,
            comm: call.comm,
            t0_us: call.t0_us,
            t1_us: call.t1_us,
            returned: call.returned,
            objects: match *call.event {
                Event::McFree { nobjs, objects, .. } => Some((nobjs, objects)),
                _ => None,
            },
        }),
        ladder: Ladder::of(calls, [first, second], start_us..end_us),
    }
}

/// The trace at `path`, or every trace in a directory and below it; each with its file.
pub(crate) fn traces_at(path: &Path, source: Source) -> Result<Vec<(String, Trace)>, CaptureError> {
    if path.is_dir() { below(path, source) } else { Ok(vec![read(path)?]) }
}

/// A file of any name: packed operations if it begins as JSON does.
fn read(path: &Path) -> Result<(String, Trace), CaptureError> {
    let name = path.display().to_string();
    let bytes = fs::read(path).map_err(|source| {
        let expected = "ftrace's text or packed operations, plain or gzip, or a directory with such";
        CaptureError::refused(path, source, expected)
    })?;
    let trace =
        if begins_with_brace(&bytes) { parse_ops(&bytes, &name) } else { parse_ftrace(&bytes, &name) }?;
    Ok((name, trace))
}

/// The traces in a directory and below it, in the order of their names.
fn below(directory: &Path, source: Source) -> Result<Vec<(String, Trace)>, CaptureError> {
    let mut found = Vec::new();
    let mut directories = vec![directory.to_owned()];
    while let Some(next) = directories.pop() {
        found.extend(traces_in(&next, source)?);
        directories.extend(subdirectories(&next)?.into_iter().rev());
    }
    if found.is_empty() {
        return Err(source.nothing_in(directory));
    }
    Ok(found)
}

fn subdirectories(directory: &Path) -> Result<Vec<PathBuf>, CaptureError> {
    let refused = |source| CaptureError::refused(directory, source, "a directory that can be read");
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).map_err(refused)? {
        let entry = entry.map_err(refused)?;
        if entry.file_type().map_err(refused)?.is_dir() {
            found.push(entry.path());
        }
    }
    found.sort();
    Ok(found)
}
