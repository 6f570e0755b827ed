//! Life cycles' ends as points: what a row says of them, and what is refused.

use std::sync::atomic::AtomicBool;

use arrow_array::{Array, StringArray, UInt64Array};
use measure::{Ending, Measurement, Plan, Point, measure, row};

fn check(text: &str) -> Result<Plan, String> {
    let point = Point::from_json(text).map_err(|error| error.to_string())?;
    point.check().map_err(|error| error.to_string())
}

fn point(more: &str) -> String {
    format!(r#"{{"guest_bytes": {}, "variant": "arm64-7.3", "strategy": "none"{more}}}"#, 8 << 20)
}

fn measured(plan: &Plan) -> Measurement {
    measure(plan, 0, &AtomicBool::new(false)).unwrap()
}

#[test]
fn every_order_frees_the_guests_table_and_says_how_long_it_took() {
    for order in Ending::ALL.iter().filter(|order| **order != Ending::Table) {
        for counters in ["off", "counts", "times"] {
            for cache in ["never", "filled"] {
                let more =
                    format!(r#", "teardown": "{order}", "counters": "{counters}", "cache": "{cache}""#);
                let plan = check(&point(&more)).unwrap();
                let measured = measured(&plan);
                assert_eq!(measured.teardown.pages_freed, 2 + 1 + 4, "{order}: root, level 2, level 3");
                assert!(measured.teardown.ns > 0 && measured.operations.is_none(), "{order}");
                let timed = (counters == "times", counters == "times");
                let of = &measured.teardown;
                assert_eq!((of.longest_hold_ns.is_some(), of.unresched_ns.is_some()), timed, "{order}");
                if *order != Ending::FdPassed {
                    assert_eq!(measured.harm, Vec::<String>::new(), "{order}");
                }
                let names: Vec<_> = measured.locks.iter().map(|lock| lock.name).collect();
                if counters == "off" {
                    assert!(names.is_empty());
                    continue;
                }
                assert_eq!(names[0], "kvm->mmu_lock", "{order}");
                assert!(names.contains(&"kvm_lock"), "{order}: {names:?}");
            }
        }
    }
}

#[test]
fn a_sparse_guest_has_a_table_as_sparse_and_an_empty_one_its_root() {
    let freed = |more: &str| {
        let text = point(&format!(r#", "teardown": "close-first", {more}"#));
        measured(&check(&text).unwrap()).teardown.pages_freed
    };
    assert_eq!(freed(r#""sparsity": 1024"#), 2 + 1 + 2);
    assert_eq!(freed(r#""populate": "none""#), 2);
    assert_eq!(freed(r#""leaf_bytes": 2097152"#), 2 + 1);
}

#[test]
fn a_row_has_the_life_cycle_and_no_operations() {
    let plan = check(&point(r#", "teardown": "kill", "threads": 3, "mix": "age", "during": "age""#)).unwrap();
    let text = plan.point.to_json();
    for null in ["threads", "mix", "walk", "place", "free", "step_bytes", "background", "op_bytes"] {
        assert!(text.contains(&format!("\"{null}\": null")), "{null}: {text}");
    }
    let measured = measured(&plan);
    assert_eq!((measured.classes[0].name, measured.classes.len()), ("during", 1));
    let batch = row(&plan, 0, 0, Ok(&measured));
    let number = |name: &str| {
        let column = batch.column_by_name(name).unwrap();
        column.as_any().downcast_ref::<UInt64Array>().unwrap().iter().next().unwrap()
    };
    assert_eq!((number("pages_freed"), number("ops")), (Some(7), None));
    assert!(batch.column_by_name("harm").unwrap().is_null(0));
    let mut measured = measured;
    measured.harm = vec![String::from("double-free: split cache page")];
    let batch = row(&plan, 0, 0, Ok(&measured));
    let harm = batch.column_by_name("harm").unwrap();
    let harm = harm.as_any().downcast_ref::<StringArray>().unwrap();
    assert_eq!(harm.value(0), "double-free: split cache page");
}

#[test]
fn what_would_never_end_or_means_nothing_is_refused() {
    let error = |text: &str| check(text).unwrap_err();
    let of = |variant: &str, strategy: &str, more: &str| {
        error(&format!(
            r#"{{"teardown": "exit-first", "variant": "{variant}", "strategy": "{strategy}"{more}}}"#
        ))
    };
    assert!(of("arm64-7.3", "lock-flush-naive", "").contains("never end"));
    assert!(of("riscv-7.3", "lock-generic", "").contains("never end"));
    assert!(of("arm64-7.4", "none", "").contains("arm64-7.3"));
    assert!(of("arm64-7.3", "soon", "").contains("claim-under-lock"));
    assert!(of("mips-7.3", "none", "").contains("arm64 and riscv"));
    assert!(of("arm64-7.3", "none", r#", "during": "faults""#).contains("close-first"));
    assert!(error(r#"{"teardown": "kill", "strategy": "none"}"#).contains("variant is missing"));
    let same = |more: &str| check(&point(&format!(r#", "teardown": "kill"{more}"#))).unwrap().point;
    assert_eq!(same(""), same(r#", "threads": 7, "rate_per_s": 3.0"#));
}

#[test]
fn every_lock_of_a_sweep_plays_mmu_lock() {
    for lock in runtime::native::LockKind::ALL {
        let plan = check(&point(&format!(r#", "teardown": "fd-passed", "lock": "{lock}", "during": "age""#)));
        assert_eq!(measured(&plan.unwrap()).teardown.pages_freed, 7, "{lock}");
    }
}
