//! Sections, grace periods, and work that waits for them.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::*;

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
