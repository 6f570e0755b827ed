//! What an address that KASAN complains about is: KASAN names no object, but a trace beside the log may have seen it.
//!
//! Guarantee: a name is given only where the trace holds the address itself. Addresses are used again: among several
//! objects of one address it is the one that the report's own tasks touched (the clocks of log and trace differ), and of
//! those the last. Names are the model's: `kvm.arch.split_page_cache.objects`.

use std::path::{Path, PathBuf};

use crate::calls::{Call, Calls};
use crate::directory::{Source, traces_in};
use crate::error::CaptureError;
use crate::kasan::{KasanReport, parse_kasan};
use crate::overlap::traces_at;
use crate::record::{Comm, Event};
use crate::trace::Trace;

/// An object that a trace knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// What it is, such as `kvm.arch.split_page_cache.objects`.
    pub name: &'static str,
    /// The VM that it belongs to, where the trace says it.
    pub kvm: Option<u64>,
    /// The memory cache, where the object is a cache's array.
    pub mc: Option<u64>,
    /// The trace.
    pub file: String,
    /// The calls that worked on it, by the time of entry.
    pub calls: Vec<KnownCall>,
}

/// A call that worked on an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownCall {
    /// The operation, as traces call it.
    pub op: &'static str,
    /// The task.
    pub pid: u32,
    /// The task's name.
    pub comm: Comm,
    /// When it was entered, in microseconds of the trace's clock.
    pub t0_us: u64,
    /// When it returned.
    pub t1_us: u64,
    /// How many objects a cache held at entry.
    pub nobjs: Option<i32>,
}

/// Reads the reports of the log `path`, and names their objects by the traces at `trace`, or else by those in the log's
/// own directory, if there are any. A directory for `path` stands for the log in it.
///
/// Errors: [`CaptureError`] if the log, or a trace beside it, cannot be read.
pub fn kasan_in(path: &Path, trace: Option<&Path>) -> Result<Vec<KasanReport>, CaptureError> {
    let path = &log_at(path)?;
    let name = path.display().to_string();
    let bytes = std::fs::read(path).map_err(|source| {
        let expected = "a kernel's log, plain or gzip, or a directory with one";
        CaptureError::refused(path, source, expected)
    })?;
    let mut reports = parse_kasan(&bytes, &name)?;
    if reports.is_empty() {
        return Ok(reports);
    }
    let beside = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let traces = match trace {
        Some(trace) => traces_at(trace, Source::Auto)?,
        None => traces_in(beside, Source::Auto)?,
    };
    for (file, trace) in traces {
        name_objects(&mut reports, &trace, &file);
    }
    Ok(reports)
}

/// The log in a directory, or the log itself.
fn log_at(path: &Path) -> Result<PathBuf, CaptureError> {
    const NAMES: [&str; 4] = ["console.txt.gz", "console.txt", "dmesg.gz", "dmesg"];
    if !path.is_dir() {
        return Ok(path.to_owned());
    }
    let mut logs = NAMES.into_iter().map(|name| path.join(name));
    logs.find(|log| log.is_file()).ok_or_else(|| CaptureError::Directory {
        path: path.display().to_string(),
        cause: "it holds no kernel log".to_owned(),
        expected: format!("one of {}", NAMES.join(" ")),
    })
}

/// Says of each report whose object is not known yet what `trace` knows; `file` is the trace's name.
pub fn name_objects(reports: &mut [KasanReport], trace: &Trace, file: &str) {
    let calls = Calls::of(trace);
    for report in reports.iter_mut().filter(|report| report.known.is_none()) {
        report.known = known(report, &calls, file);
    }
}

/// What an event says about an address.
struct Sight {
    name: Name,
    /// What tells one object of that address from another.
    of: Option<u64>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Name {
    CacheArray,
    Kvm,
    Pgt,
    Pgd,
    TablePage,
}

fn known(report: &KasanReport, calls: &Calls<'_>, file: &str) -> Option<Known> {
    let object = report.object.as_ref().map(|object| object.address);
    let address = report.address.or(object)?; // frees before 6.2 have the object's alone
    let base = object.unwrap_or(address);
    let sights: Vec<_> = calls.iter().filter_map(|call| Some((sight(call, address, base)?, call))).collect();
    let is_of = |pid| report.pids().any(|task| task == pid);
    let (sight, call) = sights.iter().rev().find(|(_, call)| is_of(call.pid)).or(sights.last())?;
    let same = |other: &Sight| other.name == sight.name && other.of == sight.of;
    let mut on_it: Vec<_> = sights.iter().filter(|(other, _)| same(other)).map(|(_, call)| *call).collect();
    if on_it.iter().any(|call| is_of(call.pid)) {
        on_it.retain(|call| is_of(call.pid));
    }
    let mc = sight.of.filter(|_| sight.name == Name::CacheArray);
    let kvm = on_it.iter().find_map(|call| calls.kvm_of(call)).or_else(|| calls.kvm_of(call));
    Some(Known {
        name: match sight.name {
            Name::CacheArray if is_split_cache(calls, mc, kvm) => "kvm.arch.split_page_cache.objects",
            Name::CacheArray => "vcpu.arch.mmu_page_cache.objects",
            Name::Kvm => "kvm",
            Name::Pgt => "kvm.arch.mmu.pgt",
            Name::Pgd => "stage2 pgd",
            Name::TablePage => "stage2 table page",
        },
        kvm,
        mc,
        file: file.to_owned(),
        calls: on_it
            .into_iter()
            .map(|call| KnownCall {
                op: call.event.op(),
                pid: call.pid,
                comm: call.comm,
                t0_us: call.t0_us,
                t1_us: call.t1_us,
                nobjs: match *call.event {
                    Event::McFree { nobjs, .. } => Some(nobjs),
                    _ => None,
                },
            })
            .collect(),
    })
}

fn sight(call: &Call<'_>, address: u64, base: u64) -> Option<Sight> {
    /// The least that the three granules have in common: a report that lies further inside is not named.
    const PAGE: u64 = 4096;
    let within = |start: u64, size: u64| address.checked_sub(start).is_some_and(|offset| offset < size);
    let (name, of) = match *call.event {
        Event::McFree { mc, objects, .. } if objects == base && objects != 0 => (Name::CacheArray, Some(mc)),
        Event::Init { pgt, .. } | Event::FreeStage2Pgd { pgt, .. } if pgt == base && pgt != 0 => {
            (Name::Pgt, None)
        }
        Event::ZallocPagesExact { va, size } | Event::FreePagesExact { va, size } if within(va, size) => {
            (Name::Pgd, None)
        }
        Event::ZallocPage { va } | Event::FreeUnlinkedTable { va, .. } if within(va, PAGE) => {
            (Name::TablePage, None)
        }
        _ if call.event.kvm() == Some(base) => (Name::Kvm, None),
        _ => return None,
    };
    Some(Sight { name, of })
}

/// The split cache is the one that a flush empties; vCPUs' caches are only emptied when the VM dies.
fn is_split_cache(calls: &Calls<'_>, mc: Option<u64>, kvm: Option<u64>) -> bool {
    let empties = |call: &Call<'_>| matches!(*call.event, Event::McFree { mc: of, .. } if Some(of) == mc);
    let flushes = |call: &Call<'_>| matches!(*call.event, Event::FlushShadowAll { kvm: of } | Event::UninitStage2Mmu { kvm: of } if Some(of) == kvm);
    calls.iter().filter(|call| empties(call)).any(|call| calls.around(call).any(flushes))
}
