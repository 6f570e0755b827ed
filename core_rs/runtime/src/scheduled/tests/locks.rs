//! Locks, and who waits for whom.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;

use super::*;

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
fn taking_for_write_what_one_holds_for_read_is_a_deadlock_with_oneself() {
    let lock = S::new_rwlock("mmu_lock");
    let execution = in_order(vec![thread("T1", move || {
        let _read = S::read(&lock, site!("read"));
        drop(S::write(&lock, site!("write")));
    })]);
    assert_eq!(execution.deadlocks[0].cycle[0].holders, [0]);
    assert!(matches!(execution.outcome, Outcome::Deadlock(_)));
}
