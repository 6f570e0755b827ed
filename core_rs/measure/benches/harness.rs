//! What the harness itself costs: an operation that does nothing, and a measurement of almost nothing. Minima over
//! interleaved runs.
//!
//! Limits: 3 ns for an empty operation of a pass without latencies; 2 ms for a whole measurement of one page; 10 us to check a
//! point, as a plan may have 10^5. An operation
//! whose latency is recorded costs a time stamp and an entry of a histogram more, set beside one stamp alone.
//!
//! `cargo bench -p pyworkbench-measure --bench harness`; with `--json` the rows as JSON lines.

use std::hint::black_box;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use measure::{Plan, Point, empty_operations, measure, row, to_ipc};

const RUNS: usize = 200;
const OPERATIONS: u64 = 1 << 16;
const POINTS: u32 = 100;

fn main() {
    let loops = [
        ("sequential touches", r#""counters": "off""#, Some(3.0)),
        ("random touches", r#""counters": "off", "locality": "random""#, Some(3.0)),
        ("sequential touches, half of them reads", r#""counters": "off", "write_percent": 50"#, None),
        ("random touches of a hot guest", r#""counters": "off", "locality": "hot""#, None),
        ("a mix of five classes", r#""counters": "off", "mix": "fault=16 age wrprotect unmap split""#, None),
        ("sequential touches, latencies recorded", r#""counters": "times""#, None),
    ];
    let plans: Vec<Plan> = loops.iter().map(|(_, fields, _)| plan(fields)).collect();
    let tiny = plan(r#""guest_bytes": 4096, "ops_per_thread": 1"#);
    let (mut ns, mut stamp, mut whole) = (vec![f64::INFINITY; plans.len()], f64::INFINITY, f64::INFINITY);
    let (json, mut checked) = (tiny.point.to_json(), f64::INFINITY);
    let clock = quanta::Clock::new();
    for _ in 0..RUNS {
        for (plan, least) in plans.iter().zip(&mut ns) {
            let (operations, took) = empty_operations(plan).expect("the plan has operations");
            *least = least.min(took.as_nanos() as f64 / operations as f64);
        }
        stamp = stamp.min(one_stamp(&clock));
        let start = Instant::now();
        for _ in 0..POINTS {
            let point = Point::from_json(black_box(&json)).expect("it was written by a point");
            black_box(point.check().expect("it was checked before").point.to_json());
        }
        checked = checked.min(start.elapsed().as_nanos() as f64 / f64::from(POINTS));
        let start = Instant::now();
        let measured = measure(&tiny, 0, &AtomicBool::new(false)).expect("a page can be measured");
        black_box(to_ipc(&row(&tiny, 0, 0, Ok(&measured))));
        whole = whole.min(start.elapsed().as_nanos() as f64);
    }
    for ((what, _, limit), ns) in loops.iter().zip(ns) {
        report(what, ns, *limit);
    }
    report("a time stamp alone", stamp, None);
    report("a point checked, JSON to canonical JSON", checked, Some(1e4));
    report("a measurement of one page, with its row", whole, Some(2e6));
}

fn plan(fields: &str) -> Plan {
    let each = if fields.contains("ops_per_thread") {
        String::new()
    } else {
        format!(", \"ops_per_thread\": {OPERATIONS}")
    };
    let point = Point::from_json(&format!("{{{fields}{each}}}")).expect("a point");
    point.check().expect("a point that can be measured")
}

fn one_stamp(clock: &quanta::Clock) -> f64 {
    let start = Instant::now();
    for _ in 0..OPERATIONS {
        black_box(black_box(clock).raw());
    }
    start.elapsed().as_nanos() as f64 / OPERATIONS as f64
}

fn report(what: &str, ns: f64, limit: Option<f64>) {
    let ratio = limit.map(|limit| ns / limit);
    if std::env::args().any(|argument| argument == "--json") {
        let text = |number: Option<f64>| number.map_or("null".to_owned(), |number| format!("{number:.3}"));
        println!(
            r#"{{"operation": "{what}", "ns": {ns:.2}, "limit_ns": {}, "ratio": {}}}"#,
            text(limit),
            text(ratio)
        );
        return;
    }
    let verdict = match (limit, ratio) {
        (Some(limit), Some(ratio)) => {
            let above = if ratio > 1.0 { "  above it" } else { "" };
            format!("{ratio:>8.3} of {limit} ns{above}")
        }
        _ => String::new(),
    };
    println!("{what:42}{ns:>12.2} ns{verdict}");
}
