//! Small programs whose equivalence classes can be counted by hand.

mod common;

use std::collections::BTreeSet;
use std::rc::Rc;
use std::sync::{Arc, Mutex};

use common::{Made, Noting, S, all, load, store, thread, verdict, verdict_by};
use explore::search::{Dfs, Dpor, Limit};
use explore::{Answer, Settings};
use runtime::scheduled::{NamedThread, Program};
use runtime::{LockClass, Runtime, Word, site};

/// How many classes DPOR sees and how many executions it gives up, checked against depth-first search.
fn classes(program: &dyn Program) -> (u64, u64) {
    let mut dfs = Noting::new(Dfs::new(Limit::None));
    verdict_by(program, &mut dfs, &all());
    let mut dpor = Noting::new(Dpor::new());
    let verdict = verdict_by(program, &mut dpor, &all());
    assert!(verdict.complete);
    assert_eq!(dpor.traces, dfs.traces);
    assert_eq!(verdict.counts.complete, dpor.traces.len() as u64, "no class twice");
    (verdict.counts.complete, verdict.counts.redundant)
}

fn words(n: usize) -> Rc<Vec<Word>> {
    Rc::new((0..n).map(|_| Word::new(0)).collect())
}

#[test]
fn store_buffering_has_three_classes_and_never_reads_zero_twice() {
    let seen = Arc::new(Mutex::new(BTreeSet::new()));
    let noted = Arc::clone(&seen);
    let program = Made("store buffering", move || {
        let (words, results) = (words(2), Rc::new(Mutex::new([9, 9])));
        let side = |name, mine: usize| -> NamedThread {
            let (words, results, noted) = (Rc::clone(&words), Rc::clone(&results), Arc::clone(&noted));
            thread(name, move || {
                store(&words[mine], 1);
                let mut results = {
                    let value = load(&words[1 - mine]);
                    let mut results = results.lock().unwrap();
                    results[mine] = value;
                    *results
                };
                if !results.contains(&9) {
                    noted.lock().unwrap().insert(std::mem::take(&mut results));
                }
            })
        };
        vec![side("T1", 0), side("T2", 1)]
    });
    // Each read is before or after the other's write: four ways, but both before is a cycle.
    assert_eq!(classes(&program), (3, 0));
    assert_eq!(*seen.lock().unwrap(), BTreeSet::from([[0, 1], [1, 0], [1, 1]]));
}

#[test]
fn message_passing_has_three_classes() {
    let program = Made("message passing", || {
        let words = words(2);
        let (writer, reader) = (Rc::clone(&words), words);
        vec![
            thread("writer", move || {
                store(&writer[0], 1);
                store(&writer[1], 1);
            }),
            thread("reader", move || {
                let flag = load(&reader[1]);
                let data = load(&reader[0]);
                assert!(flag == 0 || data == 1);
            }),
        ]
    });
    // The flag read late sees the data; early, the data may be there or not.
    assert_eq!(classes(&program), (3, 0));
}

#[test]
fn writers_of_one_word_have_a_class_for_each_order() {
    for (n, factorial) in [(1, 1), (2, 2), (3, 6), (4, 24)] {
        let program = Made("writers", move || {
            let words = words(1);
            let writer = |at: u64| {
                let words = Rc::clone(&words);
                thread("writer", move || store(&words[0], at))
            };
            (0..n).map(writer).collect()
        });
        assert_eq!(classes(&program), (factorial, 0));
    }
}

#[test]
fn readers_of_one_word_have_one_class_and_a_writer_beside_them_two_to_their_number() {
    for readers in 0..4_u32 {
        let program = move |writes: bool| {
            Made("readers", move || {
                let words = words(1);
                let mut threads = Vec::new();
                for _ in 0..readers {
                    let words = Rc::clone(&words);
                    threads.push(thread("reader", move || {
                        load(&words[0]);
                    }));
                }
                threads.push(thread("writer", move || {
                    if writes {
                        store(&words[0], 1);
                    }
                }));
                threads
            })
        };
        assert_eq!(classes(&program(false)), (1, 0));
        assert_eq!(classes(&program(true)).0, 1 << readers);
    }
}

#[test]
fn last_zero_has_more_classes_than_a_person_counts_and_fewer_than_interleavings() {
    // The example of the paper on source sets, with three writers: N * 2^(N-1) + ... as depth-first search counts.
    let program = Made("lastzero", || {
        let words = words(4);
        let mut threads = Vec::new();
        for at in 1..4 {
            let words = Rc::clone(&words);
            threads.push(thread("writer", move || store(&words[at], load(&words[at - 1]) + 1)));
        }
        threads.push(thread("reader", move || {
            let mut at = 3;
            while load(&words[at]) != 0 {
                at -= 1;
            }
        }));
        threads
    });
    let (classes, redundant) = classes(&program);
    assert!(classes > 8 && redundant <= classes, "{classes} {redundant}");
}

/// Threads that take one lock each, once.
fn takers(n: usize) -> impl Program {
    Made("takers", move || {
        let lock = Rc::new(S::new_lock("lock", LockClass::Spin));
        let taker = |_| {
            let lock = Rc::clone(&lock);
            thread("taker", move || drop(S::lock(&lock, site!("lock"))))
        };
        (0..n).map(taker).collect()
    })
}

#[test]
fn critical_sections_of_one_lock_have_a_class_for_each_order() {
    assert_eq!(classes(&takers(2)), (2, 0));
    assert_eq!(classes(&takers(3)).0, 6);
    assert_eq!(classes(&takers(4)).0, 24);
}

#[test]
fn critical_sections_of_two_locks_are_independent() {
    let program = Made("two locks", || {
        let locks = Rc::new([S::new_lock("a", LockClass::Spin), S::new_lock("b", LockClass::Spin)]);
        let taker = |which: usize| {
            let locks = Rc::clone(&locks);
            thread("taker", move || drop(S::lock(&locks[which], site!("lock"))))
        };
        vec![taker(0), taker(1), taker(0), taker(1)]
    });
    assert_eq!(classes(&program).0, 4, "two orders of each");
}

#[test]
fn opposite_lock_orders_have_two_classes_that_finish_and_one_that_deadlocks() {
    let program = Made("abba", || {
        let locks = Rc::new([S::new_lock("a", LockClass::Spin), S::new_lock("b", LockClass::Spin)]);
        let taker = |name, first: usize| {
            let locks = Rc::clone(&locks);
            thread(name, move || {
                let _outer = S::lock(&locks[first], site!("outer"));
                let _inner = S::lock(&locks[1 - first], site!("inner"));
            })
        };
        vec![taker("T1", 0), taker("T2", 1)]
    });
    assert_eq!(classes(&program).0, 3);
    let found = verdict(&program, &all());
    let told: Vec<_> =
        found.findings.iter().map(|finding| (finding.kind.name(), finding.executions)).collect();
    assert_eq!(told, [("deadlock", 1), ("lock-order", 1)]);
}

#[test]
fn readers_of_a_lock_commute_and_a_writer_goes_before_or_after_each() {
    let program = |readers: usize, writers: usize| {
        Made("rwlock", move || {
            let lock = Rc::new(S::new_rwlock("lock"));
            let mut threads = Vec::new();
            for _ in 0..readers {
                let lock = Rc::clone(&lock);
                threads.push(thread("reader", move || drop(S::read(&lock, site!("read")))));
            }
            for _ in 0..writers {
                let lock = Rc::clone(&lock);
                threads.push(thread("writer", move || drop(S::write(&lock, site!("write")))));
            }
            threads
        })
    };
    assert_eq!(classes(&program(3, 0)).0, 1);
    assert_eq!(classes(&program(1, 1)).0, 2);
    assert_eq!(classes(&program(2, 1)).0, 4);
    assert_eq!(classes(&program(1, 2)).0, 6);
    // Two orders of the writers, and each reader before, between or after them.
    assert_eq!(classes(&program(2, 2)).0, 18);
}

#[test]
fn an_awaited_change_may_come_before_or_after_and_the_wait_in_every_gap_where_it_can_end() {
    let program = |values: &'static [u64]| {
        Made("await", move || {
            let words = words(1);
            let waiter = Rc::clone(&words);
            vec![
                thread("waiter", move || S::await_change(&waiter[0], 0, site!("await"))),
                thread("writer", move || values.iter().for_each(|value| store(&words[0], *value))),
            ]
        })
    };
    assert_eq!(classes(&program(&[])).0, 1, "waits for ever");
    assert_eq!(classes(&program(&[1])).0, 1);
    assert_eq!(classes(&program(&[1, 2])).0, 2);
    assert_eq!(classes(&program(&[1, 0])).0, 2, "in between, or too late and for ever");
    assert_eq!(classes(&program(&[1, 0, 0, 2])).0, 2);
}

#[test]
fn a_grace_period_waits_for_the_sections_before_it() {
    let program = |readers: usize| {
        Made("srcu", move || {
            let srcu = Rc::new(S::new_srcu("srcu"));
            let mut threads = Vec::new();
            for _ in 0..readers {
                let srcu = Rc::clone(&srcu);
                threads.push(thread("reader", move || drop(S::srcu_read(&srcu, site!("section")))));
            }
            threads.push(thread("writer", move || S::synchronize_srcu(&srcu, site!("synchronize"))));
            threads
        })
    };
    // A section begins before the snapshot, and the wait ends after it, or it begins after.
    assert_eq!(classes(&program(1)), (2, 0));
    assert_eq!(classes(&program(2)).0, 4);
}

#[test]
fn a_program_without_interaction_has_one_execution() {
    let program = Made("apart", || {
        (0..4)
            .map(|_| {
                thread("T", || {
                    let own = Word::new(0);
                    (0..10).for_each(|n| store(&own, n));
                })
            })
            .collect()
    });
    let verdict = verdict(&program, &Settings::default());
    assert_eq!((verdict.answer, verdict.counts.executions), (Answer::Proved, 1));
}
