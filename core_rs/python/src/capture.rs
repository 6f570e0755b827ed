//! The replay of captures, as dicts and lists that `pyworkbench/capture.py` gives names to.

use std::path::PathBuf;

use capture::{Against, CaptureError, Options, Place, Replay, SnapshotResult, Source, replay_directory};
use pyo3::prelude::*;
use pyo3::types::PyDict;
use stage2::{Event, Tlbi, WalkerKind};

use crate::dicts::{dict, list};
use crate::enter::enter_long;
use crate::errors::{self, Error};
use crate::frames::EventRow;

#[pyfunction]
#[pyo3(signature = (directory, *, source, keep_differences, keep_dumps, walker))]
pub(crate) fn replay<'py>(
    py: Python<'py>,
    directory: PathBuf,
    source: &str,
    keep_differences: usize,
    keep_dumps: bool,
    walker: &str,
) -> Result<Bound<'py, PyDict>, Error> {
    let walker: WalkerKind = walker.parse()?;
    let options = Options { source: source_of(source)?, keep_differences, keep_dumps, walker };
    let replay = enter_long(py, move |_| replay_directory(&directory, options))?;
    let described = describe(py, replay)?;
    described.set_item("walker", walker.to_string())?;
    Ok(described)
}

pub(crate) fn source_of(source: &str) -> Result<Source, Error> {
    match source {
        "auto" => Ok(Source::Auto),
        "packed" => Ok(Source::Packed),
        "raw" => Ok(Source::Raw),
        _ => Err(Error::Input(format!("source {source:?} is none of 'auto', 'packed', 'raw'"))),
    }
}

impl From<CaptureError> for Error {
    fn from(error: CaptureError) -> Self {
        let (file, line) = error.place().map(|Place { file, line }| (file.as_str(), *line)).unzip();
        Self::Python(errors::CaptureError::new_err((error.to_string(), file.map(str::to_owned), line)))
    }
}

fn describe(py: Python<'_>, replay: Replay) -> PyResult<Bound<'_, PyDict>> {
    let Replay { traces, vms, uncompared, skipped_vms, lost, failed, answers, invalidations, .. } = replay;
    dict!(py,
        kernel: replay.kernel,
        traces: list(traces, |trace| dict!(py,
            scenario: trace.scenario, records: trace.records, operations: trace.operations,
            unentered: trace.unentered, unreturned: trace.unreturned,
        ))?,
        vms: list(vms, |vm| dict!(py,
            number: vm.number, pgt: vm.pgt, mmu: vm.mmu, kvm: vm.kvm, vtcr: vm.vtcr, operations: vm.operations,
        ))?,
        snapshots: list(replay.snapshots, |result| snapshot(py, result))?,
        uncompared: list(uncompared, |one| dict!(py, name: one.name, file: one.file, why: one.why))?,
        skipped_vms: list(skipped_vms, |vm| dict!(py,
            pgt: vm.pgt, operations: vm.operations, file: vm.first.file, line: vm.first.line,
        ))?,
        lost: list(lost, |lost| dict!(py, file: lost.file, line: lost.line, cpu: lost.cpu, events: lost.events))?,
        failed: list(failed, |((operation, ret), count)| dict!(py, operation: operation, ret: ret, count: count))?,
        answers_agreed: answers.agreed,
        answers_differing: list(answers.differing, |one| dict!(py,
            file: one.at.file, line: one.at.line, operation: one.op, captured: one.want, replayed: one.got,
        ))?,
        invalidations_agreed: invalidations.agreed,
        invalidations_differing: list(invalidations.differing, |one| dict!(py,
            file: one.at.file, line: one.at.line, operation: one.op,
            captured_only: rows(one.captured_only),
            replayed_only: rows(one.replayed_only),
        ))?,
        invalidations_apart: invalidations.apart,
    )
}

fn snapshot(py: Python<'_>, result: SnapshotResult) -> PyResult<Bound<'_, PyDict>> {
    let comparison = result.comparison;
    dict!(py,
        name: result.name,
        file: result.file,
        vm: result.vm,
        against: match result.against {
            Against::Descriptors => "descriptors",
            Against::Attributes => "attributes",
        },
        entries: comparison.entries,
        exact: comparison.exact,
        af_only: comparison.af_only,
        differing: comparison.differing,
        differences: list(comparison.differences, |one| dict!(py,
            level: one.level, ipa: one.ipa, captured: one.want, replayed: one.got,
        ))?,
        dump: result.dump,
    )
}

/// Invalidations, with the names that `Stage2.invalidations` has for its columns.
fn rows(tlbis: Vec<Tlbi>) -> Vec<EventRow> {
    tlbis.into_iter().map(|tlbi| EventRow::of(Event::Tlbi(tlbi))).collect()
}
