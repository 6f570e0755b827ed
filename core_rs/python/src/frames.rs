//! Tables for Python, as Arrow record batches: a column an array, no copy on the way.

use std::sync::Arc;

use arrow_array::builder::{Int8Builder, StringBuilder, UInt64Builder};
use arrow_array::{ArrayRef, BooleanArray, Int8Array, RecordBatch, StringArray, UInt8Array, UInt64Array};
use arrow_buffer::{BooleanBuffer, NullBuffer, OffsetBuffer};
use pyo3::IntoPyObject;
use pyo3_arrow::PyRecordBatch;
use stage2::{Bits, Event, Found, Leaves, Names, Tlbi, is_valid};

use crate::history::Recorded;

/// Leaves and annotations.
pub(crate) fn leaves(leaves: Leaves) -> PyRecordBatch {
    let rows = leaves.ipa.len();
    let [r, w, px, ux, af] = leaves.flags.map(|flag| Arc::new(BooleanArray::new(bits(flag, rows), None)));
    let kind = names(leaves.kind, None);
    let memtype = names(leaves.memtype, Some(NullBuffer::new(bits(leaves.memtype_known, rows))));
    batch([
        ("ipa", Arc::new(UInt64Array::from(leaves.ipa))),
        ("size_bytes", Arc::new(UInt64Array::from(leaves.size_bytes))),
        ("level", Arc::new(Int8Array::from(leaves.level))),
        ("kind", Arc::new(kind)),
        ("pa", Arc::new(where_valid(leaves.pa, bits(leaves.valid, rows)))),
        ("r", r),
        ("w", w),
        ("px", px),
        ("ux", ux),
        ("af", af),
        ("software", Arc::new(UInt8Array::from(leaves.software))),
        ("memtype", Arc::new(memtype)),
        ("desc", Arc::new(UInt64Array::from(leaves.desc))),
    ])
}

/// What look-ups found.
pub(crate) fn found(found: Found) -> PyRecordBatch {
    let valid = bits(Bits::of(&found.desc, is_valid), found.desc.len());
    batch([
        ("pa", Arc::new(where_valid(found.pa, valid))),
        ("level", Arc::new(Int8Array::from(found.level))),
        ("desc", Arc::new(UInt64Array::from(found.desc))),
    ])
}

fn bits(bits: Bits, rows: usize) -> BooleanBuffer {
    BooleanBuffer::new(bits.0.into(), 0, rows)
}

fn where_valid(values: Vec<u64>, valid: BooleanBuffer) -> UInt64Array {
    UInt64Array::new(values.into(), Some(NullBuffer::new(valid)))
}

fn names(names: Names, known: Option<NullBuffer>) -> StringArray {
    StringArray::new(OffsetBuffer::new(names.offsets.into()), names.bytes.into(), known)
}

/// Events, oldest first.
pub(crate) fn events<'a>(recorded: impl Iterator<Item = &'a Recorded>) -> PyRecordBatch {
    let (mut call, mut operation) = (UInt64Builder::new(), StringBuilder::new());
    let (mut event, mut address) = (StringBuilder::new(), UInt64Builder::new());
    let (mut level, mut size) = (Int8Builder::new(), UInt64Builder::new());
    let mut pages = UInt64Builder::new();
    for record in recorded {
        let row = EventRow::of(record.event);
        call.append_value(record.call);
        operation.append_value(record.operation);
        event.append_value(row.event);
        address.append_option(row.address);
        level.append_option(row.level);
        pages.append_option(row.pages);
        size.append_option(row.size_bytes);
    }
    batch([
        ("call", Arc::new(call.finish())),
        ("operation", Arc::new(operation.finish())),
        ("event", Arc::new(event.finish())),
        ("address", Arc::new(address.finish())),
        ("level", Arc::new(level.finish())),
        ("pages", Arc::new(pages.finish())),
        ("size_bytes", Arc::new(size.finish())),
    ])
}

/// An event as the columns of a row.
#[derive(Default, IntoPyObject)]
pub(crate) struct EventRow {
    event: &'static str,
    address: Option<u64>,
    level: Option<i8>,
    pages: Option<u64>,
    size_bytes: Option<u64>,
}

impl EventRow {
    pub(crate) fn of(event: Event) -> Self {
        let row = |event| Self { event, ..Self::default() };
        match event {
            Event::Tlbi(Tlbi::Ipa { ipa, level }) => Self { address: Some(ipa), level, ..row("tlbi_ipa") },
            Event::Tlbi(Tlbi::IpaNsh { ipa, level }) => {
                Self { address: Some(ipa), level, ..row("tlbi_ipa_nsh") }
            }
            Event::Tlbi(Tlbi::Range { ipa, pages }) => {
                Self { address: Some(ipa), pages: Some(pages), ..row("tlbi_range") }
            }
            Event::Tlbi(Tlbi::Vmid) => row("tlbi_vmid"),
            Event::DcacheClean { pa, size } => {
                Self { address: Some(pa), size_bytes: Some(size), ..row("dcache_clean") }
            }
            Event::IcacheInvalidate { pa, size } => {
                Self { address: Some(pa), size_bytes: Some(size), ..row("icache_invalidate") }
            }
            Event::FreeUnlinked { level } => Self { level: Some(level), ..row("free_unlinked") },
            Event::Warn => row("warn"),
        }
    }
}

/// A record batch of columns of one length.
pub(crate) fn batch<const N: usize>(columns: [(&str, ArrayRef); N]) -> PyRecordBatch {
    let batch = RecordBatch::try_from_iter_with_nullable(columns.map(|(name, array)| (name, array, true)));
    PyRecordBatch::new(batch.expect("columns of one length"))
}
