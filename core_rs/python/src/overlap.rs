//! Overlaps in real traces, as dicts and lists that `pyworkbench/overlap.py` gives names to.

use std::path::PathBuf;

use capture::{Overlap, Shared, overlaps_in};
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::capture::source_of;
use crate::dicts::{dict, list};
use crate::enter::enter_long;
use crate::errors::Error;

#[pyfunction]
#[pyo3(signature = (trace, *, source))]
pub(crate) fn overlaps<'py>(
    py: Python<'py>,
    trace: PathBuf,
    source: &str,
) -> Result<Vec<Bound<'py, PyDict>>, Error> {
    let source = source_of(source)?;
    let traces = enter_long(py, move |_| overlaps_in(&trace, source))?;
    Ok(list(traces, |trace| {
        dict!(py,
            file: trace.file,
            records: trace.records,
            flushes: trace.flushes,
            overlaps: list(trace.overlaps, |one| describe(py, &one))?,
        )
    })?)
}

fn describe<'py>(py: Python<'py>, one: &Overlap) -> PyResult<Bound<'py, PyDict>> {
    let (kind, mc) = match one.shared {
        Shared::Flush => ("flush", None),
        Shared::Cache { mc } => ("cache", Some(mc)),
    };
    dict!(py,
        kind: kind,
        kvm: one.kvm,
        mc: mc,
        start_us: one.start_us,
        end_us: one.end_us,
        both_filled: one.both_filled(),
        sides: list(&one.sides, |side| dict!(py,
            pid: side.pid,
            comm: side.comm.as_str(),
            t0_us: side.t0_us,
            t1_us: side.t1_us,
            returned: side.returned,
            nobjs: side.objects.map(|(count, _)| count),
            objects: side.objects.map(|(_, array)| array),
        ))?,
        ladder: one.ladder.to_string(),
    )
}
