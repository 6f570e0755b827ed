//! KASAN's reports, as dicts and lists that `pyworkbench/console.py` gives names to.

use std::path::PathBuf;

use capture::{Access, Frame, KasanReport, Known, Task, Track, kasan_in};
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::dicts::{dict, list};
use crate::enter::enter_long;
use crate::errors::Error;

#[pyfunction]
#[pyo3(signature = (console, *, trace))]
pub(crate) fn kasan(
    py: Python<'_>,
    console: PathBuf,
    trace: Option<PathBuf>,
) -> Result<Vec<Bound<'_, PyDict>>, Error> {
    let reports = enter_long(py, move |_| kasan_in(&console, trace.as_deref()))?;
    Ok(list(reports, |report| describe(py, report))?)
}

/// What is modelled of two chains of calls, outermost first, and how many calls they have in common from there.
#[pyfunction]
#[expect(clippy::needless_pass_by_value, reason = "PyO3 hands lists over by value")]
pub(crate) fn compare_chains(
    one: Vec<String>,
    other: Vec<String>,
    modelled: Vec<String>,
) -> (Vec<String>, Vec<String>, usize) {
    let found = capture::compare_chains(&one, &other, &modelled);
    (found.one, found.other, found.common)
}

fn describe(py: Python<'_>, report: KasanReport) -> PyResult<Bound<'_, PyDict>> {
    let (pid, comm) = task(report.task.as_ref());
    let slab = report.object;
    dict!(py,
        line: report.line,
        time: report.time_us.map(|time_us| time_us as f64 / 1e6),
        kind: report.kind,
        place: report.place,
        access: report.access.map(|access| match access {
            Access::Read => "read",
            Access::Write => "write",
            Access::Free => "free",
        }),
        size_bytes: report.size_bytes,
        address: report.address,
        pid: pid,
        comm: comm,
        cpu: report.cpu,
        kernel: report.kernel,
        stack: functions(&report.stack),
        allocated: report.allocated.map(|track| describe_track(py, &track)).transpose()?,
        freed: report.freed.map(|track| describe_track(py, &track)).transpose()?,
        slab: slab.map(|slab| dict!(py,
            address: slab.address, cache: slab.cache, size_bytes: slab.size_bytes,
        )).transpose()?,
        known: report.known.map(|known| describe_known(py, known)).transpose()?,
        complete: report.complete,
    )
}

fn describe_track<'py>(py: Python<'py>, track: &Track) -> PyResult<Bound<'py, PyDict>> {
    let (pid, comm) = task(track.task.as_ref());
    dict!(py, pid: pid, comm: comm, cpu: track.cpu, stack: functions(&track.stack))
}

fn describe_known(py: Python<'_>, known: Known) -> PyResult<Bound<'_, PyDict>> {
    dict!(py,
        name: known.name,
        kvm: known.kvm,
        mc: known.mc,
        file: known.file,
        calls: list(known.calls, |call| dict!(py,
            operation: call.op,
            pid: call.pid,
            comm: call.comm.as_str(),
            start: call.t0_us as f64 / 1e6,
            end: call.t1_us as f64 / 1e6,
            nobjs: call.nobjs,
        ))?,
    )
}

fn task(task: Option<&Task>) -> (Option<u32>, Option<&str>) {
    (task.map(|task| task.pid), task.and_then(|task| task.comm.as_deref()))
}

fn functions(stack: &[Frame]) -> Vec<&str> {
    stack.iter().map(Frame::function).collect()
}
