//! The phase of operations: threads that work on one table at the same time, and perhaps one beside them.

use std::convert::Infallible;
use std::hint::black_box;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::ScopedJoinHandle;
use std::time::{Duration, Instant};

use fastrand::Rng;
use hdrhistogram::Histogram;
use runtime::Runtime;
use stage2::Errno;

use crate::companion::{self, Duty, Signals};
use crate::drive::{Counts, Operate, Work};
use crate::measurement::{Faults, OfClass, Operated};
use crate::mix::Class;
use crate::names::{Background, Counters};
use crate::pace::{Latencies, histogram};
use crate::part::Part;
use crate::plan::{Operations, Plan};
use crate::system::{HardwareCounters, OfThread, pin};
use crate::vm::Vm;
use crate::worker::Worker;

/// What one thread did.
struct Share {
    counts: Counts,
    faults: Faults,
    latencies: [Option<Histogram<u64>>; Class::ALL.len()],
    start: Instant,
    end: Instant,
    thread: OfThread,
    result: Result<(), Errno>,
}

/// Runs the phase. Each thread calls `prepare` before its time begins.
pub(crate) fn run<R: Runtime>(
    plan: &Plan,
    operations: &Operations,
    vm: &Vm<R>,
    other: Option<&Vm<R>>,
    repeat: u32,
    prepare: &(dyn Fn() + Sync),
    cancel: &AtomicBool,
) -> Result<(Operated, Vec<OfClass>), Errno> {
    let threads = operations.threads;
    let beside = usize::from(operations.background != Background::None);
    let barrier = Barrier::new(threads + beside);
    let signals = Signals::default();
    let (shares, background) = std::thread::scope(|scope| {
        let (barrier, signals) = (&barrier, &signals);
        let background = Duty::in_background(operations.background).map(|duty| {
            scope.spawn(move || {
                pin(threads, threads + 1);
                prepare();
                barrier.wait();
                companion::run(plan, duty, vm, other, signals)
            })
        });
        let spawn = |thread| {
            scope.spawn(move || {
                pin(thread, threads + beside);
                prepare();
                let begin = || {
                    barrier.wait();
                    if beside > 0 {
                        signals.wait_for_begin();
                    }
                };
                share(plan, operations, vm, repeat, cancel, thread, &begin)
            })
        };
        let running: Vec<_> = (0..threads).map(spawn).collect();
        // Whatever became of them, the thread beside them is told to stop before that is looked at.
        let ended: Vec<_> = running.into_iter().map(ScopedJoinHandle::join).collect();
        signals.stop.store(true, Ordering::Relaxed);
        let shares: Vec<Share> = ended.into_iter().map(answer).collect();
        (shares, background.map(|thread| answer(thread.join())))
    });
    for share in &shares {
        share.result?;
    }
    let mut classes = classes(&shares, operations);
    if let Some(done) = background {
        classes.push(done?.class("background"));
    }
    Ok((together(&shares), classes))
}

/// What a thread answered; its panic goes on here.
pub(crate) fn answer<T>(ended: std::thread::Result<T>) -> T {
    ended.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

fn share<R: Runtime>(
    plan: &Plan,
    operations: &Operations,
    vm: &Vm<R>,
    repeat: u32,
    cancel: &AtomicBool,
    thread: usize,
    begin: &dyn Fn(),
) -> Share {
    let work = work(plan, operations, repeat, cancel, thread);
    let mut latencies = latencies(plan, operations);
    let mut worker = Worker::new(plan, vm);
    let mut hardware = HardwareCounters::of_this_thread();
    begin();
    let before = OfThread::now(&mut hardware);
    let start = Instant::now();
    let (counts, result) = work.run(&mut worker, latencies.as_mut());
    let end = Instant::now();
    let thread = OfThread::now(&mut hardware).since(before);
    let latencies = latencies.map_or_else(Default::default, Latencies::into_histograms);
    Share { counts, faults: worker.faults, latencies, start, end, thread, result }
}

fn work<'a>(
    plan: &Plan,
    operations: &Operations,
    repeat: u32,
    cancel: &'a AtomicBool,
    thread: usize,
) -> Work<'a> {
    let part = |all| Part::new(operations.pattern, operations.locality, all, thread, operations.threads);
    Work {
        touches: part(companion::touches(plan)),
        ranges: part(plan.guest_bytes.div_ceil(plan.op_bytes)),
        mix: operations.mix,
        write_percent: operations.write_percent,
        each: operations.each,
        rate_per_s: operations.rate_per_s,
        cancel,
        random: Rng::with_seed(u64::from(repeat) << 32 | thread as u64),
    }
}

/// Where latencies go, if they are recorded: a paced operation has no throughput that would be disturbed.
fn latencies(plan: &Plan, operations: &Operations) -> Option<Latencies> {
    let timed = plan.counters == Counters::Times || operations.rate_per_s.is_some();
    timed.then(|| Latencies::new(|class| operations.mix.has(class)))
}

/// What the harness itself costs: the loop of the first thread of `plan`, with operations that do nothing. Answers how
/// many there were, and how long all of them took; `None` for a plan without operations.
pub fn empty_operations(plan: &Plan) -> Option<(u64, Duration)> {
    let operations = plan.operations.as_ref()?;
    let cancel = AtomicBool::new(false);
    let work = work(plan, operations, 0, &cancel, 0);
    let mut latencies = latencies(plan, operations);
    let start = Instant::now();
    let (counts, Ok(())) = work.run(&mut Nothing, latencies.as_mut());
    Some((counts.iter().sum(), start.elapsed()))
}

/// Does nothing, at a place that has to be known.
struct Nothing;

impl Operate for Nothing {
    type Error = Infallible;

    #[inline]
    fn one(&mut self, class: Class, place: u64, write: bool) -> Result<(), Infallible> {
        black_box((class, place, write));
        Ok(())
    }
}

fn classes(shares: &[Share], operations: &Operations) -> Vec<OfClass> {
    let sum = |class: Class| {
        let mut latency = None;
        for one in shares.iter().filter_map(|share| share.latencies[class as usize].as_ref()) {
            latency.get_or_insert_with(histogram).add(one).expect("histograms of the same bounds");
        }
        let count = shares.iter().map(|share| share.counts[class as usize]).sum();
        OfClass { name: class.name(), count, latency }
    };
    Class::ALL.into_iter().filter(|&class| operations.mix.has(class)).map(sum).collect()
}

fn together(shares: &[Share]) -> Operated {
    let of = |share: &Share| share.counts.iter().sum::<u64>();
    let start = shares.iter().map(|share| share.start).min();
    let end = shares.iter().map(|share| share.end).max();
    let mut faults = Faults::default();
    for share in shares {
        faults.add(&share.faults);
    }
    let rates: Vec<f64> = shares
        .iter()
        .map(|share| of(share) as f64 / (share.end - share.start).as_secs_f64().max(1e-9))
        .collect();
    Operated {
        ops: shares.iter().map(of).sum(),
        faults,
        wall_ns: start.zip(end).map_or(0, |(start, end)| (end - start).as_nanos() as u64),
        thread: shares.iter().map(|share| share.thread).reduce(OfThread::plus).unwrap_or_default(),
        thread_ops_min: shares.iter().map(of).min().unwrap_or(0),
        thread_ops_max: shares.iter().map(of).max().unwrap_or(0),
        fairness: jain(&rates),
        longest_hold_ns: None,
    }
}

/// Jain's index of fairness: 1 where all rates are equal, 1 / n where one has all; 1 where nothing was done.
fn jain(rates: &[f64]) -> f64 {
    let sum: f64 = rates.iter().sum();
    let squares: f64 = rates.iter().map(|rate| rate * rate).sum();
    if squares == 0.0 { 1.0 } else { sum * sum / (rates.len() as f64 * squares) }
}

#[cfg(test)]
mod tests {
    use super::jain;

    #[test]
    fn fairness_is_one_for_equals_and_a_share_for_one_that_has_all() {
        let near = |one: f64, other: f64| (one - other).abs() < 1e-12;
        assert!(near(jain(&[3.0, 3.0, 3.0]), 1.0));
        assert!(near(jain(&[5.0, 0.0, 0.0, 0.0]), 0.25));
        assert!(near(jain(&[0.0, 0.0]), 1.0));
    }
}
