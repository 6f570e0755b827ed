//! The comparison with depth-first search notices a reduction that leaves something out, and the comparison of
//! findings a checker that looks away.

mod common;

use std::rc::Rc;

use common::{Made, Noting, S, all, load, store, thread, verdict, verdict_by};
use explore::search::{Dfs, Dpor, Limit};
use explore::{Answer, Kind};
use runtime::scheduled::Program;
use runtime::{LockClass, Object, Runtime, Word, site};

/// Three threads that wait, race and free.
fn program() -> impl Program {
    Made("medley", || {
        let shared = Rc::new((S::new_lock("lock", LockClass::Spin), Word::new(1), Word::new(0)));
        let flush = |name| {
            let shared = Rc::clone(&shared);
            thread(name, move || {
                if load(&shared.1) == 1 {
                    S::freed(Object { name: "array", index: 0, words: &[] }, site!("kvfree"));
                    store(&shared.1, 0);
                }
                let _held = S::lock(&shared.0, site!("lock"));
                store(&shared.2, load(&shared.2) + 1);
            })
        };
        let waiter = Rc::clone(&shared);
        vec![flush("T1"), flush("T2"), thread("T3", move || S::await_change(&waiter.2, 0, site!("await")))]
    })
}

#[test]
fn a_thread_that_is_not_tried_somewhere_makes_traces_go_missing() {
    let mut dfs = Noting::new(Dfs::new(Limit::None));
    verdict_by(&program(), &mut dfs, &all());
    let mut whole = Noting::new(Dpor::new());
    verdict_by(&program(), &mut whole, &all());
    assert_eq!(whole.traces, dfs.traces);
    let noticed = |n| {
        let mut defective = Noting::new(Dpor::defective(n));
        verdict_by(&program(), &mut defective, &all());
        assert!(defective.traces.is_subset(&dfs.traces));
        defective.traces != dfs.traces
    };
    for n in 1..=5 {
        assert!(noticed(n), "every {n}-th is left out");
    }
}

#[test]
fn without_its_checker_harm_goes_unseen_and_the_verdict_names_who_looked() {
    let whole = verdict(&program(), &all());
    assert_eq!((whole.answer, whole.first_kinds), (Answer::Bug, vec![Kind::DoubleFree]));
    let mut settings = all();
    settings.checks.checkers.retain(|name| name.as_str() != "memory");
    let blind = verdict(&program(), &settings);
    assert_eq!(blind.answer, Answer::Proved);
    assert!(!blind.scope.to_string().contains("memory,"), "{}", blind.scope);
}
