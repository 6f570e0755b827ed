//! A measurement as an Arrow record batch: one row, units in the names.

use std::io;

use arrow_array::RecordBatch;
use arrow_ipc::writer::StreamWriter;
use hdrhistogram::Histogram;
use runtime::native::{LockStats, SideStats, SiteStats};

use crate::columns::Columns;
use crate::field::FieldType;
use crate::measurement::{Measurement, OfClass, Operated};
use crate::names::Counters;
use crate::plan::Plan;
use crate::point::Point;
use crate::system::cores;

/// The version of what is measured and of the columns, in the schema's metadata.
pub const MEASUREMENT: (&str, &str) = ("pyworkbench.measurement", "2");

/// The row of a measurement, or of one that failed.
pub fn row(plan: &Plan, repeat: u32, run: u32, measured: Result<&Measurement, &str>) -> RecordBatch {
    batch(&plan.point, repeat, run, Some(plan.threads() > cores()), plan.counters, measured)
}

/// The columns, without a row.
pub fn schema() -> RecordBatch {
    batch(&Point::default(), 0, 0, None, Counters::Off, Ok(&Measurement::default())).slice(0, 0)
}

/// A batch as an Arrow IPC stream.
pub fn to_ipc(batch: &RecordBatch) -> Vec<u8> {
    let write = || -> Result<Vec<u8>, arrow_schema::ArrowError> {
        let mut stream = StreamWriter::try_new(io::Cursor::new(Vec::new()), &batch.schema())?;
        if batch.num_rows() > 0 {
            stream.write(batch)?;
        }
        stream.finish()?;
        Ok(stream.into_inner()?.into_inner())
    };
    write().expect("writing to memory does not fail")
}

fn batch(
    point: &Point,
    repeat: u32,
    run: u32,
    oversubscribed: Option<bool>,
    counters: Counters,
    measured: Result<&Measurement, &str>,
) -> RecordBatch {
    let mut columns = Columns::default();
    point.columns(&mut columns);
    columns.push("run", u32::column(Some(&run)));
    columns.push("repeat", u32::column(Some(&repeat)));
    columns.push("oversubscribed", bool::column(oversubscribed.as_ref()));
    columns.text("status", [Some(if measured.is_ok() { "ok" } else { "failed" })]);
    columns.text("error", [measured.err()]);
    let measured = measured.ok();
    operations(&mut columns, measured.and_then(|measured| measured.operations.as_ref()));
    teardown(&mut columns, measured);
    let lock = measured.and_then(|measured| measured.locks.first());
    side(&mut columns, "read", lock.map(|lock| &lock.read), counters);
    side(&mut columns, "write", lock.map(|lock| &lock.write), counters);
    system(&mut columns, measured);
    lists(&mut columns, measured, counters);
    columns.finish([MEASUREMENT].map(|(key, value)| (key.to_owned(), value.to_owned())))
}

fn operations(columns: &mut Columns, operated: Option<&Operated>) {
    let mut number = |name: &str, of: fn(&Operated) -> u64| columns.u64(name, [operated.map(of)]);
    number("ops", |operated| operated.ops);
    number("op_wall_ns", |operated| operated.wall_ns);
    number("op_cpu_ns", |operated| operated.thread.cpu_ns);
    number("maps", |operated| operated.faults.maps);
    number("relaxes", |operated| operated.faults.relaxes);
    number("youngs", |operated| operated.faults.youngs);
    number("hits", |operated| operated.faults.hits);
    number("retries", |operated| operated.faults.retries);
    number("thread_ops_min", |operated| operated.thread_ops_min);
    number("thread_ops_max", |operated| operated.thread_ops_max);
    let rate = |operated: &Operated| operated.ops as f64 * 1e9 / operated.wall_ns.max(1) as f64;
    columns.f64("ops_per_s", [operated.map(rate)]);
    columns.f64("fairness", [operated.map(|operated| operated.fairness)]);
    columns.u64("op_longest_hold_ns", [operated.and_then(|operated| operated.longest_hold_ns)]);
}

fn teardown(columns: &mut Columns, measured: Option<&Measurement>) {
    let torn = measured.map(|measured| measured.teardown);
    columns.u64("teardown_ns", [torn.map(|torn| torn.ns)]);
    columns.u64("teardown_cpu_ns", [torn.map(|torn| torn.thread.cpu_ns)]);
    columns.u64("pages_freed", [torn.map(|torn| torn.pages_freed)]);
    columns.u64("longest_hold_ns", [torn.and_then(|torn| torn.longest_hold_ns)]);
    columns.u64("unresched_ns", [torn.and_then(|torn| torn.unresched_ns)]);
    columns.u64("table_bytes", [measured.map(|measured| measured.table_bytes)]);
    let harm = measured.filter(|measured| !measured.harm.is_empty()).map(|measured| measured.harm.join("; "));
    columns.text("harm", [harm.as_deref()]);
}

/// The columns of one side of the lock: counts, then times where they were recorded.
fn side(columns: &mut Columns, name: &str, side: Option<&SideStats>, counters: Counters) {
    let counted = side.filter(|_| counters != Counters::Off);
    let mut count = |column: &str, of: fn(&SideStats) -> u64| {
        columns.u64(&format!("{name}_{column}"), [counted.map(of)]);
    };
    count("acquisitions", |side| side.acquisitions);
    count("contentions", |side| side.contentions);
    count("acq_bounces", |side| side.acq_bounces);
    count("con_bounces", |side| side.con_bounces);
    let timed = side.filter(|_| counters == Counters::Times);
    let mut time = |column: &str, of: fn(&SideStats) -> u64| {
        columns.u64(&format!("{name}_{column}"), [timed.map(of)]);
    };
    time("wait_ns", |side| side.wait.total_ns);
    time("wait_min_ns", |side| side.wait.min_ns);
    time("wait_max_ns", |side| side.wait.max_ns);
    time("hold_ns", |side| side.hold.total_ns);
    time("hold_min_ns", |side| side.hold.min_ns);
    time("hold_max_ns", |side| side.hold.max_ns);
    time("hold_p50_ns", |side| side.hold.histogram.value_at_quantile(0.5));
    time("hold_p99_ns", |side| side.hold.histogram.value_at_quantile(0.99));
}

fn system(columns: &mut Columns, measured: Option<&Measurement>) {
    let thread = measured.map(Measurement::thread);
    columns.u64("voluntary_switches", [thread.map(|thread| thread.voluntary)]);
    columns.u64("involuntary_switches", [thread.map(|thread| thread.involuntary)]);
    columns.u64("steal_ns", [measured.and_then(|measured| measured.steal_ns)]);
    columns.u64("minor_faults", [thread.map(|thread| thread.minor_faults)]);
    columns.u64("major_faults", [thread.map(|thread| thread.major_faults)]);
    let hardware = thread.and_then(|thread| thread.hardware);
    columns.u64("cycles", [hardware.map(|hardware| hardware.cycles)]);
    columns.u64("instructions", [hardware.map(|hardware| hardware.instructions)]);
    columns.u64("cache_references", [hardware.map(|hardware| hardware.cache_references)]);
    columns.u64("cache_misses", [hardware.map(|hardware| hardware.cache_misses)]);
}

fn lists(columns: &mut Columns, measured: Option<&Measurement>, counters: Counters) {
    let all = measured.map_or(&[][..], |measured| &measured.classes);
    columns.list("classes", classes(all));
    let locks = measured.map_or(&[][..], |measured| &measured.locks);
    columns.list("sites", sites(locks, counters));
    columns.list("holds", holds(locks));
}

fn classes(classes: &[OfClass]) -> Columns {
    let mut columns = Columns::default();
    let latency = |of: fn(&Histogram<u64>) -> u64| {
        classes.iter().map(move |class| class.latency.as_ref().filter(|latency| !latency.is_empty()).map(of))
    };
    columns.text("op", classes.iter().map(|class| Some(class.name)));
    columns.u64("count", classes.iter().map(|class| Some(class.count)));
    let mean = |class: &OfClass| class.latency.as_ref().filter(|all| !all.is_empty()).map(Histogram::mean);
    columns.f64("mean_ns", classes.iter().map(mean));
    columns.u64("p50_ns", latency(|all| all.value_at_quantile(0.5)));
    columns.u64("p90_ns", latency(|all| all.value_at_quantile(0.9)));
    columns.u64("p99_ns", latency(|all| all.value_at_quantile(0.99)));
    columns.u64("p999_ns", latency(|all| all.value_at_quantile(0.999)));
    columns.u64("max_ns", latency(Histogram::max));
    columns
}

/// Each lock's sides with their names.
fn sides(locks: &[LockStats]) -> impl Iterator<Item = (&'static str, &'static str, &SideStats)> {
    locks.iter().flat_map(|lock| [(lock.name, "read", &lock.read), (lock.name, "write", &lock.write)])
}

fn sites(locks: &[LockStats], counters: Counters) -> Columns {
    let rows: Vec<_> = sides(locks)
        .flat_map(|(lock, side, of)| of.sites.iter().map(move |site| (lock, side, site)))
        .collect();
    let mut columns = Columns::default();
    columns.text("lock", rows.iter().map(|(lock, ..)| Some(*lock)));
    columns.text("side", rows.iter().map(|(_, side, _)| Some(*side)));
    columns.text("site", rows.iter().map(|(.., site)| Some(site.site.name())));
    let mut count = |name: &str, of: fn(&SiteStats) -> u64| {
        columns.u64(name, rows.iter().map(|(.., site)| Some(of(site))));
    };
    count("acquisitions", |site| site.acquisitions);
    count("contentions", |site| site.contentions);
    count("acq_bounces", |site| site.acq_bounces);
    count("con_bounces", |site| site.con_bounces);
    count("contended_by", |site| site.contended_by);
    let mut time = |name: &str, of: fn(&SiteStats) -> u64| {
        let timed = counters == Counters::Times;
        columns.u64(name, rows.iter().map(|(.., site)| timed.then(|| of(site))));
    };
    time("wait_ns", |site| site.wait.total_ns);
    time("wait_min_ns", |site| site.wait.min_ns);
    time("wait_max_ns", |site| site.wait.max_ns);
    time("hold_ns", |site| site.hold.total_ns);
    time("hold_min_ns", |site| site.hold.min_ns);
    time("hold_max_ns", |site| site.hold.max_ns);
    columns
}

fn holds(locks: &[LockStats]) -> Columns {
    let rows: Vec<_> = sides(locks)
        .flat_map(|(lock, side, of)| {
            of.hold.histogram.iter_recorded().map(move |bucket| {
                let ns = of.hold.histogram.median_equivalent(bucket.value_iterated_to());
                (lock, side, ns, bucket.count_since_last_iteration())
            })
        })
        .collect();
    let mut columns = Columns::default();
    columns.text("lock", rows.iter().map(|(lock, ..)| Some(*lock)));
    columns.text("side", rows.iter().map(|(_, side, ..)| Some(*side)));
    columns.u64("ns", rows.iter().map(|(_, _, ns, _)| Some(*ns)));
    columns.u64("count", rows.iter().map(|(.., count)| Some(*count)));
    columns
}
