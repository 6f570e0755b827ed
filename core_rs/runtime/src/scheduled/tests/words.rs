//! What threads do to words, and how they wait for them.

use std::collections::BTreeSet;
use std::rc::Rc;

use super::*;

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
