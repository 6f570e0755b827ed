//! What each checker finds, and what it leaves alone.

mod common;

use std::rc::Rc;
use std::sync::Arc;

use common::{Made, S, all, load, store, thread, verdict};
use explore::{Answer, Finding, Kind, Role, Settings, Verdict};
use runtime::scheduled::{Instance, NamedThread, ObjectInfo, Program, Violation};
use runtime::{Access, LockClass, Object, Runtime, Word, site};

/// All that is found in all executions of some threads.
fn explored(make: impl Fn() -> Vec<NamedThread> + Sync) -> Verdict {
    verdict(&Made("program", make), &all())
}

/// Kinds and objects, in the order of the verdict.
fn told(verdict: &Verdict) -> Vec<(Kind, &str)> {
    verdict.findings.iter().map(|finding| (finding.kind, finding.object.as_str())).collect()
}

fn steps(finding: &Finding) -> Vec<(Role, &str, &str)> {
    finding.steps.iter().map(|step| (step.role, step.thread.as_str(), step.site)).collect()
}

fn array() -> Object<'static> {
    Object { name: "array", index: 0, words: &[] }
}

fn page(words: &[Word]) -> Object<'_> {
    Object { name: "page", index: 0, words }
}

#[test]
fn a_use_after_free_tells_who_used_allocated_and_freed() {
    let verdict = explored(|| {
        let words: Rc<Vec<Word>> = Rc::new((0..2).map(|_| Word::new(0)).collect());
        let published = Rc::new(Word::new(0));
        let (used, seen) = (Rc::clone(&words), Rc::clone(&published));
        vec![
            thread("T1", move || {
                S::allocated(page(&words), site!("alloc"));
                S::store(&published, 1, Access::Ordered, site!("publish"));
                S::freed(page(&words), site!("free"));
            }),
            thread("T2", move || {
                if S::load(&seen, Access::Ordered, site!("look")) == 1 {
                    S::store(&used[1], 7, Access::Marked, site!("use"));
                }
            }),
        ]
    });
    assert_eq!(told(&verdict), [(Kind::UseAfterFree, "page")]);
    assert_eq!(
        steps(&verdict.findings[0]),
        [(Role::Used, "T2", "use"), (Role::Allocated, "T1", "alloc"), (Role::Freed, "T1", "free")]
    );
    assert_eq!(verdict.findings[0].what, "page is written after it was freed");
    assert_eq!(
        (verdict.counts.complete, verdict.findings[0].executions),
        (3, 1),
        "unseen, in time, too late"
    );
}

#[test]
fn a_second_free_is_a_double_free_and_an_object_that_is_left_a_leak() {
    let verdict = explored(|| {
        S::allocated(array(), site!("set up"));
        vec![thread("T1", || {
            S::freed(array(), site!("one"));
            S::freed(array(), site!("two"));
            S::allocated(Object { name: "page", index: 0, words: &[] }, site!("alloc"));
        })]
    });
    assert_eq!(told(&verdict), [(Kind::DoubleFree, "array"), (Kind::Leak, "page")]);
    assert_eq!(steps(&verdict.findings[0]), [(Role::Used, "T1", "two"), (Role::Freed, "T1", "one")]);
    assert_eq!(verdict.first_kinds, [Kind::DoubleFree], "a leak shows when all is over");
}

#[test]
fn what_the_program_says_lives_on_is_no_leak_and_what_it_says_of_its_end_is_harm() {
    struct Keeps(bool);
    impl Program for Keeps {
        fn name(&self) -> String {
            "keeps".into()
        }
        fn start(&self) -> Instance {
            let threads = vec![thread("T1", || S::allocated(array(), site!("alloc")))];
            let violation = |rule| Violation { rule, object: "kvm".into(), what: "still there".into() };
            let says = self.0;
            let end = move || if says { vec![violation("leak"), violation("mm gone")] } else { vec![] };
            Instance { threads, end: Box::new(end) }
        }
        fn lives_on(&self, object: &ObjectInfo) -> bool {
            object.name == "array"
        }
    }
    assert_eq!(verdict(&Keeps(false), &all()).answer, Answer::Proved);
    let says = verdict(&Keeps(true), &all());
    assert_eq!(told(&says), [(Kind::Leak, "kvm"), (Kind::Lifecycle, "kvm")]);
    assert_eq!(says.findings[1].what, "mm gone: still there");
}

#[test]
fn a_count_that_falls_below_zero_is_found() {
    let verdict = explored(|| {
        let count = Rc::new(Word::new(1));
        let put = |name| {
            let count = Rc::clone(&count);
            thread(name, move || {
                S::fetch_sub(&count, 1, site!("put"));
            })
        };
        vec![put("T1"), put("T2")]
    });
    assert_eq!(told(&verdict), [(Kind::CountUnderflow, "word")]);
    assert_eq!(verdict.findings[0].executions, 2);
}

/// Two threads that write a word each in its way.
fn writers(first: fn(&Shared), second: fn(&Shared)) -> Verdict {
    explored(move || {
        let shared = Rc::new(Shared {
            data: Word::new(0),
            flag: Word::new(0),
            lock: S::new_lock("lock", LockClass::Spin),
            srcu: S::new_srcu("srcu"),
        });
        let both = Rc::clone(&shared);
        vec![thread("T1", move || first(&shared)), thread("T2", move || second(&both))]
    })
}

struct Shared {
    data: Word,
    flag: Word,
    lock: <S as Runtime>::Lock,
    srcu: <S as Runtime>::Srcu,
}

fn plain_write(shared: &Shared) {
    S::store(&shared.data, 1, Access::Plain, site!("plain write"));
}

fn plain_read(shared: &Shared) {
    S::load(&shared.data, Access::Plain, site!("plain read"));
}

#[test]
fn plain_accesses_race_unless_something_orders_them() {
    let races = |first, second| told(&writers(first, second)).contains(&(Kind::DataRace, "word"));
    assert!(races(plain_write, plain_write));
    assert!(races(plain_write, plain_read));
    assert!(!races(plain_read, plain_read));
    assert!(
        races(plain_write, |shared| {
            load(&shared.data);
        }),
        "a marked read beside a plain write"
    );
    assert!(
        !races(
            |shared| store(&shared.data, 1),
            |shared| {
                load(&shared.data);
            }
        ),
        "both marked"
    );
    let locked: fn(&Shared) = |shared| {
        let _held = S::lock(&shared.lock, site!("lock"));
        plain_write(shared);
    };
    assert!(!races(locked, locked));
    assert!(races(locked, plain_write));
}

#[test]
fn release_and_acquire_order_and_marked_accesses_do_not() {
    let publish: [fn(&Shared); 2] = [
        |shared| {
            plain_write(shared);
            S::store(&shared.flag, 1, Access::Ordered, site!("publish"));
        },
        |shared| {
            plain_write(shared);
            S::store(&shared.flag, 1, Access::Marked, site!("publish"));
        },
    ];
    let consume: fn(&Shared) = |shared| {
        if S::load(&shared.flag, Access::Ordered, site!("look")) == 1 {
            plain_read(shared);
        }
    };
    assert_eq!(told(&writers(publish[0], consume)), []);
    assert_eq!(told(&writers(publish[1], consume)), [(Kind::DataRace, "word")]);
}

#[test]
fn a_grace_period_orders_and_a_data_race_is_no_harm() {
    let reader: fn(&Shared) = |shared| {
        let _section = S::srcu_read(&shared.srcu, site!("section"));
        if load(&shared.flag) == 0 {
            plain_read(shared);
        }
    };
    let reclaim: fn(&Shared) = |shared| {
        store(&shared.flag, 1);
        S::synchronize_srcu(&shared.srcu, site!("synchronize"));
        plain_write(shared);
    };
    let hasty: fn(&Shared) = |shared| {
        store(&shared.flag, 1);
        plain_write(shared);
    };
    assert_eq!(told(&writers(reader, reclaim)), []);
    let races = writers(reader, hasty);
    assert_eq!(told(&races), [(Kind::DataRace, "word")]);
    assert_eq!(races.answer, Answer::Proved, "nothing does harm");
}

/// What one thread that does this is told.
fn alone(work: fn(&Locks)) -> Vec<(Kind, String)> {
    let verdict = explored(move || {
        let locks = Locks {
            spin: S::new_lock("spin", LockClass::Spin),
            mutex: S::new_lock("mutex", LockClass::Mutex),
            mmu_lock: S::new_rwlock("mmu_lock"),
            other_mmu_lock: S::new_rwlock("mmu_lock"),
            srcu: S::new_srcu("srcu"),
        };
        vec![thread("T1", move || work(&locks))]
    });
    verdict.findings.iter().map(|finding| (finding.kind, finding.object.clone())).collect()
}

struct Locks {
    spin: <S as Runtime>::Lock,
    mutex: <S as Runtime>::Lock,
    mmu_lock: <S as Runtime>::RwLock,
    other_mmu_lock: <S as Runtime>::RwLock,
    srcu: <S as Runtime>::Srcu,
}

#[test]
fn nothing_under_a_spinning_lock_or_in_an_rcu_section_may_sleep() {
    let sleeps = |work| alone(work).iter().any(|(kind, _)| *kind == Kind::SleepInAtomic);
    assert!(sleeps(|l| {
        let _held = S::write(&l.mmu_lock, site!("write"));
        S::might_sleep(site!("kvfree"));
    }));
    assert!(sleeps(|l| {
        let _held = S::read(&l.mmu_lock, site!("read"));
        S::cond_resched(site!("cond_resched"));
    }));
    assert!(sleeps(|l| {
        let _held = S::lock(&l.spin, site!("spin"));
        drop(S::lock(&l.mutex, site!("mutex")));
    }));
    assert!(sleeps(|l| {
        let _held = S::lock(&l.spin, site!("spin"));
        S::synchronize_srcu(&l.srcu, site!("synchronize"));
    }));
    assert!(sleeps(|_| {
        let _section = S::rcu_read(site!("rcu"));
        S::might_sleep(site!("sleep"));
    }));
    assert!(!sleeps(|l| {
        let _mutex = S::lock(&l.mutex, site!("mutex"));
        let _section = S::srcu_read(&l.srcu, site!("srcu"));
        S::might_sleep(site!("sleep"));
        let mut held = S::write(&l.mmu_lock, site!("write"));
        S::cond_resched_write(&mut held, site!("break"));
    }));
}

#[test]
fn recursion_is_a_broken_rule_and_a_deadlock_where_it_is_one() {
    let for_read = alone(|l| {
        let _outer = S::read(&l.mmu_lock, site!("outer"));
        let _inner = S::read(&l.mmu_lock, site!("inner"));
    });
    assert_eq!(for_read, [(Kind::LockRecursion, "mmu_lock".into())]);
    let another = alone(|l| {
        let _outer = S::write(&l.mmu_lock, site!("outer"));
        let _inner = S::write(&l.other_mmu_lock, site!("inner"));
    });
    assert_eq!(another, [(Kind::LockRecursion, "mmu_lock".into())]);
    let real = alone(|l| {
        let _outer = S::write(&l.mmu_lock, site!("outer"));
        let _inner = S::write(&l.mmu_lock, site!("inner"));
    });
    assert_eq!(real, [(Kind::Deadlock, "mmu_lock".into())]);
    let srcu = alone(|l| {
        let _section = S::srcu_read(&l.srcu, site!("section"));
        S::synchronize_srcu(&l.srcu, site!("synchronize"));
    });
    assert_eq!(srcu, [(Kind::Deadlock, "srcu".into()), (Kind::SelfWait, "srcu".into())]);
}

#[test]
fn an_assertion_that_does_not_hold_is_a_broken_rule() {
    let broken = alone(|l| {
        S::assert_held_write(&l.mmu_lock, site!("lockdep_assert_held_write"));
        let _held = S::write(&l.mmu_lock, site!("write"));
        S::assert_held_write(&l.mmu_lock, site!("lockdep_assert_held_write"));
    });
    assert_eq!(broken, [(Kind::NotHeld, "mmu_lock".into())]);
}

#[test]
fn an_order_of_locks_is_learnt_over_executions_and_one_thread_suffices() {
    let cycle = alone(|l| {
        {
            let _outer = S::lock(&l.mutex, site!("outer"));
            let _inner = S::write(&l.mmu_lock, site!("inner"));
        }
        let _outer = S::write(&l.mmu_lock, site!("outer again"));
        let _spin = S::lock(&l.spin, site!("spin"));
    });
    assert_eq!(cycle, [], "one order only");
    let grace = alone(|l| {
        {
            let _section = S::srcu_read(&l.srcu, site!("section"));
            drop(S::lock(&l.mutex, site!("inside")));
        }
        let _outer = S::lock(&l.mutex, site!("outer"));
        S::synchronize_srcu(&l.srcu, site!("synchronize"));
    });
    assert_eq!(grace, [(Kind::LockOrder, "mutex, srcu".into())]);
}

#[test]
fn readers_that_wait_for_a_lock_held_around_their_grace_period_deadlock() {
    let verdict = explored(|| {
        let shared = Rc::new((S::new_lock("slots_lock", LockClass::Mutex), S::new_srcu("kvm->srcu")));
        let reader = Rc::clone(&shared);
        vec![
            thread("T1", move || {
                let _held = S::lock(&shared.0, site!("lock"));
                S::synchronize_srcu(&shared.1, site!("synchronize_srcu"));
            }),
            thread("T2", move || {
                let _section = S::srcu_read(&reader.1, site!("srcu_read_lock"));
                drop(S::lock(&reader.0, site!("slots_lock")));
            }),
        ]
    });
    let mut kinds = told(&verdict);
    kinds.sort_unstable();
    kinds.dedup();
    assert_eq!(
        kinds,
        [(Kind::Deadlock, "kvm->srcu, slots_lock"), (Kind::LockOrder, "kvm->srcu, slots_lock")]
    );
}

#[test]
fn a_stall_is_work_between_points_where_the_scheduler_may_run() {
    let walk = |step: usize| {
        Made("walk", move || {
            vec![thread("T1", move || {
                let entry = Word::new(0);
                let lock = S::new_rwlock("mmu_lock");
                let mut held = S::write(&lock, site!("write"));
                for n in 1..=12 {
                    S::load(&entry, Access::Marked, site!("kvm_pgtable_visit:read"));
                    if n % step == 0 {
                        S::cond_resched_write(&mut held, site!("cond_resched_rwlock_write"));
                    }
                }
            })]
        })
    };
    let mut settings = all();
    settings.checks.stall_bound = 8;
    assert_eq!(told(&verdict(&walk(100), &settings)), [(Kind::Stall, "T1")]);
    assert_eq!(verdict(&walk(8), &settings).answer, Answer::Proved);
}

#[test]
fn a_translation_outlives_its_page_unless_it_is_invalidated_before_the_page_is_freed() {
    let unmap = |invalidates: bool| {
        explored(move || {
            let guest = || Object { name: runtime::scheduled::GUEST_PAGE, index: 8, words: &[] };
            S::allocated(guest(), site!("set up"));
            let mapped = Arc::new((Word::new(1), S::new_rwlock("mmu_lock")));
            let unmaps = Arc::clone(&mapped);
            vec![
                thread("vCPU", move || {
                    let held = S::read(&mapped.1, site!("fault"));
                    if load(&mapped.0) == 1 {
                        S::tlb_insert(0x1000, 0x1000, 8 << 12, site!("walk"));
                    }
                    drop(held);
                    S::tlb_lookup(0x1008, site!("guest access"));
                }),
                thread("munmap", move || {
                    let held = S::write(&unmaps.1, site!("unmap"));
                    store(&unmaps.0, 0);
                    if invalidates {
                        S::tlb_invalidate(0x1000, 0x1000, site!("tlbi"));
                    }
                    drop(held);
                    S::freed(guest(), site!("free_page"));
                }),
            ]
        })
    };
    assert_eq!(told(&unmap(true)), []);
    let stale = unmap(false);
    assert_eq!(told(&stale), [(Kind::StaleTranslation, "guest page 0x8")]);
    assert_eq!(
        steps(&stale.findings[0]),
        [(Role::Used, "vCPU", "guest access"), (Role::Freed, "munmap", "free_page")]
    );
}

#[test]
fn a_panic_is_harm_with_its_message() {
    let verdict = verdict(
        &Made("panics", || {
            vec![thread("T1", || {
                S::cond_resched(site!("before"));
                std::panic::resume_unwind(Box::new("broken invariant"));
            })]
        }),
        &Settings::default(),
    );
    assert_eq!(told(&verdict), [(Kind::Panic, "T1")]);
    assert_eq!(verdict.findings[0].what, "T1 panics: broken invariant");
}

#[test]
fn of_two_harms_that_nothing_orders_either_can_come_first_and_of_two_in_order_only_one() {
    let free_twice = |name: &'static str| {
        move || {
            S::freed(Object { name, index: 0, words: &[] }, site!("one"));
            S::freed(Object { name, index: 0, words: &[] }, site!("two"));
        }
    };
    let under = || {
        let word = Word::new(0);
        S::fetch_sub(&word, 1, site!("put"));
    };
    let apart = explored(move || vec![thread("T1", free_twice("a")), thread("T2", under)]);
    assert_eq!(apart.first_kinds, [Kind::DoubleFree, Kind::CountUnderflow]);
    let in_order = explored(move || {
        vec![thread("T1", move || {
            free_twice("a")();
            under();
        })]
    });
    assert_eq!((in_order.findings.len(), &in_order.first_kinds[..]), (2, &[Kind::DoubleFree][..]));
}
