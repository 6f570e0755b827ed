//! Tables for Python, as Arrow record batches: a column an array, no copy on the way.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arrow_array::builder::{BooleanBuilder, Int8Builder, StringBuilder, UInt8Builder, UInt64Builder};
use arrow_array::{ArrayRef, RecordBatch};
use pyo3::IntoPyObject;
use pyo3_arrow::PyRecordBatch;
use runtime::Runtime;
use stage2::{Event, Kind, Table, Tlbi};

use crate::history::Recorded;
use crate::leaf::Leaf;

/// Every leaf and annotation of the table, in the order of addresses.
/// The answer is incomplete if `stop` becomes true meanwhile.
pub(crate) fn leaves<R: Runtime>(table: &Table<R>, stop: &AtomicBool) -> PyRecordBatch {
    let mut columns = LeafColumns::default();
    table.for_each_entry(|entry| {
        if entry.kind() != Kind::Table && !stop.load(Ordering::Relaxed) {
            columns.push(&Leaf::of(table, entry.ipa, entry.level, entry.desc));
        }
    });
    columns.finish()
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

#[derive(Default)]
struct LeafColumns {
    ipa: UInt64Builder,
    size_bytes: UInt64Builder,
    level: Int8Builder,
    kind: StringBuilder,
    pa: UInt64Builder,
    flags: [BooleanBuilder; 5],
    software: UInt8Builder,
    memtype: StringBuilder,
    desc: UInt64Builder,
}

impl LeafColumns {
    fn push(&mut self, leaf: &Leaf) {
        self.ipa.append_value(leaf.ipa);
        self.size_bytes.append_value(leaf.size_bytes);
        self.level.append_value(leaf.level);
        self.kind.append_value(leaf.kind);
        self.pa.append_option(leaf.pa);
        for (column, flag) in self.flags.iter_mut().zip([leaf.r, leaf.w, leaf.px, leaf.ux, leaf.af]) {
            column.append_value(flag);
        }
        self.software.append_value(leaf.software);
        self.memtype.append_option(leaf.memtype);
        self.desc.append_value(leaf.desc);
    }

    fn finish(mut self) -> PyRecordBatch {
        let [r, w, px, ux, af] = self.flags.each_mut().map(|column| Arc::new(column.finish()) as ArrayRef);
        batch([
            ("ipa", Arc::new(self.ipa.finish())),
            ("size_bytes", Arc::new(self.size_bytes.finish())),
            ("level", Arc::new(self.level.finish())),
            ("kind", Arc::new(self.kind.finish())),
            ("pa", Arc::new(self.pa.finish())),
            ("r", r),
            ("w", w),
            ("px", px),
            ("ux", ux),
            ("af", af),
            ("software", Arc::new(self.software.finish())),
            ("memtype", Arc::new(self.memtype.finish())),
            ("desc", Arc::new(self.desc.finish())),
        ])
    }
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
