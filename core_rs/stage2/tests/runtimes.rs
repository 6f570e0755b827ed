//! One protocol code, two runtimes: the same shared map of two threads on real threads and on coroutines.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use runtime::native::Native;
use runtime::scheduled::{
    Action, Execution, Kind as ActionKind, NamedThread, Outcome, Policy, RandomWalk, Scheduled,
};
use runtime::{Runtime, scheduled, site};
use stage2::{
    Config, Env, Errno, Granule, Harm, Kind, NoLog, PageId, Prot, Table, Walk, WalkerKind, is_valid,
};

type Body = Box<dyn FnOnce() + Send>;

const PAGE: u64 = 4096;
const PAGES: u64 = 3;

/// A VM whose two vCPUs fault the same pages in, each under `mmu_lock` held for read.
struct Vm<R: Runtime> {
    table: Table<R>,
    mmu_lock: R::RwLock,
    /// Walks that lost.
    again: AtomicU64,
}

impl<R: Runtime> Vm<R> {
    fn new(walker: WalkerKind) -> Arc<Self> {
        // Four entries a table: few enough actions to look at, the code of a real table.
        let config = Config { level_bits: Some(2), walker, ..Config::new(Granule::K4, 18) };
        let table = Table::new(config).unwrap();
        Arc::new(Self { table, mmu_lock: R::new_rwlock("kvm->mmu_lock"), again: AtomicU64::new(0) })
    }

    fn vcpu(self: &Arc<Self>) -> Body {
        let vm = Arc::clone(self);
        Box::new(move || {
            let mut env = Env::new(NoLog);
            for ipa in (0..PAGES * PAGE).step_by(PAGE as usize) {
                vm.fault(&mut env, ipa);
            }
        })
    }

    fn fault(&self, env: &mut Env, ipa: u64) {
        loop {
            let held = R::read(&self.mmu_lock, site!("kvm_handle_guest_abort"));
            let mapped = self.table.map(env, Walk::Shared, ipa, PAGE, PAGE * 64 + ipa, Prot::R | Prot::W);
            drop(held);
            match mapped {
                Ok(()) => return,
                Err(Errno::Again) if is_valid(self.table.get_leaf(ipa).unwrap().desc) => return,
                Err(Errno::Again) => self.again.fetch_add(1, Ordering::Relaxed),
                Err(errno) => panic!("{errno}"),
            };
        }
    }

    /// All pages are mapped, once, and the counts say so; then nothing is left.
    fn check(&self) {
        let mut pages = 0;
        self.table.for_each_entry(|entry| {
            assert_ne!(entry.kind(), Kind::Invalid, "an entry left locked");
            pages += u64::from(entry.kind() == Kind::Page);
        });
        assert_eq!(pages, PAGES);
        let tables = self.table.table_stats().tables;
        assert_eq!(self.table.live_pages(), tables, "a table that lost the race is freed");
        self.table.destroy(&mut Env::new(NoLog));
        assert_eq!((self.table.live_pages(), self.table.harm()), (0, Harm::default()));
    }
}

/// The test, whatever carries the two threads.
fn shared_map_of_two_threads<R: Runtime>(walker: WalkerKind, carry: impl FnOnce([Body; 2])) -> u64 {
    let vm = Vm::<R>::new(walker);
    carry([vm.vcpu(), vm.vcpu()]);
    vm.check();
    vm.again.load(Ordering::Relaxed)
}

fn on_coroutines(walker: WalkerKind, seed: u64) -> (Execution, u64) {
    let mut execution = None;
    let again = shared_map_of_two_threads::<Scheduled>(walker, |[first, second]| {
        let threads: Vec<(String, Box<dyn FnOnce()>)> =
            vec![("vCPU0".to_owned(), first), ("vCPU1".to_owned(), second)];
        execution = Some(scheduled::run(threads, &mut RandomWalk::new(seed, 10_000)));
    });
    (execution.unwrap(), again)
}

#[test]
fn two_real_threads_map_the_same_pages() {
    for walker in WalkerKind::ALL {
        for _ in 0..50 {
            shared_map_of_two_threads::<Native>(walker, |bodies| {
                std::thread::scope(|scope| {
                    bodies.map(|body| scope.spawn(body)).map(|thread| thread.join().unwrap())
                });
            });
        }
    }
}

#[test]
fn two_coroutines_map_the_same_pages_in_every_random_order() {
    for walker in WalkerKind::ALL {
        let mut lost = 0;
        for seed in 0..300 {
            let (execution, again) = on_coroutines(walker, seed);
            assert_eq!(execution.outcome, Outcome::Finished, "{walker}, seed {seed}");
            lost += again;
        }
        assert!(lost > 0, "some order makes a walk lose");
    }
}

#[test]
fn one_seed_gives_one_execution() {
    for walker in WalkerKind::ALL {
        let trace = |seed| format!("{:?}", on_coroutines(walker, seed).0.actions);
        assert_eq!(trace(7), trace(7));
        assert!((8..20).any(|seed| trace(seed) != trace(7)));
    }
}

#[test]
fn every_visible_step_of_a_shared_map_is_an_action_with_its_site() {
    let (execution, _) = on_coroutines(WalkerKind::Upstream, 1);
    let seen = |kind: ActionKind, site: &str| {
        execution.actions.iter().any(|action| action.kind == kind && action.site.name() == site)
    };
    assert!(seen(ActionKind::Load(runtime::Access::Marked), "kvm_pgtable_visit:read"));
    assert!(seen(ActionKind::CompareExchange, "stage2_try_set_pte:cmpxchg"));
    assert!(seen(ActionKind::Store(runtime::Access::Ordered), "stage2_make_pte"));
    assert!(seen(ActionKind::FetchAdd, "get_page"));
    assert!(seen(ActionKind::Allocate, "stage2_memcache_zalloc_page"));
    let at = |site: &str| execution.actions.iter().filter(|action| action.site.name() == site).count();
    assert!(at("kvm_handle_guest_abort") > 0, "the lock");
    assert!(at("kvm_pgtable_walk_begin") > 0, "the RCU section");
}

/// Looks at a table after each action of an execution: as if every thread had stopped there.
struct Watched<'a> {
    walk: RandomWalk,
    vm: &'a Vm<Scheduled>,
}

impl Policy for Watched<'_> {
    fn choose(&mut self, enabled: &[Action], taken: &[Action]) -> Option<usize> {
        Scheduled::observe(|| self.vm.check_in_flight());
        self.walk.choose(enabled, taken)
    }
}

impl Vm<Scheduled> {
    /// No count is below the non-zero entries of its table, LOCKED ones aside, which do not count.
    fn check_in_flight(&self) {
        let mut entries: BTreeMap<PageId, u64> = BTreeMap::new();
        self.table.for_each_entry(|entry| {
            let counted = u64::from(entry.kind() != Kind::Invalid);
            *entries.entry(entry.table).or_default() += counted;
        });
        for (page, n) in entries {
            let count = self.table.ref_count(page);
            assert!(count > n, "{page:?} has {n} entries and count {count}");
        }
    }

    /// A thread that takes `mmu_lock` for each of its steps, as the step needs it.
    fn thread(self: &Arc<Self>, name: &str, steps: &[Step]) -> NamedThread {
        let (vm, steps) = (Arc::clone(self), steps.to_vec());
        let body = move || {
            let mut env = Env::new(NoLog);
            for step in steps {
                vm.carry_out(&mut env, step);
            }
        };
        (name.to_owned(), Box::new(body))
    }

    fn carry_out(&self, env: &mut Env, step: Step) {
        let (prot, block) = (Prot::R | Prot::W, PAGE << 2);
        match step {
            Step::Young(page) => {
                let _held = Scheduled::read(&self.mmu_lock, site!("test:read"));
                self.table.mkyoung(env, page * PAGE);
            }
            Step::Map(page) => {
                let _held = Scheduled::read(&self.mmu_lock, site!("test:read"));
                let mapped = self.table.map(env, Walk::Shared, page * PAGE, PAGE, page * PAGE, prot);
                assert!(matches!(mapped, Ok(()) | Err(Errno::Again)));
            }
            Step::Block => {
                let _held = Scheduled::read(&self.mmu_lock, site!("test:read"));
                let mapped = self.table.map(env, Walk::Shared, 0, block, 0, prot);
                assert!(matches!(mapped, Ok(()) | Err(Errno::Again)));
            }
            Step::Unmap(page, pages) => {
                let _held = Scheduled::write(&self.mmu_lock, site!("test:write"));
                self.table.unmap(env, page * PAGE, pages * PAGE).unwrap();
            }
        }
    }
}

/// A step of a thread: under `mmu_lock` held for read, but for `Unmap`, and inside one four-page table.
#[derive(Clone, Copy, Debug)]
enum Step {
    Young(u64),
    Map(u64),
    /// A block in the place of the table.
    Block,
    /// From a page on, so many.
    Unmap(u64, u64),
}

/// An access to a table page after it was freed.
fn use_after_free(execution: &Execution) -> Option<&Action> {
    let mut freed = BTreeSet::new();
    execution.actions.iter().find(|action| {
        let object = action.target.map(|target| target.object);
        if action.kind == ActionKind::Free {
            return !freed.insert(object);
        }
        object.is_some() && freed.contains(&object)
    })
}

#[test]
fn no_stop_in_the_middle_finds_a_count_too_low_or_a_freed_table_in_use() {
    use Step::{Block, Map, Unmap, Young};
    // The first steps fill the walk cache; what follows in the other thread may take the table away.
    let pairs: [[&[Step]; 2]; 5] = [
        [&[Young(0), Map(1), Map(2)], &[Young(0), Map(2), Map(1)]],
        [&[Young(0), Map(1), Map(2), Young(2)], &[Block]],
        [&[Young(0), Map(1), Map(2), Young(2)], &[Block, Unmap(0, 4), Map(0), Map(3)]],
        [&[Young(0), Map(1), Map(2)], &[Unmap(0, 4), Map(1)]],
        [&[Young(0), Unmap(0, 1), Map(1), Unmap(1, 2)], &[Young(0), Map(3), Unmap(3, 1), Map(0)]],
    ];
    for walker in WalkerKind::ALL {
        for threads in pairs {
            for seed in 0..400 {
                let vm = Vm::<Scheduled>::new(walker);
                let mut env = Env::new(NoLog);
                vm.table.map(&mut env, Walk::Exclusive, 0, PAGE, 0, Prot::R).unwrap();
                vm.table.test_clear_young(&mut env, 0, PAGE, true);
                let bodies = vec![vm.thread("T1", threads[0]), vm.thread("T2", threads[1])];
                let walk = RandomWalk::new(seed, 10_000);
                let execution = scheduled::run(bodies, &mut Watched { walk, vm: &vm });
                let place = format!("{walker}, {threads:?}, seed {seed}");
                assert_eq!(execution.outcome, Outcome::Finished, "{place}");
                assert_eq!(use_after_free(&execution), None, "{place}");
                vm.check_in_flight();
                assert_eq!(vm.table.live_pages(), vm.table.table_stats().tables, "{place}");
                vm.table.destroy(&mut Env::new(NoLog));
                assert_eq!((vm.table.live_pages(), vm.table.harm()), (0, Harm::default()), "{place}");
            }
        }
    }
}
