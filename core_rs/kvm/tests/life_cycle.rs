//! The life cycle, path by path: what comes before what, and that nothing is left.

mod common;

use kvm::{Case, Helpers, Hold, Part, Scenario, Strategy, Variant};
use runtime::scheduled::{Execution, Kind, Outcome, Program, RandomWalk, Replay, run};

use common::{case, harm_of};

/// Runs a scenario's tasks one after the other; everything is harmless then.
fn in_turn(scenario: &str, variant: &str) -> Execution {
    let case = Case::new(scenario.parse().unwrap(), variant.parse().unwrap(), Strategy::none()).unwrap();
    let instance = case.start();
    let execution = run(instance.threads, &mut Replay(vec![]));
    assert_eq!(execution.outcome, Outcome::Finished);
    assert_eq!((instance.end)(), []);
    execution
}

/// The place of the first action at a site.
fn at(execution: &Execution, site: &str) -> usize {
    let found = execution.actions.iter().position(|action| action.site.name() == site);
    found.unwrap_or_else(|| panic!("no action at {site}"))
}

fn times(execution: &Execution, site: &str) -> usize {
    execution.actions.iter().filter(|action| action.site.name() == site).count()
}

fn freed(execution: &Execution, object: &str) -> usize {
    let of = |target: Option<runtime::scheduled::Target>| {
        target.map(|target| execution.objects[target.object].name)
    };
    execution
        .actions
        .iter()
        .filter(|action| action.kind == Kind::Free && of(action.target) == Some(object))
        .count()
}

/// Strategies that deadlock against themselves where a helper takes the lock.
fn takes_twice(case: &Case) -> bool {
    let strategy = case.strategy();
    let helper_takes = case.variant().split_cache; // arm64, riscv
    let held_across = match strategy.hold {
        Hold::Nobody => false,
        Hold::Arch => strategy.table == Part::Inside,
        Hold::Generic => true,
    };
    helper_takes && held_across && strategy.helpers == Helpers::Take
}

#[test]
fn a_killed_vmm_leaves_its_address_space_before_its_files() {
    let execution = in_turn("kill", "arm64-7.3");
    assert!(at(&execution, "exit_mm") < at(&execution, "put_files_struct"));
    assert!(
        at(&execution, "kvm_free_stage2_pgd:swap") < at(&execution, "put_files_struct"),
        "flushed by exit_mm"
    );
    assert!(at(&execution, "mmu_notifier_unregister:hlist_unhashed") > at(&execution, "put_files_struct"));
    assert_eq!(times(&execution, "mmu_notifier_unregister:srcu"), 0, "the subscription is off the list");
}

#[test]
fn guest_pages_are_freed_after_every_release_and_the_grace_period() {
    let execution = in_turn("kill", "arm64-7.3");
    let free = at(&execution, "free_pages_and_swap_cache");
    assert!(at(&execution, "kvm_free_stage2_pgd:swap") < at(&execution, "mn_hlist_release:synchronize_srcu"));
    assert!(at(&execution, "mn_hlist_release:synchronize_srcu") < free);
}

#[test]
fn an_address_space_without_notifiers_goes_without_a_grace_period() {
    let execution = in_turn("flush-alone", "arm64-7.3");
    assert_eq!(times(&execution, "mn_hlist_release:synchronize_srcu"), 0);
    assert_eq!(times(&execution, "mmu_notifier_unregister:srcu"), 2, "destroy_vm flushed: one read section");
    assert_eq!(freed(&execution, "mm_struct"), 1);
}

#[test]
fn closing_every_vcpu_descriptor_destroys_no_vcpu() {
    let text = "task T1 fds=vm,vcpu0: close vcpu0, close vm";
    let execution = in_turn(text, "arm64-7.3");
    assert_eq!(times(&execution, "fput"), 2);
    assert!(at(&execution, "kvm_vcpu_destroy") > at(&execution, "mmu_notifier_unregister:synchronize_srcu"));
}

#[test]
fn every_kind_of_descriptor_keeps_the_vm() {
    for fd in ["vcpu0", "stats", "device", "gmem", "run0"] {
        let execution = in_turn(&format!("task T1 fds=vm,{fd}: close vm, close {fd}"), "arm64-7.3");
        assert_eq!(times(&execution, "kvm_put_kvm"), 2, "{fd}");
        assert_eq!(freed(&execution, "kvm"), 1, "{fd}");
        assert!(at(&execution, "mmu_notifier_unregister:hlist_unhashed") > at(&execution, "kvm_put_kvm"));
    }
}

#[test]
fn a_receiver_of_the_descriptor_can_only_close_it() {
    let execution = in_turn("task T1: exit; task T2 fds=vm: delete_slot, close vm", "arm64-7.3");
    assert_eq!(times(&execution, "kvm_set_memory_region:slots_lock"), 0, "-EIO: another address space");
    assert_eq!(freed(&execution, "kvm"), 1);
}

#[test]
fn teardown_of_the_table_is_idempotent_where_it_runs_twice() {
    let again = |variant: &str| times(&in_turn("kill", variant), "kvm_free_stage2_pgd:pgt");
    // The nested mmu and the VM's own; 7.3 looks at the VM's own once more in kvm_arch_destroy_vm.
    assert_eq!((again("arm64-6.12"), again("arm64-7.3")), (2, 3));
}

#[test]
fn nested_mmus_are_freed_by_flush_in_6_12_and_by_destroy_vm_in_7_3() {
    let free_before_destroy = |variant: &str, object: &str| {
        let execution = in_turn("setup nested=1; task T1 fds=vm: exit", variant);
        let name = |target: runtime::scheduled::Target| execution.objects[target.object].name;
        let free = execution
            .actions
            .iter()
            .position(|action| action.kind == Kind::Free && action.target.map(name) == Some(object));
        free.unwrap() < at(&execution, "mmu_notifier_unregister:hlist_unhashed")
    };
    assert!(free_before_destroy("arm64-6.12", "kvm.arch.nested_mmus"));
    assert!(!free_before_destroy("arm64-7.3", "kvm.arch.nested_mmus"));
    assert!(!free_before_destroy("arm64-7.3", "kvm_s2_mmu"));
}

#[test]
fn a_slot_is_deleted_in_two_grace_periods_and_frees_the_split_cache() {
    let execution = in_turn("memslots-first", "arm64-7.3");
    assert_eq!(times(&execution, "kvm_swap_active_memslots:synchronize_srcu"), 4, "each is two actions");
    assert!(at(&execution, "kvm_clear_pte") > at(&execution, "kvm_swap_active_memslots:synchronize_srcu"));
    assert!(at(&execution, "kvm_mmu_free_memory_cache:kvfree") < at(&execution, "kvm_put_kvm"));
    assert_eq!(freed(&execution, "kvm_memory_slot"), 2, "the slot, and the invalid one in between");
}

#[test]
fn one_of_two_slots_goes_and_the_other_stays() {
    let text = "setup pages=2 slots=2 mapped=no; \
                task T1 fds=vm,vcpu0: delete_slot 1, fault 0, touch 0, fault 1, touch 1, set_chunk 2";
    let execution = in_turn(text, "arm64-7.3");
    let touches = || execution.actions.iter().filter(|action| action.site.name() == "guest:access");
    let hits: Vec<_> =
        touches().map(|action| matches!(action.effect, runtime::scheduled::Effect::Cached { .. })).collect();
    assert_eq!(hits, [true, false]);
    assert_eq!(times(&execution, "kvm_vm_ioctl_enable_cap:chunk_size"), 0, "a slot is left");
    let text = "setup pages=2 slots=2; task T1 fds=vm: delete_slot 1, delete_slot, set_chunk 2";
    assert_eq!(times(&in_turn(text, "arm64-7.3"), "kvm_vm_ioctl_enable_cap:chunk_size"), 1);
}

#[test]
fn a_callback_takes_the_lock_once_for_all_slots_and_not_at_all_where_there_is_none() {
    let taken = |set_up: &str| {
        let text = format!("setup {set_up}; task T1 fds=vm: ; task kswapd: reclaim T1");
        let execution = in_turn(&text, "arm64-7.3");
        let site = "kvm_mmu_notifier_invalidate_range_start:mmu_lock";
        let takes =
            |action: &&runtime::scheduled::Action| action.kind == Kind::Write && action.site.name() == site;
        execution.actions.iter().filter(takes).count()
    };
    assert_eq!([taken("pages=2 slots=2"), taken("pages=2"), taken("slot=no mapped=no")], [1, 1, 0]);
}

#[test]
fn an_eager_split_fills_the_cache_outside_the_lock_and_uses_it_under_it() {
    let text = "setup pages=2 block=yes; task T1 fds=vm: log_dirty, log_clean";
    let execution = in_turn(text, "arm64-7.3");
    let order = [
        "kvm_mmu_split_memory_region:mmu_lock",
        "kvm_mmu_split_huge_pages:cond_resched",
        "mmu_memory_cache_alloc_obj",
        "kvm_mmu_split_huge_pages:mmu_lock",
        "stage2_memcache_zalloc_page",
        "kvm_mmu_memory_cache_alloc:use",
        "kvm_mmu_free_memory_cache:kvfree",
    ];
    let places: Vec<_> = order.iter().map(|site| at(&execution, site)).collect();
    assert!(places.is_sorted(), "{order:?} at {places:?}");
}

#[test]
fn dirty_logging_without_blocks_leaves_the_cache_filled() {
    let execution = in_turn("task T1 fds=vm: log_dirty, exit", "arm64-7.3");
    assert_eq!(freed(&execution, "split cache page"), 1, "by flush");
    assert_eq!(times(&execution, "kvm_mmu_memory_cache_alloc:use"), 0);
}

#[test]
fn the_guest_reaches_a_page_through_a_cached_translation_until_it_is_invalidated() {
    let text = "setup mapped=no; task T1 fds=vm,vcpu0: fault 0, touch 0; task T2 mm=T1 files=T1: munmap";
    let execution = in_turn(text, "arm64-7.3");
    let hit = execution.actions.iter().any(|action| {
        matches!(action.effect, runtime::scheduled::Effect::Cached { .. })
            && action.site.name() == "guest:access"
    });
    assert!(hit);
    assert!(at(&execution, "kvm_tlb_flush_vmid_range") < at(&execution, "free_pages_and_swap_cache"));
}

#[test]
fn locks_nest_as_the_kernel_documents_them() {
    let execution = in_turn("lock-order", "arm64-7.3");
    for order in [
        ["kvm_vm_ioctl_create_vcpu:kvm_lock", "kvm_vm_ioctl_create_vcpu:vcpu_mutex"],
        ["kvm_ioctl_create_device:kvm_lock", "kvm_ioctl_create_device:slots_lock"],
        ["kvm_vcpu_ioctl:mutex", "kvm_vgic_map_resources:slots_lock"],
        ["kvm_vgic_map_resources:slots_lock", "kvm_vgic_map_resources:config_lock"],
        ["kvm_set_memory_region:slots_lock", "kvm_swap_active_memslots:slots_arch_lock"],
        ["kvm_swap_active_memslots:slots_arch_lock", "kvm_swap_active_memslots:mn_invalidate_lock"],
    ] {
        let [outer, inner] = order.map(|site| at(&execution, site));
        let lock = execution.actions[outer].target.unwrap().object;
        let unlocked = execution.actions[outer..].iter().position(|action| {
            action.kind == Kind::Unlock && action.target.is_some_and(|target| target.object == lock)
        });
        assert!(outer < inner && inner < outer + unlocked.unwrap(), "{order:?}");
    }
    // The bus is replaced twice, each time with a grace period under the locks; destroy_vm frees what is left.
    assert_eq!(times(&execution, "kvm_io_bus_register_dev:synchronize_srcu"), 4, "each is two actions");
    assert_eq!(freed(&execution, "kvm_io_bus"), 2);
}

#[test]
fn one_vcpu_runs_in_one_task_at_a_time_and_two_vcpus_in_two() {
    let mutexes = |text: &str| {
        let execution = in_turn(text, "arm64-7.3");
        let taken = execution
            .actions
            .iter()
            .filter(|action| action.kind == Kind::Lock && action.site.name() == "kvm_vcpu_ioctl:mutex");
        let mut locks: Vec<_> = taken.map(|action| action.target.unwrap().object).collect();
        assert_eq!(locks.len(), 2);
        locks.dedup();
        locks.len()
    };
    let one = "setup mapped=no; task T1 fds=vm,vcpu0: fault 0; task T2 mm=T1 files=T1: fault 0";
    assert_eq!((mutexes(one), mutexes("fault-fault")), (1, 2));
}

#[test]
fn no_slot_is_installed_between_the_two_ends_of_an_invalidation() {
    let mut waited = 0;
    for seed in 0..200 {
        let instance = case("create-slot-reclaim", "arm64-7.3", "none").start();
        let execution = run(instance.threads, &mut RandomWalk::new(seed, 10_000));
        let ends = |end: &str| {
            at(&execution, &format!("kvm_mmu_notifier_invalidate_range_{end}:mn_active_invalidate_count"))
        };
        let (start, end) = (ends("start"), ends("end"));
        let publish = at(&execution, "kvm_swap_active_memslots:publish");
        assert!(!(start..end).contains(&publish), "seed {seed}");
        waited += usize::from(times(&execution, "kvm_swap_active_memslots:schedule") > 0);
    }
    assert!(waited > 0);
}

#[test]
fn an_invalidation_that_lost_its_subscription_leaves_a_count_that_destroy_vm_forgets() {
    let case = case("flush-unmap", "arm64-7.3", "none");
    let forgotten = (0..200).filter(|seed| {
        let instance = case.start();
        let execution = run(instance.threads, &mut RandomWalk::new(*seed, 10_000));
        assert_eq!((instance.end)(), [], "seed {seed}");
        let forgets = times(&execution, "kvm_destroy_vm:forget") == 1;
        let starts = times(&execution, "kvm_mmu_notifier_invalidate_range_start:mn_active_invalidate_count");
        let ends = times(&execution, "kvm_mmu_notifier_invalidate_range_end:mn_active_invalidate_count");
        assert_eq!(forgets, starts > ends, "seed {seed}");
        forgets
    });
    assert!(forgotten.count() > 0);
}

#[test]
fn an_unmap_that_may_not_block_breaks_no_lock() {
    let breaks = |step: &str, variant: &str| {
        let text = format!("setup pages=2; task T1 fds=vm: ; task T2: {step} T1");
        let execution = in_turn(&text, variant);
        assert_eq!(freed(&execution, "guest page"), 2, "{step}");
        let site = if variant == "arm64-7.3" { "stage2_apply_range" } else { "kvm_riscv_gstage_unmap_range" };
        times(&execution, &format!("{site}:cond_resched_rwlock_write"))
    };
    for variant in ["arm64-7.3", "riscv-7.3"] {
        assert!(breaks("reclaim", variant) > 0, "{variant}");
        assert_eq!(breaks("reclaim_nonblock", variant), 0, "{variant}");
    }
}

#[test]
fn a_reader_of_the_dump_looks_for_the_table_under_the_lock_after_a_flush_too() {
    let execution = in_turn("task T1 fds=vm: exit; task R fds=dump: read_dump", "arm64-7.3");
    let look = at(&execution, "kvm_ptdump_guest_show:pgt");
    assert!(at(&execution, "kvm_free_stage2_pgd:swap") < at(&execution, "kvm_ptdump_guest_show:mmu_lock"));
    assert_eq!(look, at(&execution, "kvm_ptdump_guest_show:mmu_lock") + 1);
    assert_eq!(execution.actions[look + 1].kind, Kind::WriteUnlock, "there is nothing to show");
}

#[test]
fn vcpu_init_adds_two_nested_mmus() {
    for (variant, objects) in [("arm64-6.12", "kvm.arch.nested_mmus"), ("arm64-7.3", "kvm_s2_mmu")] {
        let execution = in_turn("setup nested=1; task T1 fds=vm,vcpu0: vcpu_init, exit", variant);
        let freed = freed(&execution, objects);
        assert_eq!(freed, if variant == "arm64-6.12" { 2 } else { 3 }, "{variant}");
        assert_eq!(self::freed(&execution, "kvm_pgtable"), 4, "{variant}: three nested, one of the VM");
    }
}

#[test]
fn flush_frees_the_table_while_somebody_else_holds_the_vm() {
    let execution = in_turn("held-elsewhere", "arm64-7.3");
    assert_eq!((freed(&execution, "kvm_pgtable"), freed(&execution, "kvm")), (1, 0));
}

#[test]
fn tasks_that_follow_each_other_do_no_harm_and_leave_nothing() {
    for scenario in Scenario::named() {
        for variant in Variant::KERNELS {
            for strategy in Strategy::named() {
                let Ok(case) = Case::new(scenario.clone(), variant, strategy) else { continue };
                let expected = match case.strategy().name.as_str() {
                    _ if takes_twice(&case) => "deadlock",
                    "lock-flush" => "sleeping under a spinning lock",
                    _ => "nothing",
                };
                let harm = harm_of(&case, &mut Replay(vec![]));
                assert!(harm.iter().all(|what| what == expected), "{}: {harm:?}", case.name());
            }
        }
    }
}

#[test]
fn on_real_threads_harm_is_recorded_and_never_suffered() {
    for scenario in Scenario::named() {
        for variant in Variant::all() {
            let Ok(case) = Case::new(scenario.clone(), variant, Strategy::none()) else { continue };
            for _ in 0..3 {
                case.run_on_threads(); // returns
            }
        }
    }
}

#[test]
fn on_real_threads_one_task_alone_leaves_nothing() {
    let alone =
        |scenario: &Scenario| scenario.tasks.iter().filter(|task| !task.steps.is_empty()).count() == 1;
    for scenario in Scenario::named().into_iter().filter(alone) {
        for variant in Variant::KERNELS {
            for strategy in Strategy::named() {
                let Ok(case) = Case::new(scenario.clone(), variant, strategy) else { continue };
                if !takes_twice(&case) {
                    let outcome = case.run_on_threads();
                    assert_eq!((outcome.harm, outcome.violations), (vec![], vec![]), "{}", case.name());
                }
            }
        }
    }
}

#[test]
fn some_random_orders_of_the_race_do_harm_and_none_with_the_parts_claimed() {
    let first = |strategy: &str| {
        let case = case("flush-race-filled", "riscv-7.3", strategy);
        (0..300)
            .filter_map(|seed| harm_of(&case, &mut RandomWalk::new(seed, 10_000)).into_iter().next())
            .collect::<Vec<_>>()
    };
    let harm = first("none");
    assert!(harm.contains(&String::from("double free: kvm.arch.split_page_cache.objects")), "{harm:?}");
    assert_eq!(first("claim-under-lock"), Vec::<String>::new());
}

#[test]
fn one_seed_gives_one_execution() {
    let trace = |seed| {
        let instance = case("flush-race-filled", "arm64-7.3", "none").start();
        run(instance.threads, &mut RandomWalk::new(seed, 10_000))
    };
    assert_eq!(trace(7), trace(7));
}
