//! The guarantees of the scheduled runtime.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize};

use super::*;
use crate::site;

type S = Scheduled;

/// A thread of a run.
fn thread(name: &str, work: impl FnOnce() + 'static) -> NamedThread {
    (name.to_string(), Box::new(work))
}

fn load(word: &Word) -> u64 {
    S::load(word, Access::Marked, site!("load"))
}

fn store(word: &Word, value: u64) {
    S::store(word, value, Access::Marked, site!("store"));
}

/// Picks by position among the enabled, first by `prefix`, then the first; notes how many there were.
struct Enumerate {
    prefix: Vec<usize>,
    offered: Vec<usize>,
}

impl Policy for Enumerate {
    fn choose(&mut self, enabled: &[Action], taken: &[Action]) -> Option<usize> {
        self.offered.push(enabled.len());
        Some(self.prefix.get(taken.len()).copied().unwrap_or(0))
    }
}

/// Runs every execution of a program: `program` makes its threads and a look at its end.
fn all_executions<T>(program: impl Fn() -> (Vec<NamedThread>, Box<dyn FnOnce(Execution) -> T>)) -> Vec<T> {
    let mut results = Vec::new();
    let mut prefix = Vec::new();
    loop {
        let mut policy = Enumerate { prefix, offered: Vec::new() };
        let (threads, look) = program();
        results.push(look(run(threads, &mut policy)));
        let Enumerate { prefix: mut picks, offered } = policy;
        picks.resize(offered.len(), 0);
        let Some(last) = (0..picks.len()).rev().find(|&step| picks[step] + 1 < offered[step]) else {
            return results;
        };
        picks.truncate(last + 1);
        picks[last] += 1;
        prefix = picks;
    }
}

/// The sums that two threads which add one to a counter may leave.
fn sums_of_two(add: fn(&Word)) -> (usize, BTreeSet<u64>) {
    let sums = all_executions(|| {
        let word = Rc::new(Word::new(0));
        let adder = |name| {
            let word = Rc::clone(&word);
            thread(name, move || add(&word))
        };
        let threads = vec![adder("T1"), adder("T2")];
        (
            threads,
            Box::new(move |execution| {
                assert_eq!(execution.outcome, Outcome::Finished);
                load(&word)
            }),
        )
    });
    (sums.len(), sums.into_iter().collect())
}

#[test]
fn an_update_is_lost_between_a_load_and_a_store() {
    let (executions, sums) = sums_of_two(|word| store(word, load(word) + 1));
    assert_eq!(executions, 6, "two threads of two actions each");
    assert_eq!(sums, BTreeSet::from([1, 2]));
}

#[test]
fn no_update_is_lost_by_a_fetch_add() {
    let (executions, sums) = sums_of_two(|word| {
        S::fetch_add(word, 1, site!("add"));
    });
    assert_eq!((executions, sums), (2, BTreeSet::from([2])));
}

#[test]
fn no_update_is_lost_by_a_compare_exchange_that_retries_after_a_change() {
    let (_, sums) = sums_of_two(|word| {
        let mut seen = load(word);
        while let Err(now) = S::compare_exchange(word, seen, seen + 1, site!("cmpxchg")) {
            seen = now;
        }
    });
    assert_eq!(sums, BTreeSet::from([2]));
}

#[test]
fn locks_exclude_in_every_execution() {
    let lost = all_executions(|| {
        let shared = Rc::new((S::new_rwlock("mmu_lock"), Word::new(0)));
        let adder = |name| {
            let shared = Rc::clone(&shared);
            thread(name, move || {
                let _guard = S::write(&shared.0, site!("write"));
                store(&shared.1, load(&shared.1) + 1);
            })
        };
        let look = {
            let shared = Rc::clone(&shared);
            Box::new(move |execution: Execution| {
                (execution.outcome != Outcome::Finished) || load(&shared.1) != 2
            })
        };
        (vec![adder("T1"), adder("T2")], look as Box<dyn FnOnce(Execution) -> bool>)
    });
    assert!(!lost.contains(&true), "in {} executions", lost.len());
}

#[test]
fn readers_are_inside_together_and_never_beside_a_writer() {
    let seen = Rc::new(RefCell::new(BTreeSet::new()));
    all_executions(|| {
        let lock = Rc::new(S::new_rwlock("lock"));
        let inside = Rc::new(Cell::new((0, 0)));
        let holder = |name, write: bool| {
            let (lock, inside, seen) = (Rc::clone(&lock), Rc::clone(&inside), Rc::clone(&seen));
            thread(name, move || {
                let add = |by: i32| {
                    let (readers, writers) = inside.get();
                    inside.set(if write { (readers, writers + by) } else { (readers + by, writers) });
                    seen.borrow_mut().insert(inside.get());
                };
                if write {
                    let _guard = S::write(&lock, site!("write"));
                    add(1);
                    S::cond_resched(site!("inside"));
                    add(-1);
                } else {
                    let _guard = S::read(&lock, site!("read"));
                    add(1);
                    S::cond_resched(site!("inside"));
                    add(-1);
                }
            })
        };
        (vec![holder("R1", false), holder("R2", false), holder("W", true)], Box::new(|_| ()))
    });
    assert_eq!(*seen.borrow(), BTreeSet::from([(0, 0), (0, 1), (1, 0), (2, 0)]));
}

#[test]
fn opposite_lock_orders_deadlock_in_some_executions_and_say_who_waits_for_whom() {
    let outcomes = all_executions(|| {
        let locks = Rc::new([S::new_lock("a", LockClass::Spin), S::new_lock("b", LockClass::Mutex)]);
        let taker = |name, first: usize, second: usize| {
            let locks = Rc::clone(&locks);
            thread(name, move || {
                let _outer = S::lock(&locks[first], site!("outer"));
                let _inner = S::lock(&locks[second], site!("inner"));
            })
        };
        (vec![taker("T1", 0, 1), taker("T2", 1, 0)], Box::new(|execution: Execution| execution))
    });
    let waits = |execution: &Execution| match &execution.outcome {
        Outcome::Deadlock(waiting) => Some(
            waiting
                .iter()
                .map(|wait| {
                    let target = wait.action.target.expect("a lock");
                    (wait.action.thread, execution.objects[target.object].name, wait.holders.clone())
                })
                .collect::<Vec<_>>(),
        ),
        _ => None,
    };
    let deadlocks: Vec<_> = outcomes.iter().filter_map(waits).collect();
    assert!(!deadlocks.is_empty() && deadlocks.len() < outcomes.len());
    for deadlock in deadlocks {
        assert_eq!(deadlock, [(0, "b", vec![1]), (1, "a", vec![0])]);
    }
}

#[test]
fn a_retry_loop_that_awaits_a_change_ends_in_every_execution() {
    let outcomes = all_executions(|| {
        let word = Rc::new(Word::new(1));
        let (waiter, writer) = (Rc::clone(&word), Rc::clone(&word));
        let wait = thread("waiter", move || {
            loop {
                match load(&waiter) {
                    0 => break,
                    locked => S::await_change(&waiter, locked, site!("await")),
                }
            }
        });
        let write = thread("writer", move || {
            store(&writer, 2);
            store(&writer, 0);
        });
        (vec![wait, write], Box::new(|execution: Execution| execution.outcome))
    });
    assert!(outcomes.len() > 3);
    assert!(outcomes.iter().all(|outcome| *outcome == Outcome::Finished));
}

#[test]
fn awaiting_a_change_that_never_comes_is_a_deadlock() {
    let word = Rc::new(Word::new(1));
    let wait = thread("waiter", move || S::await_change(&word, 1, site!("await")));
    let execution = run(vec![wait], &mut Replay(Vec::new()));
    let Outcome::Deadlock(waiting) = execution.outcome else { panic!("{:?}", execution.outcome) };
    assert_eq!((waiting[0].action.kind, waiting[0].holders.len()), (Kind::AwaitChange, 0));
}

/// A reader that looks twice at what a reclaimer frees after a grace period; whether it saw it freed
/// is answered for every execution.
fn reader_beside(
    section: impl Fn() -> Section,
    reclaim: impl Fn(Arc<[Word; 2]>) -> Box<dyn FnOnce()>,
) -> Vec<bool> {
    all_executions(|| {
        let words = Arc::new([Word::new(1), Word::new(1)]); // published, exists
        let harm = Rc::new(Cell::new(false));
        let reader = {
            let (words, harm, section) = (Arc::clone(&words), Rc::clone(&harm), section());
            thread("reader", move || {
                section(Box::new(move || {
                    if load(&words[0]) == 1 {
                        harm.set(load(&words[1]) == 0);
                    }
                }));
            })
        };
        let reclaimer = thread("reclaimer", reclaim(words));
        let look = move |execution: Execution| {
            assert_eq!(execution.outcome, Outcome::Finished);
            harm.get()
        };
        (vec![reader, reclaimer], Box::new(look))
    })
}

/// A read section around what it is given.
type Section = Box<dyn FnOnce(Box<dyn FnOnce()>)>;

fn in_rcu_section() -> Section {
    Box::new(|look| {
        let _section = S::rcu_read(site!("reader"));
        look();
    })
}

#[test]
fn rcu_protects_readers_that_use_it_and_no_others() {
    let reclaim = |words: Arc<[Word; 2]>| -> Box<dyn FnOnce()> {
        Box::new(move || {
            store(&words[0], 0);
            S::synchronize_rcu(site!("synchronize"));
            store(&words[1], 0);
        })
    };
    assert!(!reader_beside(in_rcu_section, reclaim).contains(&true));
    assert!(reader_beside(|| Box::new(|look| look()), reclaim).contains(&true));
}

#[test]
fn work_handed_to_rcu_runs_after_the_readers_and_before_the_barrier_is_over() {
    let reclaim = |words: Arc<[Word; 2]>| -> Box<dyn FnOnce()> {
        Box::new(move || {
            store(&words[0], 0);
            let freed = Arc::clone(&words);
            S::call_rcu(Box::new(move || store(&freed[1], 0)), site!("call"));
            S::rcu_barrier(site!("barrier"));
            assert_eq!(load(&words[1]), 0);
        })
    };
    assert!(!reader_beside(in_rcu_section, reclaim).contains(&true));
}

#[test]
fn an_execution_is_not_finished_before_work_handed_to_rcu_has_run() {
    let ran = Arc::new(AtomicBool::new(false));
    let work = Arc::clone(&ran);
    let thread = thread("T1", || {
        S::call_rcu(Box::new(move || work.store(true, Ordering::Relaxed)), site!("call"));
    });
    let execution = run(vec![thread], &mut Replay(Vec::new()));
    assert_eq!(execution.outcome, Outcome::Finished);
    assert_eq!(execution.threads, ["T1", "rcu"]);
    assert!(ran.load(Ordering::Relaxed));
}

#[test]
fn srcu_protects_its_readers_and_waiting_for_oneself_is_a_deadlock() {
    let srcu = Arc::new(S::new_srcu("kvm->srcu"));
    let reader = Arc::clone(&srcu);
    let section = move || -> Section {
        let srcu = Arc::clone(&reader);
        Box::new(move |look| {
            let _section = S::srcu_read(&srcu, site!("reader"));
            look();
        })
    };
    let domain = Arc::clone(&srcu);
    let reclaim = move |words: Arc<[Word; 2]>| -> Box<dyn FnOnce()> {
        let srcu = Arc::clone(&domain);
        Box::new(move || {
            store(&words[0], 0);
            S::synchronize_srcu(&srcu, site!("synchronize"));
            store(&words[1], 0);
        })
    };
    assert!(!reader_beside(section, reclaim).contains(&true));

    let itself = thread("T1", move || {
        let _section = S::srcu_read(&srcu, site!("reader"));
        S::synchronize_srcu(&srcu, site!("synchronize"));
    });
    let execution = run(vec![itself], &mut Replay(Vec::new()));
    let Outcome::Deadlock(waiting) = execution.outcome else { panic!("{:?}", execution.outcome) };
    assert_eq!(waiting[0].holders, [0]);
}

#[test]
fn a_lock_break_lets_others_in() {
    let lengths = all_executions(|| {
        let shared = Rc::new((S::new_rwlock("mmu_lock"), Word::new(0)));
        let (teardown, fault) = (Rc::clone(&shared), Rc::clone(&shared));
        let seen = Rc::new(Cell::new(false));
        let look = Rc::clone(&seen);
        let teardown = thread("teardown", move || {
            let mut guard = S::write(&teardown.0, site!("teardown"));
            let before = load(&teardown.1);
            assert!(S::cond_resched_write(&mut guard, site!("break")));
            seen.set(load(&teardown.1) != before);
        });
        let fault = thread("fault", move || {
            let _guard = S::read(&fault.0, site!("fault"));
            S::fetch_add(&fault.1, 1, site!("map"));
        });
        (vec![teardown, fault], Box::new(move |_| look.get()))
    });
    assert!(lengths.contains(&true) && lengths.contains(&false));
}

/// Three threads that do a bit of everything.
fn medley() -> Vec<NamedThread> {
    let shared = Arc::new((S::new_rwlock("mmu_lock"), S::new_srcu("srcu"), Word::new(0)));
    let medley = |name, step: u64| {
        let shared = Arc::clone(&shared);
        thread(name, move || {
            let page: Vec<Word> = (0..4).map(Word::new).collect();
            let object = || Object { name: "page", index: step, words: &page };
            S::allocated(object(), site!("alloc"));
            for word in &page {
                let _section = S::srcu_read(&shared.1, site!("section"));
                let _guard = S::read(&shared.0, site!("read"));
                store(word, load(&shared.2) + step);
            }
            S::synchronize_srcu(&shared.1, site!("synchronize"));
            let _guard = S::write(&shared.0, site!("write"));
            S::freed(object(), site!("free"));
            S::call_rcu(Box::new(move || drop(page)), site!("call"));
            S::fetch_add(&shared.2, 1, site!("count"));
        })
    };
    vec![medley("T1", 1), medley("T2", 2), medley("T3", 3)]
}

#[test]
fn an_execution_is_a_function_of_the_choices() {
    for seed in 0..50 {
        let first = run(medley(), &mut RandomWalk::new(seed, 1000));
        assert_eq!(first.outcome, Outcome::Finished);
        assert_eq!(run(medley(), &mut RandomWalk::new(seed, 1000)), first);
        let schedule = first.actions.iter().map(|action| action.thread).collect();
        assert_eq!(run(medley(), &mut Replay(schedule)), first);
    }
    let one = run(medley(), &mut RandomWalk::new(1, 1000));
    assert_ne!(run(medley(), &mut RandomWalk::new(2, 1000)).actions, one.actions);
}

#[test]
fn a_schedule_that_cannot_be_followed_is_abandoned() {
    let execution = run(medley(), &mut Replay(vec![0, 7]));
    assert_eq!((execution.outcome, execution.actions.len()), (Outcome::Abandoned, 1));
}

#[test]
fn an_abandoned_execution_unwinds_its_threads_and_leaves_no_trace_in_the_next() {
    struct Noted(Rc<Cell<usize>>, Rc<Word>);
    impl Drop for Noted {
        fn drop(&mut self) {
            store(&self.1, 1); // muted: carried out, not scheduled
            self.0.set(self.0.get() + 1);
        }
    }
    let dropped = Rc::new(Cell::new(0));
    for bound in 0..12 {
        dropped.set(0);
        let shared = Rc::new((S::new_lock("lock", LockClass::Spin), Word::new(0)));
        let threads = ["T1", "T2"].map(|name| {
            let shared = Rc::clone(&shared);
            let noted = Noted(Rc::clone(&dropped), Rc::new(Word::new(0)));
            thread(name, move || {
                let _noted = noted;
                loop {
                    let _guard = S::lock(&shared.0, site!("lock"));
                    store(&shared.1, load(&shared.1) + 1);
                }
            })
        });
        let execution = run(threads.into(), &mut RandomWalk::new(1, bound));
        assert_eq!((execution.outcome, execution.actions.len()), (Outcome::Abandoned, bound));
        assert_eq!((dropped.get(), Rc::strong_count(&shared)), (2, 1));
    }
}

#[test]
fn a_panic_ends_the_execution_and_is_reported() {
    let fails = thread("T1", || {
        S::cond_resched(site!("before"));
        std::panic::resume_unwind(Box::new("broken invariant"));
    });
    let waits = thread("T2", || {
        loop {
            S::cond_resched(site!("turn"));
        }
    });
    let execution = run(vec![waits, fails], &mut Replay(vec![0, 0, 1]));
    let message = String::from("broken invariant");
    assert_eq!(execution.outcome, Outcome::Panicked { thread: 1, message });
}

#[test]
fn a_lock_is_dropped_when_its_holder_unwinds() {
    let lock = Rc::new(S::new_rwlock("lock"));
    let thread = thread("T1", move || {
        let unwound = catch_unwind(AssertUnwindSafe(|| {
            let _guard = S::write(&lock, site!("write"));
            std::panic::resume_unwind(Box::new(()));
        }));
        assert!(unwound.is_err());
        drop(S::write(&lock, site!("write")));
    });
    let execution = run(vec![thread], &mut Replay(Vec::new()));
    assert_eq!(execution.outcome, Outcome::Finished);
    let kinds: Vec<_> = execution.actions.iter().map(|action| action.kind).collect();
    assert_eq!(kinds, [Kind::Write, Kind::WriteUnlock, Kind::Write, Kind::WriteUnlock]);
}

fn object(page: &[Word]) -> Object<'_> {
    Object { name: "page", index: 5, words: page }
}

#[test]
fn a_word_belongs_to_its_object_and_a_new_allocation_is_a_new_object() {
    let page: Rc<Vec<Word>> = Rc::new((0..4).map(Word::new).collect());
    S::allocated(object(&page), site!("set up"));
    let thread = thread("T1", move || {
        load(&page[2]);
        S::freed(object(&page), site!("free"));
        load(&page[2]);
        S::allocated(object(&page), site!("again"));
        load(&page[3]);
        S::freed(Object { name: "array", index: 0, words: &[] }, site!("free"));
    });
    let execution = run(vec![thread], &mut Replay(Vec::new()));
    let targets: Vec<_> = execution.actions.iter().filter_map(|action| action.target).collect();
    let at = |object, word| Target { object, word };
    assert_eq!(targets, [at(0, 2), at(0, 0), at(0, 2), at(1, 0), at(1, 3), at(2, 0)]);
    assert_eq!(
        execution.objects.iter().map(|o| (o.name, o.index)).collect::<Vec<_>>(),
        [("page", 5), ("page", 5), ("array", 0)]
    );
}

#[test]
fn outside_a_run_actions_are_carried_out_at_once() {
    let word = Word::new(1);
    store(&word, 2);
    assert_eq!(load(&word), 2);
    let lock = S::new_rwlock("lock");
    let mut guard = S::write(&lock, site!("write"));
    assert!(!S::cond_resched_write(&mut guard, site!("break")));
    let ran = Arc::new(AtomicUsize::new(0));
    let count = || {
        let ran = Arc::clone(&ran);
        Box::new(move || {
            ran.fetch_add(1, Ordering::Relaxed);
        })
    };
    let section = S::rcu_read(site!("section"));
    S::call_rcu(count(), site!("call"));
    assert_eq!(ran.load(Ordering::Relaxed), 0);
    drop(section);
    S::call_rcu(count(), site!("call"));
    assert_eq!(ran.load(Ordering::Relaxed), 2);
}

/// One execution, the threads one after the other as far as they can go.
fn in_order(threads: Vec<NamedThread>) -> Execution {
    run(threads, &mut Replay(Vec::new()))
}

fn effects(execution: &Execution) -> Vec<Effect> {
    execution.actions.iter().map(|action| action.effect).collect()
}

#[test]
fn an_action_tells_what_it_read_and_wrote() {
    let word = Rc::new(Word::new(1));
    let execution = in_order(vec![thread("T1", move || {
        load(&word);
        store(&word, 5);
        let _ = S::compare_exchange(&word, 5, 6, site!("succeeds"));
        let _ = S::compare_exchange(&word, 5, 7, site!("fails"));
        S::fetch_add(&word, 1, site!("get"));
        S::fetch_sub(&word, 8, site!("put"));
    })]);
    let wrote = |before, now| Effect::Wrote { before, now };
    assert_eq!(
        effects(&execution),
        [Effect::Read(1), wrote(1, 5), wrote(5, 6), Effect::Read(6), wrote(6, 7), wrote(7, u64::MAX)]
    );
    let writing: Vec<_> = execution.actions.iter().map(writes).collect();
    assert_eq!(writing, [false, true, true, false, true, true]);
}

#[test]
fn a_compare_exchange_that_fails_is_a_read_to_others() {
    let word = Rc::new(Word::new(1));
    let exchange = |name, current| {
        let word = Rc::clone(&word);
        thread(name, move || {
            let _ = S::compare_exchange(&word, current, 2, site!("cmpxchg"));
        })
    };
    let execution = in_order(vec![exchange("fails", 7), exchange("fails too", 8), exchange("succeeds", 1)]);
    let [first, second, third] = execution.actions[..] else { panic!("three actions") };
    assert!(!dependent(&first, &second) && dependent(&second, &third) && dependent(&third, &first));
}

#[test]
fn a_dead_object_is_the_target_of_accesses_and_of_a_second_free() {
    let page: Rc<Vec<Word>> = Rc::new((0..2).map(Word::new).collect());
    let array = || Object { name: "array", index: 3, words: &[] };
    S::allocated(object(&page), site!("set up"));
    S::allocated(array(), site!("set up"));
    let execution = in_order(vec![thread("T1", move || {
        S::freed(object(&page), site!("free"));
        S::freed(array(), site!("free"));
        store(&page[1], 7);
        S::freed(array(), site!("free"));
        S::freed(object(&page), site!("free"));
    })]);
    let objects: Vec<_> = execution.actions.iter().map(|action| action.target.unwrap().object).collect();
    assert_eq!(objects, [0, 1, 0, 1, 0]);
}

#[test]
fn an_assertion_tells_whether_its_thread_holds_the_lock_for_write() {
    let locks = Arc::new((S::new_rwlock("mmu_lock"), S::new_lock("slots_lock", LockClass::Mutex)));
    let other = Arc::clone(&locks);
    let asserts = move || {
        S::assert_held_write(&locks.0, site!("none"));
        let slots = S::lock(&locks.1, site!("slots"));
        S::assert_held(&locks.1, site!("mutex"));
        let read = S::read(&locks.0, site!("read"));
        S::assert_held_write(&locks.0, site!("only for read"));
        drop(read);
        let _write = S::write(&locks.0, site!("write"));
        S::assert_held_write(&locks.0, site!("for write"));
        drop(slots);
        S::assert_held(&locks.1, site!("dropped"));
    };
    let waits = move || drop(S::lock(&other.1, site!("slots")));
    let execution = in_order(vec![thread("T1", asserts), thread("T2", waits)]);
    let held = |action: &Action| match action.effect {
        Effect::Held(held) => Some((action.site.name(), held)),
        _ => None,
    };
    let told: Vec<_> = execution.actions.iter().filter_map(held).collect();
    assert_eq!(
        told,
        [("none", false), ("mutex", true), ("only for read", false), ("for write", true), ("dropped", false)]
    );
}

#[test]
fn a_translation_is_used_until_it_is_invalidated_and_the_oldest_first() {
    let looks = Rc::new(RefCell::new(Vec::new()));
    let seen = Rc::clone(&looks);
    let execution = in_order(vec![thread("vCPU", move || {
        let look = |ipa| looks.borrow_mut().push(S::tlb_lookup(ipa, site!("use")));
        look(0x1000);
        S::tlb_insert(0x1000, 0x1000, 0x8000, site!("walk"));
        S::tlb_insert(0x1000, 0x1000, 0x9000, site!("walk"));
        S::tlb_insert(0x4000, 0x1000, 0xa000, site!("walk"));
        look(0x1010);
        S::tlb_invalidate(0x1000, 0x2000, site!("invalidate"));
        look(0x1010);
        look(0x4000);
        S::tlb_invalidate(0, u64::MAX, site!("invalidate all"));
        look(0x4000);
    })]);
    assert_eq!(*seen.borrow(), [None, Some(0x8010), None, Some(0xa000), None]);
    let at = |ipa, size| Effect::Addresses { ipa, size };
    assert_eq!(effects(&execution)[..3], [at(0x1000, 1), at(0x1000, 0x1000), at(0x1000, 0x1000)]);
    assert_eq!(effects(&execution)[4], Effect::Cached { ipa: 0x1010, pa: 0x8010, page: None });
    let at = |n: usize| &execution.actions[n];
    assert!(dependent(at(1), at(5)) && dependent(at(1), at(4)) && !dependent(at(3), at(5)));
    assert!(!dependent(at(4), at(6)) && !dependent(at(5), at(8)), "two uses, two invalidations");
}

#[test]
fn a_deadlock_of_two_is_found_when_it_closes_though_a_third_goes_on() {
    let locks = Arc::new([S::new_lock("a", LockClass::Spin), S::new_lock("b", LockClass::Spin)]);
    let taker = |name, first: usize, second: usize| {
        let locks = Arc::clone(&locks);
        thread(name, move || {
            let _outer = S::lock(&locks[first], site!("outer"));
            let _inner = S::lock(&locks[second], site!("inner"));
        })
    };
    let busy = thread("T3", || (0..4).for_each(|_| S::cond_resched(site!("turn"))));
    let threads = vec![taker("T1", 0, 1), taker("T2", 1, 0), busy];
    let execution = run(threads, &mut Replay(vec![0, 2, 1, 2, 2, 2]));
    assert_eq!(execution.actions.len(), 6);
    let [Deadlock { after, cycle }] = &execution.deadlocks[..] else { panic!("{:?}", execution.deadlocks) };
    let waits: Vec<_> = cycle.iter().map(|wait| (wait.action.thread, wait.holders.clone())).collect();
    assert_eq!((*after, waits), (3, vec![(1, vec![0]), (0, vec![1])]));
    assert_eq!(execution.pending.iter().map(|action| action.thread).collect::<Vec<_>>(), [0, 1]);
}

#[test]
fn waiting_for_readers_who_wait_for_a_lock_one_holds_is_a_deadlock() {
    let shared = Arc::new((S::new_lock("slots_lock", LockClass::Mutex), S::new_srcu("kvm->srcu")));
    let (reader, writer) = (Arc::clone(&shared), shared);
    let reader = thread("reader", move || {
        let _section = S::srcu_read(&reader.1, site!("section"));
        let _lock = S::lock(&reader.0, site!("slots"));
    });
    let writer = thread("writer", move || {
        let _lock = S::lock(&writer.0, site!("slots"));
        S::synchronize_srcu(&writer.1, site!("synchronize"));
    });
    let execution = run(vec![reader, writer], &mut Replay(vec![0, 1, 1]));
    let [Deadlock { after: 3, cycle }] = &execution.deadlocks[..] else {
        panic!("{:?}", execution.deadlocks)
    };
    let kinds: Vec<_> = cycle.iter().map(|wait| wait.action.kind).collect();
    assert_eq!(kinds, [Kind::Synchronized, Kind::Lock]);
}

#[test]
fn a_barrier_inside_a_section_that_the_work_waits_for_is_a_deadlock() {
    let itself = thread("T1", || {
        let _section = S::rcu_read(site!("section"));
        S::call_rcu(Box::new(|| ()), site!("call"));
        S::rcu_barrier(site!("barrier"));
    });
    let execution = in_order(vec![itself]);
    let [Deadlock { cycle, .. }] = &execution.deadlocks[..] else { panic!("{:?}", execution.deadlocks) };
    let waits: Vec<_> = cycle.iter().map(|wait| (wait.action.kind, wait.holders.clone())).collect();
    assert_eq!(waits, [(Kind::RcuBarrierOver, vec![1]), (Kind::RcuWork, vec![0])]);
}

#[test]
fn taking_for_write_what_one_holds_for_read_is_a_deadlock_with_oneself() {
    let lock = S::new_rwlock("mmu_lock");
    let execution = in_order(vec![thread("T1", move || {
        let _read = S::read(&lock, site!("read"));
        drop(S::write(&lock, site!("write")));
    })]);
    assert_eq!(execution.deadlocks[0].cycle[0].holders, [0]);
    assert!(matches!(execution.outcome, Outcome::Deadlock(_)));
}

#[test]
fn sections_depend_on_the_snapshot_and_the_wait_on_the_ends_of_those_in_it() {
    let srcu = Arc::new(S::new_srcu("srcu"));
    let (early, late, waits) = (Arc::clone(&srcu), Arc::clone(&srcu), srcu);
    let section = |name, srcu: Arc<Srcu>| thread(name, move || drop(S::srcu_read(&srcu, site!("section"))));
    let threads = vec![
        section("early", early),
        section("late", late),
        thread("waits", move || S::synchronize_srcu(&waits, site!("synchronize"))),
    ];
    let execution = run(threads, &mut Replay(vec![0, 2, 1, 0, 2, 1]));
    let [begin, snapshot, late, end, over, late_end] = execution.actions[..] else { panic!("six actions") };
    assert!(dependent(&begin, &snapshot) && dependent(&snapshot, &late) && dependent(&end, &over));
    assert!(!dependent(&snapshot, &end) && !dependent(&late, &over) && !dependent(&over, &late_end));
    assert!(!may_be_co_enabled(&end, &over) && may_be_co_enabled(&begin, &snapshot));
}

#[test]
fn an_execution_is_not_finished_while_the_work_it_handed_over_waits() {
    let lock = Arc::new(S::new_lock("lock", LockClass::Spin));
    let keeps = thread("T1", move || {
        let held = S::lock(&lock, site!("lock"));
        std::mem::forget(held);
        let again = Arc::clone(&lock);
        S::call_rcu(Box::new(move || drop(S::lock(&again, site!("again")))), site!("call"));
    });
    let Outcome::Deadlock(waiting) = in_order(vec![keeps]).outcome else { panic!("the work cannot end") };
    assert_eq!((waiting[0].action.thread, waiting[0].holders.clone()), (1, vec![0]));
}

#[test]
fn an_observation_is_no_action_and_a_violation_is_one() {
    let seen = Rc::new(Cell::new(0));
    let look = {
        let seen = Rc::clone(&seen);
        thread("T1", move || {
            let word = Word::new(7);
            seen.set(S::observe(|| load(&word)));
            S::violated("NULL dereference", "kvm", site!("look"));
        })
    };
    let execution = run(vec![look], &mut Replay(vec![]));
    assert_eq!(seen.get(), 7);
    let [Action { kind: Kind::Violated, effect, target: Some(target), .. }] = execution.actions[..] else {
        panic!("{:?}", execution.actions)
    };
    assert_eq!(effect, Effect::Broken { rule: "NULL dereference" });
    assert_eq!(execution.objects[target.object].name, "kvm");
}

#[test]
fn to_use_a_translation_is_to_use_the_page_that_it_leads_to() {
    let guest = |index| Object { name: GUEST_PAGE, index, words: &[] };
    S::allocated(guest(8), site!("set up"));
    S::allocated(guest(9), site!("set up"));
    let vcpu = thread("vCPU", || {
        S::tlb_insert(0x1000, 0x2000, 0x8000, site!("walk"));
        S::tlb_lookup(0x1234, site!("use"));
    });
    let munmap = thread("munmap", move || {
        S::freed(guest(8), site!("free"));
        S::freed(guest(9), site!("free"));
    });
    let execution = in_order(vec![vcpu, munmap]);
    let [_, used, first, second] = execution.actions[..] else { panic!("four actions") };
    assert!(dependent(&used, &first) && dependent(&first, &used) && !dependent(&used, &second));
    assert_eq!(page_used(&used), first.target.map(|target| target.object));
}
