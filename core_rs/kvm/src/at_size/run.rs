//! What runs: tasks on real threads, and what came of it.

use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use runtime::native::{AnyLock, Counting, LockStats, Native, SiteStats};
use runtime::scheduled::Violation;
use runtime::{Runtime, site};
use stage2::{Errno, Table};

use super::Beside;
use crate::heap::Harm;
use crate::program::judge;
use crate::step::Step;
use crate::vm::Vm;
use crate::world::{VmId, World};

/// The runtime: which lock plays `mmu_lock` is chosen for each VM.
pub type OnThreads<C> = Native<C, AnyLock>;

/// A VM at full size, ready to go.
pub struct Prepared<C: Counting> {
    pub(super) world: World<OnThreads<C>>,
    /// What goes on meanwhile, and the task that does it.
    pub(super) beside: Option<(Beside, usize)>,
    pub(super) pause: Duration,
}

/// What came of it.
#[derive(Clone, Debug)]
pub struct TornDown {
    /// Each task by its name, and for how long it ran.
    pub tasks: Vec<(String, Duration)>,
    /// From the first task's first step to the last one's last.
    pub elapsed: Duration,
    /// The longest stretch of a task of the order without a point at which the kernel could let another task run;
    /// only with [`Times`](runtime::native::Times).
    pub longest_stretch: Option<Duration>,
    /// The longest time for which a task of the order held `mmu_lock`, likewise. A hold that began when the lock was broken
    /// tells nobody whose it was, and counts.
    pub longest_hold: Option<Duration>,
    /// Each run of `kvm_flush_shadow_all`, in the order in which they ended.
    pub flushes: Vec<Duration>,
    /// Table pages before, root pages included.
    pub pages_before: u64,
    /// Table pages that were freed.
    pub pages_freed: u64,
    /// Bytes of the tables before, with what lies beside their pages.
    pub table_bytes: u64,
    /// What went wrong with memory, each once.
    pub harm: Vec<Harm>,
    /// What was wrong at the end.
    pub violations: Vec<Violation>,
    /// What each lock recorded that was taken, `mmu_lock` first.
    pub locks: Vec<LockStats>,
    /// How often the task beside did what it does.
    pub rounds: u64,
}

impl<C: Counting> Prepared<C> {
    /// Lets every task do its steps on a thread of its own, all at once. `around` is called on each thread with the
    /// task's place, and must call what it is given, once: for what the caller wants done there before and after.
    pub fn run(self, around: &(dyn Fn(usize, &mut dyn FnMut()) + Sync)) -> TornDown {
        let world = &self.world;
        let tasks = world.scenario.tasks.len();
        let Tables { live: pages_before, bytes: table_bytes, freed } = world.table_pages();
        let start = Barrier::new(tasks);
        let going = AtomicUsize::new(tasks - usize::from(self.beside.is_some()));
        let (stop, rounds) = (AtomicBool::new(false), AtomicU64::new(0));
        let on_thread = |task: usize| {
            let (mut span, mut stretch) = (None, None);
            let is_beside = self.beside.is_some_and(|(_, other)| other == task);
            around(task, &mut || {
                world.prepare_locks();
                start.wait();
                let begin = Instant::now();
                if is_beside {
                    rounds.store(world.repeat(task, self.pause, &stop), Ordering::Relaxed);
                } else {
                    ((), stretch) = OnThreads::<C>::longest_stretch(|| world.run_task(task));
                    if going.fetch_sub(1, Ordering::Relaxed) == 1 {
                        stop.store(true, Ordering::Relaxed);
                    }
                }
                span = Some((begin, Instant::now()));
            });
            let (begin, end) = span.expect("what runs a task's thread runs the task");
            Ran { begin, end, stretch, is_beside }
        };
        let ran: Vec<_> = std::thread::scope(|scope| {
            let on_thread = &on_thread;
            let threads: Vec<_> = (0..tasks).map(|task| scope.spawn(move || on_thread(task))).collect();
            threads.into_iter().map(|thread| thread.join().expect("a task's thread does not panic")).collect()
        });
        let of_order = || ran.iter().filter(|ran| !ran.is_beside);
        let begin = of_order().map(|ran| ran.begin).min().expect("an order has a task");
        let end = of_order().map(|ran| ran.end).max().expect("an order has a task");
        OnThreads::<C>::rcu_barrier(site!("end:rcu_barrier"));
        let pages_freed = world.table_pages().freed - freed;
        let violations = judge(world);
        let named = world.scenario.tasks.iter().zip(&ran);
        let locks = world.lock_stats();
        let others = self.beside.map_or(&[][..], |(beside, _)| beside.takes_mmu_lock_at());
        let of_order_at = |site: &&SiteStats| !others.iter().any(|begin| site.site.name().starts_with(begin));
        let mmu_lock = locks.first().filter(|_| C::TIME);
        let longest_hold = mmu_lock.and_then(|lock| {
            lock.write
                .sites
                .iter()
                .filter(of_order_at)
                .map(|site| Duration::from_nanos(site.hold.max_ns))
                .max()
        });
        TornDown {
            tasks: named.map(|(task, ran)| (task.name.clone(), ran.end - ran.begin)).collect(),
            elapsed: end - begin,
            longest_stretch: of_order().filter_map(|ran| ran.stretch).max().map(Duration::from_nanos),
            longest_hold,
            flushes: world.flush_times(),
            pages_before,
            pages_freed,
            table_bytes,
            harm: world.harm(),
            violations,
            locks,
            rounds: rounds.into_inner(),
        }
    }
}

/// What a task's thread did.
struct Ran {
    begin: Instant,
    end: Instant,
    /// Its longest stretch without a reschedule point, in nanoseconds.
    stretch: Option<u64>,
    is_beside: bool,
}

/// All tables together.
struct Tables {
    /// Pages in use.
    live: u64,
    /// Their bytes, with what lies beside them.
    bytes: u64,
    /// Pages freed so far.
    freed: u64,
}

impl<C: Counting> World<OnThreads<C>> {
    /// Maps the first VM's guest, all of whose memory is there then.
    pub(super) fn map_guest(
        &self,
        fill: impl FnOnce(&Table<OnThreads<C>>) -> Result<(), Errno>,
    ) -> Result<(), Errno> {
        let vm = self.vm(VmId(0)).expect("a VM of the set-up");
        self.fault_in(self.mm(vm.mm), self.guest.first);
        let pgt = self.pgt(vm, site!("user_mem_abort:pgt"));
        self.table(pgt).map_or(Ok(()), fill)
    }

    /// Does a task's steps again and again until it is told to stop, faults on one page after the other; then exits.
    /// Answers how often.
    fn repeat(&self, task: usize, pause: Duration, stop: &AtomicBool) -> u64 {
        let steps = self.scenario.tasks[task].steps.clone();
        let (mut held, mut rounds) = (Vec::new(), 0);
        while !stop.load(Ordering::Relaxed) {
            for step in &steps {
                match step {
                    Step::Fault { vm, .. } => {
                        let page = rounds % self.guest.pages;
                        self.step(task, &Step::Fault { vm: *vm, page }, &mut held);
                    }
                    step => self.step(task, step, &mut held),
                }
            }
            rounds += 1;
            if !pause.is_zero() {
                std::thread::sleep(pause);
            }
        }
        rounds
    }

    /// Makes room for what the running thread will record of `mmu_lock`.
    fn prepare_locks(&self) {
        for vm in self.vms() {
            vm.mmu_lock.prepare();
        }
    }

    fn table_pages(&self) -> Tables {
        let sum = |of: fn(&Table<OnThreads<C>>) -> u64| self.tables.iter().map(|(_, table)| of(table)).sum();
        Tables {
            live: sum(Table::live_pages),
            bytes: sum(Table::memory_bytes),
            freed: sum(|table| table.page_totals().1),
        }
    }

    /// What each lock has recorded that was taken, each VM's `mmu_lock` first.
    fn lock_stats(&self) -> Vec<LockStats> {
        let plain = |lock| OnThreads::<C>::lock_stats(lock);
        let mmu_lock = |vm: &Vm<OnThreads<C>>| match vm.mmu_lock.stats() {
            stats if vm.id.0 == 0 => stats,
            stats => LockStats { name: "other kvm->mmu_lock", ..stats },
        };
        let mut all: Vec<_> = self.vms().map(mmu_lock).collect();
        for vm in self.vms() {
            let locks =
                [&vm.lock, &vm.slots_lock, &vm.slots_arch_lock, &vm.mn_invalidate_lock, &vm.config_lock];
            all.extend(locks.into_iter().chain(&vm.vcpu_mutexes).map(plain));
        }
        all.push(plain(&self.kvm_lock));
        all.extend(self.mms().flat_map(|mm| [&mm.notifier_lock, &mm.anon_vma]).map(plain));
        all.extend(self.file_locks().chain(&self.task_locks).map(plain));
        all.retain(|lock| lock.read.acquisitions + lock.write.acquisitions > 0);
        all
    }
}
