//! Both walkers beside two crates that manage page tables and a bare walker, for each 4K page of a guest.
//!
//! A benchmark is an operation on a subject: `map-each/fast`. One iteration treats the whole guest, 65536 pages
//! unless the operation says otherwise; what prepares it is not timed. Subjects: `upstream` and `fast` are this
//! crate's; `aarch64-paging` and `x86_64` are those crates; `floor` is a walker without checks, counts,
//! break-before-make and safe freeing, `counted` the same with a compare-and-exchange and a count.
//!
//! `cargo bench -p pyworkbench-stage2 --bench walkers`; `make bench` puts the minima into one table.

#![allow(missing_docs)] // criterion's macros

mod aarch64;
mod floor;
mod guest;
mod ours;
mod x86;

use std::ops::Range;
use std::sync::Barrier;
use std::time::{Duration, Instant};

use criterion::{Criterion, SamplingMode, criterion_group, criterion_main};

use guest::{Guest, PAGES, Subject};
use ours::{Fast, Upstream};

criterion_group! {
    name = walkers;
    config = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(50))
        .measurement_time(Duration::from_millis(150))
        .nresamples(1000);
    targets = all
}
criterion_main!(walkers);

fn all(criterion: &mut Criterion) {
    of::<Upstream>(criterion, "upstream");
    of::<Fast>(criterion, "fast");
    of::<aarch64::Paging>(criterion, "aarch64-paging");
    of::<x86::Mapper>(criterion, "x86_64");
    of::<floor::Bare>(criterion, "floor");
    of::<floor::Counted>(criterion, "counted");
    ours::only(criterion);
    floor::halves(criterion);
    floor::large(criterion);
}

/// What every subject can do, and what it says it can.
fn of<S: Subject>(criterion: &mut Criterion, name: &str) {
    let guest = Guest::new();
    let mut subject = S::new();
    bench(criterion, "map-each", name, &mut subject, Subject::clear, |subject| {
        guest.pages().for_each(|page| subject.map(page));
    });
    bench(criterion, "map-random", name, &mut subject, Subject::clear, |subject| {
        guest.random().for_each(|page| subject.map(page));
    });
    subject.clear();
    if subject.map_range() {
        bench(criterion, "map-range", name, &mut subject, Subject::clear, |subject| {
            subject.map_range();
        });
    }
    subject.clear();
    guest.pages().for_each(|page| subject.map(page));
    bench(
        criterion,
        "look-up",
        name,
        &mut subject,
        |_| (),
        |subject| {
            guest.pages().for_each(|page| subject.look_up(page));
        },
    );
    bench(
        criterion,
        "look-up-random",
        name,
        &mut subject,
        |_| (),
        |subject| {
            guest.random().for_each(|page| subject.look_up(page));
        },
    );
    if subject.mkyoung(0) {
        bench(
            criterion,
            "mkyoung",
            name,
            &mut subject,
            |_| (),
            |subject| {
                guest.random().for_each(|page| {
                    subject.mkyoung(page);
                });
            },
        );
    }
    let fill = |subject: &mut S| guest.pages().for_each(|page| subject.map(page));
    let refill = |subject: &mut S| {
        subject.clear();
        fill(subject);
    };
    if subject.wrprotect() {
        bench(criterion, "wrprotect", name, &mut subject, refill, |subject| {
            subject.wrprotect();
        });
    }
    if subject.unmap(0) {
        bench(criterion, "unmap-each", name, &mut subject, refill, |subject| {
            guest.pages().for_each(|page| {
                subject.unmap(page);
            });
        });
    }
    refill(&mut subject);
    if subject.destroy() {
        let revive = |subject: &mut S| {
            subject.revive();
            fill(subject);
        };
        bench(criterion, "destroy", name, &mut subject, revive, |subject| {
            subject.destroy();
        });
    }
}

/// Times `timed`, each time after `prepare`.
fn bench<S>(
    criterion: &mut Criterion,
    operation: &str,
    name: &str,
    subject: &mut S,
    mut prepare: impl FnMut(&mut S),
    mut timed: impl FnMut(&mut S),
) {
    let mut group = criterion.benchmark_group(operation);
    group.sampling_mode(SamplingMode::Flat);
    group.bench_function(name, |bencher| {
        bencher.iter_custom(|iterations| {
            let mut elapsed = Duration::ZERO;
            for _ in 0..iterations {
                prepare(subject);
                let start = Instant::now();
                timed(subject);
                elapsed += start.elapsed();
            }
            elapsed
        });
    });
    group.finish();
}

/// One thread maps all pages, then two threads map a half each: from the first start to the last end.
fn halves<S: Subject + Sync>(
    criterion: &mut Criterion,
    name: &str,
    subject: &mut S,
    map: impl Fn(&S, Range<u64>) + Sync,
) {
    bench(criterion, "halves-one", name, subject, Subject::clear, |subject| map(subject, 0..PAGES));
    let mut group = criterion.benchmark_group("halves-two");
    group.sampling_mode(SamplingMode::Flat);
    group.bench_function(name, |bencher| {
        bencher.iter_custom(|iterations| {
            let mut elapsed = Duration::ZERO;
            for _ in 0..iterations {
                subject.clear();
                elapsed += two_threads(|half| map(subject, half * PAGES / 2..(half + 1) * PAGES / 2));
            }
            elapsed
        });
    });
    group.finish();
}

fn two_threads(work: impl Fn(u64) + Sync) -> Duration {
    let barrier = Barrier::new(2);
    let spans = std::thread::scope(|scope| {
        let threads = [0, 1].map(|half| {
            let (barrier, work) = (&barrier, &work);
            scope.spawn(move || {
                barrier.wait();
                let start = Instant::now();
                work(half);
                (start, Instant::now())
            })
        });
        threads.map(|thread| thread.join().expect("mapping does not panic"))
    });
    spans[0].1.max(spans[1].1) - spans[0].0.min(spans[1].0)
}
