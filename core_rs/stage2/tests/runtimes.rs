//! One protocol code, two runtimes: the same shared map of two threads on real threads and on coroutines.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use runtime::native::Native;
use runtime::scheduled::{Execution, Kind as ActionKind, Outcome, RandomWalk, Scheduled};
use runtime::{Runtime, scheduled, site};
use stage2::{Config, Env, Errno, Granule, Harm, Kind, NoLog, Prot, Table, Walk, is_valid};

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
    fn new() -> Arc<Self> {
        // Four entries a table: few enough actions to look at, the code of a real table.
        let config = Config { level_bits: Some(2), ..Config::new(Granule::K4, 18) };
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
fn shared_map_of_two_threads<R: Runtime>(carry: impl FnOnce([Body; 2])) -> u64 {
    let vm = Vm::<R>::new();
    carry([vm.vcpu(), vm.vcpu()]);
    vm.check();
    vm.again.load(Ordering::Relaxed)
}

fn on_coroutines(seed: u64) -> (Execution, u64) {
    let mut execution = None;
    let again = shared_map_of_two_threads::<Scheduled>(|[first, second]| {
        let threads: Vec<(String, Box<dyn FnOnce()>)> =
            vec![("vCPU0".to_owned(), first), ("vCPU1".to_owned(), second)];
        execution = Some(scheduled::run(threads, &mut RandomWalk::new(seed, 10_000)));
    });
    (execution.unwrap(), again)
}

#[test]
fn two_real_threads_map_the_same_pages() {
    for _ in 0..50 {
        shared_map_of_two_threads::<Native>(|bodies| {
            std::thread::scope(|scope| {
                bodies.map(|body| scope.spawn(body)).map(|thread| thread.join().unwrap())
            });
        });
    }
}

#[test]
fn two_coroutines_map_the_same_pages_in_every_random_order() {
    let mut lost = 0;
    for seed in 0..300 {
        let (execution, again) = on_coroutines(seed);
        assert_eq!(execution.outcome, Outcome::Finished, "seed {seed}");
        lost += again;
    }
    assert!(lost > 0, "some order makes a walk lose");
}

#[test]
fn one_seed_gives_one_execution() {
    let trace = |seed| format!("{:?}", on_coroutines(seed).0.actions);
    assert_eq!(trace(7), trace(7));
    assert!((8..20).any(|seed| trace(seed) != trace(7)));
}

#[test]
fn every_visible_step_of_a_shared_map_is_an_action_with_its_site() {
    let (execution, _) = on_coroutines(1);
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
