//! The `upstream` walker against the kernel's C code, in nanoseconds for each 4K page of a 256 MiB guest.
//!
//! The C figures are those of upstream's stage-2 code in user space on a machine of this kind. All figures
//! are minima over runs: the machine is noisy, and noise only adds. A row says the ratio to the C figure and
//! whether it is within the limit of 1.3; the two-thread row says the speed-up, limit 1.9.
//!
//! `cargo bench -p pyworkbench-stage2 --bench upstream`; with `--json` the rows as JSON lines.

use std::hint::black_box;
use std::sync::Barrier;
use std::time::Instant;

use runtime::native::Native;
use stage2::{Config, Env, Errno, NoLog, Prot, Table, Walk};

const PAGE: u64 = 4096;
const PAGES: u64 = 65536;
const BASE: u64 = 0x8000_0000;
/// Not aligned to a block beside `BASE`, so that a ranged map installs pages.
const PA: u64 = 0x1_0000_1000;
const RUNS: usize = 30;
const LIMIT: f64 = 1.3;
const TWO_THREADS_LIMIT: f64 = 1.9;

struct Row {
    operation: &'static str,
    ns: f64,
    upstream_ns: f64,
}

fn main() {
    let rows = [
        Row { operation: "map, a call a page", ns: map_each(Walk::Exclusive), upstream_ns: 44.5 },
        Row { operation: "map, a call a page, shared", ns: map_each(Walk::Shared), upstream_ns: 45.5 },
        Row { operation: "map, one ranged call", ns: map_range(), upstream_ns: 14.5 },
        Row { operation: "look-up, sequential", ns: look_up(1), upstream_ns: 21.4 },
        Row { operation: "look-up, random", ns: look_up(40503), upstream_ns: 22.0 },
        Row { operation: "write-protect whole", ns: wrprotect(), upstream_ns: 5.6 },
        Row { operation: "unmap whole", ns: unmap(), upstream_ns: 4.8 },
        Row { operation: "destroy", ns: destroy(), upstream_ns: 4.5 },
        Row { operation: "split 2M -> 4K", ns: split(), upstream_ns: 14.9 },
    ];
    let speed_up = two_threads();
    if std::env::args().any(|argument| argument == "--json") {
        for Row { operation, ns, upstream_ns } in rows {
            println!(
                r#"{{"operation": "{operation}", "ns": {ns:.2}, "upstream_ns": {upstream_ns}, "ratio": {:.3}, "limit": {LIMIT}}}"#,
                ns / upstream_ns
            );
        }
        println!(
            r#"{{"operation": "two threads map halves, no lock", "speed_up": {speed_up:.2}, "limit": {TWO_THREADS_LIMIT}}}"#
        );
        return;
    }
    println!("{:34}{:>10}{:>12}{:>8}", "ns for each 4K page, minimum", "here", "upstream C", "ratio");
    for Row { operation, ns, upstream_ns } in rows {
        let ratio = ns / upstream_ns;
        let verdict = if ratio <= LIMIT { "" } else { "  above 1.3" };
        println!("{operation:34}{ns:>10.2}{upstream_ns:>12.1}{ratio:>8.2}{verdict}");
    }
    let verdict = if speed_up >= TWO_THREADS_LIMIT { "" } else { "  below 1.9" };
    println!("{:34}{speed_up:>9.2}x{verdict}", "two threads map halves, no lock");
}

fn prot() -> Prot {
    Prot::R | Prot::W
}

fn table() -> Table<Native> {
    Table::new(Config::default()).expect("the default is a table")
}

/// The least nanoseconds a page that `timed` takes, each time after `prepare`.
fn minimum(
    table: &Table<Native>,
    mut prepare: impl FnMut(&Table<Native>, &mut Env),
    mut timed: impl FnMut(&Table<Native>, &mut Env),
) -> f64 {
    let mut env = Env::new(NoLog);
    let run = |_| {
        prepare(table, &mut env);
        let start = Instant::now();
        timed(table, &mut env);
        start.elapsed().as_nanos() as f64 / PAGES as f64
    };
    (0..RUNS).map(run).fold(f64::INFINITY, f64::min)
}

fn clear(table: &Table<Native>, env: &mut Env) {
    table.unmap(env, BASE, PAGES * PAGE).expect("the range is in the space");
}

fn fill(table: &Table<Native>, env: &mut Env) {
    clear(table, env);
    table.map(env, Walk::Exclusive, BASE, PAGES * PAGE, PA, prot()).expect("an empty range");
}

fn map_each(walk: Walk) -> f64 {
    minimum(&table(), clear, |table, env| {
        for page in 0..PAGES {
            let offset = page * PAGE;
            table.map(env, walk, BASE + offset, PAGE, PA + offset, prot()).expect("an empty page");
        }
    })
}

fn map_range() -> f64 {
    minimum(&table(), clear, |table, env| {
        table.map(env, Walk::Exclusive, BASE, PAGES * PAGE, PA, prot()).expect("an empty range");
    })
}

/// Looks every page up once, `stride` pages apart (odd, so that all are met).
fn look_up(stride: u64) -> f64 {
    let table = table();
    fill(&table, &mut Env::new(NoLog));
    minimum(
        &table,
        |_, _| {},
        |table, _| {
            for step in 0..PAGES {
                let page = step * stride % PAGES;
                black_box(table.get_leaf(BASE + page * PAGE).expect("in the space").desc);
            }
        },
    )
}

fn wrprotect() -> f64 {
    minimum(&table(), fill, |table, env| {
        table.wrprotect(env, BASE, PAGES * PAGE).expect("in the space");
    })
}

fn unmap() -> f64 {
    minimum(&table(), fill, clear)
}

fn destroy() -> f64 {
    minimum(
        &table(),
        |table, env| {
            if table.root().is_none() {
                table.init();
            }
            fill(table, env);
        },
        Table::destroy,
    )
}

fn split() -> f64 {
    minimum(
        &table(),
        |table, env| {
            clear(table, env);
            table
                .map(env, Walk::Exclusive, BASE, PAGES * PAGE, 0x1_0000_0000, prot())
                .expect("an empty range");
        },
        |table, env| table.split(env, BASE, PAGES * PAGE).expect("an unlimited cache"),
    )
}

/// How much faster two threads map the two halves, without a lock, than one thread maps both.
fn two_threads() -> f64 {
    let map_half = |table: &Table<Native>, env: &mut Env, half: u64| {
        for page in half * PAGES / 2..(half + 1) * PAGES / 2 {
            let offset = page * PAGE;
            let mut map = || table.map(env, Walk::Shared, BASE + offset, PAGE, PA + offset, prot());
            while map() == Err(Errno::Again) {} // the other thread installs the table that both need
        }
    };
    let table = table();
    let mut one = f64::INFINITY;
    let mut two = f64::INFINITY;
    for _ in 0..RUNS {
        let mut env = Env::new(NoLog);
        clear(&table, &mut env);
        let start = Instant::now();
        map_half(&table, &mut env, 0);
        map_half(&table, &mut env, 1);
        one = one.min(start.elapsed().as_secs_f64());

        clear(&table, &mut env);
        let barrier = Barrier::new(2);
        let spans: Vec<(Instant, Instant)> = std::thread::scope(|scope| {
            let threads = [0, 1].map(|half| {
                let (table, barrier) = (&table, &barrier);
                scope.spawn(move || {
                    let mut env = Env::new(NoLog);
                    barrier.wait();
                    let start = Instant::now();
                    map_half(table, &mut env, half);
                    (start, Instant::now())
                })
            });
            threads.into_iter().map(|thread| thread.join().expect("mapping does not panic")).collect()
        });
        let start = spans.iter().map(|span| span.0).min().expect("two spans");
        let end = spans.iter().map(|span| span.1).max().expect("two spans");
        two = two.min((end - start).as_secs_f64());
    }
    one / two
}
