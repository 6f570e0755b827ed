//! What the kernel's selftests do can be said as points: `demand_paging_test`, `dirty_log_perf_test`, `access_tracking_perf_test`,
//! `memslot_modification_stress_test` and `mmu_stress_test`, phase by phase, with the memory of a vCPU cut to 8 MiB.

mod common;

use common::measured;
use measure::{Faults, Measurement};

/// `-v 2 -b 8M`
const VCPUS: &str = r#""threads": 2, "guest_bytes": 16777216"#;
const PAGES: u64 = 4096;

fn of(fields: &str) -> Measurement {
    let point = measure::Point::from_json(&format!("{{{VCPUS}, {fields}}}")).unwrap();
    let plan = point.check().unwrap_or_else(|error| panic!("{fields}: {error}"));
    measure::measure(&plan, 0, &std::sync::atomic::AtomicBool::new(false)).unwrap()
}

fn faults(measured: &Measurement) -> Faults {
    Faults { retries: 0, ..measured.operations.as_ref().unwrap().faults }
}

fn count(measured: &Measurement, class: &str) -> u64 {
    measured.classes.iter().find(|of| of.name == class).map_or(0, |of| of.count)
}

#[test]
fn demand_paging() {
    assert_eq!(faults(&of(r#""populate": "none""#)).maps, PAGES);
    let overlapping = faults(&of(r#""pattern": "overlapping""#)); // -o
    assert_eq!((overlapping.maps, overlapping.hits), (PAGES, PAGES));
    assert_eq!(faults(&of(r#""leaf_bytes": 2097152, "touch_bytes": 4096"#)).maps, 8, "-s anonymous_thp");
}

#[test]
fn dirty_log_perf() {
    let thp = r#""leaf_bytes": 2097152, "touch_bytes": 4096"#; // -s anonymous_thp
    let dirtying = faults(&of(&format!(r#"{thp}, "populate": "all", "logging": true"#)));
    assert_eq!((dirtying.maps, dirtying.relaxes), (PAGES, 0), "a page of its own for each write");
    let half =
        format!(r#"{thp}, "populate": "all", "logging": true, "write_percent": 50, "locality": "random""#); // -w 50 -a
    let half = faults(&of(&half));
    assert!(half.maps < PAGES && half.hits > 0, "{half:?}");
    let clear = of(r#""mix": "wrprotect", "populate": "written", "op_bytes": 262144"#); // 64 pages a call
    assert_eq!(count(&clear, "wrprotect"), PAGES / 64);
    let split = of(&format!(r#"{thp}, "mix": "split", "populate": "written", "op_bytes": 2097152"#)); // -e
    assert_eq!((count(&split, "split"), split.teardown.pages_freed), (8, 2 + 1 + 8));
    let again = of(r#""populate": "all", "background": "dirty-log", "ops_per_thread": 20480"#);
    assert!(count(&again, "background") > 0);
    assert_eq!(faults(&again).accesses(), 2 * 20480);
}

#[test]
fn access_tracking_perf() {
    let mark_idle = of(r#""mix": "age", "populate": "written", "op_bytes": 4096"#);
    assert_eq!(count(&mark_idle, "age"), PAGES);
    for percent in [0, 100] {
        let access = of(&format!(r#""populate": "old", "write_percent": {percent}"#));
        assert_eq!(faults(&access).youngs, PAGES, "a page that was marked idle");
    }
}

#[test]
fn memslot_modification_stress() {
    let fields =
        r#""background": "memslot", "background_pause_ns": 1000, "op_bytes": 4096, "ops_per_thread": 10000"#; // -d 1
    let measured = of(fields);
    let deleted = count(&measured, "background");
    assert!(deleted > 0);
    let writes = &measured.locks[0].write.sites;
    let flushes = writes.iter().find(|site| site.site.name() == "kvm_arch_flush_shadow_memslot");
    assert_eq!(flushes.unwrap().acquisitions, deleted);
}

#[test]
fn mmu_stress() {
    let passes = measured(r#""threads": 2, "ops_per_thread": 3072"#); // three passes of a vCPU's 4 MiB
    let faults = faults(&passes);
    assert_eq!((faults.maps, faults.hits), (2048, 4096), "the first pass maps");
    assert_eq!(passes.teardown.pages_freed, 7);
}
