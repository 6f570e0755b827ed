//! Random small programs: DPOR sees the same traces as depth-first search without reduction, none twice, and the
//! same findings; every bug replays.

mod common;

use std::collections::BTreeSet;
use std::sync::Arc;

use common::{Noting, S, all, verdict_by};
use explore::search::{Dfs, Dpor, Limit, subtrees};
use explore::{Kind, Settings, Verdict, replay};
use proptest::prelude::*;
use runtime::scheduled::{GUEST_PAGE, Instance, Program};
use runtime::{Access, LockClass, Object, Runtime, Word, site};

/// A step of a thread.
#[derive(Clone, Debug)]
enum Step {
    Load(usize),
    Store(usize, u64),
    Exchange(usize, u64, u64),
    Add(usize),
    Await(usize, u64),
    Locked(usize, Vec<Step>),
    ForRead(Vec<Step>),
    ForWrite(Vec<Step>),
    Break(Vec<Step>, Vec<Step>),
    InSrcu(Vec<Step>),
    InRcu(Vec<Step>),
    SynchronizeSrcu,
    SynchronizeRcu,
    CallRcu(usize, u64),
    Barrier,
    /// Frees the object of a word, as long as the word says that it is there.
    Free(usize),
    Translate(u64),
    Invalidate(u64),
    Use(u64),
    FreeGuest(u64),
    /// A plain read and write.
    Plain(usize),
}

const WORDS: usize = 2;

fn simple() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..WORDS).prop_map(Step::Load),
        4 => (0..WORDS, 0..3_u64).prop_map(|(word, value)| Step::Store(word, value)),
        3 => (0..WORDS, 0..3_u64, 0..3_u64).prop_map(|(word, old, new)| Step::Exchange(word, old, new)),
        2 => (0..WORDS).prop_map(Step::Add),
        2 => (0..WORDS, 0..2_u64).prop_map(|(word, seen)| Step::Await(word, seen)),
        1 => Just(Step::SynchronizeSrcu),
        1 => Just(Step::SynchronizeRcu),
        1 => (0..WORDS, 0..3_u64).prop_map(|(word, value)| Step::CallRcu(word, value)),
        1 => Just(Step::Barrier),
        1 => (0..WORDS).prop_map(Step::Free),
        1 => (0..2_u64).prop_map(Step::Translate),
        1 => (0..2_u64).prop_map(Step::Invalidate),
        1 => (0..2_u64).prop_map(Step::Use),
        1 => (0..2_u64).prop_map(Step::FreeGuest),
        1 => (0..WORDS).prop_map(Step::Plain),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let inner = || prop::collection::vec(simple(), 0..2);
    prop_oneof![
        6 => simple(),
        1 => (0..2_usize, inner()).prop_map(|(lock, steps)| Step::Locked(lock, steps)),
        1 => (0..2_usize, 0..2_usize).prop_map(|(outer, inner)| {
            Step::Locked(outer, vec![Step::Locked(inner, Vec::new())])
        }),
        1 => inner().prop_map(Step::ForRead),
        1 => inner().prop_map(Step::ForWrite),
        1 => (inner(), inner()).prop_map(|(before, after)| Step::Break(before, after)),
        1 => inner().prop_map(Step::InSrcu),
        1 => inner().prop_map(Step::InRcu),
    ]
}

/// Threads over two words, two locks, a reader-writer lock and a domain.
#[derive(Clone, Debug)]
struct Random(Vec<Vec<Step>>);

struct Shared {
    words: Arc<Vec<Vec<Word>>>,
    locks: [<S as Runtime>::Lock; 2],
    rwlock: <S as Runtime>::RwLock,
    srcu: <S as Runtime>::Srcu,
}

impl Shared {
    fn object(&self, at: usize) -> Object<'_> {
        Object { name: "object", index: at as u64, words: &self.words[at] }
    }

    fn take(&self, steps: &[Step]) {
        for step in steps {
            self.step(step);
        }
    }

    fn step(&self, step: &Step) {
        let word = |at: usize| &self.words[at][0];
        match step {
            Step::Load(at) => _ = S::load(word(*at), Access::Marked, site!("load")),
            Step::Store(at, value) => S::store(word(*at), *value, Access::Marked, site!("store")),
            Step::Exchange(at, old, new) => _ = S::compare_exchange(word(*at), *old, *new, site!("cmpxchg")),
            Step::Add(at) => _ = S::fetch_add(word(*at), 1, site!("add")),
            Step::Await(at, seen) => S::await_change(word(*at), *seen, site!("await")),
            Step::Locked(lock, steps) => {
                let _held = S::lock(&self.locks[*lock], site!("lock"));
                self.take(steps);
            }
            Step::ForRead(steps) => {
                let _held = S::read(&self.rwlock, site!("read"));
                self.take(steps);
            }
            Step::ForWrite(steps) => {
                let _held = S::write(&self.rwlock, site!("write"));
                self.take(steps);
            }
            Step::Break(before, after) => {
                let mut held = S::write(&self.rwlock, site!("write"));
                self.take(before);
                S::cond_resched_write(&mut held, site!("break"));
                self.take(after);
            }
            Step::InSrcu(steps) => {
                let _section = S::srcu_read(&self.srcu, site!("section"));
                self.take(steps);
            }
            Step::InRcu(steps) => {
                let _section = S::rcu_read(site!("rcu"));
                self.take(steps);
            }
            Step::SynchronizeSrcu => S::synchronize_srcu(&self.srcu, site!("synchronize_srcu")),
            Step::SynchronizeRcu => S::synchronize_rcu(site!("synchronize_rcu")),
            Step::CallRcu(at, value) => {
                let (words, at, value) = (Arc::clone(&self.words), *at, *value);
                let work = move || S::store(&words[at][0], value, Access::Marked, site!("work"));
                S::call_rcu(Box::new(work), site!("call_rcu"));
            }
            Step::Barrier => S::rcu_barrier(site!("rcu_barrier")),
            Step::Free(at) => S::freed(self.object(*at), site!("free")),
            Step::Translate(page) => S::tlb_insert(page << 12, 0x1000, (8 + page) << 12, site!("walk")),
            Step::Invalidate(page) => S::tlb_invalidate(page << 12, 0x1000, site!("tlbi")),
            Step::Use(page) => _ = S::tlb_lookup(page << 12, site!("use")),
            Step::FreeGuest(page) => S::freed(guest(*page), site!("free guest")),
            Step::Plain(at) => {
                let value = S::load(word(*at), Access::Plain, site!("plain read"));
                S::store(word(*at), value + 1, Access::Plain, site!("plain write"));
            }
        }
    }
}

/// A page of the guest.
fn guest(page: u64) -> Object<'static> {
    Object { name: GUEST_PAGE, index: 8 + page, words: &[] }
}

impl Program for Random {
    fn name(&self) -> String {
        "random program".to_owned()
    }

    fn start(&self) -> Instance {
        let shared = Arc::new(Shared {
            words: Arc::new((0..WORDS).map(|_| vec![Word::new(0)]).collect()),
            locks: [S::new_lock("a", LockClass::Spin), S::new_lock("b", LockClass::Mutex)],
            rwlock: S::new_rwlock("mmu_lock"),
            srcu: S::new_srcu("srcu"),
        });
        (0..2).for_each(|page| S::allocated(guest(page), site!("set up")));
        (0..WORDS).for_each(|at| S::allocated(shared.object(at), site!("set up")));
        let thread = |(at, steps): (usize, &Vec<Step>)| {
            let (shared, steps) = (Arc::clone(&shared), steps.clone());
            common::thread(&format!("T{at}"), move || shared.take(&steps))
        };
        Instance { threads: self.0.iter().enumerate().map(thread).collect(), end: Box::new(Vec::new) }
    }
}

fn programs() -> impl Strategy<Value = Random> {
    let thread = |most| prop::collection::vec(step(), 1..most);
    prop_oneof![prop::collection::vec(thread(5), 2..=2), prop::collection::vec(thread(3), 3..=3),]
        .prop_map(Random)
}

/// What was found, but for lock orders, whose cycles depend on which execution is seen first.
fn found(verdict: &Verdict) -> BTreeSet<(Kind, String)> {
    let findings = verdict.findings.iter().filter(|finding| finding.kind != Kind::LockOrder);
    findings.map(|finding| (finding.kind, finding.object.clone())).collect()
}

/// More executions than this are left to another program.
const MOST: usize = 30_000;

proptest! {
    #![proptest_config(ProptestConfig { cases: 120, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn dpor_sees_what_depth_first_search_sees_and_nothing_twice(program in programs()) {
        let mut dfs = Noting { most: MOST, ..Noting::new(Dfs::new(Limit::None)) };
        let by_dfs = verdict_by(&program, &mut dfs, &all());
        prop_assume!(dfs.executions < MOST);
        let mut dpor = Noting::new(Dpor::new());
        let by_dpor = verdict_by(&program, &mut dpor, &all());
        prop_assert_eq!(&dpor.traces, &dfs.traces);
        prop_assert_eq!(by_dpor.counts.complete, dpor.traces.len() as u64);
        prop_assert_eq!(found(&by_dpor), found(&by_dfs));
        prop_assert_eq!(by_dpor.first_kinds, by_dfs.first_kinds);
        prop_assert_eq!(by_dpor.answer, by_dfs.answer);
    }

    #[test]
    fn the_parts_of_a_search_together_see_what_the_whole_sees(program in programs(), depth in 0..6_usize) {
        let mut whole = Noting::new(Dpor::new());
        let by_whole = verdict_by(&program, &mut whole, &all());
        prop_assume!(whole.traces.len() < 2_000);
        let mut traces = BTreeSet::new();
        let parts = subtrees(&program, depth).into_iter().map(|prefix| {
            let settings = Settings { within: prefix.clone(), ..all() };
            let mut part = Noting::new(Dpor::within(prefix, None));
            let verdict = verdict_by(&program, &mut part, &settings);
            traces.append(&mut part.traces);
            verdict
        });
        let merged = Verdict::merge(parts.collect::<Vec<_>>()).expect("there is a part");
        prop_assert_eq!(&traces, &whole.traces);
        prop_assert_eq!(found(&merged), found(&by_whole));
        prop_assert_eq!(merged.first_kinds, by_whole.first_kinds);
        prop_assert_eq!(merged.answer, by_whole.answer);
        prop_assert!(merged.complete && merged.counts.complete >= by_whole.counts.complete);
    }

    #[test]
    fn every_bug_replays_from_its_text_and_no_search_finds_what_dpor_does_not(
        program in programs(),
        seed in any::<u64>(),
    ) {
        let by_dpor = common::verdict(&program, &Settings { stop_at_first: false, ..Settings::default() });
        for finding in by_dpor.findings.iter().filter(|finding| finding.kind.is_harm()) {
            let schedule = finding.schedule.to_string().parse().unwrap();
            let again = replay(&program, &schedule, &Settings::default().checks).unwrap();
            prop_assert!(again.shows(finding), "{} {}", finding.kind, finding.schedule);
        }
        for name in ["random", "pct", "surw"] {
            let mut settings = Settings { how: explore::How::named(name, seed).unwrap(), ..all() };
            settings.bounds.executions = Some(50);
            let by_chance = common::verdict(&program, &settings);
            prop_assert!(found(&by_chance).is_subset(&found(&by_dpor)), "{}", name);
        }
    }
}
