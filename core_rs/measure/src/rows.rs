//! Measurements as Arrow record batches: tidy, one row a measurement, units in the names.

use std::sync::Arc;

use arrow_array::{ArrayRef, BooleanArray, Float64Array, RecordBatch, StringArray, UInt32Array, UInt64Array};
use arrow_schema::{DataType, Field, Schema};
use runtime::native::{LockStats, SideStats};

use crate::point::{Counters, Point};
use crate::run::Measurement;
use crate::thread::{OfThread, cores};

/// The lock that plays `mmu_lock`.
const LOCK: &str = "parking_lot";

/// The result of a sweep.
#[derive(Clone, Debug)]
pub struct Rows {
    /// One row a measurement, in the order in which they ran.
    pub points: RecordBatch,
    /// One row for each measurement, side of the lock and site that took it.
    pub sites: RecordBatch,
}

#[derive(Default)]
pub(crate) struct RowsBuilder {
    measured: Vec<(Point, usize, Measurement)>,
}

impl RowsBuilder {
    pub(crate) fn push(&mut self, point: &Point, repeat: usize, measurement: &Measurement) {
        self.measured.push((*point, repeat, measurement.clone()));
    }

    pub(crate) fn finish(self) -> Rows {
        Rows { points: self.points(), sites: self.sites() }
    }

    fn points(&self) -> RecordBatch {
        let cores = cores();
        let mut columns = Columns::default();
        columns.u32("run", (0..self.measured.len()).map(|run| run as u32));
        columns.u32("repeat", self.measured.iter().map(|(_, repeat, _)| *repeat as u32));
        columns.text("walker", self.each_point(|point| point.config.walker.to_string()));
        columns.text("lock", self.measured.iter().map(|_| LOCK.to_owned()));
        columns.text("counters", self.each_point(|point| point.counters.to_string()));
        columns.text("granule", self.each_point(|point| point.config.granule.to_string()));
        columns.u32("ipa_bits", self.each_point(|point| point.config.ipa_bits));
        columns.u32("threads", self.each_point(|point| point.threads as u32));
        columns.flag("oversubscribed", self.each_point(|point| point.threads > cores));
        columns.text("pattern", self.each_point(|point| point.pattern.to_string()));
        columns.text("walk", self.each_point(|point| point.walk.to_string()));
        columns.text("teardown", self.each_point(|point| point.teardown.to_string()));
        columns.u64("step_bytes", self.each_point(Point::step));
        columns.u64("guest_bytes", self.each_point(|point| Some(point.guest_bytes)));
        columns.u64("leaf_bytes", self.each_point(|point| Some(point.leaf_bytes)));
        columns.u64("faults", self.each(|measured| Some(measured.faults)));
        columns.u64("retries", self.each(|measured| Some(measured.retries)));
        columns.u64("already_mapped", self.each(|measured| Some(measured.already_mapped)));
        columns.u64("fault_wall_ns", self.each(|measured| Some(measured.fault_wall_ns)));
        columns.u64("fault_cpu_ns", self.each(|measured| measured.thread.map(|thread| thread.cpu_ns)));
        columns.f64(
            "faults_per_s",
            self.each(|measured| measured.faults as f64 * 1e9 / measured.fault_wall_ns.max(1) as f64),
        );
        columns.u64("teardown_ns", self.each(|measured| Some(measured.teardown_ns)));
        columns.u64("pages_freed", self.each(|measured| Some(measured.pages_freed)));
        self.side(&mut columns, "read", |lock| &lock.read);
        self.side(&mut columns, "write", |lock| &lock.write);
        let thread = |of: fn(&OfThread) -> u64| self.each(move |measured| measured.thread.as_ref().map(of));
        columns.u64("voluntary_switches", thread(|thread| thread.voluntary));
        columns.u64("involuntary_switches", thread(|thread| thread.involuntary));
        columns.finish()
    }

    /// The columns of one side of the lock: counts, then times where they were recorded.
    fn side(&self, columns: &mut Columns, side: &str, of: fn(&LockStats) -> &SideStats) {
        let mut counts = |name: &str, value: fn(&SideStats) -> u64| {
            let values = self.each(|measured| Some(value(of(measured.mmu_lock.as_ref()?))));
            columns.u64(&format!("{side}_{name}"), values);
        };
        counts("acquisitions", |side| side.acquisitions);
        counts("contentions", |side| side.contentions);
        let mut times = |name: &str, value: fn(&SideStats) -> u64| {
            let values = self.measured.iter().map(|(point, _, measured)| {
                let lock = measured.mmu_lock.as_ref().filter(|_| point.counters == Counters::Times)?;
                Some(value(of(lock)))
            });
            columns.u64(&format!("{side}_{name}"), values);
        };
        times("wait_ns", |side| side.wait.total_ns);
        times("wait_max_ns", |side| side.wait.max_ns);
        times("hold_ns", |side| side.hold.total_ns);
        times("hold_p50_ns", |side| side.hold.histogram.value_at_quantile(0.5));
        times("hold_p99_ns", |side| side.hold.histogram.value_at_quantile(0.99));
        times("hold_max_ns", |side| side.hold.max_ns);
    }

    fn sites(&self) -> RecordBatch {
        let mut rows = Vec::new();
        for (run, (_, _, measured)) in self.measured.iter().enumerate() {
            let Some(lock) = &measured.mmu_lock else { continue };
            for (side, stats) in [("read", &lock.read), ("write", &lock.write)] {
                rows.extend(stats.sites.iter().map(|site| (run as u32, side, site)));
            }
        }
        let mut columns = Columns::default();
        columns.u32("run", rows.iter().map(|(run, ..)| *run));
        columns.text("side", rows.iter().map(|(_, side, _)| (*side).to_owned()));
        columns.text("site", rows.iter().map(|(.., site)| site.site.name().to_owned()));
        columns.u64("acquisitions", rows.iter().map(|(.., site)| Some(site.acquisitions)));
        columns.u64("contentions", rows.iter().map(|(.., site)| Some(site.contentions)));
        columns.finish()
    }

    fn each_point<'a, T>(&'a self, value: impl Fn(&Point) -> T + 'a) -> impl Iterator<Item = T> + 'a {
        self.measured.iter().map(move |(point, ..)| value(point))
    }

    fn each<'a, T>(&'a self, value: impl Fn(&Measurement) -> T + 'a) -> impl Iterator<Item = T> + 'a {
        self.measured.iter().map(move |(.., measured)| value(measured))
    }
}

/// Columns of a record batch under construction.
#[derive(Default)]
struct Columns {
    fields: Vec<Field>,
    arrays: Vec<ArrayRef>,
}

impl Columns {
    fn push(&mut self, name: &str, kind: DataType, nullable: bool, array: ArrayRef) {
        self.fields.push(Field::new(name, kind, nullable));
        self.arrays.push(array);
    }

    fn u32(&mut self, name: &str, values: impl Iterator<Item = u32>) {
        self.push(name, DataType::UInt32, false, Arc::new(UInt32Array::from_iter_values(values)));
    }

    fn u64(&mut self, name: &str, values: impl Iterator<Item = Option<u64>>) {
        self.push(name, DataType::UInt64, true, Arc::new(values.collect::<UInt64Array>()));
    }

    fn f64(&mut self, name: &str, values: impl Iterator<Item = f64>) {
        self.push(name, DataType::Float64, false, Arc::new(Float64Array::from_iter_values(values)));
    }

    fn flag(&mut self, name: &str, values: impl Iterator<Item = bool>) {
        let values: Vec<bool> = values.collect();
        self.push(name, DataType::Boolean, false, Arc::new(BooleanArray::from(values)));
    }

    fn text(&mut self, name: &str, values: impl Iterator<Item = String>) {
        self.push(name, DataType::Utf8, false, Arc::new(StringArray::from_iter_values(values)));
    }

    fn finish(self) -> RecordBatch {
        let schema = Arc::new(Schema::new(self.fields));
        RecordBatch::try_new(schema, self.arrays).expect("columns of one length, as their fields say")
    }
}
