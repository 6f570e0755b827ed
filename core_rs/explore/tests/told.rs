//! How ladders leave out what says nothing, and name what pointers lead to; what a record says when it is replayed on
//! something else.

mod common;

use std::rc::Rc;

use common::{Made, S, thread, verdict};
use explore::{Finding, Kind, Record, Replayed, Schedule, Settings, ladder, lines, replay};
use runtime::scheduled::{Instance, NamedThread, ObjectInfo, Program, record_calls};
use runtime::{Access, LockClass, Object, Runtime, Word, site};

/// A pointer that one thread forgets, and another follows.
struct Pointers(&'static str);

impl Program for Pointers {
    fn name(&self) -> String {
        self.0.to_owned()
    }

    fn start(&self) -> Instance {
        let pointer = Rc::new(Word::new(0x13));
        let forget = Rc::clone(&pointer);
        let follow = move || {
            let _inside = S::inside("exit_mmap");
            let _inside = S::inside("kvm_free_stage2_pgd");
            let lock = S::new_lock("mmu_lock", LockClass::Spin);
            drop(S::lock(&lock, site!("kvm_free_stage2_pgd:mmu_lock")));
            if S::load(&pointer, Access::Plain, site!("kvm_free_stage2_pgd:pgt")) == 0 {
                S::violated("null-dereference", "NULL", site!("kvm_free_stage2_pgd:follow"));
            }
        };
        let forget = move || S::store(&forget, 0, Access::Plain, site!("kvm_destroy_vm:forget"));
        let threads: Vec<NamedThread> = vec![thread("T1", follow), thread("T2", forget)];
        Instance { threads, end: Box::new(Vec::new) }
    }

    fn pointee(&self, object: &ObjectInfo, _word: usize, _value: u64) -> Option<&'static str> {
        (object.name == "word").then_some("pgt")
    }
}

fn replayed(program: &dyn Program, schedule: &str) -> Replayed {
    let schedule: Schedule = schedule.parse().unwrap();
    replay(program, &schedule, &Settings::default().checks).unwrap()
}

fn bug(program: &dyn Program) -> Finding {
    verdict(program, &Settings::default()).bug().expect("a bug").clone()
}

#[test]
fn a_null_pointer_is_told_by_name_with_who_stored_it_and_who_is_inside_of_what() {
    let found = bug(&Pointers("pointers"));
    assert_eq!(found.kind, Kind::NullDereference);
    let (replayed, calls) = record_calls(|| replayed(&Pointers("pointers"), &found.schedule.to_string()));
    let again = replayed.finding_like(&found).unwrap();
    let text = ladder(&Pointers("pointers"), &replayed.execution, again, Some(&calls), false);
    let expected = "\
T1                                  T2
exit_mmap
                                    kvm_destroy_vm
                                      forget: word[0] = NULL
kvm_free_stage2_pgd
  pgt: word[0] is NULL
  follow: NULL   <- null-dereference

null-dereference: a NULL pointer is followed
  used by T1 at kvm_free_stage2_pgd:follow (action 4)
";
    let words = |text: &str| {
        text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect::<Vec<_>>()
    };
    assert_eq!(words(&text), words(expected), "\n{text}");
    let every = lines(&Pointers("pointers"), &replayed.execution, again, true);
    assert!(every.iter().any(|line| line.text.contains("lock mmu_lock")), "on request the lock, too");
}

#[test]
fn a_pointer_that_is_there_has_the_name_of_what_it_leads_to() {
    let replayed = replayed(&Pointers("pointers"), "pwb1:pointers:0x3.1");
    assert!(replayed.findings.iter().all(|finding| !finding.kind.is_harm()));
    let race = &replayed.findings[0];
    let text = ladder(&Pointers("pointers"), &replayed.execution, race, None, false);
    assert!(text.contains("pgt: word[0] is pgt "), "{text}");
}

/// A thread that visits so many entries, then frees twice.
fn visits(n: usize) -> impl Program {
    Made("visits", move || {
        let page = || Object { name: "page", index: 0, words: &[] };
        let words: Rc<Vec<Word>> = Rc::new((0..n).map(|at| Word::new(0x1000 + at as u64)).collect());
        let work = move || {
            let table = Object { name: "table", index: 0, words: &words };
            S::allocated(table, site!("set up"));
            S::allocated(page(), site!("set up"));
            for word in words.iter() {
                S::load(word, Access::Marked, site!("visit:read"));
                S::store(word, 0, Access::Marked, site!("clear"));
            }
            S::freed(table, site!("visit:free"));
            S::load(&words[0], Access::Marked, site!("visit:again"));
        };
        vec![thread("T1", work)]
    })
}

#[test]
fn steps_that_are_repeated_are_told_once_and_how_often() {
    let told = |n: usize, all: bool| {
        let found = bug(&visits(n));
        let replayed = replayed(&visits(n), &found.schedule.to_string());
        let lines = lines(&visits(n), &replayed.execution, replayed.finding_like(&found).unwrap(), all);
        lines.into_iter().map(|line| line.text).collect::<Vec<_>>()
    };
    let six = told(6, false);
    let visited = six.iter().position(|line| line == "read: table[0] is 0x1000").unwrap();
    assert_eq!(six[visited..visited + 3], ["read: table[0] is 0x1000", "table[0] = 0", "... 5 times more"]);
    assert!(six[visited + 3].starts_with("free: frees table"), "{six:?}");
    assert_eq!(told(600, false).len(), six.len());
    assert!(told(2, false).iter().all(|line| !line.contains("more")), "two are told");
    assert!(told(6, true).iter().all(|line| !line.contains("more")), "all are told on request");
}

#[test]
fn a_record_says_what_changed() {
    let program = Pointers("pointers");
    let found = bug(&program);
    let text = found.schedule.to_string();
    let then = replayed(&program, &text);
    let record = Record::new(&found, &then.execution);
    assert_eq!(record.to_string().parse::<Record>().unwrap(), record);
    assert!(record.changes(&then).is_empty());
    let changes = |text: &str| {
        let record: Record = text.parse().unwrap();
        record.changes(&replayed(&Pointers("pointers"), &record.schedule.to_string())).join("; ")
    };
    let runs = text.rsplit_once(':').unwrap().1;
    let other_runs = changes(&record.to_string().replace(runs, "0x3.1"));
    assert!(other_runs.starts_with("the actions are not those"), "{other_runs}");
    assert!(other_runs.ends_with("it showed null-dereference of NULL then, and shows no harm now"));
    let other_finding = changes(&record.to_string().replace("null-dereference", "double-free"));
    assert_eq!(other_finding, "it showed double-free of NULL then, and shows null-dereference of NULL now");
    let other_name: Record = record.to_string().replace("pointers", "paintings").parse().unwrap();
    assert!(other_name.is_of_other_program() && !record.is_of_other_program());
    let there = replayed(&Pointers("paintings"), &other_name.schedule.to_string());
    assert_eq!(
        other_name.changes(&there),
        ["the text was written for another case than \"paintings\""],
        "it still shows the finding"
    );
    let alone: Record = text.parse().unwrap();
    assert!(alone.showed.is_none() && alone.changes(&then).is_empty(), "a schedule alone says nothing");
}

#[test]
fn a_record_that_is_cut_or_bent_is_no_schedule() {
    let record = "pwb2:a task T1: exit:0x2.1:0badcafe-12345678 double-free an object: with a colon";
    let whole: Record = record.parse().unwrap();
    assert_eq!(whole.schedule.program, "a task T1: exit");
    assert_eq!(whole.to_string(), record);
    for text in [
        "pwb2:a:0x2",
        "pwb2:a:0x2:0badcafe-12345678",
        "pwb2:a:0x2:0badcafe-1234567 double-free b",
        "pwb2:a:0x:0badcafe-12345678 double-free b",
        "pwb2:a:64:0badcafe-12345678 double-free b",
        "pwb2:",
        "pwb3:a:0x2",
        "",
    ] {
        assert!(text.parse::<Record>().is_err(), "{text}");
    }
}
