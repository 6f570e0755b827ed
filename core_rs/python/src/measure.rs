//! Sweeps: axes become points, and their rows record batches.

use std::str::FromStr;
use std::sync::atomic::Ordering;

use measure::{Counters, FaultWalk, MeasureError, Pattern, Point, Progress, Rows, Teardown};
use pyo3::prelude::*;
use pyo3_arrow::PyRecordBatch;
use stage2::{Config, Granule};

use crate::enter::enter_long;
use crate::errors::Error;

/// Measures every combination of `threads`, `patterns`, `walks` and `teardowns`; answers measurements and lock sites.
///
/// `progress(done, total)` is called on the measuring thread between two measurements; what it raises ends
/// the sweep.
#[pyfunction]
#[pyo3(signature = (*, threads, patterns, walks, teardowns, guest_bytes, leaf_bytes, granule, ipa_bits, walker, step_bytes, counters, repeats, warmup, seed, progress))]
pub(crate) fn sweep(
    py: Python<'_>,
    threads: Vec<usize>,
    patterns: Vec<String>,
    walks: Vec<String>,
    teardowns: Vec<String>,
    guest_bytes: u64,
    leaf_bytes: u64,
    granule: &str,
    ipa_bits: u32,
    walker: &str,
    step_bytes: Option<u64>,
    counters: &str,
    repeats: usize,
    warmup: usize,
    seed: u64,
    progress: Option<Py<PyAny>>,
) -> Result<(PyRecordBatch, PyRecordBatch), Error> {
    let config = Config { walker: walker.parse()?, ..Config::new(granule.parse::<Granule>()?, ipa_bits) };
    let counters: Counters = counters.parse()?;
    let patterns: Vec<Pattern> = parsed(patterns)?;
    let walks: Vec<FaultWalk> = parsed(walks)?;
    let teardowns: Vec<Teardown> = parsed(teardowns)?;
    let mut points = Vec::new();
    for threads in threads {
        for &pattern in &patterns {
            for &walk in &walks {
                points.extend(teardowns.iter().map(|&teardown| Point {
                    config,
                    threads,
                    pattern,
                    walk,
                    teardown,
                    step_bytes,
                    guest_bytes,
                    leaf_bytes,
                    counters,
                }));
            }
        }
    }
    let Rows { points, sites } = enter_long(py, move |stop| {
        let mut raised = None;
        let mut report = |Progress { done, total }| {
            let Some(progress) = &progress else { return };
            if let Err(error) = Python::attach(|py| progress.call1(py, (done, total)).map(drop)) {
                stop.store(true, Ordering::Relaxed);
                raised = Some(error);
            }
        };
        let rows = measure::sweep(&points, repeats, warmup, seed, stop, &mut report);
        raised.map_or_else(|| rows.map_err(Error::from), |error| Err(Error::Python(error)))
    })?;
    Ok((PyRecordBatch::new(points), PyRecordBatch::new(sites)))
}

fn parsed<T: FromStr>(names: Vec<String>) -> Result<Vec<T>, T::Err> {
    names.into_iter().map(|name| name.parse()).collect()
}

impl From<MeasureError> for Error {
    fn from(error: MeasureError) -> Self {
        Self::input(error)
    }
}
