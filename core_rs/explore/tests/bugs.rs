//! From a bug to what people read and repeat: minimised schedules, ladders, replay; and verdicts that end early.

mod common;

use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use common::{Made, S, all, load, store, thread, verdict};
use explore::{
    Answer, Bounds, Error, Exhausted, Finding, How, Kind, Schedule, Settings, explore, ladder, lines,
    minimise, replay,
};
use runtime::scheduled::{NamedThread, Program};
use runtime::{Access, LockClass, Object, Runtime, Word, site};

/// Two tasks that free a cache without a lock, one of them after other work, beside a third that only works.
fn flush() -> impl Program {
    Made("flush race", || {
        let shared = Rc::new([Word::new(1), Word::new(0)]);
        let objects = || Object { name: "objects", index: 0, words: &[] };
        S::allocated(objects(), site!("set up"));
        let free = move |shared: &[Word; 2]| {
            if S::load(&shared[0], Access::Plain, site!("kvm_mmu_free_memory_cache:objects")) != 0 {
                S::freed(objects(), site!("kvm_mmu_free_memory_cache:kvfree"));
                S::store(&shared[0], 0, Access::Plain, site!("kvm_mmu_free_memory_cache:clear"));
            }
        };
        let work = |shared: &[Word; 2], n: u64| (0..n).for_each(|n| store(&shared[1], n));
        let (first, second, third) = (Rc::clone(&shared), Rc::clone(&shared), shared);
        vec![
            thread("exit_mm", move || {
                work(&first, 2);
                free(&first);
            }),
            thread("close vm_fd", move || free(&second)),
            thread("reclaim", move || work(&third, 3)),
        ]
    })
}

fn bug(program: &dyn Program, settings: &Settings) -> Finding {
    let verdict = verdict(program, settings);
    assert_eq!(verdict.answer, Answer::Bug);
    verdict.bug().expect("a bug has a finding").clone()
}

#[test]
fn a_bug_is_minimised_to_the_fewest_switches_and_then_the_fewest_actions_whoever_found_it() {
    for name in ["dpor", "dfs", "random", "pct", "surw"] {
        let how = How::named(name, 7).unwrap();
        let found = bug(&flush(), &Settings { how, ..Settings::default() });
        assert_eq!(found.kind, Kind::DoubleFree);
        // One looks and frees; before it clears the pointer, the other looks and frees. The first works before.
        let schedule = found.schedule.to_string();
        let least = ["pwb1:flush race:0x4.1x2", "pwb1:flush race:1x2.0x4"];
        assert!(least.contains(&&*schedule), "{name}: {schedule}");
    }
}

#[test]
fn minimising_never_makes_a_schedule_worse_and_ends_with_its_budget() {
    let settings = Settings { how: How::Random { seed: 3 }, minimise: 0, ..Settings::default() };
    let found = bug(&flush(), &settings);
    let cost = |finding: &Finding| (finding.schedule.switches(), finding.schedule.threads.len());
    for budget in [0, 1, 5, 50] {
        let less = minimise(&flush(), &found, &settings.checks, budget, &AtomicBool::new(false)).unwrap();
        assert!(cost(&less) <= cost(&found) && less.kind == found.kind, "{budget}");
    }
    let stopped = minimise(&flush(), &found, &settings.checks, 1000, &AtomicBool::new(true)).unwrap();
    assert_eq!(stopped, found);
}

#[test]
fn a_ladder_has_a_column_for_each_thread_and_shows_what_matters() {
    let found = bug(&flush(), &Settings::default());
    let schedule = "pwb1:flush race:1x2.0x4".parse().unwrap();
    let replayed = replay(&flush(), &schedule, &Settings::default().checks).unwrap();
    let again = replayed.finding_like(&found).expect("the same finding");
    let expected = "\
T1 (exit_mm)                               T2 (close vm_fd)
                                           kvm_mmu_free_memory_cache
                                             objects: word is 1
                                             kvfree: frees objects   <- freed
kvm_mmu_free_memory_cache
  objects: word is 1
  kvfree: frees objects   <- double-free

double-free: objects is freed again
  used by exit_mm at kvm_mmu_free_memory_cache:kvfree (action 5)
  freed by close vm_fd at kvm_mmu_free_memory_cache:kvfree (action 1)
";
    assert_eq!(ladder(&flush(), &replayed.execution, again, None, false), expected);
    assert_eq!(lines(&flush(), &replayed.execution, again, false).len(), 4);
    assert_eq!(
        lines(&flush(), &replayed.execution, again, true).len(),
        6,
        "with the work that does not matter"
    );
}

#[test]
fn the_ladder_of_a_deadlock_shows_who_took_what_and_who_waits() {
    let program = Made("abba", || {
        let locks = Rc::new([
            S::new_lock("kvm->lock", LockClass::Mutex),
            S::new_lock("slots_lock", LockClass::Mutex),
        ]);
        let taker = |name, first: usize| -> NamedThread {
            let locks = Rc::clone(&locks);
            thread(name, move || {
                S::cond_resched(site!("unrelated"));
                let _outer = S::lock(&locks[first], site!("outer"));
                let _inner = S::lock(&locks[1 - first], site!("inner"));
            })
        };
        vec![taker("T1", 0), taker("T2", 1)]
    });
    let found = bug(&program, &Settings::default());
    let replayed = replay(&program, &found.schedule, &Settings::default().checks).unwrap();
    let text = ladder(&program, &replayed.execution, &found, None, false);
    assert!(!text.contains("unrelated"), "{text}");
    assert_eq!(text.matches("   <- waits").count(), 2, "{text}");
    for line in ["lock kvm->lock", "lock slots_lock", "T1 waits for slots_lock, which is up to T2"] {
        assert!(text.contains(line), "{line:?} is not in\n{text}");
    }
}

#[test]
fn a_schedule_that_does_not_fit_says_where() {
    let checks = Settings::default().checks;
    let fails = |text: &str| replay(&flush(), &text.parse().unwrap(), &checks).unwrap_err().to_string();
    assert_eq!(fails("pwb1:another:0x2"), "the schedule is of \"another\", not of \"flush race\"");
    assert_eq!(
        fails("pwb1:flush race:0x3.7"),
        "the schedule does not fit \"flush race\": action 3 is thread 7's, and only thread 0 (at \
         kvm_mmu_free_memory_cache:kvfree) or thread 1 (at kvm_mmu_free_memory_cache:objects) or thread 2 (at store) \
         could go on; its runs, what its names stand for, or the model has changed"
    );
    assert!(
        fails("pwb1:flush race:0x5.1.2x3.0x9").contains("action 9 is thread 0's, and nobody could go on")
    );
}

#[test]
fn the_text_of_a_schedule_is_checked_and_goes_both_ways() {
    for text in ["pwb1:a:", "pwb1:a: b:c:0", "pwb1:x:0x3.1.0x2", "pwb1:flush:63"] {
        assert_eq!(text.parse::<Schedule>().unwrap().to_string(), text);
    }
    let error = |text: &str| text.parse::<Schedule>().unwrap_err();
    assert!(matches!(error("pwb2:a:0"), Error::Version { found } if found == "pwb2"));
    for text in
        ["", "flush", "pwb1:0x3", "pwb1:a:0x", "pwb1:a:0x0", "pwb1:a:64", "pwb1:a:0x99999999999", "qwb1:a:0"]
    {
        assert!(matches!(error(text), Error::BadSchedule { .. }), "{text}");
    }
}

#[test]
fn what_is_not_seen_to_its_end_is_exhausted_and_never_proved() {
    let safe = || {
        Made("safe", || {
            let words = Rc::new([Word::new(0), Word::new(0)]);
            let other = Rc::clone(&words);
            let work =
                |words: Rc<[Word; 2]>| move || (0..4).for_each(|n| store(&words[n % 2], load(&words[0])));
            vec![thread("T1", work(words)), thread("T2", work(other))]
        })
    };
    let answer = |change: &dyn Fn(&mut Settings)| {
        let mut settings = all();
        change(&mut settings);
        let verdict = verdict(&safe(), &settings);
        assert_eq!(verdict.complete, verdict.answer == Answer::Proved);
        verdict.answer
    };
    assert_eq!(answer(&|_| ()), Answer::Proved);
    assert_eq!(answer(&|settings| settings.how = How::Dfs), Answer::Proved);
    assert_eq!(
        answer(&|settings| settings.bounds.executions = Some(5)),
        Answer::Exhausted(Exhausted::Executions)
    );
    assert_eq!(
        answer(&|settings| settings.bounds.time = Some(Duration::ZERO)),
        Answer::Exhausted(Exhausted::Time)
    );
    let cut = answer(&|settings| settings.bounds.actions = 10);
    assert!(matches!(cut, Answer::Exhausted(Exhausted::Actions { executions: 1.. })), "{cut:?}");
    assert_eq!(
        answer(&|settings| settings.bounds.preemptions = Some(1)),
        Answer::Exhausted(Exhausted::Preemptions),
        "a bound and sleep sets together prove nothing"
    );
    assert_eq!(
        answer(&|settings| {
            settings.how = How::Dfs;
            settings.bounds.preemptions = Some(1);
        }),
        Answer::Proved,
        "depth-first search proves what is within the bound, and the verdict names it"
    );
    let random = |settings: &mut Settings| {
        settings.how = How::Random { seed: 1 };
        settings.bounds.executions = Some(10);
    };
    assert_eq!(answer(&random), Answer::Exhausted(Exhausted::Executions));
}

#[test]
fn a_flag_stops_an_exploration_with_what_was_found_and_progress_is_told() {
    let stop = AtomicBool::new(false);
    let mut told = 0;
    let settings = Settings { how: How::Random { seed: 1 }, stop_at_first: false, ..Settings::default() };
    let verdict = explore(&flush(), &settings, &stop, &mut |progress| {
        told += 1;
        assert!(progress.counts.executions > 0);
        stop.store(told == 2, Ordering::Relaxed);
    })
    .unwrap();
    assert_eq!((verdict.answer.clone(), told, verdict.complete), (Answer::Bug, 2, false));
    let verdict = explore(&flush(), &settings, &AtomicBool::new(true), &mut |_| ()).unwrap();
    assert_eq!(verdict.answer, Answer::Exhausted(Exhausted::Stopped));
    assert_eq!(verdict.counts.executions, 0);
}

#[test]
fn a_program_that_is_not_a_function_of_the_choices_is_an_error() {
    let turn = AtomicBool::new(false);
    let program = Made("fickle", move || {
        let word = Rc::new(Word::new(0));
        let other = Rc::clone(&word);
        let work = if turn.fetch_xor(true, Ordering::Relaxed) { 1 } else { 3 };
        vec![
            thread("T1", move || (0..work).for_each(|n| store(&word, n))),
            thread("T2", move || store(&other, 9)),
        ]
    });
    let ended = explore(&program, &all(), &AtomicBool::new(false), &mut |_| ());
    assert!(matches!(ended, Err(Error::Diverged { .. })), "{ended:?}");
}

#[test]
fn a_verdict_says_what_it_holds_for() {
    let bounds = Bounds { executions: Some(1000), ..Bounds::default() };
    let verdict = verdict(&flush(), &Settings { bounds, ..all() });
    let text = verdict.to_string();
    for part in [
        "Bug: double-free: objects is freed again",
        "flush race; threads exit_mm, close vm_fd, reclaim; search dpor",
        "10000 actions an execution, 1000 executions",
        "memory, race, lockdep, deadlock, stall, tlb, lifecycle",
        "sequential consistency",
    ] {
        assert!(text.contains(part), "{part:?} is not in\n{text}");
    }
}

#[test]
fn a_part_of_a_search_that_does_not_exist_is_an_error_and_not_a_proof() {
    let settings = Settings { within: vec![0, 9], ..all() };
    let ended = explore(&flush(), &settings, &AtomicBool::new(false), &mut |_| ());
    assert!(matches!(ended, Err(Error::DoesNotFit { action: 1, thread: 9, .. })), "{ended:?}");
}

#[test]
fn a_panic_hides_what_follows_it_so_nothing_is_complete() {
    let program = Made("panics", || {
        let panics = || std::panic::resume_unwind(Box::new("broken"));
        vec![thread("T1", panics), thread("T2", || S::cond_resched(site!("turn")))]
    });
    let verdict = verdict(&program, &all());
    assert_eq!((verdict.answer, verdict.complete), (Answer::Bug, false));
}

#[test]
fn pct_says_what_its_executions_without_harm_mean() {
    let program = Made("two and two", || {
        let words = Rc::new([Word::new(0), Word::new(0)]);
        let other = Rc::clone(&words);
        let twice = |words: Rc<[Word; 2]>| move || (0..2).for_each(|n| store(&words[n], 1));
        vec![thread("T1", twice(words)), thread("T2", twice(other))]
    });
    let mut settings = Settings { how: How::Pct { seed: 1, depth: 2 }, ..all() };
    settings.bounds.executions = Some(20);
    // One execution finds a bug of depth 2 with at least 1 / (2 * 4): (7 / 8)^20 is 0.069.
    let says = "a bug of depth 2 among 2 threads and 4 actions would have been missed with a probability of at most 0.069";
    assert_eq!(verdict(&program, &settings).says.as_deref(), Some(says));
}

#[test]
fn random_searches_are_functions_of_their_seeds() {
    for name in ["random", "pct", "surw"] {
        let first = |seed| {
            let how = How::named(name, seed).unwrap();
            bug(&flush(), &Settings { how, minimise: 0, ..Settings::default() }).schedule
        };
        assert_eq!(first(5), first(5));
        assert!((6..20).any(|seed| first(seed) != first(5)), "{name}");
    }
    assert!(matches!(How::named("bfs", 0), Err(Error::NoSearch { .. })));
}
