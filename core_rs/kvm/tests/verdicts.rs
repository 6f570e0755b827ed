//! What the explorer says of the cases that the design names, each followed by hand afterwards from the facts.
//!
//! The expectations were written after the explorer's answers.

mod common;

use std::sync::atomic::AtomicBool;

use explore::{Answer, Checks, Kind, Settings, Verdict, explore};
use kvm::{Case, Regression, Scenario, SetUp, Variant};
use runtime::scheduled::Program;

use common::case;

/// Explores all executions of a case.
fn all(case: &Case) -> Verdict {
    let checks = Checks { stall_bound: 128, ..Checks::default() };
    let settings = Settings { stop_at_first: false, minimise: 0, checks, ..Settings::default() };
    let verdict = explore(case, &settings, &AtomicBool::new(false), &mut |_| ()).unwrap();
    assert!(verdict.complete, "{}: {verdict}", case.name());
    verdict
}

fn verdict_of(scenario: &str, variant: &str, strategy: &str) -> Verdict {
    all(&case(scenario, variant, strategy))
}

fn is_proved(scenario: &str, variant: &str, strategy: &str) -> bool {
    verdict_of(scenario, variant, strategy).answer == Answer::Proved
}

/// Names of the objects that harm of a kind is found at.
fn objects(verdict: &Verdict, kind: Kind) -> Vec<&str> {
    let of_kind = verdict.findings.iter().filter(|finding| finding.kind == kind);
    let mut objects: Vec<_> = of_kind.map(|finding| finding.object.as_str()).collect();
    objects.sort_unstable();
    objects.dedup();
    objects
}

#[test]
fn each_bug_of_the_corpus_is_found_before_its_fix_and_not_after() {
    for Regression { name, before, after, .. } in Regression::corpus() {
        let (before, after) = (all(&before), all(&after));
        assert_eq!(before.answer, Answer::Bug, "{name} before");
        assert_eq!(after.answer, Answer::Proved, "{name} after: {:?}", after.findings.first());
        let kind = before.bug().unwrap().kind;
        let expected: &[Kind] = match name {
            "stall" => &[Kind::Stall],
            "stale-ranges" | "nested-growth" => &[Kind::UseAfterFree],
            "double-free" | "double-free-nested" => &[Kind::DoubleFree, Kind::UseAfterFree],
            _ => &[Kind::LeafReachesFreedMemory],
        };
        assert!(before.first_kinds.contains(&expected[0]), "{name}: {kind}, first {:?}", before.first_kinds);
        if name == "nested-growth" {
            // Past the end of the old array there is freed memory, too.
            assert_eq!(before.first_kinds, expected);
        }
    }
}

#[test]
fn the_race_frees_the_split_cache_twice_when_it_is_filled_or_used_up_and_does_no_harm_when_it_was_never_used()
{
    for variant in ["arm64-6.12", "arm64-7.3", "riscv-7.3"] {
        assert!(is_proved("flush-race", variant, "none"), "{variant}");
        for scenario in ["flush-race-filled", "flush-race-used-up"] {
            let verdict = verdict_of(scenario, variant, "none");
            assert!(verdict.first_kinds.contains(&Kind::DoubleFree), "{scenario} {variant}");
            assert!(objects(&verdict, Kind::DoubleFree).contains(&"kvm.arch.split_page_cache.objects"));
        }
        // With nothing to pop there is no page that both could pop.
        assert_eq!(verdict_of("flush-race-used-up", variant, "none").first_kinds, [Kind::DoubleFree]);
    }
}

#[test]
fn the_race_frees_the_array_of_nested_mmus_twice_in_6_12_only() {
    let verdict = verdict_of("flush-race-nested", "arm64-6.12", "none");
    assert_eq!(objects(&verdict, Kind::DoubleFree), ["kvm.arch.nested_mmus"]);
    assert!(is_proved("flush-race-nested", "arm64-7.3", "none"));
}

#[test]
fn where_flush_takes_no_lock_two_walks_free_each_others_tables() {
    let verdict = verdict_of("flush-race", "mips-7.3", "none");
    assert!(
        verdict.first_kinds.contains(&Kind::DoubleFree) && verdict.first_kinds.contains(&Kind::UseAfterFree)
    );
    for variant in ["loongarch-7.3", "mips-7.3"] {
        for strategy in ["lock-flush", "lock-generic", "lock-flush-free-outside"] {
            assert!(is_proved("flush-race", variant, strategy), "{variant} {strategy}");
        }
    }
}

#[test]
fn the_lock_held_around_everything_sleeps_in_7_3_and_with_vmalloc() {
    for (scenario, variant) in [("flush-race", "arm64-7.3"), ("flush-race-vmalloc", "arm64-6.12")] {
        let verdict = verdict_of(scenario, variant, "lock-flush");
        assert_eq!(verdict.first_kinds, [Kind::SleepInAtomic], "{scenario} {variant}");
    }
    assert!(is_proved("flush-race-filled", "arm64-6.12", "lock-flush"), "6.12 has no cond_resched there");
}

#[test]
fn a_lock_held_around_everything_that_is_broken_between_ranges_does_no_harm() {
    for (scenario, variant) in [("flush-race-filled", "arm64-7.3"), ("flush-race-nested", "arm64-7.3")] {
        assert!(is_proved(scenario, variant, "hold=arch helpers=assert breaks=yes"), "{scenario} {variant}");
    }
}

#[test]
fn a_lock_that_is_taken_twice_deadlocks_at_once() {
    for variant in ["arm64-6.12", "arm64-7.3", "riscv-7.3"] {
        for strategy in ["lock-flush-naive", "lock-generic"] {
            let verdict = verdict_of("flush-alone", variant_or_plain(variant), strategy);
            assert_eq!(verdict.first_kinds, [Kind::Deadlock], "{variant} {strategy}");
        }
    }
}

/// `flush-alone` has a nested mmu, which riscv has not.
fn variant_or_plain(variant: &str) -> &str {
    if variant == "riscv-7.3" { "arm64-7.3" } else { variant }
}

#[test]
fn claiming_deferring_and_the_slots_lock_end_the_race_on_7_3() {
    for strategy in ["lock-flush-free-outside", "claim-under-lock", "defer-to-destroy", "slots-lock"] {
        for scenario in ["flush-race", "flush-race-filled", "flush-race-used-up", "smaps-race", "gmem-race"] {
            assert!(is_proved(scenario, "arm64-7.3", strategy), "{scenario} {strategy}");
        }
    }
    let nested = verdict_of("flush-race-nested", "arm64-6.12", "slots-lock");
    assert_eq!(nested.answer, Answer::Bug, "slots_lock protects the split cache, not the nested mmus");
}

#[test]
fn no_descriptor_need_be_passed_for_the_race() {
    for scenario in ["smaps-race", "shared-mm-race", "debugfs-race"] {
        let verdict = verdict_of(scenario, "arm64-7.3", "none");
        assert!(verdict.first_kinds.contains(&Kind::DoubleFree), "{scenario}");
    }
}

#[test]
fn a_reference_that_goes_with_the_address_space_orders_the_two_flushes() {
    for scenario in ["run-mapping", "kill", "kill-threads", "second-vm", "held-elsewhere"] {
        assert!(is_proved(scenario, "arm64-7.3", "none"), "{scenario}");
    }
}

#[test]
fn one_flush_against_ageing_and_unmap_is_safe_on_7_3() {
    for scenario in
        ["flush-age", "flush-unmap", "flush-unmap-nested", "destroy-unmap", "flush-dump", "flush-punch"]
    {
        assert!(is_proved(scenario, "arm64-7.3", "none"), "{scenario}");
    }
}

#[test]
fn one_flush_against_a_walk_of_the_nested_array_is_a_use_after_free_on_6_12() {
    // The unmap of a nested mmu breaks the lock between its steps and reads `mmu->pgt` of the array again: so taking
    // the array out under the lock is not enough as long as it is freed before the notifier is gone.
    for strategy in ["none", "lock-flush", "lock-flush-free-outside", "claim-under-lock", "slots-lock"] {
        let verdict = verdict_of("flush-unmap-nested", "arm64-6.12", strategy);
        assert_eq!(objects(&verdict, Kind::UseAfterFree), ["kvm.arch.nested_mmus"], "{strategy}");
    }
    assert!(is_proved("flush-unmap-nested", "arm64-6.12", "defer-to-destroy"));
}

#[test]
fn riscvs_copy_of_the_root_is_used_after_the_lock_break() {
    for strategy in ["none", "claim-under-lock", "defer-to-destroy"] {
        let verdict = verdict_of("flush-unmap", "riscv-7.3", strategy);
        assert!(objects(&verdict, Kind::UseAfterFree).contains(&"kvm.arch.pgd"), "{strategy}");
    }
}

#[test]
fn a_live_vm_maps_no_page_that_was_given_back() {
    let scenarios = [
        "fault-munmap",
        "fault-reclaim",
        "fault-delete-slot",
        "fault-log-dirty",
        "fault-fault",
        "split-reclaim",
        "delete-slot-reclaim",
        "two-slots",
    ];
    for scenario in scenarios {
        for Variant { name, .. } in Variant::KERNELS {
            assert!(is_proved(scenario, name, "none"), "{scenario} {name}");
        }
    }
}

#[test]
fn a_fault_that_ignored_invalidations_would_be_noticed() {
    let deaf = Variant { name: "arm64-7.3 without retries", retries: false, ..Variant::KERNELS[1] };
    for scenario in ["fault-munmap", "fault-reclaim"] {
        let case = Case::new(scenario.parse().unwrap(), deaf, kvm::Strategy::none()).unwrap();
        let verdict = all(&case);
        assert_eq!(verdict.answer, Answer::Bug, "{scenario}");
        assert!(verdict.first_kinds.contains(&Kind::StaleTranslation), "{scenario}");
    }
}

#[test]
fn the_reviews_objections_are_broken_rules_or_not_reachable() {
    // The assertion fires in creation's error path and in destroy_vm.
    for scenario in ["objection-create-error", "kill"] {
        let verdict = verdict_of(scenario, "arm64-7.3", "lock-flush");
        assert_eq!(objects(&verdict, Kind::NotHeld), ["kvm->mmu_lock"], "{scenario}");
    }
    // Who is in an ioctl holds mm_users and the file: no flush is under way beside it.
    for scenario in ["objection-commit", "objection-commit-threads", "objection-chunk-size"] {
        for strategy in ["none", "claim-under-lock", "defer-to-destroy", "slots-lock"] {
            assert!(is_proved(scenario, "arm64-7.3", strategy), "{scenario} {strategy}");
        }
        let verdict = verdict_of(scenario, "arm64-7.3", "slots-lock");
        assert_eq!(verdict.findings.iter().filter(|finding| finding.kind == Kind::LockOrder).count(), 1);
    }
}

#[test]
fn slots_lock_in_a_flush_breaks_the_documented_order_also_where_nobody_waits_for_srcu_under_it() {
    let verdict = verdict_of("flush-race-filled", "arm64-7.3", "slots-lock");
    assert_eq!(verdict.answer, Answer::Proved);
    assert_eq!(objects(&verdict, Kind::LockOrder), ["kvm->slots_lock, kvm->srcu"]);
    assert_eq!(objects(&verdict_of("flush-race-filled", "arm64-7.3", "none"), Kind::LockOrder), [""; 0]);
}

#[test]
fn locks_have_an_order_and_slots_lock_inside_an_srcu_section_breaks_it_without_a_deadlock() {
    let broken = |verdict: &Verdict| {
        let rules = [Kind::LockOrder, Kind::LockRecursion, Kind::SelfWait];
        rules.map(|kind| objects(verdict, kind).join("; "))
    };
    for variant in ["arm64-6.12", "arm64-7.3", "riscv-7.3"] {
        let verdict = verdict_of("lock-order", variant, "none");
        assert_eq!((&verdict.answer, broken(&verdict)), (&Answer::Proved, Default::default()), "{variant}");
        // Who replaces the bus or a slot waits for readers of kvm->srcu under slots_lock; no flush is under way then.
        let verdict = verdict_of("lock-order", variant, "cache=slots-lock");
        assert_eq!(verdict.answer, Answer::Proved, "{variant}");
        let [order, others @ ..] = broken(&verdict);
        assert_eq!(order, "kvm->slots_lock, kvm->srcu", "{variant}");
        assert_eq!(others, ["", ""], "{variant}");
    }
}

#[test]
fn a_slot_that_waits_for_invalidations_in_flight_is_installed_in_the_end() {
    for scenario in ["create-slot-reclaim", "delete-slot-reclaim"] {
        for Variant { name, .. } in Variant::KERNELS {
            assert!(is_proved(scenario, name, "none"), "{scenario} {name}");
        }
    }
}

#[test]
fn an_unmap_that_may_not_block_leaves_riscvs_copy_of_the_root_no_chance() {
    for variant in ["arm64-6.12", "arm64-7.3", "riscv-7.3"] {
        assert!(is_proved("flush-unmap-nonblock", variant, "none"), "{variant}");
    }
    assert!(!is_proved("flush-unmap", "riscv-7.3", "none"));
}

#[test]
fn a_table_freed_under_the_lock_by_the_notifiers_thread_is_out_of_the_leaves_reach() {
    let verdict = verdict_of("held-elsewhere", "arm64-early-return", "none");
    let bug = verdict.bug().unwrap();
    assert_eq!(bug.object, "guest page");
    assert_eq!(verdict.counts.complete, 1, "one thread suffices");
}

#[test]
fn both_walkers_come_to_the_same_kinds_of_harm() {
    for scenario in
        ["flush-race", "flush-race-nested", "flush-unmap", "destroy-unmap", "fault-munmap", "split-reclaim"]
    {
        for variant in Variant::KERNELS {
            for strategy in ["none", "lock-flush", "claim-under-lock"] {
                let kinds = |walker: &str| {
                    let scenario: Scenario = scenario.parse().unwrap();
                    let walker = walker.parse().unwrap();
                    let scenario =
                        Scenario { set_up: SetUp { walker, ..scenario.set_up.clone() }, ..scenario };
                    let case = Case::new(scenario, variant, strategy.parse().unwrap()).ok()?;
                    Some(all(&case).first_kinds)
                };
                assert_eq!(kinds("upstream"), kinds("fast"), "{scenario} {variant} {strategy}");
            }
        }
    }
}
