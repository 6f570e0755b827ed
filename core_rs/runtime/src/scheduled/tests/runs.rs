//! Executions as such: what they are a function of, and how they end.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use super::*;

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

/// A policy that counts how often it is asked.
struct Counted(Replay, usize);

impl Policy for Counted {
    fn choose(&mut self, enabled: &[Action], taken: &[Action]) -> Option<usize> {
        self.1 += 1;
        self.0.choose(enabled, taken)
    }
}

#[test]
fn what_is_known_of_an_execution_is_taken_again_without_asking() {
    for seed in 0..50 {
        let first = run(medley(), &mut RandomWalk::new(seed, 1000));
        let schedule: Vec<_> = first.actions.iter().map(|action| action.thread).collect();
        let all = schedule.len();
        for shared in [0, 1, all / 3, all / 2, all - 1, all] {
            let mut policy = Counted(Replay(schedule.clone()), 0);
            let mut again = first.clone();
            run_again(medley(), &mut policy, &mut again, shared);
            assert_eq!((again, policy.1), (first.clone(), all - shared), "{shared} actions of seed {seed}");
        }
    }
}

#[test]
fn a_deadlock_in_what_is_known_is_known() {
    let threads = || {
        let locks = Rc::new(["a", "b"].map(|name| S::new_lock(name, LockClass::Spin)));
        let taker = |name, first: usize| {
            let locks = Rc::clone(&locks);
            thread(name, move || {
                let _outer = S::lock(&locks[first], site!("outer"));
                let _inner = S::lock(&locks[1 - first], site!("inner"));
            })
        };
        let word = Word::new(0);
        let third = thread("T3", move || (0..3).for_each(|value| store(&word, value)));
        vec![taker("T1", 0), taker("T2", 1), third]
    };
    let first = run(threads(), &mut Replay(vec![0, 1, 2, 2, 2]));
    assert_eq!(first.deadlocks.iter().map(|deadlock| deadlock.after).collect::<Vec<_>>(), [2]);
    for shared in 0..=first.actions.len() {
        let mut again = first.clone();
        run_again(threads(), &mut Replay(vec![0, 1, 2, 2, 2]), &mut again, shared);
        assert_eq!(again, first, "{shared} actions");
    }
}

#[test]
fn other_threads_than_those_known_are_abandoned_where_they_differ() {
    let stores = |values: [u64; 3]| {
        let word = Word::new(0);
        vec![thread("T1", move || {
            for value in values {
                if value == 0 {
                    load(&word);
                } else {
                    store(&word, value);
                }
            }
        })]
    };
    let mut execution = run(stores([1, 2, 3]), &mut Replay(vec![]));
    run_again(stores([1, 0, 3]), &mut Replay(vec![]), &mut execution, 3);
    assert_eq!((execution.outcome, execution.actions.len()), (Outcome::Abandoned, 1));
    assert_eq!(execution.pending.len(), 1);
}
