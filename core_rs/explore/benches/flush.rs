//! The flush race of two threads, over locks, atomics and a freed array, written for this explorer, for `shuttle`
//! and for `loom`: executions and scheduling points a second, in one run, and how many executions the reduction
//! saves. A program of its own: it reports ratios between crates, which a benchmark harness does not.
//!
//! Each thread takes the table's pointer out under the lock, empties a cache of objects whose number it reads
//! and writes without one, and frees the array. Nothing panics: double frees are counted, so that each explorer
//! goes on to the end. Arguments: seconds for each measurement (default 1); or `reduction`: executions by DPOR and by
//! depth-first search without reduction on growing cuts of the race, until the latter needs more than ten million
//! (some minutes); or `only ROW EXECUTIONS`: nothing but so many executions of one row, whose instructions valgrind's
//! callgrind counts, the same in every run.

use std::hint::black_box;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use explore::{Bounds, Checks, How, Settings, Verdict, explore};
use runtime::scheduled::{Instance, Program, Scheduled as S};
use runtime::{Access, Object, Runtime, Word, site};

const OBJECTS: usize = 2;

fn main() {
    if std::env::args().any(|arg| arg == "reduction") {
        return reduction(10_000_000);
    }
    if let Some((row, executions)) = only() {
        return once(&row, executions);
    }
    let seconds = std::env::args().find_map(|arg| arg.parse().ok()).unwrap_or(1.0);
    let time = Duration::from_secs_f64(seconds);
    let mut rates: Vec<_> =
        ours().into_iter().map(|(name, how, checks)| by_explore(name, how, &checks, time)).collect();
    rates.push(by_shuttle("shuttle random", time, |n| shuttle::check_random(in_shuttle, n)));
    rates.push(by_shuttle("shuttle dfs", time, |n| shuttle::check_dfs(in_shuttle, Some(n))));
    rates.push(by_loom(time));
    print_row(["", "executions/s", "points/execution", "points/s"]);
    for Rate { name, executions, points } in &rates {
        let cells =
            [format!("{executions:.0}"), format!("{points:.1}"), format!("{:.0}", executions * points)];
        print_row([name, &cells[0], &cells[1], &cells[2]]);
    }
    let by = |name: &str| {
        rates.iter().find(|rate| rate.name == name).map_or(f64::NAN, |rate| rate.executions * rate.points)
    };
    for (ours, theirs) in
        [("explore random", "shuttle random"), ("explore dfs", "shuttle dfs"), ("explore dpor", "loom")]
    {
        println!("{ours} : {theirs} = {:.1} at an equal number of scheduling points", by(ours) / by(theirs));
    }
    reduction(100_000);
}

fn print_row([name, executions, points, rate]: [&str; 4]) {
    println!("{name:<26} {executions:>14} {points:>18} {rate:>16}");
}

/// The rows of this explorer.
fn ours() -> [(&'static str, How, Checks); 5] {
    let none = Checks { checkers: Vec::new(), ..Checks::default() };
    [
        ("explore random", How::Random { seed: 1 }, none.clone()),
        ("explore dfs", How::Dfs, none.clone()),
        ("explore dpor", How::Dpor, none),
        ("explore random, checkers", How::Random { seed: 1 }, Checks::default()),
        ("explore dpor, checkers", How::Dpor, Checks::default()),
    ]
}

/// The arguments `only ROW EXECUTIONS`.
fn only() -> Option<(String, u64)> {
    let mut args = std::env::args().skip_while(|arg| arg != "only").skip(1);
    Some((args.next()?, args.next()?.parse().ok()?))
}

/// So many executions of one row, for who counts instructions.
fn once(row: &str, executions: u64) {
    match row {
        "shuttle random" => shuttle::check_random(in_shuttle, executions as usize),
        "shuttle dfs" => shuttle::check_dfs(in_shuttle, Some(executions as usize)),
        _ => {
            let (_, how, checks) =
                ours().into_iter().find(|(name, ..)| *name == row).expect("the name of a row but loom's");
            let bounds = Bounds { executions: Some(executions), ..Bounds::default() };
            explored(Flush { objects: OBJECTS, stores: 2 }, how, checks, bounds);
        }
    }
}

struct Rate {
    name: &'static str,
    executions: f64,
    /// Scheduling points of an execution.
    points: f64,
}

/// The race, or a cut of it.
#[derive(Clone, Copy)]
struct Flush {
    /// How many objects the cache has.
    objects: usize,
    /// How many of the two stores that each thread ends with it does.
    stores: usize,
}

impl Program for Flush {
    fn name(&self) -> String {
        format!("flush race, {} objects, {} stores", self.objects, self.stores)
    }

    fn start(&self) -> Instance {
        let vm = Rc::new(Vm {
            mmu_lock: S::new_rwlock("mmu_lock"),
            words: [1, self.objects as u64, 1, 64].map(Word::new),
            stores: self.stores,
        });
        let threads = ["T1", "T2"].map(|name| {
            let vm = Rc::clone(&vm);
            (name.to_owned(), Box::new(move || vm.flush()) as Box<dyn FnOnce()>)
        });
        Instance { threads: threads.into(), end: Box::new(Vec::new) }
    }

    fn lives_on(&self, _: &runtime::scheduled::ObjectInfo) -> bool {
        true
    }
}

struct Vm {
    mmu_lock: <S as Runtime>::RwLock,
    /// The table, the number of objects, the array, its capacity.
    words: [Word; 4],
    stores: usize,
}

impl Vm {
    fn flush(&self) {
        let [pgt, nobjs, objects, capacity] = &self.words;
        {
            let _held = S::write(&self.mmu_lock, site!("kvm_free_stage2_pgd"));
            S::load(pgt, Access::Plain, site!("kvm_free_stage2_pgd:pgt"));
            S::store(pgt, 0, Access::Plain, site!("kvm_free_stage2_pgd:swap"));
        }
        loop {
            let left = S::load(nobjs, Access::Plain, site!("kvm_mmu_free_memory_cache:nobjs"));
            if left == 0 {
                break;
            }
            S::store(nobjs, left - 1, Access::Plain, site!("kvm_mmu_free_memory_cache:pop"));
            S::freed(Object { name: "page", index: left, words: &[] }, site!("free_page"));
        }
        if S::load(objects, Access::Plain, site!("kvm_mmu_free_memory_cache:objects")) != 0 {
            S::freed(Object { name: "objects", index: 0, words: &[] }, site!("kvfree"));
        }
        let clear = [
            (objects, site!("kvm_mmu_free_memory_cache:clear")),
            (capacity, site!("kvm_mmu_free_memory_cache:capacity")),
        ];
        for (word, site) in clear.into_iter().take(self.stores) {
            S::store(word, 0, Access::Plain, site);
        }
    }
}

fn explored(program: Flush, how: How, checks: Checks, bounds: Bounds) -> Verdict {
    let settings = Settings { how, bounds, checks, stop_at_first: false, minimise: 0, ..Settings::default() };
    explore(&program, &settings, &AtomicBool::new(false), &mut |_| ())
        .expect("a program that can be explored")
}

fn by_explore(name: &'static str, how: How, checks: &Checks, time: Duration) -> Rate {
    let (mut executions, mut actions) = (0, 0);
    let started = Instant::now();
    // A search that is through begins again, until the time is over.
    while started.elapsed() < time {
        let bounds = Bounds { executions: Some(20_000), ..Bounds::default() };
        let counts = explored(Flush { objects: OBJECTS, stores: 2 }, how, checks.clone(), bounds).counts;
        executions += counts.executions;
        actions += counts.actions;
    }
    let rate = executions as f64 / started.elapsed().as_secs_f64();
    Rate { name, executions: rate, points: actions as f64 / executions as f64 }
}

/// Scheduling points that shuttle counted.
static POINTS: AtomicU64 = AtomicU64::new(0);
static EXECUTIONS: AtomicU64 = AtomicU64::new(0);

fn in_shuttle() {
    use shuttle::sync::atomic::{AtomicUsize, Ordering};
    use shuttle::sync::{Arc, RwLock};

    let vm = Arc::new((
        RwLock::new(()),
        [1, OBJECTS, 1, 64].map(AtomicUsize::new),
        [0; OBJECTS + 2].map(AtomicUsize::new),
    ));
    let flush = |vm: Arc<(RwLock<()>, [AtomicUsize; 4], [AtomicUsize; OBJECTS + 2])>| {
        let [pgt, nobjs, objects, capacity] = &vm.1;
        {
            let _held = vm.0.write().expect("no thread panics");
            black_box(pgt.load(Ordering::SeqCst));
            pgt.store(0, Ordering::SeqCst);
        }
        loop {
            let left = nobjs.load(Ordering::SeqCst);
            if left == 0 {
                break;
            }
            nobjs.store(left - 1, Ordering::SeqCst);
            vm.2[left].fetch_add(1, Ordering::SeqCst);
        }
        if objects.load(Ordering::SeqCst) != 0 {
            vm.2[0].fetch_add(1, Ordering::SeqCst);
        }
        objects.store(0, Ordering::SeqCst);
        capacity.store(0, Ordering::SeqCst);
    };
    let other = Arc::clone(&vm);
    let thread = shuttle::thread::spawn(move || flush(other));
    flush(vm);
    thread.join().expect("no thread panics");
    POINTS.fetch_add(shuttle::current::context_switches() as u64, std::sync::atomic::Ordering::Relaxed);
    EXECUTIONS.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
}

fn by_shuttle(name: &'static str, time: Duration, run: impl Fn(usize)) -> Rate {
    EXECUTIONS.store(0, Ordering::Relaxed);
    POINTS.store(0, Ordering::Relaxed);
    let started = Instant::now();
    while started.elapsed() < time {
        run(2_000);
    }
    let executions = EXECUTIONS.load(Ordering::Relaxed) as f64;
    let points = POINTS.load(Ordering::Relaxed) as f64;
    Rate { name, executions: executions / started.elapsed().as_secs_f64(), points: points / executions }
}

fn by_loom(time: Duration) -> Rate {
    use loom::sync::atomic::{AtomicUsize, Ordering as O};
    use loom::sync::{Arc, RwLock};

    EXECUTIONS.store(0, Ordering::Relaxed);
    let started = Instant::now();
    let mut builder = loom::model::Builder::new();
    builder.max_duration = Some(time);
    builder.check(|| {
        let vm = Arc::new((
            RwLock::new(()),
            [1, OBJECTS, 1, 64].map(AtomicUsize::new),
            [0; OBJECTS + 2].map(AtomicUsize::new),
        ));
        let flush = |vm: Arc<(RwLock<()>, [AtomicUsize; 4], [AtomicUsize; OBJECTS + 2])>| {
            let [pgt, nobjs, objects, capacity] = &vm.1;
            {
                let _held = vm.0.write().expect("no thread panics");
                black_box(pgt.load(O::SeqCst));
                pgt.store(0, O::SeqCst);
            }
            // A load in loom may answer an older value for ever: as many turns as there are objects.
            for _ in 0..OBJECTS {
                let left = nobjs.load(O::SeqCst);
                if left == 0 {
                    break;
                }
                nobjs.store(left - 1, O::SeqCst);
                vm.2[left].fetch_add(1, O::SeqCst);
            }
            if objects.load(O::SeqCst) != 0 {
                vm.2[0].fetch_add(1, O::SeqCst);
            }
            objects.store(0, O::SeqCst);
            capacity.store(0, O::SeqCst);
        };
        let other = Arc::clone(&vm);
        let thread = loom::thread::spawn(move || flush(other));
        flush(vm);
        thread.join().expect("no thread panics");
        EXECUTIONS.fetch_add(1, Ordering::Relaxed);
    });
    let executions = EXECUTIONS.load(Ordering::Relaxed) as f64;
    Rate {
        name: "loom",
        executions: executions / started.elapsed().as_secs_f64(),
        // Loom counts none: as many as `explore` has when no thread meets the other.
        points: 2.0 * (4 + 3 * OBJECTS + 1 + 4) as f64,
    }
}

/// Executions by DPOR and by depth-first search without reduction, on growing cuts of the race, until the latter
/// needs more than `most`.
fn reduction(most: u64) {
    let count = |how, cut| {
        let bounds = Bounds { executions: Some(most), ..Bounds::default() };
        explored(cut, how, Checks { checkers: Vec::new(), ..Checks::default() }, bounds)
    };
    for cut in (0..).flat_map(|objects| (0..=2).map(move |stores| Flush { objects, stores })) {
        let (dpor, dfs) = (count(How::Dpor, cut), count(How::Dfs, cut));
        let seconds = |verdict: &Verdict| verdict.counts.elapsed.as_secs_f64();
        print!(
            "{}: dpor {} executions ({} redundant), {:.3} s",
            cut.name(),
            dpor.counts.executions,
            dpor.counts.redundant,
            seconds(&dpor)
        );
        if !dfs.complete {
            println!("; dfs more than {most}");
            return;
        }
        let factor = dfs.counts.executions as f64 / dpor.counts.executions as f64;
        println!(
            "; dfs {} executions, {:.1} s; {factor:.0} times as many",
            dfs.counts.executions,
            seconds(&dfs)
        );
    }
}
